"""ONNX: models for other programs. Needs the package onnx: pip install "tensorgrad-cupy[onnx]"."""

from .capture import export

__all__ = ["export"]
