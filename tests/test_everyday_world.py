"""A tensor that needs no gradient is an array to NumPy's other functions, to json and to math. One
on the tape is refused with the way out in the message, since what they compute has no gradient."""

import io
import json
import math

import numpy as np
import pytest

import tensorgrad as tg

from .rows import of_each

pytestmark = pytest.mark.host

rng = np.random.default_rng(0)
V = np.array([3.0, 1.0, 2.0, 2.0, -1.5])
M = rng.normal(size=(4, 3))
LABELS = np.array([0, 1, 1, 0, 1])
ARRAYS = {"v": V, "m": M, "k": LABELS, "square": M[:3]}


def saved(save, *args):
    """What a function of NumPy writes into a file."""
    file = io.BytesIO()
    save(file, *args)
    return file.getvalue()


NAMES = {"np": np, "json": json, "saved": saved, "math": math}

NUMPY = """
np.allclose(v, v + 1e-12)
np.isclose(v, 2.0)
np.array_equal(v, v)
np.unique(v)
np.unique(k, return_counts=True)
np.histogram(v, bins=3)
np.bincount(k)
np.percentile(v, 30)
np.percentile(m, [25, 75], axis=0)
np.quantile(v, 0.5)
np.median(m, axis=1)
np.nanmean(v)
np.average(v, weights=np.abs(v))
np.sort(v)
np.argsort(m, axis=0)
np.searchsorted(np.sort(v), 2.0)
np.cumsum(v)
np.diff(v)
np.ptp(v)
np.nonzero(k)
np.argwhere(v > 1)
np.flatnonzero(k)
np.where(v > 1)
np.count_nonzero(k)
np.corrcoef(m)
np.cov(m.T)
np.dot(v, v)
np.inner(v, v)
np.outer(v, v)
np.einsum("ij,kj->ik", m, m)
np.tensordot(m, m, axes=([1], [1]))
np.trace(square)
np.linalg.norm(m)
np.linalg.inv(square)
np.linalg.solve(square, v[:3])
np.linalg.svd(m)[1]
np.vstack([v, v])
np.hstack([v, v])
np.tile(v, 2)
np.repeat(v, 2)
np.roll(v, 1)
np.ravel(m)
np.diag(v)
np.tril(m)
np.meshgrid(v, v[:2])
np.interp(1.5, np.arange(5.0), v)
np.polyfit(np.arange(5.0), v, 1)
np.zeros_like(m)
np.ones_like(v)
np.full_like(m, 7)
np.empty_like(v).shape
np.copy(m)
np.asarray(v)
np.asarray(v, dtype="float32")
np.array(v)
np.array([v, v])
np.array([v[0], v[1]])
np.asarray([m[0], m[1]])
np.ascontiguousarray(m)
np.atleast_2d(v)
np.fromiter(v, float)
np.isin(v, [1.0, 2.0])
np.digitize(v, [0.0, 1.5])
np.add.reduce(v)
np.add.accumulate(v)
np.multiply.outer(v, v[:2])
np.hypot(v, 1.0)
np.arctan2(v, 1.0)
np.signbit(v)
np.nan_to_num(v)
np.apply_along_axis(sum, 0, m)
np.array2string(v, precision=2)
np.array_str(v)
saved(np.save, v)
saved(np.savetxt, m)
saved(np.savez, v)
json.dumps(v.tolist())
json.dumps({"m": m.tolist()})
list(map(float, v))
np.arange(10)[k]
M[k[:2]]
np.float64(v[0])
math.sin(v[0])
max(v, key=lambda number: -number) + 0
np.random.default_rng(0).permutation(v)
np.random.default_rng(0).choice(v, 2)
np.random.default_rng(0).normal(v, 1.0)
np.ma.masked_less(v, 0).sum()
memoryview(np.asarray(v)).nbytes
np.result_type(v, np.float32)
np.iscomplexobj(v)
""".strip().splitlines()
# where nothing is lost: facts about the array, whole numbers, the ways out
ALSO_ON_THE_TAPE = """
np.shape(m)
np.ndim(m)
np.size(m)
np.size(m, 0)
len(m)
json.dumps(v.tolist())
np.asarray(m.detach())
np.asarray(m.numpy())
np.zeros_like(m)
np.ones_like(v)
float(v[0])
v[0].item()
""".strip().splitlines()


def plain(value):
    """Tensors as arrays, in tuples and lists too."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.numpy() if isinstance(value, tg.Tensor) else value


def same(got, want):
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w)
    elif isinstance(want, (str, bytes, bool, np.dtype)):
        assert got == want
    else:
        assert plain(got).dtype == want.dtype if hasattr(want, "dtype") else True
        np.testing.assert_allclose(plain(got), want)


@of_each("program", [*NUMPY, *ALSO_ON_THE_TAPE])
def test_an_untracked_tensor_is_an_array_to_numpy(program):
    names = NAMES | {"M": M}
    arrays = {n: Plain(a) for n, a in ARRAYS.items()}
    want = eval(program, names | arrays)
    same(eval(program, names | {n: tg.tensor(a) for n, a in ARRAYS.items()}), want)


class Plain(np.ndarray):
    """An array that knows the tensors' ways out, so that programs run on both."""

    def __new__(cls, a):
        return a.view(cls)

    def detach(self):
        return self.view(np.ndarray)

    numpy = detach


