"""Functions along an axis."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row

ROWS = [
    Row("diff", np.diff, (draw((3, 4)),)),
    Row("diff", np.diff, (draw((3, 4)),), {"n": 2, "axis": 0}),
    Row("diff", np.diff, (draw((4,)),), {"n": 0}),
    Row("diff", np.diff, (draw((0, 3)),), {"axis": 0}),
    Row("diff", np.diff, (integers((3, 4), 9),), order=0),
    Row("diff", np.diff, (integers((3, 4), 2) > 0,), order=0),
    Row(
        "diff",
        lambda x, a, b: np.diff(x, prepend=a, append=b),
        (draw((3, 4)), draw((3, 1)), draw((3, 2))),
        call=lambda f, x, a, b: f(x, prepend=a, append=b),
    ),
]
