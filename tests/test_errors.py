"""Bad input: one error that names the op, what was given and what was expected."""

import gc
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.core import OPS

x23, x4 = np.ones((2, 3)), np.ones(4)
leaf = lambda: tg.tensor([1.0, 2.0], requires_grad=True)  # noqa: E731

CASES = {
    # shapes
    "broadcast": (lambda: tg.asarray(x23) + x4, tg.ShapeError, r"add\(a: float64\[2, 3\], b: fl"),
    "matmul": (lambda: tg.matmul(x23, x23), tg.ShapeError, "matmul.*float64"),
    "dense features": (
        lambda: tg.dense(x23, np.ones((4, 1))),
        tg.ShapeError,
        "x has 3 features, w takes 4",
    ),
    "reshape": (lambda: tg.asarray(x23).reshape(4), tg.ShapeError, "reshape.*shape"),
    "concat shapes": (lambda: tg.concat([x23, x4]), tg.ShapeError, "concat"),
    "concat of nothing": (lambda: tg.concat([]), tg.ArgumentError, "at least one"),
    "axis too large": (lambda: tg.sum(x23, axis=2), tg.IndexingError, "sum.*axis"),
    "index too large": (lambda: tg.asarray(x23)[5], tg.IndexingError, "getitem.*out of bounds"),
    "too many indices": (lambda: tg.asarray(x23)[0, 0, 0], tg.IndexingError, "getitem"),
    "split": (lambda: tg.split(x4, 3), tg.ShapeError, "length 4 does not split into 3"),
    "mse shapes": (
        lambda: tg.mean_squared_error(np.ones((4, 1)), x4),
        tg.ShapeError,
        r"\(4, 1\) and target \(4,\)",
    ),
    "layer norm weight": (lambda: tg.layer_norm(x23, np.ones(2)), tg.ShapeError, "weight has sh"),
    "bad shape": (lambda: tg.zeros("ab"), tg.ArgumentError, "shape='ab' must be a whole number"),
    "bool of many": (lambda: bool(tg.asarray(x4)), tg.ShapeError, "ambiguous"),
    "item of many": (lambda: tg.asarray(x4).item(), tg.ShapeError, "more than one"),
    "iterate a number": (lambda: list(tg.tensor(1.0)), tg.DTypeError, "iterated over"),
    # dtypes and types
    "float index": (lambda: tg.asarray(x4)[np.ones(2)], tg.DTypeError, "float64; indices are"),
    "text": (lambda: tg.tensor(["a"]), tg.DTypeError, "arrays hold numbers"),
    "ragged": (lambda: tg.tensor([[1.0], [1.0, 2.0]]), tg.DTypeError, "cannot make an array"),
    "object": (lambda: tg.tensor(object()), tg.DTypeError, "arrays hold numbers"),
    "set": (lambda: tg.exp({1.0}), tg.DTypeError, "arrays hold numbers"),
    "dates": (lambda: tg.tensor(np.array(["2020"], "M8[D]")), tg.DTypeError, "arrays hold num"),
    "unknown array": (
        lambda: tg.multiply(tg.ones(2), "ab"),
        tg.DTypeError,
        "multiply: builtins.str",
    ),
    "dtype name": (lambda: tg.zeros(2, dtype="flaot32"), tg.DTypeError, "did you mean 'float32'"),
    "integer leaf": (lambda: tg.tensor([1], requires_grad=True), tg.DTypeError, "int64"),
    "grad of integers": (lambda: tg.grad(lambda x: x * x)(2), tg.DTypeError, "2.0, not 2"),
    "float labels": (
        lambda: tg.cross_entropy(x23, np.array([0.5, 1.0])),
        tg.DTypeError,
        "integer class",
    ),
    "seed": (lambda: tg.seed(-1), tg.ArgumentError, "whole number"),
    # words
    "dim": (lambda: tg.sum(x23, dim=0), tg.ArgumentError, "it is axis="),
    "keepdim": (lambda: tg.asarray(x23).sum(keepdim=True), tg.ArgumentError, "it is keepdims="),
    "unknown keyword": (lambda: tg.softmax(x23, axes=1), tg.ArgumentError, "did you mean 'axis'"),
    "missing argument": (lambda: tg.sum(), tg.ArgumentError, "missing .* 'x'"),
    "missing metadata": (lambda: tg.broadcast_to(x23), tg.ArgumentError, "missing .* 'shape'"),
    "too many arguments": (lambda: tg.softmax(x23, 0, 1), tg.ArgumentError, "3 were given"),
    "axis of text": (lambda: tg.sum(x23, axis="rows"), tg.ArgumentError, "whole number"),
    "activation": (
        lambda: tg.dense(x23, np.ones((3, 1)), activation="rleu"),
        tg.ArgumentError,
        "did you mean 'relu'",
    ),
    "kernels mode": (lambda: tg.use_kernels("fast").__enter__(), tg.BackendError, "reference"),
    # labels
    "label too large": (
        lambda: tg.cross_entropy(tg.asarray(x23, backend="numpy"), np.array([0, 3])),
        tg.ShapeError,
        "outside the classes 0..2",
    ),
    "negative label": (
        lambda: tg.cross_entropy(tg.asarray(x23, backend="numpy"), np.array([0, -1])),
        tg.ShapeError,
        "outside the classes",
    ),
    "label shape": (
        lambda: tg.cross_entropy(x23, np.array([0, 1, 1])),
        tg.ShapeError,
        r"give integer class labels of shape \(2,\)",
    ),
    # the graph
    "non-scalar backward": (lambda: (leaf() * 2).backward(), tg.ShapeError, "single number"),
    "no graph": (lambda: tg.ones(1).backward(), tg.GraphError, "requires_grad=True"),
    "cotangent shape": (lambda: (leaf() * 2).backward(np.ones(3)), tg.ShapeError, "cotangent"),
    "grad of a vector": (lambda: tg.grad(lambda x: x * 2)(x4), tg.ShapeError, "single number"),
    "grad of a non-tensor": (lambda: tg.grad(lambda x: 3.0)(1.0), tg.GraphError, "float, not a"),
    "argnums": (lambda: tg.grad(lambda x: x, argnums=1)(1.0), tg.ArgumentError, "1 arguments"),
    "unwatched": (
        lambda: tg.GradientTape().gradient((leaf() * 2).sum(), tg.ones(1)),
        tg.GraphError,
        "watch",
    ),
    "write into a tensor": (lambda: leaf().__setitem__(0, 1.0), tg.GraphError, "tg.where"),
    "data of a result": (lambda: setattr(leaf() * 2, "data", x4), tg.GraphError, "only leaves"),
    "function without forward": (
        lambda: type("F", (tg.Function,), {}).apply(x4),
        tg.GraphError,
        "has no forward",
    ),
    "number of gradients": (
        lambda: (
            type(
                "G",
                (tg.Function,),
                {"forward": lambda c, a, b: a + b, "backward": lambda c, g: g},
            )
            .apply(leaf(), leaf())
            .sum()
            .backward()
        ),
        tg.GraphError,
        "1 gradients for 2 inputs",
    ),
    "gradcheck of integers": (lambda: tg.gradcheck(tg.exp, [[1, 2]]), tg.DTypeError, "floating"),
    "attribute": (lambda: tg.relu7, AttributeError, "relu7"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    call, kind, message = CASES[name]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, (tg.TensorgradError, AttributeError))


def test_errors_are_also_what_numpy_would_raise():
    """Code that catches ValueError, TypeError or IndexError keeps working."""
    assert issubclass(tg.ShapeError, ValueError)
    assert issubclass(tg.DTypeError, TypeError)
    assert issubclass(tg.IndexingError, IndexError)


def test_errors_name_the_users_line():
    with pytest.raises(tg.ShapeError, match=r"at test_errors.py:\d+"):
        tg.add(x23, x4)


@pytest.mark.host
def test_numpys_out_and_missing_functions_say_what_to_write():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    with pytest.raises(tg.GraphError, match=r"w.data -= lr \* w.grad.data"):
        w.data -= 0.1 * w.grad
    with pytest.raises(tg.GraphError, match=r"np.apply_along_axis has no op.*\.numpy\(\)"):
        np.apply_along_axis(sum, 0, w)
    with pytest.raises(tg.ArgumentError, match="argument 'oops': Known: axis"):
        tg.softmax(w, oops=1)
    with pytest.raises(tg.ShapeError, match=r"format '.3f' is for one number"):
        f"{w:.3f}"


def test_names_of_other_libraries_lead_to_ours():
    x = tg.tensor([1.0])
    for name, ours in (("view", "reshape"), ("numel", "size"), ("clamp", "clip"), ("cuda", "cupy")):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': here it is .*{ours}"):
            getattr(x, name)
    with pytest.raises(AttributeError, match=r"no attribute 'oops'"):
        x.oops  # noqa: B018
    assert not hasattr(x, "__cuda_array_interface__")
    for module, name, ours in (
        (tg, "mse_loss", "tg.losses.mean_squared_error"),
        (tg, "RMSprop", "tg.optim.RMSprop"),
        (tg.losses, "MSELoss", "mean_squared_error"),
        (tg.losses, "mean_square_error", "did you mean 'mean_squared_error'"),
        (tg.optim, "lr_scheduler", "schedules"),
        (tg.optim, "Adamw", "did you mean 'AdamW'"),
    ):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': .*{ours}"):
            getattr(module, name)


def test_odd_arguments_end_in_errors_of_ours():
    from scipy.sparse import csr_array

    t, key = tg.ones((2, 3)), np.array([1, 0], dtype="uint64")
    w = tg.ones((2, 3), requires_grad=True)
    for call in (
        lambda: 2 @ t,
        lambda: tg.cross_entropy(t[0], [2, 1]),
        lambda: tg.cross_entropy(2.0, t),
        lambda: tg.layer_norm(t, 2.0),
        lambda: tg.dropout(t, 1.0, state=key),
        lambda: tg.std(t, dim=0),
        lambda: tg.reshape(t, (3, 2), order="F"),
        lambda: np.std(w, 0, None, None, 1),
        lambda: tg.grad(lambda a: a, "a")(1.0),
        lambda: tg.vjp(lambda x: 3.0, t),
        lambda: tg.vjp(lambda x: (x, 3.0), t),
        lambda: tg.vjp(lambda x: x * x, t)[1]([t, t]),
        lambda: tg.vjp(lambda x: {"a": x}, t)[1]({"b": t}),
        lambda: tg.grad(lambda x: x, has_aux=True)(1.0),
        lambda: tg.jvp(lambda x: x * x, [t], []),
        lambda: tg.jvp(lambda x: x * x, [t], [t[0]]),
        lambda: tg.jvp(lambda x: x * x, t, [t]),
        lambda: tg.sparse_matmul(t, t),
        lambda: tg.sparse_matmul(csr_array((3, 2)), tg.ones(3)),
        lambda: tg.sparse_matmul(csr_array((3, 2)), tg.ones(2), values=[1.0]),
        lambda: tg.zeros((2, -1)),
        lambda: tg.full((2,), [1, 2, 3]),
        lambda: tg.full(2, "a"),
        lambda: tg.full(2, 1000, dtype="int8"),
        lambda: tg.rand(-1),
        lambda: tg.eye(2.5),
        lambda: tg.eye(-1),
        lambda: tg.linspace("a", 1),
        lambda: tg.arange(),
        lambda: tg.arange("a"),
        lambda: tg.from_dlpack(3),
    ):
        with pytest.raises(tg.TensorgradError):
            call()
    assert np.transpose(t, axes=(1, 0)).shape == tg.reshape(t, shape=(3, 2)).shape == (3, 2)
    assert tg.grad(lambda a, b: a * b, np.int64(1))(2.0, 3.0).item() == 2.0
    assert tg.arange(np.float32(0), 1, np.float32(0.5)).tolist() == [0.0, 0.5]


class Fails(tg.Function):
    def forward(ctx, x):
        return x * 1

    def backward(ctx, g):
        raise MemoryError("nothing left")


def _stale(h, x):
    loss = (h * x).sum()
    x.data = np.zeros((3, 3))
    loss.backward()


@pytest.mark.parametrize(
    "fails",
    [
        lambda h, x: tg.matmul(h, tg.ones((2, 2))),
        lambda h, x: tg.swapaxes(h, 0, 7),
        lambda h, x: OPS["relu_grad"](h.data, np.ones(4)),
        lambda h, x: Fails.apply(tg.sin(h)).sum().backward(),
        _stale,
    ],
    ids=["shape", "axis", "op of ops", "backward", "stale"],
)
def test_what_failed_is_freed_with_its_error(fails):
    """Without the garbage collector: after "out of memory" that would be too late."""
    x = tg.tensor(np.ones((3, 3)), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        h = tg.exp(x)
        held = weakref.ref(h.data)
        with pytest.raises(tg.TensorgradError) as raised:
            fails(h, x)
        del h, raised
        assert held() is None
    finally:
        gc.enable()
