"""Recurrent layers, attention and transformers beside PyTorch's, in one table: outputs, states and
weights of attention, and the gradients of inputs, states and parameters."""

import re

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

from .conftest import BACKENDS

torch = pytest.importorskip("torch")
N, T, S, F, H = 2, 4, 3, 4, 6
LENGTHS = [4, 2]
BOTH = {"num_layers": 2, "bidirectional": True}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def hidden(*shape):
    """A mask, True for what is hidden, that hides no row as a whole."""
    mask = drawn(*shape, seed=7) > 0.3
    mask[..., 0] = False
    return mask


def state(kind, count, h=H, n=(N,)):
    hs = drawn(count, *n, h, seed=2), drawn(count, *n, H, seed=3)
    return hs if kind == "LSTM" else hs[0]


def recurrent(kind, given=True, first=False, single=False, lengths=None, **options):
    """A row of the table: (layer, its arguments, its options, the inputs, the call's options)."""
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    shape = (T, F) if single else (N, T, F) if first else (T, N, F)
    start = state(kind, count, options.get("proj_size", H), () if single else (N,))
    call = {} if lengths is None else {"lengths": lengths}
    if first:
        options["batch_first"] = True
    return kind, (F, H), options, [drawn(*shape), *([start] if given else [])], call


def attention(q=(T, N, F), k=None, v=None, call=None, **options):
    k = q if k is None else k
    inputs = [drawn(*q), drawn(*k, seed=1), drawn(*(k if v is None else v), seed=2)]
    return "MultiheadAttention", (F, 2), options, inputs, call or {}


def encoder(call=None, first=False, layers=0, **options):
    shape = (N, T, F) if first else (T, N, F)
    if first:
        options["batch_first"] = True
    options = {"dim_feedforward": 8, "dropout": 0.0, **options}
    kind = f"TransformerEncoder{layers or 'Layer'}"
    return kind, (F, 2), options, [drawn(*shape)], call or {}


def decoder(call=None, layers=0, **options):
    options = {"dim_feedforward": 8, "dropout": 0.0, **options}
    kind = f"TransformerDecoder{layers or 'Layer'}"
    return kind, (F, 2), options, [drawn(T, N, F), drawn(S, N, F, seed=1)], call or {}


