"""Cached generation equals the uncached one; what is drawn; lengths and options through Sequential;
positions by their formulas; what a mistake says."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

from .rows import of_each

rng = np.random.default_rng(0)
CLASSES, WIDTH, HEADS = 7, 8, 4
BLOCKS = {
    "plain": {},
    "one key": {"num_kv_heads": 1},
    "rotary, groups": {"positions": "rotary", "num_kv_heads": 2},
    "alibi": {"positions": "alibi"},
    "post-norm, rms": {"norm_first": False, "norm": "rms", "bias": False},
}


def language_model(position=None, **options):
    blocks = [nn.TransformerBlock(HEADS, WIDTH, causal=True, dtype="float64", **options)]
    blocks += [] if position is None else [position]
    embedding = nn.Embedding(CLASSES, WIDTH, dtype="float64")
    return nn.Sequential(embedding, *blocks[::-1], nn.Dense(CLASSES, dtype="float64")).eval()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_cache_changes_nothing(name):
    position = None
    if "positions" not in BLOCKS[name]:
        position = nn.PositionalEmbedding(12, WIDTH, dtype="float64")
        position = nn.SinusoidalPositions() if name == "one key" else position
    model, ids = language_model(position, **BLOCKS[name]), rng.integers(0, CLASSES, (3, 9))
    cache = nn.KeyValueCache(9)
    with tg.no_grad():
        whole = model(ids).numpy()
        for _ in range(2):
            parts = [ids[:, :3], ids[:, 3:4], ids[:, 4:8], ids[:, 8:]]
            found = [model(part, cache=cache).numpy() for part in parts]
            np.testing.assert_allclose(np.concatenate(found, axis=1), whole, rtol=1e-10, atol=1e-12)
            assert len(cache) == 9
            cache.reset()
    model.train()
    again = nn.generate(model, ids[:, :4], 6, temperature=0).numpy()
    assert again.shape == (3, 10)
    assert model.training
    uncached = ids[:, :4]
    for _ in range(6):
        last = model(uncached).numpy()[:, -1]
        uncached = np.concatenate([uncached, last.argmax(-1)[:, None]], axis=1)
    np.testing.assert_array_equal(again, uncached)


def test_a_token_more_goes_through_plain_blocks_in_one_op(monkeypatch):
    """And not where a hook, an option or another batch would be passed over."""
    model, ids = language_model(), rng.integers(0, CLASSES, (2, 5))
    block, steps = model.stack[1], []
    plain = nn.cache.block_step
    monkeypatch.setattr(nn.cache, "block_step", lambda *a, **k: steps.append(1) or plain(*a, **k))
    with tg.no_grad():
        whole = model(ids).numpy()

        def again(**options):
            steps.clear()
            cache = nn.KeyValueCache(5)
            parts = [ids[:, :2], *(ids[:, i : i + 1] for i in range(2, 5))]
            found = [model(part, cache=cache, **options).numpy() for part in parts]
            np.testing.assert_allclose(np.concatenate(found, 1), whole, rtol=1e-10, atol=1e-12)
            return len(steps)

        assert again() == 3
        seen = []
        for part in (block.mlp, block.attention, block.mlp_norm, block.mlp[1]):
            with part.register_forward_hook(lambda *a: seen.append(1)):
                assert again() == 0
        assert len(seen) == 16
        steps.clear()
        block.mlp.stack[0].activation = "relu"
        cache = nn.KeyValueCache(5)
        model(ids[:, :2], cache=cache), model(ids[:, 2:3], cache=cache)
        assert not steps
    with pytest.raises(tg.GraphError, match="keeps no gradients"):
        model(ids[:, 3:4], cache=cache)


def test_attention_to_an_encoders_output_projects_it_once():
    layer = nn.MultiHeadAttention(2, 4, dtype="float64")
    x, memory = tg.asarray(rng.normal(size=(3, 2, 4))), tg.asarray(rng.normal(size=(3, 5, 4)))
    cache = nn.KeyValueCache(2)
    with tg.no_grad():
        whole = layer(x, memory).numpy()
        steps = [layer(x[:, i : i + 1], memory, cache=cache).numpy() for i in range(2)]
        np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-12)
        layer.weight.data = layer.weight.numpy() * 2  # the kept ones are of the old weight
        kept = [a[3][0].numpy().copy() for a in cache._beside.values()]
        layer(x, memory, cache=cache)
        np.testing.assert_array_equal([a[3][0].numpy() for a in cache._beside.values()], kept)
        cache.reset()
        other = tg.asarray(rng.normal(size=(3, 4, 4)))
        for given in (memory, other):  # another output is projected anew
            np.testing.assert_allclose(
                layer(x, given, cache=cache).numpy(), layer(x, given).numpy(), rtol=1e-12
            )
    with pytest.raises(tg.GraphError, match="keeps no gradients"):
        layer(x, memory, cache=nn.KeyValueCache(2))
    with pytest.raises(tg.ArgumentError, match="an encoder's output"):
        layer(x, cache=cache)


class Constant(nn.Module):
    """The same logits for every token, and no cache."""

    def __init__(self, *p):
        super().__init__()
        self.logits = np.log(np.maximum(p, 1e-300))

    def forward(self, ids):
        return tg.asarray(np.broadcast_to(self.logits, (*ids.shape, len(self.logits))))


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, np.square([0.5, 0.3, 0.15, 0.05]) / 0.365),
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.6}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.0}, [1, 0, 0, 0]),
        ({"top_p": 0.81}, np.array([0.5, 0.3, 0.15, 0]) / 0.95),
        ({"top_p": 1.0}, [0.5, 0.3, 0.15, 0.05]),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_asked(options, expected):
    tg.seed(0)
    drawn = nn.generate(Constant(0.5, 0.3, 0.15, 0.05), np.zeros((4000, 1), int), 1, **options)
    counts = np.bincount(drawn.numpy()[:, 1], minlength=4) / 4000
    np.testing.assert_allclose(counts, expected, atol=0.03)
    assert ((counts > 0) == (np.array(expected) > 0)).all()
    tg.seed(0)
    again = nn.generate(Constant(0.5, 0.3, 0.15, 0.05), np.zeros((4000, 1), int), 1, **options)
    np.testing.assert_array_equal(again.numpy(), drawn.numpy())


def test_options_and_outputs_pass_through_sequential():
    x, lengths = rng.normal(size=(2, 5, 3)), [5, 2]
    lstm = nn.LSTM(3, 4, batch_first=True, dtype="float64")
    gru = nn.GRU(4, 4, bidirectional=True, batch_first=True, dtype="float64")
    model = nn.Sequential(nn.Sequential(lstm, gru), nn.Last(), nn.Dense(2, dtype="float64"))
    y = model(x, lengths=lengths).numpy()
    np.testing.assert_allclose(y[0], model(x[:1]).numpy()[0], rtol=1e-12)
    np.testing.assert_allclose(y[1], model(x[1:, :2]).numpy()[0], rtol=1e-12)
    output, (h, _) = nn.Sequential(lstm)(x)
    np.testing.assert_array_equal(output.numpy()[:, -1], h.numpy()[0])
    block = nn.TransformerBlock(2, 4, dtype="float64")
    model = nn.Sequential(nn.Dense(4, dtype="float64"), block, nn.Last())
    y = model(x, lengths=lengths).numpy()
    np.testing.assert_allclose(y[1], model(x[1:, :2]).numpy()[0], rtol=1e-12)
    mask = np.tri(5) > 0
    np.testing.assert_allclose(
        model(x, mask=mask).numpy(), block(model[0](x), mask=mask)[:, -1].numpy(), rtol=1e-12
    )
    with pytest.raises(tg.ArgumentError, match="no layer takes cache="):
        nn.Sequential(nn.Dense(2), lambda x: x)(x, cache=nn.KeyValueCache(3))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "attention"])
def test_what_comes_after_the_end_counts_as_nothing(kind):
    if kind == "attention":
        layer = nn.MultiHeadAttention(2, 4, dtype="float64")
    else:
        options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
        layer = getattr(nn, kind)(4, 3, **options, dtype="float64")
    x, lengths, grads = rng.normal(size=(3, 5, 4)), [2, 5, 0], []
    for after in (0.0, 1e3 if kind == "attention" else np.nan):  # queries there are used
        x[0, 2:], x[2] = after, after
        a = tg.tensor(x, requires_grad=True)
        layer.zero_grad()
        y = layer(a, lengths=lengths)
        y, last = (y[:, :2], y[1:2]) if kind == "attention" else y
        states = last if isinstance(last, tuple) else (last,)
        if kind != "attention":
            assert not y.numpy()[0, 2:].any()
            assert all(not s.numpy()[:, 2].any() for s in states)
        (y[0].sum() + sum([s[:, :1].sum() for s in states])).backward()
        grads.append([a.grad.numpy()[0, :2], *[p.grad.numpy() for p in layer.parameters()]])
    for first, second in zip(*grads, strict=True):
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(first).all()


def test_an_empty_sequence_ends_in_the_state_it_began_with():
    layer = nn.GRU(4, 3, batch_first=True, bidirectional=True, dtype="float64")
    begin = rng.normal(size=(2, 2, 3))
    _, last = layer(rng.normal(size=(2, 5, 4)), begin, lengths=[0, 5])
    np.testing.assert_array_equal(last.numpy()[:, 0], begin[:, 0])
    assert (last.numpy()[:, 1] != begin[:, 1]).all()


# --- attention of ours ----------------------------------------------------------------------------


def test_heads_of_a_group_share_their_keys():
    """As many heads of keys as of queries, those of a group alike, give the same."""
    few = nn.MultiHeadAttention(4, 8, num_kv_heads=2, causal=True, dtype="float64")
    many = nn.MultiHeadAttention(4, 8, causal=True, dtype="float64")
    parts = np.split(few.weight.numpy(), [8, 12], axis=1)
    shared = [
        parts[0],
        *[np.repeat(p.reshape(8, 2, 2), 2, axis=1).reshape(8, 8) for p in parts[1:]],
    ]
    many.weight.data = np.concatenate(shared, axis=1)
    many.output.load_state_dict(few.output.state_dict())
    x = rng.normal(size=(2, 5, 8))
    np.testing.assert_allclose(few(x).numpy(), many(x).numpy(), rtol=1e-12)
    assert few.weight.shape == (8, 16)


@pytest.mark.parametrize("mask", [None, np.tri(5) > 0, rng.normal(size=(2, 5, 5))], ids=str)
def test_probabilities_are_those_of_the_output(mask):
    layer, x = nn.MultiHeadAttention(2, 4, dtype="float64"), rng.normal(size=(2, 5, 4))
    y, p = layer(x, mask=mask, need_weights=True)
    np.testing.assert_allclose(y.numpy(), layer(x, mask=mask).numpy(), rtol=1e-12)
    np.testing.assert_allclose(p.numpy().sum(-1), 1, rtol=1e-12)
    assert p.shape == (2, 2, 5, 5)
    if mask is not None and mask.dtype == bool:
        assert not p.numpy()[..., ~mask].any()


def test_a_row_that_sees_nothing_has_no_probabilities():
    layer, x = (
        nn.MultiheadAttention(4, 2, batch_first=True, dtype="float64"),
        rng.normal(size=(2, 3, 4)),
    )
    a = tg.tensor(x, requires_grad=True)
    y, p = layer(a, key_padding_mask=np.array([[True] * 3, [False] * 3]))
    assert not p.numpy()[0].any()
    np.testing.assert_allclose(y.numpy()[0], 0, atol=1e-15)
    (y * rng.normal(size=y.shape)).sum().backward()
    assert np.isfinite(a.grad.numpy()).all()


def test_rotary_scores_depend_on_the_distance_alone():
    x = np.tile(rng.normal(size=(1, 1, 8)), (1, 6, 1))  # all tokens alike
    turned = nn.positions.rotary(tg.asarray(x[0]), 3).numpy()
    angle = 3 / 10000 ** (np.arange(0, 8, 2) / 8)
    a, b = x[0, 0, :4], x[0, 0, 4:]
    expected = [*(a * np.cos(angle) - b * np.sin(angle)), *(b * np.cos(angle) + a * np.sin(angle))]
    np.testing.assert_allclose(turned[0], expected, rtol=1e-12)
    products = turned @ nn.positions.rotary(tg.asarray(x[0]), 0).numpy().T
    for shift in (-2, 0, 2):
        np.testing.assert_allclose(np.ptp(np.diagonal(products, shift)), 0, atol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize(
    ("heads", "slopes"),
    [(1, [2**-8]), (4, [2**-2, 2**-4, 2**-6, 2**-8]), (3, [2**-4, 2**-8, 2**-2])],
)
def test_alibi_takes_off_what_grows_with_the_distance(heads, slopes):
    bias = nn.positions.alibi(heads, 2, 4, start=2)
    apart = [[2, 1, 0, 1], [3, 2, 1, 0]]
    np.testing.assert_allclose(bias, -np.multiply.outer(slopes, apart))


def test_sinusoidal_positions_by_the_formula():
    y = nn.SinusoidalPositions()(np.zeros((2, 5, 3))).numpy()
    t = np.arange(5)
    expected = [np.sin(t), np.cos(t), np.sin(t / 10000 ** (2 / 3))]
    np.testing.assert_allclose(y[1].T, expected, rtol=1e-12, atol=1e-14)


# --- mistakes -------------------------------------------------------------------------------------

X = np.ones((2, 5, 4), np.float32)
CACHE, MHA = nn.KeyValueCache(3), nn.MultiheadAttention(4, 2)
MISTAKES = {
    "input": (
        lambda: nn.LSTM(3, 2)(X),
        "made for input_size = 3",
    ),
    "axes": (lambda: nn.GRU(4, 2)(X[None]), r"\(t, n, features\), or one, .*\(1, 2, 5, 4\)"),
    "state": (lambda: nn.LSTM(4, 2)(X, (X, X)), r"h_0 \(1, 5, 2\), c_0 \(1, 5, 2\) here; got"),
    "no pair": (lambda: nn.LSTM(4, 2)(X, X), "h_0 .*c_0"),
    "proj": (lambda: nn.LSTM(4, 2, proj_size=2), "proj_size=2 must be smaller than hidden_size=2"),
    "lengths": (lambda: nn.RNN(4, 2, batch_first=True)(X, lengths=[6, 1]), "from 0 to 5.*1 to 6"),
    "count": (lambda: nn.RNN(4, 2)(X, lengths=[5, 1]), "one for each of 5"),
    "whole": (lambda: nn.RNN(4, 2, batch_first=True)(X, lengths=[1.0, 2]), "whole numbers"),
    "cell": (lambda: nn.LSTMCell(4, 2)(X), "one step"),
    "last": (lambda: nn.Last()(X[:, :0]), "one step or more"),
    "heads": (lambda: nn.MultiheadAttention(4, 3), "3 heads cannot share embed_dim = 4"),
    "kv heads": (lambda: nn.MultiHeadAttention(4, num_kv_heads=3), "must divide the 4 heads"),
    "pairs": (lambda: nn.MultiHeadAttention(4, 4, positions="rotary"), "pairs of features"),
    "key": (lambda: nn.MultiheadAttention(4, 2)(X, X[:, :, :3]), "the key has shape"),
    "examples": (lambda: nn.MultiheadAttention(4, 2)(X, X[:, :3]), "same examples"),
    "mask": (lambda: nn.MultiheadAttention(4, 2)(X, attn_mask=np.ones((5, 5), bool)), r"\(2, 2\)"),
    "mask of ints": (
        lambda: nn.MultiheadAttention(4, 2)(X, attn_mask=np.ones((2, 2), int)),
        "bool",
    ),
    "full": (lambda: kept(nn.MultiHeadAttention(2, 4, True), X), "room for 3 tokens"),
    "recorded": (lambda: nn.MultiHeadAttention(2, 4, True)(X, cache=CACHE), "keeps no gradients"),
    "no causal": (lambda: kept(nn.MultiHeadAttention(2, 4), X), "causal self-attention"),
    "other batch": (lambda: other_batch(nn.MultiHeadAttention(2, 4, True)), "reset"),
    "logits": (lambda: nn.generate(nn.Embedding(3, 2), [[0.5]], 1), "whole numbers"),
    "no ids": (lambda: nn.generate(nn.Embedding(3, 2), np.zeros((2, 0), int), 1), "T of 1 or more"),
    "gives": (
        lambda: nn.generate(nn.Sequential(nn.Embedding(3, 2), nn.Last()), [[0]], 1),
        "logits",
    ),
    "temperature": (lambda: nn.generate(nn.Embedding(3, 2), [0], 1, -1.0), "temperature=-1.0"),
}


def kept(layer, x, cache=CACHE):
    with tg.no_grad():
        return layer(x, cache=cache)


def other_batch(layer):
    cache = nn.KeyValueCache(9)
    kept(layer, X[:, :1], cache)
    return kept(layer, X[:1, :1], cache)


@of_each("name", MISTAKES)
def test_mistakes_say_what_to_do(name):
    call, message = MISTAKES[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()
