"""CUDA C kernels and their launchers: a `.cu` and a `.py` a family, compiled on first call."""