CAUSAL = ~np.tri(T, dtype=bool)
ADDED = np.where(CAUSAL, -np.inf, 0.0)
PADDING = np.arange(T) >= np.array(LENGTHS)[:, None]
CASES = {
    **{kind: recurrent(kind) for kind in ("RNN", "LSTM", "GRU")},
    **{f"{kind} of zeros": recurrent(kind, given=False) for kind in ("RNN", "LSTM", "GRU")},
    **{f"{kind} both": recurrent(kind, first=True, **BOTH) for kind in ("RNN", "LSTM", "GRU")},
    **{
        f"{kind} lengths": recurrent(kind, lengths=LENGTHS, **BOTH)
        for kind in ("RNN", "LSTM", "GRU")
    },
    "LSTM lengths first": recurrent("LSTM", first=True, lengths=[1, 3], bias=False),
    "GRU lengths of zeros": recurrent("GRU", given=False, lengths=[2, 4], bidirectional=True),
    **{f"{kind} no bias": recurrent(kind, bias=False) for kind in ("RNN", "LSTM", "GRU")},
    **{f"{kind} single": recurrent(kind, single=True, **BOTH) for kind in ("RNN", "LSTM", "GRU")},
    "RNN relu": recurrent("RNN", nonlinearity="relu", num_layers=2),
    "LSTM projected": recurrent("LSTM", proj_size=3, **BOTH),
    "LSTM projected of zeros": recurrent("LSTM", given=False, proj_size=1, bias=False),
    "LSTM projected lengths": recurrent("LSTM", proj_size=3, lengths=LENGTHS, bidirectional=True),
    "RNNCell": ("RNNCell", (F, H), {}, [drawn(N, F), drawn(N, H)], {}),
    "RNNCell relu": ("RNNCell", (F, H), {"nonlinearity": "relu"}, [drawn(F), drawn(H)], {}),
    "LSTMCell": ("LSTMCell", (F, H), {}, [drawn(N, F), state("LSTM", N, n=())], {}),
    "LSTMCell single": ("LSTMCell", (F, H), {}, [drawn(F), (drawn(H), drawn(H, seed=1))], {}),
    "GRUCell": ("GRUCell", (F, H), {"bias": False}, [drawn(N, F), drawn(N, H)], {}),
    "GRUCell of zeros": ("GRUCell", (F, H), {}, [drawn(N, F)], {}),
    "attention": attention(),
    "attention first": attention((N, T, F), (N, S, F), batch_first=True),
    "attention of one": attention((T, F), (S, F), call={"average_attn_weights": False}),
    "attention alone": attention(call={"need_weights": False}, bias=False),
    "attention kdim": attention(k=(S, N, 3), v=(S, N, 5), kdim=3, vdim=5),
    "attention extra": attention(add_bias_kv=True, add_zero_attn=True, call={"attn_mask": CAUSAL}),
    "attention extra padding": attention(
        (N, T, F), add_bias_kv=True, batch_first=True, call={"key_padding_mask": PADDING}
    ),
    "attention zero": attention(
        (T, F), add_zero_attn=True, call={"attn_mask": ADDED, "need_weights": False}
    ),
    "attention causal": attention(
        call={"attn_mask": CAUSAL, "is_causal": True, "need_weights": False}
    ),
    "attention masks": attention(
        k=(S, N, F),
        call={"attn_mask": hidden(N * 2, T, S), "key_padding_mask": hidden(N, S)},
    ),
    "attention added": attention(
        call={"attn_mask": drawn(T, T), "key_padding_mask": drawn(N, T, seed=1)}
    ),
    "attention added, alone": attention(
        call={"attn_mask": drawn(N * 2, T, T), "need_weights": False}, dropout=0.0
    ),
    "encoder layer": encoder(),
    "encoder layer first": encoder(first=True, norm_first=True, activation="gelu"),
    "encoder layer masks": encoder(
        {"src_mask": CAUSAL, "src_key_padding_mask": PADDING}, layer_norm_eps=1e-3
    ),
    "encoder": encoder({"mask": ADDED, "is_causal": True}, layers=2),
    "encoder padding": encoder({"src_key_padding_mask": PADDING}, layers=2, first=True),
    "decoder layer": decoder({"tgt_mask": CAUSAL, "tgt_is_causal": True}),
    "decoder layer first": decoder(
        {"memory_mask": hidden(T, S), "tgt_key_padding_mask": hidden(N, T)},
        norm_first=True,
        activation="gelu",
    ),
    "decoder": decoder({"tgt_mask": ADDED, "memory_key_padding_mask": hidden(N, S)}, layers=2),
    "transformer": (
        "Transformer",
        (F, 2, 1, 2, 8),
        {"dropout": 0.0},
        [drawn(S, N, F), drawn(T, N, F, seed=1)],
        {"tgt_mask": CAUSAL, "src_key_padding_mask": hidden(N, S)},
    ),
}


def made(home, kind, args, options, dtype):
    """The layer in one of the packages, or a stack of two of them."""
    kind, count = re.fullmatch(r"(\D+)(\d?)", kind).groups()
    if not count:
        return getattr(home, kind)(*args, **options, dtype=dtype)
    layer = getattr(home, f"{kind}Layer")(*args, **options, dtype=dtype)
    more = {"enable_nested_tensor": False} if home is torch.nn and "En" in kind else {}
    return getattr(home, kind)(layer, int(count), home.LayerNorm(F, dtype=dtype), **more)


def matched(ours, theirs):
    """(ours, theirs) of all parameters; ours are drawn, theirs the same. Matrices of layers are
    transposed."""
    own, pairs = dict(ours.named_parameters()), []
    for k, (name, p) in enumerate(theirs.named_parameters()):
        mine = own.pop(re.sub(r"\.(\d+)\.", r"[\1].", name))
        mine.data = drawn(*mine.shape, seed=k) * 0.5
        with torch.no_grad():
            p.copy_(torch.tensor(mine.numpy().T if mine.ndim == 2 else mine.numpy()))
        pairs.append((mine, p))
    assert not own
    return pairs


def flat(tree):
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flat(part)]
    return [] if tree is None else [tree]


def leaves(tree, make):
    return tuple([leaves(t, make) for t in tree]) if isinstance(tree, tuple) else make(tree)


