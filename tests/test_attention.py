"""Attention against PyTorch's: values, gradients, masks; fully masked rows; learning a task."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.core import OPS
from tensorgrad.ops.samples import draw
from tensorgrad.testing import gradcheck

KERNELS = pytest.param("always", marks=pytest.mark.slow)  # compiled in float64
MODES = pytest.mark.parametrize("mode", [KERNELS, "reference"])
Q, K, V = draw((2, 3, 5, 4)), draw((2, 3, 7, 4), seed=1), draw((2, 3, 7, 6), seed=2)
BOOL = draw((5, 7), seed=3) > -1
FLOAT = draw((2, 1, 5, 7), seed=4)
HOLES = np.where(draw((5, 7), seed=3) > -1, 0.0, -np.inf)
attention = tg.scaled_dot_product_attention


def _both(ours, theirs, inputs):
    """The values and gradients of both are equal."""
    torch = pytest.importorskip("torch")
    a = [tg.tensor(x, requires_grad=True) for x in inputs]
    b = [torch.tensor(x, requires_grad=True) for x in inputs]
    y, z = ours(*a), theirs(*b)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = draw(y.shape, seed=9)
    y.backward(seed)
    z.backward(torch.tensor(seed))
    for t, u in zip(a, b, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), u.grad.numpy(), rtol=1e-9, atol=1e-11)


@MODES
@pytest.mark.parametrize(
    "options", [{}, {"causal": True}, {"scale": 0.3}, {"scale": -2.0}], ids=str
)
@pytest.mark.parametrize("mask", [None, BOOL, HOLES], ids=["none", "bool", "holes"])
def test_pytorchs_attention(mask, options, mode):
    torch = pytest.importorskip("torch")
    given = None if mask is None else torch.tensor(mask)
    if options.get("causal"):  # PyTorch takes one of them
        seen = torch.tensor(np.tri(5, 7, dtype=bool))
        given = seen if mask is None else torch.where(seen, 0.0, -np.inf) + (
            given if mask.dtype == float else torch.where(given, 0.0, -np.inf)
        )  # fmt: skip
        theirs = lambda *x: torch.nn.functional.scaled_dot_product_attention(*x, given)  # noqa: E731
    else:
        theirs = lambda *x: torch.nn.functional.scaled_dot_product_attention(  # noqa: E731
            *x, given, scale=options.get("scale")
        )
    with tg.use_kernels(mode):
        _both(lambda *x: attention(*x, mask, **options), theirs, [Q, K, V])


@pytest.mark.parametrize("rows", [3, 7, 9])
def test_causal_begins_at_the_top_left_as_in_pytorch(rows):
    F = pytest.importorskip("torch").nn.functional
    _both(
        lambda *x: attention(*x, causal=True),
        lambda *x: F.scaled_dot_product_attention(*x, is_causal=True),
        [draw((2, rows, 4)), K[0, :2], V[0, :2]],
    )


@MODES
def test_a_floating_mask_gets_a_gradient(mode):
    F = pytest.importorskip("torch").nn.functional
    with tg.use_kernels(mode):
        _both(attention, F.scaled_dot_product_attention, [Q, K, V, FLOAT])


@MODES
@pytest.mark.parametrize(
    "mask", [pytest.param(BOOL, id="bool", marks=pytest.mark.slow), pytest.param(HOLES, id="float")]
)
def test_rows_that_see_nothing_give_zero(mask, mode):
    mask = mask.copy()
    mask[2] = -np.inf if mask.dtype == float else False
    with tg.use_kernels(mode), np.errstate(invalid="raise", divide="raise"):
        xs = [tg.tensor(x, requires_grad=True) for x in (Q, K, V)]
        y, lse = OPS["scaled_dot_product_attention"](*xs, tg.asarray(mask))
        assert (y.numpy()[:, :, 2] == 0).all()
        assert (lse.numpy()[:, :, 2] == -np.inf).all()
        y.backward(draw(y.shape), create_graph=True)
        assert (xs[0].grad.numpy()[:, :, 2] == 0).all()
        first = [x.grad for x in xs]
        for x in xs:
            x.grad = None
        sum([(g * g).sum() for g in first]).backward()
        for t in [*first, *[x.grad for x in xs]]:
            assert np.isfinite(t.numpy()).all()
        others = attention(np.delete(Q, 2, axis=2), K, V, np.delete(mask, 2, axis=0))
        np.testing.assert_allclose(np.delete(y.numpy(), 2, axis=2), others.numpy(), rtol=1e-12)


def test_no_keys_at_all():
    q = tg.tensor(Q, requires_grad=True)
    y = attention(q, K[:, :, :0], V[:, :, :0])
    np.testing.assert_array_equal(y.numpy(), np.zeros((2, 3, 5, 6)))
    y.sum().backward()
    np.testing.assert_array_equal(q.grad.numpy(), np.zeros(Q.shape))


@MODES
def test_second_order_through_a_mask(mode):
    with tg.use_kernels(mode):
        gradcheck(
            lambda q, k, v, m: attention(q, k, v, m, causal=True),
            [Q[0], K[0], V[0], FLOAT[0]],
            order=2,
        )


@pytest.mark.host
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention(Q, K[..., :3], V), "must agree in the last axis"),
        (lambda: attention(Q, K, V[:, :, 1:]), "must agree"),
        (lambda: attention(Q[0, 0, 0], K, V), "two axes or more"),
        (lambda: attention(Q, K, V, np.ones((5, 7), int)), "give bool"),
        (lambda: attention(Q, K, V, BOOL.T), r"\(7, 5\) does not broadcast to the scores"),
        (lambda: attention(Q, K, V, BOOL[None, None, None]), "does not broadcast"),
        (lambda: nn.MultiHeadAttention(3, 8), "3 heads cannot share a width of 8"),
        (lambda: nn.MultiHeadAttention(0), "heads=0 must be a whole number"),
        (lambda: nn.MultiHeadAttention(2, 4)(np.ones((2, 3, 6))), "its query has shape"),
            (lambda: nn.MultiHeadAttention(2, 4)(np.ones((2, 4)), np.ones((2, 6))), "its key has"),
        (lambda: nn.MultiHeadAttention(2)(np.ones(4)), "positions and features"),
        (lambda: nn.MultiHeadAttention(2)(np.ones((1, 2, 4)), mask=np.ones((3, 2), bool)),
         "does not broadcast"),
        (lambda: nn.TransformerBlock(2)(np.ones(4)), "positions and features"),
        (lambda: nn.TransformerBlock(2, 5), "cannot share"),
        (lambda: nn.PositionalEmbedding(3, 2)(np.ones((4, 2))), "T up to 3"),
        (lambda: nn.PositionalEmbedding(3, 2)(np.ones((2, 2), int)), "embed them"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, message):
    with pytest.raises(tg.TensorgradError, match=message):
        call()


# --- layers -------------------------------------------------------------------------------------


def _torchs(layer):
    """PyTorch's layer with the same weights."""
    torch = pytest.importorskip("torch")
    options = {"bias": layer.use_bias, "batch_first": True, "dtype": torch.float64}
    theirs = torch.nn.MultiheadAttention(layer.width, layer.heads, **options)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(layer.weight.numpy().T))
        theirs.out_proj.weight.copy_(torch.tensor(layer.output.weight.numpy().T))
        if layer.use_bias:
            theirs.in_proj_bias.copy_(torch.tensor(layer.bias.numpy()))
            theirs.out_proj.bias.copy_(torch.tensor(layer.output.bias.numpy()))
    return theirs


