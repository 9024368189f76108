"""Activations that are cut off."""

from ..backend import namespace
from ..core import op
from .discrete import logical_and
from .elementwise import greater, less, where
from .samples import few, same


@op(
    samples=same(2, -1.5, 1.5, min=-1.0, max=0.5),
    kind="map",
    scalar="where(x > min, where(x < max, g, 0), 0)",
)
def hardtanh_grad(g, x, *, min, max):
    """Gradient of hardtanh."""
    return where(logical_and(greater(x, min), less(x, max)), g, 0.0)


@op(
    x=hardtanh_grad,
    samples=few(-2, 2, {}, {"min": 0.0, "max": 0.5}),
    kind="map",
    scalar="minimum(maximum(x, min), max)",
)
def hardtanh(x, *, min=-1.0, max=1.0):
    """x between min and max, and these beyond; the gradient there, and at them, is 0."""
    xp = namespace(x)
    return xp.minimum(xp.maximum(x, min), max)