def theirs_of(layer, inputs, call):
    """PyTorch's call, in which lengths are a packed sequence."""
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}
    given = {
        k: v.to(inputs[0].dtype) if getattr(v, "dtype", None) == torch.float64 else v
        for k, v in given.items()
    }
    if (lengths := given.pop("lengths", None)) is None:
        return layer(*inputs, **given)
    rnn, first = torch.nn.utils.rnn, {"batch_first": layer.batch_first}
    packed = rnn.pack_padded_sequence(inputs[0], lengths, enforce_sorted=False, **first)
    y, last = layer(packed, *inputs[1:])
    return rnn.pad_packed_sequence(y, total_length=T, **first)[0], last


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name, dtype):
    held(name, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:], indirect=True)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_on_a_gpu_are_pytorchs(name, backend):
    for dtype in ("float64", "float32"):
        held(name, dtype)


def held(name, dtype):
    kind, args, options, inputs, call = CASES[name]
    ours = made(nn, kind, args, options, dtype)
    theirs = made(torch.nn, kind, args, options, getattr(torch, dtype))
    pairs = matched(ours, theirs)
    mine = [leaves(x, lambda a: tg.tensor(a, dtype, requires_grad=True)) for x in inputs]
    other = [leaves(x, lambda a: torch.tensor(a, dtype=theirs_dtype(dtype))) for x in inputs]
    for leaf in flat(other):
        leaf.requires_grad_()
    close = {"float64": {"rtol": 1e-10, "atol": 1e-11}, "float32": {"rtol": 1e-5, "atol": 2e-5}}
    got, wanted = flat(ours(*mine, **call)), flat(theirs_of(theirs, other, call))
    assert len(got) == len(wanted)
    seeds = [drawn(*y.shape, seed=9 + k) for k, y in enumerate(got)]
    for y, z in zip(got, wanted, strict=True):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), **close[dtype])
    sum([(y * s.astype(dtype)).sum() for y, s in zip(got, seeds, strict=True)]).backward()
    sum(
        [(z * torch.tensor(s, dtype=z.dtype)).sum() for z, s in zip(wanted, seeds, strict=True)]
    ).backward()
    for a, b in zip(flat(mine), flat(other), strict=True):
        expected = np.zeros(a.shape) if b.grad is None else b.grad.numpy()
        np.testing.assert_allclose(a.grad.numpy(), expected, **close[dtype])
    for a, b in pairs:
        g = b.grad.numpy()
        np.testing.assert_allclose(a.grad.numpy(), g.T if g.ndim == 2 else g, **close[dtype])


def theirs_dtype(dtype):
    return getattr(torch, dtype)


DROPS = {
    "LSTM": ((F, H), {"num_layers": 2}, 1),
    "MultiheadAttention": ((F, 2), {}, 1),
    "TransformerEncoderLayer": ((F, 2, 8), {}, 1),
    "TransformerDecoderLayer": ((F, 2, 8), {}, 2),
}


@pytest.mark.parametrize("kind", DROPS)
def test_dropout_is_in_training_alone(kind):
    args, options, count = DROPS[kind]
    ours = made(nn, kind, args, {**options, "dropout": 0.5}, "float64")
    theirs = made(torch.nn, kind, args, {**options, "dropout": 0.5}, torch.float64).eval()
    matched(ours, theirs)
    xs = [drawn(T, N, F, seed=k) for k in range(count)]
    given = xs * 3 if "head" in kind else xs
    expected = flat(theirs(*map(torch.tensor, given)))[0].detach().numpy()
    np.testing.assert_allclose(flat(ours.eval()(*given))[0].numpy(), expected, rtol=1e-10)
    tg.seed(0)
    first, again = [flat(ours.train()(*given))[0].numpy() for _ in range(2)]
    assert not np.allclose(first, again)
    tg.seed(0)
    np.testing.assert_array_equal(flat(ours(*given))[0].numpy(), first)


@pytest.mark.parametrize("kind", ["LSTM", "MultiheadAttention", "GRUCell"])
def test_first_weights_are_distributed_as_pytorchs(kind):
    tg.seed(0)
    torch.manual_seed(0)
    args = (64, 2) if "head" in kind else (64, 64)
    own = dict(getattr(nn, kind)(*args).named_parameters())
    for name, p in getattr(torch.nn, kind)(*args).named_parameters():
        a, b = own[name].numpy(), p.detach().numpy()
        assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.05), name
        assert a.std() == pytest.approx(b.std(), rel=0.15 if a.ndim == 1 else 0.02), name
