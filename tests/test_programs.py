"""Day-one programs, as a newcomer would write them; they must run exactly as they stand."""

import numpy as np
import pytest

import tensorgrad as tg


def test_numpy_in_gradient_out():
    x = tg.tensor(np.arange(3.0), requires_grad=True)
    (np.sin(x) * x).sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), np.cos(np.arange(3.0)) * np.arange(3.0) + np.sin(np.arange(3.0))
    )


def test_keras_style_xor():
    tg.seed(0)
    model = tg.nn.Sequential(
        [tg.nn.Dense(4, activation="sigmoid"), tg.nn.Dense(1, activation="sigmoid")]
    )
    model.compile(optimizer=tg.optim.Adam(lr=0.1), loss="mse")
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([[0], [1], [1], [0.0]])
    h = model.fit(X, y, epochs=1000, verbose=0)
    assert h.history["loss"][-1] < 0.01
    np.testing.assert_array_equal(model.predict(X).round().ravel(), [0.0, 1.0, 1.0, 0.0])


def test_functional_model():
    X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    y = np.array([1.0, 1.0, 2.0, 2.0])
    X = (X - X.mean(0)) / X.std(0)
    inp = tg.nn.Input((2,))
    out = tg.nn.Dense(1)(tg.nn.Dense(8, activation="relu")(inp))
    m = tg.nn.Model(inp, out)
    m.compile(optimizer=tg.optim.SGD(lr=0.05), loss="mse")
    m.fit(X, y[:, None], epochs=500, verbose=0)
    shapes = [[w.shape for w in layer.get_weights()] for layer in m.layers]
    assert shapes == [[], [(2, 8), (8,)], [(8, 1), (1,)]]


def test_gradient_tape_loop():
    rng = np.random.default_rng(0)
    Xtr = rng.normal(size=(256, 2)).astype(np.float32)
    ytr = (Xtr[:, :1] * Xtr[:, 1:] > 0).astype(np.float32)
    tg.seed(0)
    model = tg.nn.Sequential(
        [tg.nn.Dense(16, activation="tanh"), tg.nn.Dense(1, activation="sigmoid")]
    )
    optimizer = tg.optim.Adam(lr=0.02)

    def train_step(x, y):
        with tg.GradientTape() as tape:
            loss = tg.losses.binary_cross_entropy(model(x), y)  # 0-d: mean over all
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))  # noqa: B905
        return loss

    losses = []
    for _ in range(30):
        for x, y in tg.data.DataLoader((Xtr, ytr), batch_size=32, shuffle=True):
            losses.append(train_step(x, y).item())
    assert np.mean(losses[-8:]) < 0.3 * np.mean(losses[:8])


def test_hand_made_gradients_are_checked():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 1))
    W1, b1, W2, b2 = (rng.normal(size=s) for s in ((3, 2), (3,), (1, 3), (1,)))

    def manual(W1, b1, W2, b2):
        a = tg.sigmoid(X @ W1.T + b1)
        o = tg.sigmoid(a @ W2.T + b2)
        return ((o - y) ** 2).mean()

    tg.gradcheck(manual, [W1, b1, W2, b2])
    grads = tg.grad(manual, argnums=(0, 1, 2, 3))(W1, b1, W2, b2)
    hand_grads = [g.numpy() for g in grads]
    assert tg.compare(hand_grads, grads).count("largest difference 0") == 4


def test_pytorch_style():
    class Net(tg.nn.Module):
        def __init__(s):
            super().__init__()
            s.a = tg.nn.Linear(2, 32)
            s.b = tg.nn.Linear(32, 1)

        def forward(s, x):
            return s.b(tg.tanh(s.a(x)))

    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 2)).astype(np.float32)
    Y = (X[:, :1] > X[:, 1:]).astype(np.float32)
    loader = tg.data.DataLoader((X, Y), batch_size=32, shuffle=True)
    tg.seed(0)
    net = Net()
    opt = tg.optim.AdamW(net.parameters(), lr=2e-2)
    for _ in range(10):
        for x, y in loader:
            loss = tg.losses.binary_cross_entropy_with_logits(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.clip_grad_norm(1.0)
            opt.step()
    assert loss.item() < 0.15


def test_any_order_and_a_meta_step():
    f = lambda x: x**4  # noqa: E731
    assert tg.grad(tg.grad(tg.grad(f)))(2.0).item() == 48.0
    ws = [tg.tensor(np.ones(2), requires_grad=True), tg.tensor(np.ones(()), requires_grad=True)]
    inner = lambda ws: ((ws[0] * 2 + ws[1]) ** 2).sum()  # noqa: E731
    outer = lambda fast: (fast[0] * fast[1]).sum()  # noqa: E731
    fast = [w - 0.1 * g for w, g in zip(ws, tg.grad(inner)(ws, create_graph=True), strict=True)]
    meta = outer(fast)
    meta.backward()
    assert all(w.grad is not None for w in ws)
    tg.gradcheck(
        lambda a, b: outer(
            [
                w - 0.1 * g
                for w, g in zip([a, b], tg.grad(inner)([a, b], create_graph=True), strict=True)
            ]
        ),
        [np.ones(2), np.ones(())],
    )


def test_custom_op():
    class Swish(tg.Function):
        def forward(ctx, x):
            ctx.save(x)
            return x / (1 + ctx.xp.exp(-x))

        def backward(ctx, g):
            (x,) = ctx.saved
            s = tg.sigmoid(x)
            return g * (s + x * s * (1 - s))

    assert tg.gradcheck(Swish.apply, [tg.randn(4, dtype="float64")], order=2)


@pytest.mark.host
@pytest.mark.parametrize("face", ["backward", "tape", "grad", "fit"])
def test_every_face_gives_the_same_gradients(face):
    """One SGD step by each interface gives the same weights, bit for bit."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3)).astype(np.float32)
    y = rng.normal(size=(8, 1)).astype(np.float32)

    def build():
        tg.seed(0)
        return tg.nn.Sequential(
            [tg.nn.Dense(5, in_features=3, activation="tanh"), tg.nn.Dense(1, 5)]
        )

    def reference():
        model, opt = build(), None
        opt = tg.optim.SGD(model.parameters(), lr=0.1)
        tg.losses.mean_squared_error(model(x), tg.asarray(y)).backward()
        opt.step()
        return model.get_weights()

    model = build()
    opt = tg.optim.SGD(lr=0.1)
    variables = model.trainable_variables
    if face == "fit":
        model.compile(optimizer=opt, loss="mse")
        model.fit(x, y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    else:
        if face == "grad":
            values = [v.data for v in variables]

            def loss_of(ws):
                h = tg.dense(x, ws[0], ws[1], activation="tanh")
                return tg.mean_squared_error(tg.dense(h, ws[2], ws[3]), y)

            grads = tg.grad(loss_of)(values)
        elif face == "tape":
            with tg.GradientTape() as tape:
                loss = tg.losses.mean_squared_error(model(x), tg.asarray(y))
            grads = tape.gradient(loss, variables)
        else:
            tg.losses.mean_squared_error(model(x), tg.asarray(y)).backward()
            grads = [v.grad for v in variables]
        opt.apply_gradients(zip(grads, variables, strict=True))
    for a, b in zip(model.get_weights(), reference(), strict=True):
        np.testing.assert_array_equal(a, b)
