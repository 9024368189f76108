"""Keras's functions, a file a family."""
