"""vmap: a function of one example as one of a batch, each of whose ops computes all examples."""
