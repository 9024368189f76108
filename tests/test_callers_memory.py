"""The caller's memory. A NumPy buffer that is refilled between forward and backward changes no
gradient, wherever it was given raw: to any op, function, layer, loss or transformation. What copies
(`tensor`, `Parameter`, weights that are set) owns its numbers; what shares says so."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn
from tensorgrad.core import OPS

from .rows import of_each

pytestmark = pytest.mark.host


def refill(a):
    """Overwrite the buffer."""
    if a.dtype.kind == "b":
        a[...] = ~a
    elif a.dtype.kind in "iu":
        a[...] = a[::-1] if a.ndim and a.shape[0] > 1 else 0
    else:
        a[...] = 3 * a[::-1] + 1 if a.ndim else 3 * a + 1


def is_array(a):
    return isinstance(a, np.ndarray) and a.size > 1


def cases():
    """Every public op, with the places where an array may be raw beside one that is on the tape."""
    for op in OPS.values():
        if op.inplace or not op.differentiable or not hasattr(tg, op.name) or op.name == "dropout":
            continue  # dropout's second array is the state of the generator
        found = 0
        for i, sample in enumerate(op.samples()):
            tracked = [k for k, a in enumerate(sample.args) if is_array(a) and a.dtype.kind == "f"]
            raw = [k for k, a in enumerate(sample.args) if is_array(a)]
            if not tracked or len(raw) < 2 or found == 3:
                continue
            found += 1
            yield pytest.param(op, sample, raw, tracked, id=f"{op.name}-{i}")


def gradients(op, sample, place, tracked, view, again):
    """Of all tracked inputs, with the one at `place` raw; its buffer is refilled in between."""
    args, leaves, buffer = [], [], None
    for k, a in enumerate(sample.args):
        if k == place:
            buffer = np.stack([a, a]) if view else a.copy()
            args.append(buffer[0] if view else buffer)
        elif k in tracked:
            leaves.append(tg.tensor(a, requires_grad=True))
            args.append(leaves[-1])
        else:
            args.append(a.copy() if isinstance(a, np.ndarray) else a)
    ys = op(*args, **sample.params)
    if again:
        refill(buffer[0] if view else buffer)
    parts = [y for y in (ys if isinstance(ys, tuple) else (ys,)) if y is not None]
    parts = [y for y in parts if y.requires_grad]
    if not parts:
        return []
    weights = [np.cos(np.arange(y.size)).reshape(y.shape) for y in parts]
    tg.stack([(y * w).sum() for y, w in zip(parts, weights, strict=True)]).sum().backward()
    return [None if w.grad is None else w.grad.numpy() for w in leaves]


@pytest.mark.parametrize(("op", "sample", "raw", "tracked"), list(cases()))
def test_an_array_given_raw_to_an_op_is_safe(op, sample, raw, tracked):
    for place in raw:
        rest = [k for k in tracked if k != place]
        for view in (False, True) if rest else ():
            want = gradients(op, sample, place, rest, view, again=False)
            got = gradients(op, sample, place, rest, view, again=True)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(g, w, err_msg=f"{op.name}, input {place}")


X = np.random.default_rng(0).normal(size=(4, 3))
IDS = np.array([2, 0, 1, 2])
MASK = np.array(
    [[True, False, True], [False, True, True], [True, True, False], [False, False, True]]
)
PROGRAMS = {
    "w * a": (X, lambda w, a: w * a),
    "a * w": (X, lambda w, a: a * w),
    "w / a": (X, lambda w, a: w / a),
    "a ** w": (np.abs(X) + 1, lambda w, a: a ** (w * w)),
    "w ** a": (np.abs(X) + 1, lambda w, a: (w * w + 1) ** a),
    "w % a": (np.abs(X) + 1, lambda w, a: w % a * w),
    "w - a, squared": (X, lambda w, a: (w - a) ** 2),
    "np.multiply": (X, lambda w, a: np.multiply(a, w)),
    "a @ w": (X, lambda w, a: a @ w.T),
    "a.T @ w": (X, lambda w, a: a.T @ w),
    "w @ a": (X, lambda w, a: w @ a.T),
    "transposed": (X, lambda w, a: w.T * a.T),
    "every other": (X, lambda w, a: w[::2] * a[::2]),
    "maximum": (X, lambda w, a: tg.maximum(w, a) * w),
    "where, the mask": (MASK, lambda w, a: tg.where(a, w, 0.0)),
    "where, a branch": (X, lambda w, a: tg.where(MASK, w * a, a)),
    "index": (IDS, lambda w, a: w[a]),
    "mask": (MASK, lambda w, a: w[a]),
    "embedding": (IDS, lambda w, a: tg.embedding(w, a)),
    "clip, the bounds": (X, lambda w, a: tg.clip(w, a - 0.5, a + 0.5)),
    "clip, raw bounds": (X, lambda w, a: tg.clip(w, a)),
    "stack": (X, lambda w, a: tg.stack([w, a]) * 2.0),
    "concatenate": (X, lambda w, a: tg.square(tg.concatenate([w, a]))),
    "dense": (X, lambda w, a: tg.dense(a, w.T, activation="tanh")),
    "layer_norm": (X, lambda w, a: tg.layer_norm(a, w[0], w[1])),
    "attention's mask": (
        MASK[:3, :3],
        lambda w, a: tg.scaled_dot_product_attention(w[None, :3], w[None, :3], w[None, :3], a),
    ),
    "conv2d": (X[None, None], lambda w, a: tg.conv2d(a, w[None, None, :2, :2])),
    "reshape of it": (X, lambda w, a: w.reshape(-1) * tg.reshape(a, (-1,))),
    "transpose of it": (X, lambda w, a: w.T * tg.transpose(a)),
    "slice of it": (X, lambda w, a: w[1:] * tg.split(a, [1])[1]),
    "tensor": (X, lambda w, a: w * tg.tensor(a)),
    "tensor of rows": (X, lambda w, a: w * tg.tensor(list(a))),
    "a list of rows": (X, lambda w, a: w * tg.stack(list(a))),
    "sum where": (MASK, lambda w, a: tg.sum(w * w, where=a)),
    "mean_squared_error": (X, lambda w, a: losses.mean_squared_error(w, a)),
    "mean_absolute_error": (X, lambda w, a: losses.mean_absolute_error(w, a)),
    "huber": (X, lambda w, a: losses.huber(w, a)),
    "binary_cross_entropy": (
        MASK.astype(float),
        lambda w, a: losses.binary_cross_entropy(tg.sigmoid(w), a),
    ),
    "bce with logits": (
        MASK.astype(float),
        lambda w, a: losses.binary_cross_entropy_with_logits(w, a),
    ),
    "cross_entropy": (IDS, lambda w, a: losses.cross_entropy(w, a)),
    "cross_entropy, probabilities": (
        np.exp(X) / np.exp(X).sum(1, keepdims=True),
        lambda w, a: losses.cross_entropy(w, a),
    ),
    "custom function": (X, lambda w, a: Product.apply(w, a)),
    "checkpoint": (X, lambda w, a: tg.checkpoint(lambda w, a: tg.tanh(w * a), w, a)),
}  # fmt: skip


class Product(tg.Function):
    """A function that saves its raw input."""

    def forward(ctx, x, y):
        ctx.save(x, y)
        return x * y

    def backward(ctx, g):
        x, y = ctx.saved
        return g * y, g * x


def total(y):
    return (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum()


FACES = ["backward", "tape", "vjp", "create_graph"]


def differentiated(program, a, face, again):
    """The gradient of a program with respect to w, where `a` is the caller's buffer."""
    buffer, w = a.copy(), tg.tensor(X[::-1] / 2, requires_grad=True)
    if face == "vjp":
        _, pull = tg.vjp(lambda w: total(program(w, buffer)), w.detach())
        refill(buffer) if again else None
        return pull(1.0)[0].numpy()
    with tg.GradientTape() as tape:
        y = total(program(w, buffer))
    refill(buffer) if again else None
    if face == "tape":
        return tape.gradient(y, w).numpy()
    y.backward(create_graph=face == "create_graph")
    return w.grad.detach().numpy()


