"""The public functions of shapes, padding, products, images, norms, attention, sequences, tables
and dropout: NumPy's call forms and numbers, what their docstrings say of results and errors."""

import inspect
import math

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import functions as F
from tensorgrad.testing import gradcheck

from .rows import of_each

DRAWN = np.random.default_rng(0).standard_normal
X = DRAWN((2, 3, 4))


def tracked(x, dtype="float64"):
    return tg.tensor(x, dtype=dtype, requires_grad=True)


# --- NumPy's functions ----------------------------------------------------------------------------

THIN = np.ones((1, 3, 1))
FORMS = {  # a function of NumPy's name -> calls of both
    "reshape": [
        (X, 24),
        (X, -1),
        (X, (6, -1)),
        (X, [4, 6]),
        (X, np.array([4, 6])),
        (X, (np.int64(24),)),
        (np.float64(3.0), (1, 1)),
        (np.ones((0, 3)), (3, 0)),
    ],
    "transpose": [(X,), (X, None), (X, (1, -1, 0)), (X[0, 0], 0), {"a": X, "axes": [2, 1, 0]}],
    "permute_dims": [(X, (2, 0, 1)), {"a": X, "axes": (0, -1, 1)}],
    "moveaxis": [(X, 0, -1), (X, (0, 1), (-1, 0)), {"a": X, "source": [2], "destination": [0]}],
    "swapaxes": [(X, 0, -1), (X, -3, 1), {"a": X, "axis1": 1, "axis2": np.int64(2)}],
    "squeeze": [(THIN,), (THIN, 0), (THIN, -1), (THIN, (0, 2)), {"a": THIN, "axis": (0, -1)}],
    "expand_dims": [(X, 0), (X, -1), (X, (0, -1)), (X, [1, 3]), {"a": X, "axis": (-1, -2)}],
    "flip": [(X,), (X, 1), (X, (0, -1)), {"m": X, "axis": [2]}],
    "broadcast_to": [
        (X, (5, 2, 3, 4)),
        (X[:, :1], X.shape),
        (np.float64(2.0), 3),
        ([1, 2], [3, 2]),
    ],
    "concatenate": [
        ([X, X],),
        ((X, X[:1]), 0),
        ([X, X], -1),
        ([X, X[0, 0]], None),
        (X,),
        {"arrays": [X, X], "axis": np.int64(1)},
    ],
    "concat": [([X, X], 2), ((1, 2.5, X[0]), None)],
    "stack": [([X, X],), ((X, X), -1), (X,), ([1.0, 2.0],), {"arrays": [X, X], "axis": 1}],
    "split": [
        (X, 2),
        (X, 2, -1),
        (X, [1, 2], 1),
        (X, (1, -1), 2),
        (X, [5]),
        (X, np.array([1, 3]), 2),
        {"ary": X, "indices_or_sections": 3, "axis": 1},
    ],
    "array_split": [(X, 3, -1), (X, 3), (X, [1], 1), {"ary": X, "indices_or_sections": 2}],
    "matmul": [(X, X[0].T), (X[0, 0], X[0, 0]), (X, X[0, 0]), (X[0, :, 0], X[0])],
}
CALLS = [(name, call) for name, calls in FORMS.items() for call in calls]


def call_of(name, call):
    """The arguments of NumPy's function and of ours, whose first is called x."""
    if isinstance(call, tuple):
        return (call, {}), (call, {})
    first, *rest = call
    ours = "arrays" if first == "arrays" else "x"
    named = {k: call[k] for k in rest}
    return ((call[first],), named), ((), {ours: call[first], **named})


def parts_of(y):
    return y if isinstance(y, (tuple, list)) else [y]


@of_each("given", ["raw", "tensor"])
@of_each(("name", "call"), CALLS)
def test_numpys_calls_give_numpys_numbers(name, call, given):
    (args, named), (ours, our_names) = call_of(name, call)
    expected = parts_of(getattr(np, name)(*args, **named))
    if given == "tensor":
        put = lambda a: tg.asarray(a) if isinstance(a, np.ndarray) and a.dtype == "d" else a  # noqa: E731
        deep = lambda a: type(a)(map(put, a)) if isinstance(a, (list, tuple)) else put(a)  # noqa: E731
        ours, our_names = tuple(map(deep, ours)), {k: deep(v) for k, v in our_names.items()}
    got = getattr(F, name)(*ours, **our_names)
    if name in ("split", "array_split"):
        assert type(got) is tuple
    for y, e in zip(parts_of(got), expected, strict=True):
        assert isinstance(y, tg.Tensor)
        assert y.shape == e.shape
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-14)


