"""vmap: a function of one example as one of a batch, in whose ops all examples are computed at once."""
