"""Recurrent layers: against PyTorch's, learning a task that needs memory, edge-case lengths,
errors."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.core import OPS
from tensorgrad.testing import gradcheck

rng = np.random.default_rng(0)
N, T, F, H = 3, 5, 4, 6
KINDS = {"lstm": ("LSTM", 4), "gru": ("GRU", 3), "rnn": ("RNN", 1), "rnn relu": ("RNN", 1)}


def drawn(gates, t=T, n=N):
    """x, two states, w, u and two biases."""
    shapes = [(n, t, F), (n, H), (n, H), (F, gates * H), (H, gates * H), (gates * H,), (gates * H,)]
    return [rng.normal(size=s) * 0.7 for s in shapes]


def ours(name, x, h0, c0, w, u, b, bu):
    """All outputs and the last states."""
    if name == "lstm":
        return OPS["lstm"](x, h0, c0, w, u, b + bu)[:3]
    if name == "gru":
        return OPS["gru"](x, h0, w, u, b, bu)[:2]
    return OPS["rnn"](x, h0, w, u, b + bu, activation=name[4:] or "tanh")


def theirs(torch, name, x, h0, c0, w, u, b, bu):
    options = {"nonlinearity": "relu"} if name == "rnn relu" else {}
    layer = getattr(torch.nn, KINDS[name][0])(F, H, batch_first=True, dtype=x.dtype, **options)
    weights = dict(zip(("weight_ih_l0", "weight_hh_l0"), (w.T, u.T), strict=True))
    weights |= {"bias_ih_l0": b, "bias_hh_l0": bu}
    start = (h0[None], c0[None]) if name == "lstm" else h0[None]
    y, last = torch.func.functional_call(layer, weights, (x, start))
    return (y, *[s[0] for s in (last if name == "lstm" else (last,))])


@pytest.mark.parametrize("used", ["all", "sequence", "states"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mode", ["always", "reference"])
def test_values_and_gradients_are_pytorchs(name, used, mode):
    torch = pytest.importorskip("torch")
    arrays = drawn(KINDS[name][1])
    with tg.use_kernels(mode):
        mine = [tg.tensor(a, requires_grad=True) for a in arrays]
        other = [torch.tensor(a, requires_grad=True) for a in arrays]
        got, wanted = ours(name, *mine), theirs(torch, name, *other)
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-13)
        part = {"all": slice(None), "sequence": slice(1), "states": slice(1, None)}[used]
        seeds = [rng.normal(size=a.shape) for a in got]
        sum([(a * s).sum() for a, s in list(zip(got, seeds, strict=True))[part]]).backward()
        pairs = list(zip(wanted, seeds, strict=True))[part]
        sum([(a * torch.tensor(s)).sum() for a, s in pairs]).backward()
    for a, b in zip(mine, other, strict=True):
        if b.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_second_order_through_one_output(name):
    arrays = drawn(KINDS[name][1], t=3, n=2)
    for k in range(2):
        gradcheck(lambda *a, k=k: ours(name, *a)[k], arrays, order=2)


def test_optional_inputs_may_be_left_out():
    x, _, _, w, u, b, _ = drawn(4)
    zeros = np.zeros((N, H))
    for some in (OPS["lstm"](x, None, None, w, u), OPS["lstm"](x, zeros, None, w, u, b * 0)):
        for a, e in zip(some, OPS["lstm"](x, zeros, zeros, w, u, b * 0), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-14)
    x, h0, _, w, u, b, bu = drawn(3)
    split = OPS["gru"](x, h0, w, u, None, bu)[0]
    np.testing.assert_allclose(split, OPS["gru"](x, h0, w, u, b * 0, bu)[0], rtol=1e-14)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("n", "t"), [(0, 3), (2, 0), (2, 1), (0, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_batches_and_sequences_at_the_edge(name, n, t, dtype):
    arrays = [tg.tensor(a, dtype=dtype, requires_grad=True) for a in drawn(KINDS[name][1], t, n)]
    y, *last = ours(name, *arrays)
    assert y.shape == (n, t, H)
    assert y.dtype == last[0].dtype == dtype
    if t == 0:
        for end, start in zip(last, arrays[1:], strict=False):
            np.testing.assert_array_equal(end.numpy(), start.numpy())
    (y.sum() + sum([s.sum() for s in last])).backward()
    for a in arrays if name == "lstm" else [*arrays[:2], *arrays[3:]]:
        assert a.grad.shape == a.shape
    if not n or not t:
        assert not arrays[3].grad.numpy().any()


@pytest.mark.parametrize("name", KINDS)
def test_a_sequence_in_two_halves_is_the_whole(name):
    x, h0, c0, w, u, b, bu = drawn(KINDS[name][1])
    y, *last = ours(name, x, h0, c0, w, u, b, bu)
    first, *state = ours(name, x[:, :2], h0, c0, w, u, b, bu)
    second, *end = ours(name, x[:, 2:], *[*state, c0][:2], w, u, b, bu)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), y, rtol=1e-12)
    for a, e in zip(end, last, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12)


# --- layers ---------------------------------------------------------------------------------------

LAYERS = [tg.nn.SimpleLSTM, tg.nn.SimpleGRU, tg.nn.SimpleRNN]


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_give_what_is_asked(kind):
    x = rng.normal(size=(N, T, F)).astype(np.float32)
    layer = kind(H)
    assert not layer.built
    last = layer(x)
    assert last.shape == (N, H)
    assert layer.in_features == F
    layer.return_sequences = True
    y = layer(x)
    np.testing.assert_array_equal(y.numpy()[:, -1], last.numpy())
    layer.return_state = True
    y, *state = layer(x[:, :3])
    rest, *_ = layer(x[:, 3:], state)
    np.testing.assert_allclose(rest.numpy()[:, -1], last.numpy(), rtol=1e-5, atol=1e-6)
    assert len(state) == (2 if kind is tg.nn.SimpleLSTM else 1)
    if len(state) == 1:
        np.testing.assert_array_equal(layer(x[:, 3:], state[0])[0].numpy(), rest.numpy())
    y.sum().backward()
    assert all(p.grad is not None and p.grad.numpy().any() for p in layer.parameters())
    assert repr(layer) == f"{kind.__name__}(6, in_features=4, return_sequences=True)"


@pytest.mark.host
def test_first_weights():
    tg.seed(0)
    layer = tg.nn.SimpleLSTM(H, F)
    for part in np.split(layer.recurrent_weight.numpy(), 4, axis=1):
        np.testing.assert_allclose(part @ part.T, np.eye(H), atol=1e-6)
    bound = np.sqrt(6 / (F + H))
    assert 0.8 * bound < np.abs(layer.weight.numpy()).max() <= bound
    np.testing.assert_array_equal(
        layer.bias.numpy().reshape(4, H), np.eye(4)[1][:, None] + np.zeros(H)
    )
    assert tg.nn.SimpleLSTM(H, F, bias=False).bias is None
    assert len(tg.nn.SimpleGRU(H, F).parameters()) == 4
    assert len(tg.nn.SimpleGRU(H, F, bias=False).parameters()) == 2
    for shape in ((5, 3), (3, 5), (2, 3, 4)):
        a = tg.nn.init.initial("orthogonal", shape, "float64").reshape(-1, shape[-1])
        gram = a.T @ a if a.shape[0] >= a.shape[1] else a @ a.T
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_layers_stack_in_models():
    x = rng.normal(size=(N, T, F)).astype(np.float32)
    tg.seed(1)
    model = tg.nn.Sequential(
        tg.nn.SimpleLSTM(3, return_sequences=True), tg.nn.SimpleGRU(2), tg.nn.Dense(1)
    )
    assert model(x).shape == (N, 1)
    inp = tg.nn.Input((T, F))
    functional = tg.nn.Model(
        inp, tg.nn.SimpleRNN(2)(tg.nn.SimpleLSTM(3, return_sequences=True)(inp))
    )
    assert functional(x).shape == (N, 2)


@pytest.mark.parametrize("kind", LAYERS)
def test_remembers_the_first_symbol(kind):
    """The answer is needed eight steps later, when only the state has it."""
    tg.seed(0)
    symbols = np.random.default_rng(1).integers(0, 4, (256, 8))
    x, labels = np.eye(4, dtype=np.float32)[symbols], symbols[:, 0]
    model = tg.nn.Sequential(kind(24), tg.nn.Dense(4))
    model.compile(tg.optim.Adam(lr=0.02), "cross_entropy", ["accuracy"])
    model.fit(x, labels, epochs=25, batch_size=64, verbose=0)
    assert model.evaluate(x, labels)["accuracy"] > 0.98


def test_errors_say_what_to_do():
    layer = tg.nn.SimpleLSTM(H, F)
    x = np.zeros((N, T, F), np.float32)
    with pytest.raises(tg.ShapeError, match="before it needs return_sequences=True"):
        tg.nn.Sequential(tg.nn.SimpleLSTM(3), tg.nn.SimpleLSTM(3))(x)
    with pytest.raises(tg.ShapeError, match=r"\(n, t, features\).*\(5,\)"):
        layer(np.zeros(5, np.float32))
    with pytest.raises(tg.ShapeError, match="made for in_features = 4"):
        layer(x[..., :3])
    state = np.zeros((N, H), np.float32)
    for wrong in (state, (state,), (state, state[:1]), (state, state, state)):
        with pytest.raises(tg.ShapeError, match=r"state is \(h, c\), each of shape \(3, 6\)"):
            layer(x, wrong)
    with pytest.raises(tg.ArgumentError, match="in_features='relu' must be"):
        tg.nn.SimpleRNN(3, "relu")
    with pytest.raises(tg.ArgumentError, match=r"activation='sigmoid'.*tanh"):
        tg.nn.SimpleRNN(3, activation="sigmoid")
    with pytest.raises(tg.ArgumentError, match="units=0 must be a whole number"):
        tg.nn.SimpleGRU(0)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("lstm", {0: (N, F)}, "x has 2 axes; a batch of sequences has 3"),
        ("lstm", {1: (N, H + 1)}, r"h0 is \(n, hidden\) = \(3, 6\), got \(3, 7\)"),
        ("lstm", {2: (1, H)}, r"c0 is \(n, hidden\)"),
        ("gru", {3: (F, H)}, r"w is \(features, 3 \* hidden\)"),
        ("gru", {4: (H, H)}, r"u \(hidden, 3 \* hidden\)"),
        ("gru", {6: (H,)}, r"bu is \(3 \* hidden,\) = \(18,\), got \(6,\)"),
        ("rnn", {5: (1,), 6: (1,)}, r"b is \(1 \* hidden,\)"),
        ("rnn", {4: (H,)}, r"w is \(features, 1 \* hidden\)"),
    ],
)
def test_errors_of_the_ops(name, changed, message):
    arrays = drawn(KINDS[name][1])
    for k, shape in changed.items():
        arrays[k] = np.ones(shape)
    with tg.use_kernels("always"), pytest.raises(tg.ShapeError, match=message):
        ours(name, *arrays)


def test_an_unknown_activation():
    x, h0, _, w, u, b, _ = drawn(1)
    with pytest.raises(tg.ArgumentError, match=r"activation='gelu'.*relu, tanh"):
        tg.rnn(x, h0, w, u, b, activation="gelu")