@pytest.mark.host
@MODES
@pytest.mark.parametrize("kind", ["self", "cross", "causal", "no bias"])
def test_multi_head_attention_is_pytorchs(kind, mode):
    torch = pytest.importorskip("torch")
    causal = kind == "causal"
    layer = nn.MultiHeadAttention(2, 6, causal, bias=kind != "no bias", dtype="float64")
    if layer.use_bias:
        layer.bias.data = draw((18,), seed=1)
    theirs = _torchs(layer)
    xs = [draw((3, 5, 6), seed=2)]
    xs += [draw((3, 4, 6), seed=3), draw((3, 4, 6), seed=4)] if kind == "cross" else []
    hidden = torch.tensor(~np.tri(5, dtype=bool)) if causal else None

    def run(*x):
        x = x if len(x) == 3 else x * 3
        return theirs(*x, attn_mask=hidden, need_weights=False)[0]

    with tg.use_kernels(mode):
        _both(layer, run, xs)
    g, expected = layer.weight.grad.numpy(), theirs.in_proj_weight.grad.numpy().T
    np.testing.assert_allclose(g, expected, rtol=1e-9, atol=1e-11)
    if layer.use_bias:
        np.testing.assert_allclose(layer.bias.grad.numpy(), theirs.in_proj_bias.grad, atol=1e-11)


