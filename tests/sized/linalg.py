"""Sized samples of factorisations: square, wide, tall and stacked."""

from tensorgrad.ops.samples import Sample, draw


def matrices(n):
    k = min(n, 90)
    return [(k, k), (k, k + 7), (3, k + 5, k)]


SIZED = {"lu_factor": lambda n: [Sample((draw(shape),)) for shape in matrices(n)]}
