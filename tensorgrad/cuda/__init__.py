"""What is specific to CUDA: capturing a training step in a CUDA graph."""

from .graph import graphed

__all__ = ["graphed"]
