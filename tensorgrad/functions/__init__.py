"""The public functions: NumPy's words, Tensors out. Each is written here, and its op in `ops/`."""