GRADIENTS = {
    "reshape": lambda x: F.reshape(x, (-1, 2)),
    "transpose": lambda x: F.transpose(x, (1, -1, 0)),
    "concatenate": lambda x: F.concatenate([x, 2 * x[0]], axis=None),
    "numbers": lambda x: F.stack([x[0, 0, 0], 1, 2.5]),
    "rows": lambda x: F.concat(x, axis=-1),
    "array_split": lambda x: F.array_split(x * x, 3, axis=-1)[1:],
    "identity": lambda x: F.identity(x) * x,
}


@pytest.mark.parametrize("f", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_pass(f):
    assert gradcheck(f, [X], order=2)


def test_numbers_among_arrays_take_their_dtype():
    for dtype in ("float16", "float32", "float64"):
        x = tg.ones((1,), dtype)
        assert F.stack([x[0], 1.5, 2]).dtype == dtype
        assert F.concat([x, 1.5], axis=None).dtype == dtype
    assert F.stack([1, 2]).dtype == "int64"
    assert F.stack([1.0, 2.0]).dtype == "float32"


VIEWS = {
    "reshape": lambda x: F.reshape(x, (3, 2)),
    "transpose": F.transpose,
    "moveaxis": lambda x: F.moveaxis(x, 0, 1),
    "swapaxes": lambda x: F.swapaxes(x, 0, 1),
    "squeeze": F.squeeze,
    "expand_dims": lambda x: F.expand_dims(x, 0),
    "flip": F.flip,
    "broadcast_to": lambda x: F.broadcast_to(x, (2, 2, 3)),
    "identity": F.identity,
    "split": lambda x: F.split(x, 2)[0],
    "array_split": lambda x: F.array_split(x, 2)[0],
    "pad by nothing": lambda x: F.pad(x, 0, "edge"),
    "concatenate one": lambda x: F.concatenate([x]),
}


@pytest.mark.parametrize("f", VIEWS.values(), ids=VIEWS)
def test_a_buffer_that_is_refilled_changes_no_gradient(f):
    buffer = np.arange(6.0).reshape(2, 3)
    before = f(buffer.copy()).numpy().copy()
    w = tracked(np.ones(before.shape))
    loss = (f(buffer) * w).sum()
    buffer[...] = 100
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), before)


def test_views_copy_nothing_where_nothing_is_recorded():
    x = np.arange(6.0)
    with tg.no_grad():
        assert np.shares_memory(F.reshape(x, (2, 3)).numpy(), x)
    assert np.shares_memory(F.reshape(t := tg.asarray(x), (2, 3)).numpy(), t.numpy())


# --- padding --------------------------------------------------------------------------------------

OPTIONS = {  # each mode of np.pad, with options that it takes
    "constant": [{}, {"constant_values": 3}, {"constant_values": (1, 2)}],
    "edge": [{}],
    "reflect": [{}, {"reflect_type": "odd"}],
    "symmetric": [{}, {"reflect_type": "odd"}],
    "wrap": [{}],
    "maximum": [{}, {"stat_length": 2}],
    "minimum": [{}, {"stat_length": (1, 20)}],
    "mean": [{}, {"stat_length": (2, 3)}],
    "median": [{}, {"stat_length": 2}, {"stat_length": (3, 4)}],
    "linear_ramp": [{}, {"end_values": (5, -3)}, {"end_values": 1.5}],
}
WIDTHS = {  # number of axes -> forms of pad_width
    0: [2],
    1: [0, 1, (2, 3), (11,), ((0, 14),), {0: 2}, np.array([1, 2])],
    2: [2, (1, 0), ((1, 2),), [(3, 0), (0, 13)], ((1,), (2,)), {-1: (1, 3)}, {0: 1, 1: 2}],
    3: [1, [(0, 0), (1, 2), (5, 0)], {1: 4}],
}
SHAPES = [(), (1,), (5,), (3, 4), (2, 1, 3)]


@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("mode", OPTIONS)
def test_every_mode_pads_as_numpy(mode, dtype):
    for shape in SHAPES:
        x = (DRAWN(shape) * 10).astype(dtype) if shape else np.array(7, dtype)
        for width in WIDTHS[len(shape)]:
            for options in OPTIONS[mode]:
                expected = np.pad(x, width, mode, **options)
                y = F.pad(x, width, mode, **options)
                assert y.dtype == dtype
                message = f"{shape} {width} {options}"
                np.testing.assert_allclose(
                    y.numpy(), expected, rtol=1e-12, atol=1e-13, err_msg=message
                )


