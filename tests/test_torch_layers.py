"""Every layer that PyTorch has, too, beside it: the same arguments and weights give the same
outputs, gradients and buffers, in training and in evaluation mode: in float64 to 1e-10, and in
float32 to 1e-5 of the largest, where PyTorch computes with the same numbers in float64."""

import inspect

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

from .layer_cases import CASES, NAMED, RANDOM

torch = pytest.importorskip("torch")
rng = np.random.default_rng(0)
GIVEN = {
    "ids": lambda: rng.integers(0, 5, (4, 3)),
    "flat ids": lambda: rng.integers(0, 5, 7),
    "offsets": lambda: np.array([0, 3, 3, 7]),
    "shares": lambda: rng.normal(size=7),
}


def made(name, args, options, backend, dtype):
    """The layer and PyTorch's, with the same weights, which float32 holds."""
    named = dict(options)
    if "random_samples" in options:
        named["_random_samples"] = torch.tensor(named.pop("random_samples"))
    theirs = getattr(torch.nn, name)(*args, **named).double()
    kind = getattr(nn, name)
    tg.seed(0)
    takes = inspect.signature(kind.__init__).parameters
    own = {"dtype": dtype} if "dtype" in takes else {}
    ours = kind(*args, **options, **own).astype(dtype).to(backend)
    wanted = {k: v.numpy() for k, v in theirs.state_dict().items()}
    for path, tensor in ours.named_state():
        value = wanted[path]
        if path in ("weight", "bias"):
            value = single(rng.normal(size=tensor.shape))
        tensor.data = tg.asarray(value, dtype=tensor.dtype, backend=backend).data
        flipped = value.T if name == "Linear" and value.ndim == 2 else value
        wanted[path] = flipped
    theirs.load_state_dict({k: torch.tensor(v) for k, v in wanted.items()})
    return ours, theirs


def single(x):
    return x.astype("float32").astype("float64")


def inputs(name, given, backend):
    """The same arguments for both."""
    found = []
    for shape in given:
        if shape == "pooled":
            space = given[1]
            x = torch.tensor(single(rng.normal(size=space)))
            y, at = getattr(torch.nn, name.replace("Unp", "P"))(2, return_indices=True)(x)
            return [(y.numpy(), True), (at.numpy(), False)]
        x = GIVEN[shape]() if isinstance(shape, str) else rng.normal(size=shape)
        x = single(x) if x.dtype.kind == "f" else x
        found.append((x, x.dtype.kind == "f"))
    return found


def flat(y):
    return y if isinstance(y, (tuple, list)) else [y]


IDS = [f"{n}-{i}" for n, i in NAMED]


@pytest.mark.host
@pytest.mark.parametrize(("name", "i"), NAMED, ids=IDS)
def test_a_layer_is_torchs(name, i):
    held(name, i, "numpy")


@pytest.mark.parametrize("name", CASES)
def test_a_layer_on_a_gpu_is_torchs(name, gpu):
    held(name, 0, gpu.name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "i"), NAMED, ids=IDS)
def test_a_layer_with_its_options_on_a_gpu_is_torchs(name, i, gpu):
    held(name, i, gpu.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_layer_in_float32_is_torchs(name, backend):
    for i in range(len(CASES[name])):
        held(name, i, backend, "float32")


def near(ours, theirs, close, atol):
    """Whether numbers are PyTorch's; those of float32 to 1e-5 of the largest."""
    if ours.dtype == np.float32:
        close, atol = 0, 1e-5 * np.nanmax(np.abs(theirs), initial=0)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=close, atol=atol)


def held(name, i, backend, dtype="float64"):
    args, options, given = CASES[name][i]
    ours, theirs = made(name, args, options, backend, dtype)
    for training in (True, False) if name not in RANDOM else (False,):
        ours.train(training), theirs.train(training)
        both = [[], []]
        for x, learnt in inputs(name, given, backend):
            a = x.astype(dtype) if learnt else x
            both[0].append(tg.tensor(a, requires_grad=True, backend=backend) if learnt else
                           tg.asarray(a, backend=backend))  # fmt: skip
            both[1].append(torch.tensor(x, requires_grad=learnt))
        y, z = flat(ours(*both[0])), flat(theirs(*both[1]))
        assert len(y) == len(z)
        assert y[0].dtype == dtype
        for a, b in zip(y, z, strict=True):
            near(a, b.detach().numpy(), 1e-10, 1e-10)
        learnt = [(a, b) for a, b in zip(*both, strict=True) if b.requires_grad]
        weights = dict(theirs.named_parameters())
        learnt += [(p, weights[path]) for path, p in ours.named_parameters()]
        g = single(rng.normal(size=y[0].shape))
        if not learnt:
            continue
        for _, b in learnt:
            b.grad = None
        ours.zero_grad()
        (y[0] * tg.asarray(g.astype(dtype), backend=backend)).sum().backward()
        (z[0] * torch.tensor(g)).sum().backward()
        for a, b in learnt:
            wanted = b.grad.to_dense().numpy()
            wanted = wanted.T if name == "Linear" and b is weights["weight"] else wanted
            # PyTorch's 1/6 is a float32
            near(a.grad, wanted, 1e-7 if name == "Hardsigmoid" else 1e-10, 1e-10)
        for path, tensor in ours.named_state():
            wanted = theirs.state_dict()[path].numpy()
            near(tensor, wanted.T if name == "Linear" else wanted, 1e-10, 1e-12)


def test_every_layer_of_torch_that_there_is_is_among_them():
    elsewhere = """GRU LSTM RNN MultiheadAttention Transformer Module Parameter Buffer Sequential
    ModuleList ModuleDict ParameterList ParameterDict""".split()
    shared = {
        name
        for name in nn.__all__
        if isinstance(getattr(torch.nn, name, None), type)
        and not name.endswith(("Loss", "Cell", "Layer", "Encoder", "Decoder"))
    }
    assert shared - set(elsewhere) == set(CASES)
