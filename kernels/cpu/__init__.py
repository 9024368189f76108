"""Numba kernels: a file a family, a function an op, compiled on first call."""
