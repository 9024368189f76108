"""Data sets, samplers, transforms, and the loader that makes mini-batches of them."""

from .collate import Pad, collate
from .datasets import load_digits
from .loader import DataLoader
from .randomness import rng
from .sampling import ByLength, Shard, Stratified, Weighted

__all__ = [
    "ByLength",
    "DataLoader",
    "Pad",
    "Shard",
    "Stratified",
    "Weighted",
    "collate",
    "load_digits",
    "rng",
]
