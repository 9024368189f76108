"""Tensors among other libraries' arrays: DLPack in both directions without a copy, and
np.<function>(tensor) for every function that NumPy and tensorgrad both have."""

import inspect

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.trees import leaves, refill

from .attack import settings_calls as calls
from .rows import of_each

pytestmark = pytest.mark.host

# --- DLPack -------------------------------------------------------------------------------------


def aligned(dtype):
    """An array at a multiple of 64 bytes, as JAX shares no other."""
    raw = np.zeros(1024 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 1024].view(dtype)


def _torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    return torch.from_dlpack, torch.from_numpy, lambda t: t.data_ptr()


def _jax():
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed")
    return jnp.from_dlpack, jnp.from_dlpack, lambda a: a.unsafe_buffer_pointer()


PEERS = {
    "numpy": lambda: (np.from_dlpack, lambda a: a, lambda a: a.ctypes.data),
    "torch": _torch,
    "jax": _jax,
}


@pytest.mark.parametrize("dtype", ["float32", "int32", "complex64", "uint8"])
@pytest.mark.parametrize("peer", PEERS)
def test_dlpack_shares_memory_in_both_directions(peer, dtype):
    take, make, address = PEERS[peer]()
    ours = tg.asarray(aligned(dtype))
    assert ours.data.dtype == dtype
    theirs = take(ours)
    assert address(theirs) == ours.data.ctypes.data
    there = make(aligned(dtype))
    back = tg.from_dlpack(there)
    assert back.data.ctypes.data == address(there)
    assert (back.dtype, back.shape) == (np.dtype(dtype), tuple(there.shape))


@pytest.mark.parametrize("peer", PEERS)
def test_dlpack_of_views_and_of_what_is_on_the_tape(peer):
    take = PEERS[peer]()[0]
    x = tg.asarray(aligned("float32")[:12].reshape(3, 4)).T
    assert tuple(take(x).shape) == (4, 3)
    with pytest.raises((tg.GraphError, BufferError), match=r"\.detach\(\)"):
        take(tg.tensor([1.0], requires_grad=True))
    assert tg.from_dlpack(np.arange(3.0), copy=True).data.flags.owndata


# --- NumPy's functions on tensors ---------------------------------------------------------------

SPACES = {"tg": np, "linalg": np.linalg, "fft": np.fft}
OTHERWISE = {  # and why
    **dict.fromkeys(
        """tg.arange tg.empty tg.eye tg.full tg.linspace tg.ones tg.zeros tg.tril_indices tg.indices
        tg.triu_indices fft.fftfreq fft.rfftfreq""".split(),
        "takes no tensor",
    ),
    **dict.fromkeys(
        ("tg.fill_diagonal", "tg.put_along_axis", "tg.place"), "NumPy's writes in place"
    ),
    "tg.asarray": "refuses what is on the tape",
    "tg.empty_like": "any numbers",
    "tg.identity": "of a size",
    "tg.unstack": "the axis is by keyword",
    "tg.lexsort": "NumPy does not look into lists of keys",
}
TARGETS = calls.targets()
ARGUMENTS = {
    name: make
    for name, make in calls.arguments().items()
    if make is not None
    and callable(f := getattr(SPACES.get(name.partition(".")[0]), name.partition(".")[2], None))
    and not isinstance(f, type)
}


def tensors(tree):
    """Its arrays as tensors, floating ones as leaves of the tape."""

    def made(a):
        if not isinstance(a, np.ndarray):
            return a
        return tg.tensor(a, requires_grad=a.dtype.kind in "fc")

    return refill(tree, iter([made(a) for a in leaves(tree)]))


@of_each("name", sorted(set(ARGUMENTS) - set(OTHERWISE)))
def test_numpys_function_is_ours_on_tensors(name):
    space, _, short = name.partition(".")
    ours = TARGETS[name]
    given = {word: tensors(value) for word, value in ARGUMENTS[name]().items()}
    places, words = [], {}
    for i, p in enumerate(inspect.signature(ours).parameters.values()):
        if p.name in given and p.kind != p.KEYWORD_ONLY and len(places) == i:
            places.append(given[p.name])
        elif p.name in given:
            words[p.name] = given[p.name]
    want, got = leaves(ours(**given)), leaves(getattr(SPACES[space], short)(*places, **words))
    for a, b in zip(want, got, strict=True):
        if isinstance(a, tg.Tensor):
            assert isinstance(b, tg.Tensor)
            assert a.requires_grad == b.requires_grad
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_the_list_of_other_functions_names_none_that_is_gone():
    assert set(OTHERWISE) <= set(ARGUMENTS)
    assert len(ARGUMENTS) > 290
    assert np.empty_like(tg.ones((2, 3))).shape == (2, 3)
