"""Data sets, samplers, transforms, and the loader that makes mini-batches of them."""

from . import transforms
from .collate import Pad, collate
from .datasets import load_digits, split
from .files import ImageFolder, Table, encode
from .loader import DataLoader
from .randomness import rng
from .sampling import ByLength, Shard, Stratified, Weighted

__all__ = [
    "ByLength",
    "DataLoader",
    "ImageFolder",
    "Pad",
    "Shard",
    "Stratified",
    "Table",
    "Weighted",
    "collate",
    "encode",
    "load_digits",
    "rng",
    "split",
    "transforms",
]
