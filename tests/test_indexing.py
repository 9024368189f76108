"""Scattering, sorting and reductions by an id: properties beside loops, ties, and what is out of
range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg

from .vocabulary.indexing import _REDUCE, _gather, _scattered

quickly = settings(max_examples=40, deadline=None, derandomize=True)
FEW = st.integers(1, 5)


@st.composite
def lines(draw):
    """An array of few distinct numbers, so that there are ties, and one of its axes."""
    shape = tuple(draw(st.lists(FEW, min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = rng.integers(-3, 4, shape).astype(draw(st.sampled_from(["float64", "float32", "int64"])))
    if x.dtype.kind == "f" and draw(st.booleans()):
        x[rng.random(shape) < 0.2] = np.nan
    return x, draw(st.integers(-len(shape), len(shape) - 1))


@quickly
@given(lines(), st.booleans(), st.data())
def test_sorting_topk_and_ranks_are_one_order(given, descending, data):
    x, axis = given
    t = tg.tensor(x)
    order = tg.argsort(t, axis, descending=descending)
    ordered = tg.sort(t, axis, descending=descending).numpy()
    np.testing.assert_array_equal(tg.take_along_axis(t, order, axis).numpy(), ordered)
    ranks = tg.argsort(order, axis)  # the inverse permutation
    back = tg.take_along_axis(tg.asarray(ordered), ranks, axis)
    np.testing.assert_array_equal(back.numpy(), x)
    put = tg.put_along_axis(tg.zeros_like(t), order, ordered, axis)
    np.testing.assert_array_equal(put.numpy(), x)
    k = data.draw(st.integers(1, x.shape[axis]))
    values, indices = tg.topk(t, k, axis, largest=descending)
    np.testing.assert_array_equal(indices.numpy(), order.numpy().take(range(k), axis))
    np.testing.assert_array_equal(values.numpy(), ordered.take(range(k), axis))
    kth = tg.kthvalue(t, k, axis, keepdims=True)
    np.testing.assert_array_equal(kth.values.numpy(), tg.sort(t, axis).numpy().take([k - 1], axis))


@quickly
@given(lines(), st.sampled_from(["last", *_REDUCE]), st.booleans(), st.data())
def test_scatter_and_gather_beside_loops(given, how, include_self, data):
    x, axis = given
    x = np.nan_to_num(x).astype("float64") + 0.25
    shape = [data.draw(st.integers(1, n)) for n in x.shape]
    shape[axis] = data.draw(FEW)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    index, src = rng.integers(-x.shape[axis], x.shape[axis], shape), rng.normal(size=x.shape)
    src = rng.normal(size=[n + 1 for n in shape])
    t = tg.tensor(x)
    np.testing.assert_array_equal(tg.gather(t, axis, index).numpy(), _gather(x, axis, index))
    if how == "last":
        got, want = tg.scatter(t, axis, index, src), _scattered(x, axis, index, src)
    else:
        got = tg.scatter_reduce(t, axis, index, src, how, include_self=include_self)
        want = _scattered(x, axis, index, src, how, include_self)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


SEGMENTS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}


@quickly
@given(st.lists(st.integers(0, 6), max_size=30), st.sampled_from([*SEGMENTS]), st.integers(0, 3))
def test_segments_beside_loops(ids, how, columns):
    rng = np.random.default_rng(len(ids))
    x, ids = rng.normal(size=(len(ids), columns)), np.array(ids, "int64")
    y = getattr(tg, f"segment_{how}")(x, ids, 7).numpy()
    assert y.shape == (7, columns)
    for i in set(ids.tolist()):
        np.testing.assert_allclose(y[i], SEGMENTS[how](x[ids == i], axis=0), rtol=1e-12)
    if how in ("sum", "prod", "mean"):
        assert (y[sorted(set(range(7)) - set(ids.tolist()))] == (how == "prod")).all()


def test_long_sums_are_exact_to_rounding(backend):
    """A running sum in float32 of a million numbers would be off by a hundred roundings."""
    x = np.full(300_000 if backend == "numpy" else 5000, 0.1, "float32")
    exact = np.cumsum(x, dtype="float64")
    for dtype, digits in (("float32", 2e-7), ("float16", 1e-3)):
        y = tg.cumsum(tg.asarray(x, dtype, backend)).numpy()
        exact = np.cumsum(x.astype(dtype), dtype="float64")
        inside = exact < 6e4  # what float16 holds
        np.testing.assert_allclose(y[inside], exact[inside], rtol=digits)
    assert tg.linear_scan(tg.asarray(1.0, backend=backend), x)[-1].item() == pytest.approx(
        np.sum(x, dtype="float64"), rel=2e-7
    )


def gradient(f, x, backend="numpy"):
    t = tg.tensor(x, requires_grad=True, backend=backend)
    f(t).sum().backward()
    return t.grad.tolist()


def test_ties(backend):
    """The gradient goes to the element that the index names; extremes of segments share it, and a
    median of equal elements is the mean of two of them."""
    tie = [1.0, 2.0, 2.0, 0.0]
    assert gradient(lambda t: tg.cummax(t, 0).values, tie, backend) == [1, 1, 2, 0]
    assert gradient(lambda t: tg.topk(t, 1).values, tie, backend) == [0, 1, 0, 0]
    assert gradient(lambda t: tg.sort(t)[-1], tie, backend) == [0, 0, 1, 0]
    assert gradient(lambda t: tg.segment_max(t, [0, 0, 0, 0], 1), tie, backend) == [0, 0.5, 0.5, 0]
    assert gradient(tg.median, [1.0, 1.0], backend) == [0.5, 0.5]
    x = gradient(lambda t: tg.scatter_reduce(t, 0, [0, 0], [2.0, 1.0], "max"), [2.0, 5.0], backend)
    assert x == [0.5, 1.0]
    assert gradient(lambda t: tg.scatter(t, 0, [1, 1], tg.ones(2) * 3), tie, backend) == [
        1,
        0,
        1,
        1,
    ]


OUTSIDE = {
    "take": lambda x, i: tg.take(x, i),
    "take_along_axis": lambda x, i: tg.take_along_axis(x, i, 0),
    "gather": lambda x, i: tg.gather(x, 0, i),
    "put_along_axis": lambda x, i: tg.put_along_axis(x, i, 0.0, 0),
    "scatter": lambda x, i: tg.scatter(x, 0, i, 0.0),
    "scatter_reduce": lambda x, i: tg.scatter_reduce(x, 0, i, 1.0, "sum"),
    "index_add": lambda x, i: tg.index_add(x, 0, i, x[:1]),
    "index_copy": lambda x, i: tg.index_copy(x, 0, i, x[:1]),
    "index_fill": lambda x, i: tg.index_fill(x, 0, i, 1.0),
    "index_put": lambda x, i: tg.index_put(x, i, 1.0),
    "segment_sum": lambda x, i: tg.segment_sum(x[:1], i, 4),
    "segment_max": lambda x, i: tg.segment_max(x[:1], i, 4),
    "choose": lambda x, i: tg.choose(i, [x, x, x, x]),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_out_of_range(name, backend):
    """An error; on a GPU in anomaly mode, else it wraps around, as x[index] does."""
    x = tg.tensor([1.0, 2.0, 3.0, 4.0], backend=backend)
    index = tg.tensor([4], backend=backend)
    if backend == "numpy":
        with pytest.raises(tg.IndexingError, match=r"4"):
            OUTSIDE[name](x, index)
        return
    wrapped = OUTSIDE[name](x, index).numpy()
    np.testing.assert_array_equal(
        wrapped, OUTSIDE[name](x, tg.tensor([0], backend=backend)).numpy()
    )
    with tg.detect_anomaly(), pytest.raises(tg.IndexingError, match=r"4"):
        OUTSIDE[name](x, index)


def test_a_mask_or_a_fraction_is_no_index():
    x = tg.arange(4.0)
    for call in (tg.take, tg.gather, tg.take_along_axis):
        args = (0, [0.5]) if call is tg.gather else ([0.5],)
        with pytest.raises(tg.DTypeError, match="integers"):
            call(x, *args)
    with pytest.raises(tg.DTypeError, match="int64"):
        tg.scatter(tg.arange(4), 0, [0], 0.5)
    assert tg.take(x, []).shape == (0,)


def test_a_list_of_numbers_is_an_array_and_one_of_tensors_a_tuple():
    x = tg.zeros((3, 3))
    by_rows = tg.index_put(x, [0, 2], 1.0)
    np.testing.assert_array_equal(by_rows.numpy(), [[1, 1, 1], [0, 0, 0], [1, 1, 1]])
    by_elements = tg.index_put(x, [tg.tensor([0, 2]), tg.tensor([1, 1])], 1.0)
    np.testing.assert_array_equal(by_elements.numpy(), [[0, 1, 0], [0, 0, 0], [0, 1, 0]])
