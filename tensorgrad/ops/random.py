"""Random numbers by a counter-based generator, Philox 4x32-10 (Salmon et al. 2011), the same on
every backend.

The state is a uint64 array of two: the key and the number of blocks drawn so far. Block i gives
four 32-bit words that depend on (key, i) alone, so a kernel may compute any of them in any order.
"""

import numpy as np

from ..backend import namespace
from ..core import op
from .samples import calls, draw

LOW = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def _state(key=7, drawn=5):
    return np.array([key, drawn], dtype=np.uint64)


@op(
    differentiable=False,
    samples=calls(
        lambda: (_state(), {"size": 10}),
        lambda: (_state(2**63 + 9, 2**32 - 2), {"size": 1030}),
        lambda: (_state(), {"size": 0}),
    ),
)
def random_bits(state, *, size):
    """`size` random uint32 words, beginning at the state's block; the state is not advanced."""
    xp = namespace(state)
    block = xp.arange((size + 3) // 4, dtype="uint64") + state[1]
    c0, c1 = block & LOW, block >> 32
    c2, c3 = xp.zeros_like(block), xp.zeros_like(block)
    k0, k1 = state[0] & LOW, state[0] >> 32
    for _ in range(10):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & LOW, (p0 >> 32) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return xp.stack((c0, c1, c2, c3), axis=1).reshape(-1)[:size].astype("uint32")


@op(
    inplace=("state",),
    samples=calls(lambda: (_state(), {"blocks": 3}), lambda: (_state(), {"blocks": 2**33})),
)
def advance_random(state, *, blocks):
    """A copy of the state, which then skips `blocks` blocks: those are for the copy to draw."""
    taken = state.copy()
    state[1] += np.uint64(blocks)
    return taken


@op(
    x=lambda g, state, p: dropout(g, state, p=p),
    samples=calls(
        lambda: (draw((4, 5)), _state(), {"p": 0.5}),
        lambda: (draw((33,)), _state(), {"p": 0.1}),
        lambda: (draw(()), _state(), {"p": 0.3}),
        lambda: (draw((0,)), _state(), {"p": 0.3}),
        lambda: (draw((3, 1025)), _state(3, 2**32 - 7), {"p": 0.25}),
        lambda: (draw((8,)), _state(), {"p": 0.0}),
    ),
    kind="map",
    fixed=("state",),
)
def dropout(x, state, *, p):
    """Each element zeroed with probability p, the others divided by 1 - p (Srivastava et al. 2014).

    Element i is kept where word i of the state's stream is at least p * 2^32. Backward draws the
    same mask again, instead of saving it; it is the same on every backend.
    """
    keep = random_bits(state, size=x.size).reshape(x.shape) >= np.uint32(p * 2**32)
    return namespace(x).where(keep, x * (1 / (1 - p)), 0)