def test_masks_of_a_layer():
    layer, x = nn.MultiHeadAttention(2, 4, dtype="float64"), draw((3, 5, 4))
    lengths = np.array([5, 2, 4])
    padding = (np.arange(5) < lengths[:, None])[:, None, :]  # (n, 1, T)
    y = layer(x, mask=padding)
    np.testing.assert_allclose(y.numpy()[1], layer(x[1], x[1, :2]).numpy(), rtol=1e-12)
    np.testing.assert_array_equal(y.numpy(), layer(x, mask=padding[:, None]).numpy())
    causal = nn.MultiHeadAttention(2, 4, causal=True, dtype="float64")
    causal.load_state_dict(layer.state_dict())
    np.testing.assert_allclose(layer(x, mask=np.tri(5) > 0).numpy(), causal(x).numpy(), rtol=1e-12)
    per_head = layer(x, mask=np.zeros((3, 2, 5, 5)))
    np.testing.assert_allclose(per_head.numpy(), layer(x).numpy(), rtol=1e-12)


def test_layers_wait_for_their_width():
    for layer in (nn.MultiHeadAttention(2), nn.TransformerBlock(2, dropout=0.1)):
        assert not layer.built
        assert layer(np.ones((2, 3, 8), np.float32)).shape == (2, 3, 8)
        again = type(layer)(2, 8)
        assert [p.shape for p in again.parameters()] == [p.shape for p in layer.parameters()]
        again.load_state_dict(layer.state_dict())
    assert nn.TransformerBlock(2, 8, hidden=5).mlp.layers[0].units == 5
    assert "2, width=8" in repr(again)
    assert nn.MultiHeadAttention(2, 4)(np.ones((3, 4), int)).dtype == np.float32


@pytest.mark.host
@MODES
def test_transformer_block_is_pytorchs(mode):
    torch = pytest.importorskip("torch")
    block = nn.TransformerBlock(2, 6, 10, activation="relu", dtype="float64")
    theirs = torch.nn.TransformerEncoderLayer(
        6, 2, 10, dropout=0, activation="relu", batch_first=True, norm_first=True
    ).double()
    theirs.self_attn = _torchs(block.attention)
    with torch.no_grad():
        for ours, linear in zip(block.mlp.layers, (theirs.linear1, theirs.linear2), strict=True):
            linear.weight.copy_(torch.tensor(ours.weight.numpy().T))
            linear.bias.copy_(torch.tensor(ours.bias.numpy()))
    with tg.use_kernels(mode):
        _both(block, theirs, [draw((3, 5, 6))])


class Reverser(nn.Module):
    """Reversing a sequence of tokens, which no position can do without the others."""

    def __init__(self, tokens, length, width=32):
        super().__init__()
        self.embed = nn.Dense(width, tokens)
        self.positions = nn.PositionalEmbedding(length, width)
        self.block = nn.TransformerBlock(4, width, hidden=64)
        self.out = nn.Dense(tokens, width)

    def forward(self, x):
        return self.out(self.block(self.positions(self.embed(x))))


