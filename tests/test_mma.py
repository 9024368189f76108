"""Tensor cores as the PTX ISA describes them, on which cudasim's emulation is held.

The places of numbers in registers are written out here from the tables of the ISA, "Matrix
Fragments for mma.m16n8k16 with floating point type" and "Warp-level matrix load instruction:
ldmatrix", and know nothing of the emulation.
"""

from __future__ import annotations

import numpy as np
import pytest
from tensorgrad.kernels.cuda.device import Source

from .cudasim import FORWARD, REVERSED, SHUFFLED, KernelError, Module, why_not
from .test_cudasim import DTYPES, EXAMPLES, ORDERS

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
HALVES = [name for name in DTYPES if name != "float"]
NAMES = [f"product<{t}>" for t in HALVES]
NAMES += [f"matrices<{b}>" for b in ("false", "true")]
NAMES += [f"copies<{n}, {drain}>" for n in (0, 1, 2) for drain in (0, 1)]
NAMES += ["early", "misaligned", "astray", "half_a_warp"]


@pytest.fixture(scope="module")
def module():
    return Module(Source(str(EXAMPLES / "mma"), NAMES).code, NAMES, sanitize=True)


# --- where the ISA has numbers ------------------------------------------------------------------


def place_in_a(lane, i):
    """Row and column of a_i, i = 0..7."""
    group, thread = lane >> 2, lane % 4
    row = group if 0 <= i < 2 or 4 <= i < 6 else group + 8
    column = thread * 2 + (i & 1) if i < 4 else thread * 2 + (i & 1) + 8
    return row, column


def place_in_b(lane, i):
    """Row and column of b_i, i = 0..3."""
    group, thread = lane >> 2, lane % 4
    return (thread * 2 + (i & 1) if i < 2 else thread * 2 + (i & 1) + 8), group


def place_in_c(lane, i):
    """Row and column of c_i, i = 0..3."""
    group, thread = lane >> 2, lane % 4
    return (group if i < 2 else group + 8), thread * 2 + (i & 1)


def registers(matrix, place, count):
    """(32, count) numbers of a matrix, each lane's own."""
    made = np.empty((32, count), matrix.dtype)
    for lane, i in np.ndindex(made.shape):
        made[lane, i] = matrix[place(lane, i)]
    return made


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("name", HALVES)
def test_product_of_fragments(module, name, kind):
    module.order(kind, seed=3)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 10, shape).astype(DTYPES[name]) for shape in ((16, 16), (16, 8)))
    c = rng.integers(-99, 100, (16, 8)).astype(np.float32)
    sums = registers(c, place_in_c, 4)
    packed = [registers(*x).view(np.uint32) for x in ((a, place_in_a, 8), (b, place_in_b, 4))]
    module.launch(f"product<{name}>", (1,), (32,), (*packed, sums))
    wanted = c + 2 * (a.astype(np.float32) @ b.astype(np.float32))
    np.testing.assert_array_equal(sums, registers(wanted, place_in_c, 4))


@pytest.mark.parametrize("name", HALVES)
def test_a_number_that_is_none_stays_in_its_row_or_column(module, name):
    module.order(FORWARD)
    a, b = np.ones((16, 16), DTYPES[name]), np.ones((16, 8), DTYPES[name])
    a[3, 9], b[12, 5] = np.nan, np.inf
    sums = np.zeros((32, 4), np.float32)
    packed = [registers(*x).view(np.uint32) for x in ((a, place_in_a, 8), (b, place_in_b, 4))]
    module.launch(f"product<{name}>", (1,), (32,), (*packed, sums))
    wanted = 2 * (a.astype(np.float32) @ b.astype(np.float32))
    assert np.isnan(wanted).sum() == 8
    assert np.isinf(wanted).sum() == 15
    np.testing.assert_array_equal(sums, registers(wanted, place_in_c, 4))


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("turned", [False, True])
def test_matrices_from_shared_memory(module, turned, kind):
    module.order(kind, seed=3)
    matrices = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)  # lane i: row i % 8 of i // 8
    got = np.zeros((32, 4), np.uint32)
    module.launch(
        f"matrices<{str(turned).lower()}>", (1,), (32,), (matrices.reshape(-1).view(np.uint32), got)
    )
    for lane, r in np.ndindex(32, 4):
        row, columns = lane // 4, [2 * (lane % 4), 2 * (lane % 4) + 1]
        m = matrices[r].T if turned else matrices[r]
        assert got[lane, r] == int(m[row, columns[0]]) + (int(m[row, columns[1]]) << 16)


# --- copies that go on --------------------------------------------------------------------------


def copied(module, kind, kernel):
    """What the two groups of asynchronous copies had delivered when read, and what they should
    have."""
    module.order(kind, seed=3)
    x, y = np.arange(256, dtype=np.uint32), np.zeros((64, 2, 4), np.uint32)
    module.launch(kernel, (1,), (64,), (x, y))
    first = x.reshape(64, 4)[::-1]
    second = np.where(np.arange(64)[::-1, None] % 2 == 0, first + x[9], 0)
    return (y[:, 0] == first).all(), (y[:, 1] == second).all()


@pytest.mark.parametrize("kind", ORDERS)
def test_copies_have_come_after_the_wait_and_not_before(module, kind):
    """Copies complete at once, or as late as the wait allows: a missing wait shows in one order."""
    assert copied(module, kind, "copies<0, 1>") == (True, True)
    assert copied(module, kind, "copies<1, 1>") == (True, kind == FORWARD)
    assert copied(module, kind, "copies<2, 1>") == (kind == FORWARD, kind == FORWARD)


def test_a_copy_may_come_before_what_was_there_is_read(module):
    seen = set()
    for kind in (FORWARD, REVERSED):
        module.order(kind)
        y = np.zeros(1, np.uint32)
        module.launch("early", (1,), (1,), (np.full(4, 5, np.uint32), y))
        seen.add(int(y[0]))
    assert seen == {5, 7}


def test_mistakes_are_found(module):
    x, y = np.zeros(256, np.uint32), np.zeros(512, np.uint32)
    module.order(REVERSED)
    with pytest.raises(KernelError, match="copies to shared memory under way"):
        module.launch("copies<1, 0>", (1,), (64,), (x, y))
    module.order(SHUFFLED)
    module.launch("misaligned", (1,), (1,), (x, y, np.int32(0)))
    for at, message in ((1, "misaligned address in shared"), (4, "from a misaligned")):
        with pytest.raises(KernelError, match=message):
            module.launch("misaligned", (1,), (1,), (x, y, np.int32(at)))
    with pytest.raises(KernelError, match="not in shared memory"):
        module.launch("astray", (1,), (1,), (x, y))
    with pytest.raises(KernelError, match="already exited"):
        module.launch("half_a_warp", (1,), (32,), (x, y))