@of_each("face", FACES)
@of_each("name", PROGRAMS)
def test_a_buffer_refilled_between_forward_and_backward_changes_no_gradient(name, face):
    a, program = PROGRAMS[name]
    want = differentiated(program, a, face, again=False)
    assert np.any(want)
    np.testing.assert_array_equal(differentiated(program, a, face, again=True), want)


def test_what_is_differentiated_may_be_refilled_too():
    f = lambda x: (x * x * x).sum()  # noqa: E731
    buffer = X.copy()
    _, pull = tg.vjp(f, buffer)
    refill(buffer)
    np.testing.assert_allclose(pull(1.0)[0].numpy(), 3 * X * X)
    buffer = X.copy()
    value, gradient = tg.value_and_grad(f)(buffer)
    refill(buffer)
    np.testing.assert_allclose(gradient.numpy(), 3 * X * X)
    assert value.item() == pytest.approx((X**3).sum())


def test_a_cotangent_may_be_refilled_and_is_not_the_gradient():
    w, cotangent = tg.tensor(X, requires_grad=True), X.copy()
    y = w + 0.0
    y.backward(cotangent)
    refill(cotangent)
    np.testing.assert_array_equal(w.grad.numpy(), X)
    w.grad *= 0.0
    assert cotangent.any()


