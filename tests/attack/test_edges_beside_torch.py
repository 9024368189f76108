"""Functions of docs/edges.md at every point of a grid of edges, beside PyTorch: value, gradient and
second gradient are PyTorch's wherever its are finite, but for the departures named here."""

import itertools

import numpy as np
import pytest

from tests.test_edges import PARTS, constants, our_figures, shown, their_figures
from tests.test_edges import Row as Call

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host
DTYPES = ("float64", "float32", "float16")
CLOSE = {"float64": (1e-8, 1e-11), "float32": (2e-4, 2e-5), "float16": (0.03, 3e-3)}

ONE = """abs(x) relu(x) leaky_relu(x) elu(x) gelu(x) silu(x) softplus(x) sigmoid(x) tanh(x) exp(x)
expm1(x) log(x) log1p(x) sqrt(x) square(x) sin(x) cos(x) floor(x) round(x) clip(x,0.0,1.0)
clip(x,1.0,0.0) x**0 x**1 x**2 x**3 x**-1 0.0**x 2.0**x 1/x x/0 x%2 where(x>0,log(x),0*x)
tan(x) arctan(x) sinh(x) arcsinh(x) reciprocal(x) rsqrt(x) exp2(x) log2(x) erf(x)""".split()
TWO = """a+b a*b a/b a%b power(a,b) maximum(a,b) minimum(a,b) hypot(a,b) logaddexp(a,b) arctan2(a,b)
huber(a,b) mean_absolute_error(a,b) mean_squared_error(a,b)""".split()
ROWS = """sum(x) mean(x) var(x) std(x) std(x,ddof=1) max(x) min(x) prod(x) softmax(x) log_softmax(x)
logsumexp(x) cross_entropy(x,0) cumsum(x) cumprod(x) sort(x) layer_norm(x)""".split()
NUMBERS = """0 -0.0 1 -1 0.5 2 -3 inf -inf nan largest -largest tiny least 5 -5 20 -20 100 -100 700
-700 1000 -1000 0.001""".split()
FEW = "0 -0.0 1 -1 2 0.5 inf -inf nan largest tiny".split()
LISTS = """[1] [2,2] [0.1,0.1,0.1] [0,0] [0,-0.0,1] [inf,1] [-inf,1] [-inf,-inf] [inf,inf] [nan,1]
[inf,-inf,1] [nan,nan] [largest,1] [-largest,largest] [tiny,tiny] [least,0] [1,3,3] [0,3,2] [100,0]
[1000,0,-1000] [-inf,0,-inf]""".split()
CANCELLING = ("layer_norm", "std", "softmax", "log_softmax", "cross_entropy")


def departs(call, part, x, dtype):
    """Whether ours is another than PyTorch's on purpose; x are all inputs in one array."""
    name, largest = call.partition("(")[0], constants(dtype)["largest"]
    huge, tiny = (abs(x) > largest / 2).any(), ((x != 0) & (abs(x) < 1e-4)).any()
    finite = x[np.isfinite(x)]
    later, flat = part != "value", not finite.size or np.ptp(finite) < 5
    return (
        # what the page says
        (name in ("abs", "mean_absolute_error") and later and not np.isfinite(x).all())
        or (name == "clip" and np.isnan(x).any())
        or (name == "softplus" and x[0] >= 20 and part == "second")
        or (name in ("huber", "elu") and part == "second")  # at their corners
        or (name == "std" and later and (x == x[0]).all())  # PyTorch's rounds the mean
        # overflows and underflows within a formula, on either side
        or (name in ("std", "var", "layer_norm", "hypot") and huge)
        or (part == "second" and huge)
        or (name in ("arctan2", "prod") and later and tiny)
        or (name in ("power", "cumprod") and np.isinf(x).any())
        or (name == "rsqrt" and later and x[0] == 0)  # of -0.0
        # sums that cancel
        or (name in CANCELLING and later and dtype != "float64" and flat)
    )


def agrees(ours, theirs, dtype):
    """Ours is theirs, or finite where theirs is not."""
    rtol, atol = CLOSE[dtype]
    with np.errstate(all="ignore"):
        same = np.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
        return bool((same | (np.isfinite(ours) & ~np.isfinite(theirs)) | (np.isnan(theirs))).all())


POINTS = [(f, f"x={v}") for f in ONE for v in NUMBERS]
POINTS += [(f, f"a={a}, b={b}") for f in TWO for a, b in itertools.product(FEW, FEW)]
POINTS += [(f, f"x={v}") for f in ROWS for v in LISTS]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_edge_is_pytorchs_or_named(dtype):
    wrong = []
    for call, at in POINTS:
        row = Call(0, call, at, (dtype,), ("", "", ""), "")
        x = np.concatenate([v.reshape(-1) for v in row.inputs(dtype).values()])
        parts = zip(PARTS, our_figures(row, dtype), their_figures(row, dtype), strict=False)
        for part, found, want in parts:
            fine = all(agrees(found[k], want[k], dtype) for k in want)
            if not fine and not departs(call, part, x, dtype):
                wrong.append(f"{call} at {at}: {part} {shown(found, dtype)}, {shown(want, dtype)}")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong)
