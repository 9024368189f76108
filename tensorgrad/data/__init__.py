"""Data sets, and the loader that makes mini-batches of them."""

from .datasets import load_digits
from .loader import DataLoader

__all__ = ["DataLoader", "load_digits"]