HARMLESS = (
    """(k [k _like( math. tolist map(float float64( max( fromiter where( histogram(""".split()
)
REFUSED = [p for p in NUMPY if not any(word in p for word in HARMLESS)]


def on_the_tape():
    return {n: tg.tensor(a, requires_grad=a.dtype.kind == "f") for n, a in ARRAYS.items()}


PLAIN_ALREADY = ("np.argwhere(v > 1)", "np.where(v > 1)")  # truths have no gradient


def attempt(program, names):
    """What a program gives, or the error that it ends in."""
    try:
        return eval(program, names)
    except tg.TensorgradError as error:
        return error


@of_each("program", REFUSED)
def test_a_tensor_on_the_tape_is_refused_with_the_way_out(program):
    """Or the function is one of ours by now, and then what it computes is on the tape, but for
    integers and truth values, which have no gradient."""
    got = attempt(program, NAMES | {"M": M} | on_the_tape())
    if isinstance(got, tg.TensorgradError):
        assert isinstance(got, tg.GraphError)
        assert ".detach()" in str(got)
        return
    for part in got if isinstance(got, (tuple, list)) else [got]:
        assert isinstance(part, tg.Tensor)
        assert part.requires_grad or part.dtype.kind in "bi"


@of_each("program", [*ALSO_ON_THE_TAPE, *PLAIN_ALREADY])
def test_what_loses_no_gradient_works_on_the_tape_too(program):
    arrays = {n: Plain(a) for n, a in ARRAYS.items()}
    same(eval(program, NAMES | on_the_tape()), eval(program, NAMES | arrays))


@of_each("name", ["vstack", "hstack"])
def test_the_refusal_of_a_known_neighbour_names_it(name):
    t = tg.tensor(V, requires_grad=True)
    got = attempt(f"np.{name}([t, t])", {"np": np, "t": t})
    assert "tg." in str(got) or got.requires_grad


def test_an_element_of_an_array_takes_an_untracked_number_only():
    out, buffer = np.zeros(2), [0.0, 0.0]
    out[0] = tg.tensor([4.0, 5.0])[1]
    out[1:] = tg.tensor([6.0])
    assert out.tolist() == [5.0, 6.0]
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    for write in (
        lambda: out.__setitem__(slice(1), t[:1]),
        lambda: out.__setitem__(slice(None), t),
        lambda: out.__setitem__(slice(None), [t[0], t[1]]),
    ):
        with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
            write()
    assert out.tolist() == [5.0, 6.0]
    buffer[0] = t[0]  # a list keeps it as it is
    assert tg.stack(buffer[:1]).requires_grad


# --- inside a differentiated function, where even a number is a mistake ---------------------------


def into_an_array(x):
    parts = np.zeros(2)
    parts[0] = x
    return x * parts.sum()


CUT = {
    "element of an array": into_an_array,
    "float": lambda x: x * float(x),
    "item": lambda x: x * x.item(),
    "math": lambda x: x * math.sin(x),
    "numpy scalar": lambda x: x * np.float64(x),
    "asarray": lambda x: (x * np.asarray(x)).sum(),
    "array of parts": lambda x: tg.sum(tg.tensor(np.array([x, x])) * x),
    "int": lambda x: x * int(x),
}


@of_each("face", ["grad", "value_and_grad", "vjp", "hessian"])
@of_each("how", CUT)
def test_numbers_taken_out_of_a_differentiated_function_are_an_error(how, face):
    x = tg.tensor(1.25)
    with pytest.raises((tg.GraphError, ValueError)) as caught:
        tg.vjp(CUT[how], x) if face == "vjp" else getattr(tg, face)(CUT[how])(x)
    error = caught.value  # NumPy has a word of its own on what goes into its arrays
    told = error if isinstance(error, tg.GraphError) else error.__cause__ or error.__context__
    assert ".detach()" in str(told)


def test_a_loss_may_be_printed_where_the_gradient_is_not_that_of_a_function():
    w = tg.nn.Parameter([2.0])
    with tg.GradientTape() as tape:
        loss = (w * w).sum()
        shown = f"{loss.item():.1f} {float(loss):.1f} {loss:.1f}"
    assert shown == "4.0 4.0 4.0"
    assert tape.gradient(loss, w).tolist() == [4.0]
    assert tg.grad(lambda x: x * float(tg.tensor(3.0)))(2.0).item() == 3.0  # of no one's gradient
    assert tg.grad(lambda x: x * x.detach().item())(2.0).item() == 2.0  # asked for
