"""What is particular to CUDA: a training step as one graph."""

from .graph import graphed

__all__ = ["graphed"]
