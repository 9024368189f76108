"""BLAS calls inside compiled loops: every shape, stride and beta; threads are restored after."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tensorgrad.kernels.cpu import blas, jit, matmul

from tensorgrad.core import OPS


@jit.jit
def _gemm(c, a, b, beta):
    blas.gemm(a, b, c, beta)


@jit.jit
def _gemm_of_parts(c, a, b, i, j):
    """The product of two views with offsets, written to a view."""
    blas.gemm(a[i:, j:], b[j:, i:], c[i:, i:], c.dtype.type(1))


DOUBLE = np.dtype("float64")


def draw(*shape, dtype="float64"):
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(dtype)


SHAPES = [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1), (3, 0, 2), (0, 2, 3), (65, 33, 17)]
SHAPES += [(8, 300, 64), (100, 260, 70), (530, 3, 33)]  # more than a block in each direction


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gemm(shape, dtype):
    m, k, n = shape
    a, b, c = draw(m, k, dtype=dtype), draw(k, n, dtype=dtype), draw(m, n, dtype=dtype)
    wide = draw(m + 2, 2 * k + 3, dtype=dtype)
    for left in (a, np.asfortranarray(a), wide[1 : m + 1, 2 : k + 2]):
        for right in (b, np.asfortranarray(b)):
            for beta in (0, 1, -2):
                out = c.copy()
                with blas.single(out.dtype):
                    _gemm(out, left, right, out.dtype.type(beta))
                plain = left.astype("float64") @ right + beta * c.astype("float64")
                np.testing.assert_allclose(out, plain, rtol=1e-4, atol=1e-5)


def test_gemm_of_views_inside_loops():
    a, b, c = draw(6, 7), draw(7, 6), draw(6, 6)
    out = c.copy()
    with blas.single(out.dtype):
        _gemm_of_parts(out, a, b, 2, 3)
    c[2:, 2:] += a[2:, 3:] @ b[3:, 2:]
    np.testing.assert_allclose(out, c, rtol=1e-12)


def test_the_plain_function_is_the_definition():
    a, b, c = draw(2, 3), draw(3, 4), draw(2, 4)
    wanted = a @ b + 2 * c
    blas.gemm(a, b, c, 2)
    np.testing.assert_allclose(c, wanted)


needs_library = pytest.mark.skipif(not blas._library(), reason="this NumPy has no OpenBLAS")

BORROWED = """
import sys
from tensorgrad.kernels.cpu import blas, products
products.preferred = lambda: False  # before anything compiles
sys.path.insert(0, {tests!r})
import tests.test_blas as t
assert blas.borrowed()
for shape in t.SHAPES:
    for dtype in ("float32", "float64"):
        t.test_gemm(shape, dtype)
t.test_gemm_of_views_inside_loops()
"""


@pytest.mark.slow  # compiles all of it anew
@needs_library
def test_gemm_of_the_library(tmp_path):
    """The path for processors on which our own tiles are not faster."""
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    program = [sys.executable, "-c", BORROWED.format(tests=root)]
    done = subprocess.run(program, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_library
def test_threads_are_given_back(monkeypatch):
    monkeypatch.setattr(blas, "borrowed", lambda: True)
    before = blas._get_threads()
    try:
        blas._set_threads(2)
        with contextlib.suppress(RuntimeError), blas.single(DOUBLE):
            assert blas._get_threads() == 1
            with blas.single(DOUBLE):
                pass
            assert blas._get_threads() == 1
            raise RuntimeError
        assert blas._get_threads() == 2

        def often():
            for _ in range(2000):
                with blas.single(DOUBLE):
                    pass

        workers = [threading.Thread(target=often) for _ in range(8)]
        [w.start() for w in workers]
        [w.join() for w in workers]
        assert blas._get_threads() == 2
    finally:
        blas._set_threads(before)


@needs_library
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_inside_gets_its_threads_back(monkeypatch):
    monkeypatch.setattr(blas, "borrowed", lambda: True)
    blas._set_threads(2)
    with blas.single(DOUBLE):
        child = os.fork()
        if child == 0:
            os._exit(0 if blas._get_threads() == 2 and blas._single.inside == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0


# --- products cut into tiles --------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch):
    """Every product is tiled, however small, for more threads than there are cores."""
    monkeypatch.setattr(matmul, "TILED", 0)
    monkeypatch.setattr(matmul, "LEAST", 1)
    monkeypatch.setattr(jit, "threads", lambda: 8)
    assert blas.tiled()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (100, 7, 20), (20, 7, 100), (1, 30, 200), (200, 30, 1)])
def test_products_in_tiles(shape, dtype):
    m, k, n = shape
    for stack in ((), (3,), (2, 2), (9,), (0,)):
        a, b = draw(*stack, m, k, dtype=dtype), draw(*stack, k, n, dtype=dtype)
        turned = a.swapaxes(-1, -2).copy().swapaxes(-1, -2)
        for left in (a, turned, np.repeat(a, 2, axis=-1)[..., ::2]):
            for right in (b, b.swapaxes(-1, -2).copy().swapaxes(-1, -2)):
                y = matmul.product(left, right)
                np.testing.assert_allclose(y, left @ right, rtol=1e-4, atol=1e-5)
                assert y.flags.c_contiguous


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh"])
def test_dense_layers_in_tiles(activation):
    for m, k, n in ((3, 4, 5), (100, 7, 20), (20, 7, 100), (1, 300, 2)):
        x, w, b = draw(m, k), draw(k, n), draw(n)
        y = matmul.dense(x, w, b, activation=activation)
        np.testing.assert_allclose(y, OPS["dense"].ref(x, w, b, activation=activation), rtol=1e-9)
        for needs in ((True, True, True), (False, True, False)):
            args, params = (draw(m, n), x, w, y), {"activation": activation, "needs": needs}
            wanted = OPS["dense_grad"].ref(*args, **params)
            for ours, reference in zip(matmul.dense_grad(*args, **params), wanted, strict=True):
                assert (ours is None) == (reference is None)
                if ours is not None:
                    np.testing.assert_allclose(ours, reference, rtol=1e-9, atol=1e-12)


def test_every_number_is_in_one_tile():
    for m in (1, 15, 16, 17, 100, 1000):
        for n in (1, 31, 64, 257):
            for down, across in ((1, 1), (2, 1), (1, 8), (4, 4)):
                seen = np.zeros((m, n), int)
                for t in range(down * across):
                    top, bottom, left, right = matmul.tile((m, n), down, across, t)
                    seen[top:bottom, left:right] += 1
                assert (seen == 1).all(), (m, n, down, across)
