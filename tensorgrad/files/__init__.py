"""Files: trees of tensors, written whole or not at all, and read without trusting them."""

from .arrays import load_npz, save_npz
from .trees import load, save

__all__ = ["load", "load_npz", "save", "save_npz"]
