"""Typical programs of users, fully annotated. mypy --strict reads them (tests/test_typing.py), and
each `assert_type` says that a Tensor is one to it, and no Any. They run as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import tensorgrad as tg
from tensorgrad import Tensor, losses, nn
from tensorgrad.nn.symbol import Symbol

# --- tensors --------------------------------------------------------------------------------------


def makers() -> None:
    assert_type(tg.tensor([1.0, 2.0]), Tensor)
    assert_type(tg.tensor(np.arange(3), dtype="float32", requires_grad=True), Tensor)
    assert_type(tg.asarray([[1, 2], [3, 4]]), Tensor)
    assert_type(tg.zeros((2, 3)), Tensor)
    assert_type(tg.ones(3, dtype=np.float64), Tensor)
    assert_type(tg.full((2,), 7.0), Tensor)
    assert_type(tg.eye(3), Tensor)
    assert_type(tg.arange(0, 10, 2), Tensor)
    assert_type(tg.linspace(0.0, 1.0, 5), Tensor)
    assert_type(tg.rand(2, 3), Tensor)
    assert_type(tg.randn((2, 3), dtype=np.dtype("float64")), Tensor)
    assert_type(tg.zeros_like(np.ones(3)), Tensor)


def operators(x: Tensor, a: NDArray[np.float32]) -> Tensor:
    assert_type(x + 1, Tensor)
    assert_type(1.5 - x, Tensor)
    assert_type(x * a, Tensor)
    assert_type(x / [1.0, 2.0, 3.0], Tensor)
    assert_type(x**2, Tensor)
    assert_type(2**x, Tensor)
    assert_type(x // 2, Tensor)
    assert_type(x % 2, Tensor)
    assert_type(x @ x.T, Tensor)
    assert_type(-x, Tensor)
    assert_type(+x, Tensor)
    assert_type(abs(x), Tensor)
    assert_type(round(x), Tensor)
    assert_type(divmod(x, 2), tuple[Tensor, Tensor])
    assert_type(x > 0, Tensor)
    assert_type(x == 0, Tensor)
    assert_type(x != x, Tensor)
    assert_type((x > 0) & (x < 1), Tensor)
    assert_type((x > 0) | ~(x < 1), Tensor)
    assert_type(x[0], Tensor)
    assert_type(x[:, 1:], Tensor)
    assert_type(x[..., None], Tensor)
    assert_type(x[x > 0], Tensor)
    assert_type(x[np.array([0, 1])], Tensor)
    assert_type(x[[0, 1]], Tensor)
    for row in x:
        assert_type(row, Tensor)
    first, *rest = x
    assert_type(first, Tensor)
    assert_type(rest, list[Tensor])
    total = tg.zeros(())
    total += x.sum()
    x[0] = 1.0
    assert_type(total, Tensor)
    return sum([x, x], start=tg.zeros(()))


def facts(x: Tensor) -> str:
    assert_type(x.shape, tuple[int, ...])
    assert_type(x.ndim, int)
    assert_type(x.size, int)
    assert_type(x.dtype, np.dtype[Any])
    assert_type(x.requires_grad, bool)
    assert_type(x.backend, str)
    assert_type(x.numpy(), NDArray[Any])
    assert_type(len(x), int)
    assert_type(float(x.sum()), float)
    assert_type(int(x.argmax()), int)
    assert_type(bool((x > 0).all()), bool)
    value: float = x.mean().item()
    numbers: list[float] = x[0].tolist()
    return f"{value:.3f} {x.sum():.1f} {numbers}"


def methods(x: Tensor) -> None:
    assert_type(x.sum(), Tensor)
    assert_type(x.sum(0, keepdims=True), Tensor)
    assert_type(x.sum(axis=(0, 1), dtype="float64"), Tensor)
    assert_type(x.mean(-1), Tensor)
    assert_type(x.max(axis=0), Tensor)
    assert_type(x.std(ddof=1), Tensor)
    assert_type(x.argmax(axis=-1), Tensor)
    assert_type(x.reshape(3, 2), Tensor)
    assert_type(x.reshape((-1,)), Tensor)
    assert_type(x.transpose(1, 0), Tensor)
    assert_type(x.T, Tensor)
    assert_type(x.mT, Tensor)
    assert_type(x.squeeze(), Tensor)
    assert_type(x.clip(0, 1), Tensor)
    assert_type(x.astype("float64"), Tensor)
    assert_type(x.astype(np.float32), Tensor)
    assert_type(x.detach(), Tensor)
    assert_type(x.copy(), Tensor)
    assert_type(x.to("numpy"), Tensor)
    assert_type(x.exp().log().relu().softmax(), Tensor)
    assert_type(x.split(2), tuple[Tensor, ...])


def functions(x: Tensor, a: NDArray[np.float64]) -> None:
    assert_type(tg.exp(x), Tensor)
    assert_type(tg.sin(a), Tensor)
    assert_type(tg.sqrt(2.0), Tensor)
    assert_type(tg.sum([1.0, 2.0]), Tensor)
    assert_type(tg.sum(x, axis=0, keepdims=True), Tensor)
    assert_type(tg.mean(x, (0, 1)), Tensor)
    assert_type(tg.where(x > 0, x, 0.0), Tensor)
    assert_type(tg.maximum(x, 0), Tensor)
    assert_type(tg.concatenate([x, x], axis=1), Tensor)
    assert_type(tg.stack([x, x]), Tensor)
    assert_type(tg.split(x, 2), tuple[Tensor, ...])
    assert_type(tg.pad(x, 1, mode="edge"), Tensor)
    assert_type(tg.matmul(x, x.T), Tensor)
    assert_type(tg.softmax(x, axis=-1), Tensor)
    assert_type(tg.reshape(x, (3, 2)), Tensor)
    assert_type(tg.transpose(x), Tensor)
    assert_type(tg.clip(x, 0.0, 1.0), Tensor)
    assert_type(tg.argmax(x, axis=1), Tensor)
    assert_type(tg.logsumexp(x, axis=1), Tensor)
    assert_type(tg.dense(x, x.T, activation="relu"), Tensor)
    assert_type(tg.layer_norm(x), Tensor)
    assert_type(tg.conv2d(tg.ones((1, 1, 4, 4)), tg.ones((1, 1, 2, 2)), padding=1), Tensor)
    assert_type(tg.max_pool2d(tg.ones((1, 1, 4, 4)), 2), Tensor)
    assert_type(tg.avg_pool2d(tg.ones((1, 1, 4, 4)), (2, 2)), Tensor)
    assert_type(tg.embedding(x, np.array([0, 1])), Tensor)
    assert_type(tg.dropout(x, p=0.5), Tensor)
    q = tg.ones((1, 2, 4))
    assert_type(tg.scaled_dot_product_attention(q, q, q, causal=True), Tensor)


# --- NumPy and back -------------------------------------------------------------------------------


def standardize(a: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (a - a.mean(axis=0)) / a.std(axis=0)
    return scaled


def between_numpy_and_tensors(a: NDArray[np.float64]) -> float:
    x = tg.asarray(standardize(a))
    back = np.asarray(x)
    assert_type(x * np.pi + np.float32(2), Tensor)
    assert_type(x @ np.eye(x.shape[1]), Tensor)
    # np.exp(x) is a Tensor as well, but NumPy's own stubs say that it is an array
    y = tg.exp(x)
    return float(tg.sum(y, axis=0).sum()) + float(back.max())


# --- gradients ------------------------------------------------------------------------------------


def by_backward() -> Tensor:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    with w.register_hook(lambda g: g.clip(-1, 1)):
        (w * w).sum().backward()
    handle = nn.Dense(1).register_forward_hook(lambda layer, inputs, y: None)
    handle.remove()
    assert w.grad is not None
    assert_type(w.grad, Tensor)
    with tg.no_grad():
        w -= 0.1 * w.grad
    w.grad = None
    return w


def quadratic(x: Tensor) -> Tensor:
    return (x * x).sum()


def by_functions(x: Tensor) -> None:
    assert_type(tg.grad(quadratic)(x), Tensor)
    value, gradient = tg.value_and_grad(quadratic)(x)
    assert_type(value, Tensor)
    assert_type(gradient, Tensor)
    y, pull = tg.vjp(quadratic, x)
    assert_type(y, Tensor)
    (cotangent,) = pull(tg.tensor(1.0))
    assert_type(cotangent, Tensor)
    out, tangent = tg.jvp(quadratic, [x], [x])
    assert_type(out, Tensor)
    assert_type(tangent, Tensor)
    assert_type(tg.jacobian(lambda x: x * x)(x), Tensor)
    assert_type(tg.hessian(quadratic)(x), Tensor)
    assert_type(tg.hessian(tg.grad(quadratic))(x[0]), Tensor)
    assert_type(tg.hessian(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x)[0][1].shape, Any)
    (product,) = tg.hvp(quadratic, [x], [x])
    assert_type(product, Tensor)
    out, push = tg.linearize(quadratic, x)
    assert_type(push(x), Tensor)
    assert_type(tg.vjp(lambda p: {"y": tg.exp(p["w"])}, {"w": x})[0], dict[str, Tensor])
    (loss, note), _ = tg.value_and_grad(lambda x: (x.sum(), "note"), has_aux=True)(x)
    assert_type(loss, Tensor)
    assert_type(note, str)
    both = tg.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, x)
    assert_type(both, tuple[Tensor, ...])
    assert_type(tg.grad(lambda a, b: (a * b).sum(), 1)(x, x), Tensor)
    assert_type(tg.grad(lambda xs: xs[0].sum() * xs[1].sum())([x, x]), list[Tensor])
    assert_type(tg.value_and_grad(lambda p: p["w"].sum())({"w": x})[1], dict[str, Tensor])
    third: Tensor = tg.grad(tg.grad(tg.grad(lambda x: x**4)))(tg.tensor(2.0))
    assert third.item() == 48.0


def by_tape(x: Tensor) -> None:
    with tg.GradientTape() as tape:
        assert_type(tape, tg.GradientTape)
        tape.watch(x)
        y = (x * x).sum()
    gradient = tape.gradient(y, x)
    assert gradient is not None
    assert_type(gradient, Tensor)
    with tg.GradientTape(persistent=True) as tape:
        y = (x * x).sum()
    assert_type(tape.gradient(y, [x, x]), list[Tensor | None])
    assert_type(tape.gradient(y, (x, x)), tuple[Tensor | None, ...])
    by_name: dict[str, Tensor] = tape.gradient(y, {"x": x})
    assert_type(by_name["x"], Tensor)


Weights = dict[str, Tensor]


def functional_step(weights: Weights, x: Tensor, y: Tensor) -> Weights:
    def loss(weights: Weights) -> Tensor:
        return losses.mean_squared_error(x @ weights["w"] + weights["b"], y)

    gradients: Weights = tg.grad(loss)(weights)
    return {k: weights[k] - 0.1 * gradients[k] for k in weights}


class Swish(tg.Function):
    """x * sigmoid(x), with a gradient written by hand."""

    def forward(ctx, x: NDArray[Any], beta: float = 1.0) -> NDArray[Any]:
        s = 1 / (1 + np.exp(-beta * x))
        ctx.save(x, s)
        result: NDArray[Any] = x * s
        return result

    def backward(ctx, g: NDArray[Any]) -> NDArray[Any]:
        x, s = ctx.saved
        result: NDArray[Any] = g * (s + x * s * (1 - s))
        return result


def with_a_custom_function(x: Tensor) -> Tensor:
    y = Swish.apply(x)
    assert_type(y, Tensor)
    return y


# --- models ---------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Two layers and a way around them."""

    def __init__(self, width: int, p: float = 0.1) -> None:
        super().__init__()
        self.first = nn.Linear(width, 4 * width)
        self.second = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(p)
        self.scale = nn.Parameter(np.ones(width, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        h = tg.gelu(self.first(self.norm(x)))
        assert_type(h, Tensor)
        assert_type(self.scale, nn.Parameter)
        return x + self.scale * self.drop(self.second(h))


class Stack(nn.Module):
    """An attribute may be called layers, of whatever type."""

    layers: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dense(4), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.layers(x)


class Classifier(nn.Module):
    def __init__(self, features: int, classes: int, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Dense(8, features, activation="relu")
        self.blocks = [Residual(8) for _ in range(depth)]
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x) / temperature


def layers(x: Tensor) -> None:
    model = nn.Sequential([nn.Dense(4, activation="tanh"), nn.Dropout(0.1), nn.Dense(1)])
    assert_type(model(x), Tensor)
    assert_type(nn.Linear(3, 2)(x), Tensor)
    assert_type(Stack()(x), tuple[Tensor, Tensor])
    assert_type(Classifier(3, 2)(x), Tensor)
    assert_type(Classifier(3, 2)(x, temperature=2.0), Tensor)
    assert_type(model.parameters(), list[nn.Parameter])
    assert_type(model.state_dict(), dict[str, NDArray[Any]])
    assert_type(model.get_weights(), list[NDArray[Any]])
    assert_type(nn.Linear(3, 2).weight, nn.Parameter)
    for name, p in model.named_parameters():
        assert_type(name, str)
        assert_type(p, nn.Parameter)
    with tg.no_grad():
        for p in model.parameters():
            p *= 0.5


def objectives(x: Tensor, y: Tensor, labels: NDArray[np.int64]) -> None:
    assert_type(losses.mean_squared_error(x, y), Tensor)
    assert_type(losses.mean_absolute_error(x, y.numpy()), Tensor)
    assert_type(losses.huber(x, y, delta=0.5), Tensor)
    assert_type(losses.cross_entropy(x, labels), Tensor)
    assert_type(losses.cross_entropy(x, labels, reduction="none"), Tensor)
    assert_type(losses.binary_cross_entropy(tg.sigmoid(x), y), Tensor)
    assert_type(losses.binary_cross_entropy_with_logits(x, y, reduction="sum"), Tensor)
    by_name: Callable[..., Tensor] = losses.get("mse")
    assert_type(by_name(x, y), Tensor)


# --- training -------------------------------------------------------------------------------------


def data(n: int = 64) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def training_loop(epochs: int = 2) -> list[float]:
    x, y = data()
    model = Classifier(3, 2)
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-4)
    loader = tg.data.DataLoader((x, y), batch_size=16, shuffle=True)
    history: list[float] = []
    for _ in range(epochs):
        model.train()
        for xb, yb in loader:
            assert_type(xb, Tensor)
            loss = losses.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            assert_type(optimizer.clip_grad_norm(1.0), Tensor)
            optimizer.step()
            history.append(loss.item())
        model.eval()
    assert_type(len(loader), int)
    return history


@tg.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(axis=-1) == y).mean())


