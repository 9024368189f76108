"""Data sets and the loader."""

from .datasets import load_digits
from .loader import DataLoader

__all__ = ["DataLoader", "load_digits"]