@pytest.mark.host
def test_a_transformer_learns_to_reverse():
    tg.seed(0)
    rng, tokens, length = np.random.default_rng(0), 8, 6
    model = Reverser(tokens, length)
    opt = tg.optim.Adam(model.parameters(), lr=3e-3)
    hot = np.eye(tokens, dtype=np.float32)
    for _ in range(150):
        x = rng.integers(0, tokens, (64, length))
        loss = tg.cross_entropy(model(hot[x]), x[:, ::-1].copy())
        opt.zero_grad()
        loss.backward()
        opt.step()
    x = rng.integers(0, tokens, (256, length))
    assert (model(hot[x]).numpy().argmax(-1) == x[:, ::-1]).mean() > 0.99


# --- kernels ------------------------------------------------------------------------------------


def _cut(x):
    """The same elements, not contiguous: every second column, with axes in another order."""
    return np.repeat(x, 2, axis=-1).transpose(2, 1, 0, 3).copy().transpose(2, 1, 0, 3)[..., ::2]


@pytest.mark.slow
@pytest.mark.parametrize("place", [
    lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),  # heads within a projection
    _cut,
    np.asfortranarray,
    lambda x: x[0, 0],
    lambda x: x[:1].reshape(1, 1, *x[:1].shape),
    lambda x: x[..., :1],
], ids=["heads", "cut", "fortran", "one head", "five axes", "one column"])  # fmt: skip
def test_kernels_take_any_layout(place):
    shapes = (2, 3, 130, 4), (2, 3, 300, 4), (2, 3, 300, 6), (2, 3, 130, 300)
    q, k, v, mask = [place(draw(s, seed=i).astype("float32")) for i, s in enumerate(shapes)]
    mask = mask if q.ndim == 4 and q.shape[-1] > 1 else None
    results = []
    for mode in ("always", "reference"):
        with tg.use_kernels(mode):
            xs = [tg.Tensor(x) for x in (q, k, v)]  # with these strides
            for x in xs:
                x.requires_grad = True
            y = attention(*xs, mask, causal=True)
            (y * y).sum().backward()
            results.append([y.numpy(), *[x.grad.numpy() for x in xs]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_numbers_that_are_not_finite_spread_as_in_the_reference():
    q, k, v = [a.astype("float32") for a in (draw((2, 40, 4)), K[0, :2], V[0, :2])]
    q[0, 3, 1], q[1, 5] = np.nan, np.inf
    with np.errstate(all="ignore"):
        expected = OPS["scaled_dot_product_attention"].ref(q, k, v)[0]
    with tg.use_kernels("always"):
        y = attention(q, k, v).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(y[0, 3]).all()


def test_scores_that_would_overflow():
    for mode in ("always", "reference"):
        with tg.use_kernels(mode):
            x = np.zeros((1, 600, 2), np.float32)
            x[0, :, 0] = np.linspace(-60, 60, 600)  # the largest key comes in the last block
            y = attention(x, x, x, scale=1.0).numpy()
            np.testing.assert_allclose(y[0, 599, 0], 60.0, rtol=1e-3)
            np.testing.assert_allclose(y[0, 0, 0], -60.0, rtol=1e-3)


def test_the_layers_result_is_joined_without_a_copy():
    q, k, v = (draw((2, 64, 3, 8), seed=i).astype(np.float32).swapaxes(1, 2) for i in range(3))
    y = OPS["scaled_dot_product_attention"](q, k, v)[0]
    assert y.swapaxes(1, 2).flags.c_contiguous


def test_one_array_is_projected_by_one_product(monkeypatch):
    from tensorgrad.nn import multihead

    products, x = [], tg.tensor(draw((2, 3, 8)))
    made = multihead.dense
    monkeypatch.setattr(multihead, "dense", lambda *args: products.append(args) or made(*args))
    layer = nn.MultiheadAttention(8, 2, batch_first=True, dtype="float64")
    y, _ = layer(x, x, x)
    assert len(products) == 1
    apart, _ = layer(x, x + 0.0, x + 0.0)
    assert len(products) == 4
    np.testing.assert_allclose(y.numpy(), apart.numpy(), rtol=1e-12)
