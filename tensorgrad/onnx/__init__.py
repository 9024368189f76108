"""ONNX: models for other programs. Needs the package onnx: pip install "tensorgrad-cupy[onnx]"."""

from . import read_layers as _layers  # noqa: F401  (their entries in its table)
from . import read_places as _places  # noqa: F401
from .capture import export
from .read import load

__all__ = ["export", "load"]