def batches(x: NDArray[np.float32], size: int) -> Iterator[Tensor]:
    for i in range(0, len(x), size):
        yield tg.asarray(x[i : i + size])


def keras_style() -> dict[str, float]:
    x, y = data()
    model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(2)])
    model.compile(tg.optim.Adam(lr=1e-2), loss="cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=2, batch_size=16, validation_data=(x, y), verbose=0)
    assert_type(history.history, dict[str, list[float]])
    assert_type(model.predict(x), NDArray[Any])
    assert_type(accuracy(model, tg.asarray(x), tg.asarray(y)), float)
    scores: dict[str, float] = model.evaluate(x, y)
    return scores


def tensorflow_style() -> float:
    x, y = data()
    model = nn.Sequential([nn.Dense(8, 3, activation="relu"), nn.Dense(2, 8)])
    rate = tg.optim.schedules.cosine(1e-2, steps=10)
    optimizer = tg.optim.SGD(lr=rate, momentum=0.9)
    variables = model.trainable_variables
    with tg.GradientTape() as tape:
        loss = losses.cross_entropy(model(x), y)
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return loss.item()


@tg.enable_grad()
def doubled(x: Tensor, times: int = 1) -> Tensor:
    return x * times


def functional_models(x: NDArray[np.float32]) -> None:
    inputs = nn.Input((3,))
    assert_type(inputs, Symbol)
    hidden = nn.Dense(4, activation=tg.tanh)(inputs)
    assert_type(hidden, Symbol)
    assert_type(nn.concatenate([hidden, 2 * inputs + 1]), Symbol)
    model = nn.Model(inputs, nn.Dense(1)(hidden))
    assert_type(model(x), Tensor)
    two = nn.Model(inputs, [nn.Dense(1)(hidden), nn.ReLU()(hidden)])
    assert_type(two(x), tuple[Tensor, ...])
    either: nn.Model = model
    assert_type(either.predict(x), NDArray[Any])
    assert [len(layer.get_weights()) for layer in either.layers] == [0, 2, 2]


def more_layers(x: Tensor) -> None:
    images = x.reshape(1, 1, 2, 3)
    stack = nn.Sequential(
        nn.Conv(2, 3, padding="same"), nn.ReLU(), nn.GlobalAvgPool(), lambda x: x * 2
    )
    assert_type(stack(images), Tensor)
    assert_type(nn.MultiHeadAttention(1)(images[0]), Tensor)
    assert_type(nn.TransformerBlock(1, dropout=0.1)(images[0]), Tensor)
    assert_type(nn.Embedding(4, 2)(np.array([1, 2])), Tensor)
    assert_type(nn.SimpleLSTM(4, return_sequences=True)(images[0]), Tensor)
    y, h, c = nn.SimpleLSTM(4, return_state=True)(images[0])
    assert_type(c, Tensor)
    assert y.shape == h.shape == c.shape
    assert_type(nn.SimpleRNN(4, activation="relu")(images[0]), Tensor)
    norm = nn.BatchNorm2d(1)
    assert_type(norm(images).mean(), Tensor)
    assert_type(norm.eval(), nn.BatchNorm2d)
    assert_type(norm.running_mean, nn.Buffer)
    activation: nn.ReLU = nn.ReLU()
    assert_type(activation(x), Tensor)


def loaders(x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
    for batch in tg.data.DataLoader((x, y), batch_size=32):
        assert_type(batch, tuple[Tensor, ...])
    for alone in tg.data.DataLoader(x, batch_size=32, dtype="float64"):
        assert_type(alone, Tensor)

    def first(loader: tg.data.DataLoader) -> tuple[Tensor, ...]:
        return next(iter(loader))

    assert_type(first(tg.data.DataLoader((x, y), shuffle=True)), tuple[Tensor, ...])


def switches() -> None:
    tg.set_backend("numpy")
    tg.set_tf32(False)
    assert_type(tg.memory_summary(), str)
    assert_type(doubled(tg.ones(2), times=2), Tensor)
    with tg.detect_anomaly(), tg.enable_grad(), tg.no_grad():
        assert_type(tg.checkpoint(doubled, tg.ones(2)), Tensor)
    step = tg.cuda.graphed(quadratic, tg.ones(3))
    assert_type(step(tg.ones(3)), Tensor)
    assert_type(tg.gradcheck(quadratic, [np.ones(3)]), bool)


def memory_and_precision(model: Classifier, x: Tensor) -> Tensor:
    with tg.autocast("float16"):
        y = tg.checkpoint(model, x)
    assert_type(y, Tensor)
    scale = tg.optim.LossScale()
    assert_type(scale(y.sum()), Tensor)
    return y


def matrices(x: tg.Tensor) -> None:
    a: tg.Tensor = x @ x.T + tg.eye(2)
    low: tg.Tensor = tg.linalg.cholesky(a)
    vh: tg.Tensor = tg.linalg.svd(a).Vh
    s: tg.Tensor = tg.linalg.svd(a, compute_uv=False)
    q, r = tg.linalg.qr(a)
    upper: tg.Tensor = tg.linalg.qr(a, "r")
    values: tg.Tensor = tg.linalg.eigh(a).eigenvalues
    scores: tg.Tensor = tg.einsum("ij,jk->ik", low, vh) * s + q @ r - upper
    assert tg.linalg.solve(a, scores).dot(values).shape == (2,)


class Patience(tg.train.Callback):
    """Stops after a number of epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch_end(self, model: nn.Module, epoch: int, scores: dict[str, float]) -> bool | None:
        return epoch + 1 >= self.epochs


def main() -> None:
    tg.seed(0)
    x = tg.tensor(np.linspace(0.5, 1.5, 6).reshape(2, 3).astype(np.float32))
    makers()
    operators(x.copy(), x.numpy())
    facts(x)
    methods(x)
    functions(x, x.numpy().astype(np.float64))
    between_numpy_and_tensors(np.arange(6.0).reshape(2, 3))
    by_backward()
    by_functions(x[0])
    by_tape(x.copy())
    functional_step({"w": tg.ones((3, 1)), "b": tg.zeros(1)}, x, tg.ones((2, 1)))
    with_a_custom_function(x)
    layers(x)
    matrices(x)
    objectives(x, (x > 1).astype("float32"), np.array([0, 1]))
    training_loop()
    keras_style()
    tensorflow_style()
    functional_models(data()[0])
    more_layers(x)
    loaders(*data())
    switches()
    memory_and_precision(Classifier(3, 2), x)
    assert [len(b) for b in batches(data()[0], 32)] == [32, 32]


if __name__ == "__main__":
    main()