def test_constants_of_their_own_for_each_end():
    constants = ((1, 2), (3, 4), (5, 6))
    expected = np.pad(X, ((1, 0), (2, 1), (0, 2)), constant_values=constants)
    y = F.pad(X, ((1, 0), (2, 1), (0, 2)), constant_values=constants)
    np.testing.assert_array_equal(y.numpy(), expected)


def test_empty_padding_keeps_what_is_there():
    assert F.pad(X, 1, "empty").shape == (4, 5, 6)
    np.testing.assert_array_equal(F.pad(X, 1, "empty")[1:-1, 1:-1, 1:-1].numpy(), X)


def test_the_median_of_a_nan_is_one():
    x = np.array([[1.0, np.nan, 3.0], [1.0, 5.0, 3.0]])
    expected = np.pad(x, ((0, 0), (1, 1)), "median")
    np.testing.assert_array_equal(F.pad(x, ((0, 0), (1, 1)), "median").numpy(), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("mode", OPTIONS)
def test_padding_keeps_the_dtype(mode, dtype):
    x = X.astype(dtype)
    y = F.pad(x, 2, mode)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), np.pad(x, 2, mode), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("mode", OPTIONS)
def test_padding_has_gradients(mode):
    for options in OPTIONS[mode]:
        assert gradcheck(lambda x, o=options: F.pad(x * x, ((1, 2), (6, 1)), mode, **o), [X[0]])


@pytest.mark.parametrize("mode", OPTIONS)
def test_every_mode_pads_on_every_backend(backend, mode):
    for options in OPTIONS[mode]:
        expected = np.pad(X, ((1, 0), (0, 2), (6, 5)), mode, **options)
        x = tg.tensor(X, requires_grad=True, backend=backend)
        y = F.pad(x, ((1, 0), (0, 2), (6, 5)), mode, **options)
        assert y.backend == backend
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
        y.sum().backward()
        assert x.grad.backend == backend


def test_numbers_go_where_the_tensors_beside_them_are(backend):
    x = tg.asarray(X[0, 0], backend=backend)
    assert F.concat([1, x, 2.5], axis=None).backend == backend
    assert F.stack([x[0], 3]).numpy().tolist() == [X[0, 0, 0], 3.0]
    assert F.dropout(x).backend == backend


# --- what docstrings promise ----------------------------------------------------------------------


def normal(*shape):
    return DRAWN(shape)


IMAGE, LSTM = normal(2, 3, 6, 5), (normal(3, 16), normal(4, 16), normal(16))
RETURNED = {  # -> the shapes of what is returned, a tuple of them for several
    "max_pool2d": (lambda: F.max_pool2d(IMAGE, 2), (2, 3, 3, 2)),
    "max_pool2d indices": (
        lambda: F.max_pool2d(IMAGE, (2, 3), 1, 1, return_indices=True),
        ((2, 3, 7, 5), (2, 3, 7, 5)),
    ),
    "avg_pool2d": (lambda: F.avg_pool2d(IMAGE, 3, padding=1), (2, 3, 2, 2)),
    "conv2d": (
        lambda: F.conv2d(IMAGE, normal(4, 3, 3, 2), normal(4), stride=(2, 1), activation="relu"),
        (2, 4, 2, 4),
    ),
    "layer_norm": (lambda: F.layer_norm(X, np.ones(4), np.ones(4)), (2, 3, 4)),
    "rms_norm": (lambda: F.rms_norm(X, np.ones(4)), (2, 3, 4)),
    "batch_norm": (lambda: F.batch_norm(X, np.ones(3), np.ones(3)), (2, 3, 4)),
    "group_norm": (lambda: F.group_norm(X, groups=3), (2, 3, 4)),
    "channel_affine": (lambda: F.channel_affine(X, np.ones(3)), (2, 3, 4)),
    "attention": (lambda: F.scaled_dot_product_attention(X, X, X, causal=True), (2, 3, 4)),
    "lstm": (
        lambda: F.lstm(normal(2, 5, 3), None, normal(2, 4), *LSTM),
        ((2, 5, 4), (2, 4), (2, 4)),
    ),
    "gru": (
        lambda: F.gru(normal(2, 5, 3), None, normal(3, 12), normal(4, 12), normal(12)),
        ((2, 5, 4), (2, 4)),
    ),
    "rnn": (
        lambda: F.rnn(normal(2, 5, 3), normal(2, 4), normal(3, 4), normal(4, 4), activation="relu"),
        ((2, 5, 4), (2, 4)),
    ),
    "embedding": (lambda: F.embedding(normal(5, 2), np.array([[1, 4, 0]])), (1, 3, 2)),
    "dropout": (lambda: F.dropout(X), (2, 3, 4)),
    "dense": (lambda: F.dense(X, normal(4, 5), normal(5), activation="gelu"), (2, 3, 5)),
    "split": (lambda: F.split(X, 2), ((1, 3, 4), (1, 3, 4))),
}