LAYERS = {
    "Dense": (lambda: nn.Dense(2), (4, 3)),
    "Dense tanh": (lambda: nn.Dense(2, activation="tanh"), (4, 3)),
    "Dense gelu": (lambda: nn.Dense(2, activation="gelu"), (4, 3)),
    "Conv2d": (lambda: nn.Conv(2, 3), (2, 1, 5, 5)),
    "LayerNorm": (lambda: nn.LayerNorm(), (4, 3)),
    "RMSNorm": (lambda: nn.RMSNorm(), (4, 3)),
    "BatchNorm": (lambda: nn.BatchNorm(), (4, 3)),
    "GroupNorm": (lambda: nn.GroupNorm(1), (4, 3)),
    "SimpleLSTM": (lambda: nn.SimpleLSTM(2), (2, 4, 3)),
    "SimpleGRU": (lambda: nn.SimpleGRU(2), (2, 4, 3)),
    "SimpleRNN": (lambda: nn.SimpleRNN(2), (2, 4, 3)),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, 4), (2, 3, 4)),
    "TransformerBlock": (lambda: nn.TransformerBlock(2, 4), (2, 3, 4)),
    "Embedding": (lambda: nn.Embedding(5, 3), None),
    "Sequential": (lambda: nn.Sequential([nn.Dense(3, activation="relu"), nn.Dense(1)]), (4, 3)),
    "pool, then Dense": (
        lambda: nn.Sequential([nn.MaxPool2d(2), nn.Flatten(), nn.Dense(2)]),
        (2, 1, 4, 4),
    ),
    "Flatten, then Dense": (lambda: nn.Sequential([nn.Flatten(), nn.Dense(2)]), (2, 1, 4, 4)),
    "Dropout, then Dense": (lambda: nn.Sequential([nn.Dropout(0.0), nn.Dense(2)]), (4, 3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_may_be_refilled_before_backward(name, dtype):
    make, shape = LAYERS[name]
    x = IDS if shape is None else np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = []
    for again in (False, True):
        tg.seed(0)
        layer, buffer = make(), np.stack([x, x])
        layer(x)
        y = layer(buffer[0])
        y = y[0] if isinstance(y, tuple) else y
        refill(buffer[0]) if again else None
        total(y).backward()
        found.append([p.grad.numpy() for p in layer.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 0
    for want, got in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)


OWNERS = {
    "tensor": lambda a: tg.tensor(a),
    "tensor of its dtype": lambda a: tg.tensor(a, dtype=a.dtype),
    "tensor of a Tensor": lambda a: tg.tensor(tg.asarray(a)),
    "copy": lambda a: tg.asarray(a).copy(),
    "np.copy": lambda a: np.copy(tg.asarray(a)),
    "Parameter": lambda a: nn.Parameter(a),
    "Buffer": lambda a: nn.Buffer(a),
    "leaf": lambda a: tg.tensor(a, requires_grad=True),
    "set_weights": lambda a: given(lambda m: m.set_weights([a, np.zeros(2)])),
    "load_state_dict": lambda a: given(
        lambda m: m.load_state_dict({"weight": a, "bias": np.zeros(2)})
    ),
    "sum with nothing": lambda a: tg.sum(a, axis=()),
}


def given(change):
    layer = nn.Linear(3, 2).astype("float64")
    change(layer)
    return layer.weight


@pytest.mark.parametrize("how", OWNERS)
def test_what_copies_owns_its_numbers(how):
    a = np.arange(6.0).reshape(3, 2)
    made = OWNERS[how](a)
    numbers = made.detach().numpy() if isinstance(made, tg.Tensor) else made
    assert not np.shares_memory(numbers, a)
    if isinstance(made, tg.Tensor):
        with tg.no_grad():
            made *= 0.0
    assert a.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


@pytest.mark.parametrize("name", ["asarray", "from_dlpack"])
def test_what_shares_memory_says_so(name):
    a = np.arange(3.0)
    made = getattr(tg, name)(a)
    a[0] = 7.0
    assert made.numpy()[0] == 7.0
    assert "shar" in getattr(tg, name).__doc__


def test_weights_handed_out_are_copies():
    layer = nn.Linear(3, 2)
    before = layer.weight.numpy().copy()
    layer.state_dict()["weight"][...] = 0.0
    layer.get_weights()[0][...] = 0.0
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_an_optimizer_writes_into_no_array_of_the_caller():
    start, gradient = np.ones(3), np.ones(3)
    p = nn.Parameter(start)
    for optimizer in (tg.optim.SGD([p], lr=0.1, momentum=0.9), tg.optim.Adam([p], lr=0.1)):
        for _ in range(2):
            p.grad = tg.asarray(gradient)
            optimizer.step()
            optimizer.clip_grad_norm(0.1)
    assert start.tolist() == [1.0] * 3
    assert gradient.tolist() == [1.0] * 3