@pytest.mark.parametrize(("call", "shapes"), RETURNED.values(), ids=RETURNED)
def test_what_is_promised_is_returned(call, shapes):
    y = call()
    if shapes and isinstance(shapes[0], tuple):
        assert type(y) is tuple
        assert tuple([part.shape for part in y]) == shapes
    else:
        assert isinstance(y, tg.Tensor)
        assert y.shape == shapes


def test_recurrent_layers_return_the_last_states():
    y, h, c = F.lstm(x := normal(2, 5, 3), None, None, *LSTM)
    np.testing.assert_array_equal(y[:, -1].numpy(), h.numpy())
    first = F.lstm(x[:, :2], None, None, *LSTM)
    rest = F.lstm(x[:, 2:], *first[1:], *LSTM)
    np.testing.assert_allclose(rest[2].numpy(), c.numpy(), rtol=1e-12)
    y, h = F.gru(x, None, normal(3, 12), normal(4, 12))
    np.testing.assert_array_equal(y[:, -1].numpy(), h.numpy())
    for layer in (
        lambda x: F.lstm(x, None, None, *LSTM),
        lambda x: F.gru(x, None, LSTM[0][:, :12], LSTM[1][:, :12]),
        lambda x: F.rnn(x, None, LSTM[0][:, :4], LSTM[1][:, :4]),
    ):
        assert gradcheck(layer, [x])


def test_indices_of_maxima_lead_to_them():
    y, places = F.max_pool2d(IMAGE, (2, 3), (1, 2), return_indices=True)
    assert places.dtype == "int64"
    planes = IMAGE.reshape(2, 3, -1)
    found = np.take_along_axis(planes, places.numpy().reshape(2, 3, -1), axis=2)
    np.testing.assert_array_equal(found.reshape(y.shape), y.numpy())
    assert gradcheck(lambda x: F.max_pool2d(x, 2, return_indices=True), [IMAGE])


def test_norms_are_their_formulas():
    rows = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(F.layer_norm(X, eps=1e-3).numpy(), rows, rtol=1e-10)
    mean, var = X.mean((0, 2)), X.var((0, 2))
    scale, shift = 1 / np.sqrt(var + 1e-5), -mean / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(
        F.batch_norm(X).numpy(), F.channel_affine(X, scale, shift).numpy(), rtol=1e-10
    )
    y = F.group_norm(X, groups=3)
    np.testing.assert_allclose(y.numpy(), F.layer_norm(X).numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    "f",
    [
        F.layer_norm,
        F.rms_norm,
        F.batch_norm,
        lambda x: F.group_norm(x, groups=1),
        F.channel_affine,
        lambda x: F.avg_pool2d(x[None], 2),
        F.dropout,
    ],
)
def test_integers_become_the_default_float(f):
    x = np.arange(24).reshape(2, 3, 4)
    assert f(x).dtype == "float32"
    assert f(x.astype("float64")).dtype == "float64"


def test_dropout_draws_from_the_seeded_generator():
    x = np.ones(1000)
    tg.seed(3)
    first, second = F.dropout(x), F.dropout(x)
    tg.seed(3)
    again = F.dropout(x)
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    assert (first.numpy() != second.numpy()).any()
    assert set(F.dropout(x, 0.2).numpy().tolist()) == {0.0, 1.25}
    assert F.dropout(x, 0).tolist() == x.tolist()
    state = np.array([7, 5], np.uint64)
    masks = [F.dropout(x, p=0.5, state=state).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*masks)
    assert state.tolist() == [7, 5]


def test_dense_is_a_product_and_an_activation():
    w, b = normal(4, 5), normal(5)
    z = X @ w + b
    activations = {None: z, "relu": np.maximum(z, 0), "tanh": np.tanh(z)}
    activations["gelu"] = z * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    for name, expected in activations.items():
        y = F.dense(X, w, b, activation=name)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10)


# --- errors ---------------------------------------------------------------------------------------

A, S, I = tg.ArgumentError, tg.ShapeError, tg.IndexingError  # noqa: E741
t = tg.ones((2, 3))
leaf = tracked(1.0)
ERRORS = {
    "concat of two": (lambda: F.concat(t, t), A, r"concatenate\(\[a, b\]"),
    "concat of three": (lambda: F.concat(t, t, t), A, r"one sequence.*concatenate\(\[a, b\]"),
    "concat with axis": (lambda: F.concat(t, t, axis=0), A, r"one sequence.*concatenate\(\[a, b"),
    "stack of two": (lambda: F.stack(t, t), A, r"stack\(\[a, b\], axis=0\)"),
    "a list as axis": (lambda: F.stack([t], [t]), A, "one sequence, then comes the axis"),
    "concat of nothing": (lambda: F.concat([]), A, "at least one"),
    "concat of a number": (lambda: F.concat(1.0), A, "one sequence"),
    "concat shapes": (lambda: F.concat([t, t[0]]), S, "concat"),
    "stack without axis": (lambda: F.stack([t], None), A, "stack: axis=None must be a whole"),
    "reshape": (lambda: F.reshape(t, 4), S, r"reshape\(x: float32\[2, 3\], shape=\(4,\)"),
    "reshape to None": (lambda: F.reshape(t, None), A, "reshape: shape=None"),
    "reshape to floats": (
        lambda: F.reshape(t, (2.0, 3)),
        A,
        r"shape=\(2.0, 3\) must be a whole",
    ),
    "reshape in two": (lambda: F.reshape(t, 2, 3), A, r"reshape\(x, shape"),
    "transpose": (lambda: F.transpose(t, (0, 0)), S, "transpose"),
    "transpose dims": (lambda: F.transpose(t, dims=(0, 1)), A, "'dims': here it is axes="),
    "squeeze": (lambda: F.squeeze(t, 0), S, "squeeze"),
    "squeeze axis": (lambda: F.squeeze(t, 2), I, "squeeze"),
    "flip dim": (lambda: F.flip(t, dim=0), A, "here it is axis="),
    "split": (lambda: F.split(t, 4, axis=1), S, "length 3 does not split into 4"),
    "split order": (lambda: F.split(t, [2, 1], 1), S, "not in order"),
    "split axis": (lambda: F.split(t, 1, axis=2), I, r"split: axis 2 .*\(2, 3\)"),
    "array_split": (lambda: F.array_split(t, 0), A, "1 or more"),
    "broadcast": (lambda: F.broadcast_to(t, 2), S, "broadcast_to"),
    "pad mode": (lambda: F.pad(t, 1, "reflct"), A, "did you mean 'reflect'"),
    "pad function": (lambda: F.pad(t, 1, max), A, "mode=.*reflect"),
    "pad below 0": (lambda: F.pad(t, -1), A, "pad_width=-1: whole numbers, each 0 or more"),
    "pad of floats": (lambda: F.pad(t, 1.0), A, "whole numbers"),
    "pad by None": (lambda: F.pad(t, None), A, "pad_width=None"),
    "pad pairs": (lambda: F.pad(t, ((1, 1),) * 3), A, "each of the 2 axes"),
    "pad axis": (lambda: F.pad(t, {2: 1}), I, "names axis 2 of 2"),
    "pad option": (lambda: F.pad(t, 1, "edge", constant_values=1), A, "'edge' does not use const"),
    "pad value": (lambda: F.pad(t, 1, value=1), A, "'value': here it is constant_values="),
    "split sections": (lambda: F.split(t, sections=2), A, "here it is indices_or_sections="),
    "kernel size": (lambda: F.max_pool2d(t, kernel_size=2), A, "here it is size="),
    "pad reflect_type": (lambda: F.pad(t, 1, "reflect", reflect_type="od"), A, "mean 'odd'"),
    "pad stat": (lambda: F.pad(t, 1, "mean", stat_length=0), A, "stat_length=0: whole numbers"),
    "pad nothing": (lambda: F.pad(t[:0], 1, "edge"), S, "axis 0 of shape .0, 3. is empty"),
    "pad integers": (lambda: F.pad([1, 2], 1, constant_values=0.5), A, "int64 does not hold"),
    "pad leaf": (lambda: F.pad(t, 1, constant_values=leaf), tg.GraphError, "plain number"),
    "eps leaf": (lambda: F.layer_norm(t, eps=leaf), tg.GraphError, "layer_norm: eps .*plain numb"),
    "eps text": (lambda: F.rms_norm(t, eps="a"), A, "rms_norm: eps='a' must be a number"),
    "weight": (lambda: F.layer_norm(t, tg.ones(2)), S, "weight has shape"),
    "dense": (lambda: F.dense(t, tg.ones((2, 1))), S, "x has 3 features, w takes 2"),
    "dense activation": (lambda: F.dense(t, t, activation="rleu"), A, "did you mean 'relu'"),
    "conv activation": (lambda: F.conv2d(t, t, activation="gelu"), A, "conv2d: activation='gelu'"),
    "conv stride": (
        lambda: F.conv2d(t, t, stride=0),
        A,
        "conv2d: stride=0 must be a whole",
    ),
    "conv padding": (
        lambda: F.conv2d(t, t, padding=(1, 2, 3)),
        A,
        r"0 or more, or \(rows",
    ),
    "conv groups": (lambda: F.conv2d(t, t, groups=0), A, "groups=0"),
    "conv images": (lambda: F.conv2d(t, t), S, "images are"),
    "pool": (lambda: F.max_pool2d(np.ones((1, 1, 2, 2)), 3), S, "do not fit"),
    "norm of windows": (
        lambda: F.lp_pool2d(np.ones((1, 1, 2, 2)), 0, 2),
        A,
        "lp_pool2d: norm_type=0",
    ),
    "windows of a norm": (lambda: F.lp_pool1d(np.ones((1, 1, 2)), 2, 3), S, "do not fit"),
    "geometric ends": (lambda: F.geomspace([1, 2], [-4, -1], 3), A, "one sign"),
    "geometric 0": (lambda: F.geomspace(0, 1), A, "ends are not 0"),
    "cubes": (
        lambda: F.grid_sample(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 1, 1, 3)), "bicubic"),
        S,
        "for images",
    ),
    "pool size": (lambda: F.avg_pool2d(np.ones((1, 1, 2, 2)), 0), A, "avg_pool2d: size=0"),
    "groups": (lambda: F.group_norm(t, groups=2), S, "do not divide"),
    "no groups": (lambda: F.group_norm(t, groups=0), A, "groups=0"),
    "rnn activation": (
        lambda: F.rnn(X, None, X[0, :1], X[0, :1], activation="gelu"),
        A,
        "rnn: activation='gelu'",
    ),
    "mask": (
        lambda: F.scaled_dot_product_attention(t, t, t, tg.ones((2, 2), int)),
        tg.DTypeError,
        "mask == 1",
    ),
    "float ids": (lambda: F.embedding(t, [0.5]), tg.DTypeError, "integers"),
    "high ids": (
        lambda: F.embedding(np.ones((2, 3)), np.array([2])),
        I,
        "outside the table's 0..1",
    ),
    "dropout 1": (lambda: F.dropout(t, 1), A, "dropout: p=1 must be a number from 0 to below 1"),
    "dropout nan": (lambda: F.dropout(t, math.nan), A, "p=nan"),
    "dropout text": (lambda: F.dropout(t, "half"), A, "dropout: p='half' must be a number"),
}


@of_each(("call", "kind", "text"), ERRORS.values())
def test_errors_say_what_was_wrong(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


# --- the face -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FORMS))
def test_numpys_options_have_numpys_names_and_places(name):
    ours = list(inspect.signature(getattr(F, name)).parameters)
    theirs = {  # the arguments after the arrays, up to those that only NumPy has
        "concat": ["arrays", "axis"],
        "concatenate": ["arrays", "axis"],
        "matmul": ["a", "b"],
        "permute_dims": ["x", "axes"],
    }.get(name)
    if theirs is None:
        known = [p for p in inspect.signature(getattr(np, name)).parameters if p in ours]
        theirs = known if ours[0] in known else [ours[0], *known]
    assert ours == theirs


def test_the_norm_of_a_window_of_zeros_has_a_gradient():
    x = np.array([[[0.0, 0.0, 3.0, 4.0]]])
    g = tg.grad(lambda x: tg.lp_pool1d(x, 2, 2).sum())(x).numpy()
    np.testing.assert_allclose(g, [[[0, 0, 0.6, 0.8]]], rtol=1e-15)
