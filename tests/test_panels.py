"""Vectorised CPU code: tiled matrix products and copies of rows, for every shape and any number of
threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tensorgrad.kernels.cpu import jit, panels, vector_copy

from tensorgrad.core import OPS

from .sized.recurrent import FAMILY, grads, layers


@jit.jit
def _multiply(c, a, b):
    panels.multiply(a, b, c)


def draw(*shape, dtype="float64"):
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 3, 5), (16, 1, 1), (8, 7, 64), (24, 300, 33), (8, 2, 130)])
def test_multiply_adds_a_product(shape, dtype):
    m, k, n = shape
    a, b = draw(m, k + 2, dtype=dtype), draw(k, n, dtype=dtype)
    for right in (b, np.asfortranarray(b)):
        made = panels.panels(right)
        assert made.ctypes.data % 64 == 0
        c = draw(m, made.shape[0] * made.shape[2], dtype=dtype)
        start, plain = c.copy(), c.copy()
        _multiply(c, a, made)
        rtol = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(c[:, :n] - start[:, :n], a[:, :k] @ b, rtol=rtol, atol=rtol * k)
        np.testing.assert_array_equal(c[:, n:], start[:, n:])
        panels.multiply(a, made, plain)  # the plain function is the definition
        np.testing.assert_allclose(plain, c, rtol=rtol, atol=rtol * k)


@jit.jit
def _lay(target, to, width, source, start, low, high, step):
    vector_copy.copy_padded(target, to, width, source, start, low, high, step)


@jit.jit
def _add(target, to, step, width, source, start):
    vector_copy.add_strided(target, to, step, width, source, start)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [0, 1, 7, 8, 15, 16, 17, 32, 45])
def test_rows_move_in_masked_vectors(dtype, width, step):
    source, whole = draw(160, dtype=dtype), draw(160, dtype=dtype)
    plain = whole.copy()  # the plain functions are the definition
    parts = {(0, width), (min(1, width), width), (width // 2, width // 2), (0, width // 3)}
    for low, high in parts:
        _lay(whole, 5, width, source, 9, low, high, step)
        vector_copy.copy_padded(plain, 5, width, source, 9, low, high, step)
        np.testing.assert_array_equal(whole, plain)
    _add(whole, 5, step, width, source, 9)
    vector_copy.add_strided(plain, 5, step, width, source, 9)
    np.testing.assert_array_equal(whole, plain)


@pytest.mark.slow
def test_results_do_not_depend_on_the_threads():
    import numba

    before, seen = jit.threads(), []
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            bits = []
            for name, of in FAMILY.items():
                params = {"activation": "tanh"} if name == "rnn" else {}
                with_params = [s._replace(params=params) for s in layers(500, *of)]
                for op, samples in (
                    (OPS[name], with_params),
                    (OPS[f"{name}_grad"], grads(name, 500, *of, **params)),
                ):
                    kernel = getattr(_kernels(), op.name)
                    bits += [a.tobytes() for s in samples for a in kernel(*s.args, **s.params)]
            seen.append(bits)
    finally:
        numba.set_num_threads(before)
    assert all(bits == seen[0] for bits in seen)


def _kernels():
    from tensorgrad.kernels.cpu import recurrent

    return recurrent


@pytest.mark.slow
@pytest.mark.parametrize("features", ["avx", "neon", "none"])
def test_tiles_of_other_processors(features, tmp_path):
    code = f"""
from llvmlite import binding
binding.get_host_cpu_features = lambda: binding.FeatureMap({{{features!r}: True}})
import numpy as np
from tensorgrad.kernels.cpu import jit, panels, vector_copy
jit._fingerprint = lambda: "other"
@jit.jit
def multiply(c, a, b):
    panels.multiply(a, b, c)
a, b = np.arange(8 * 3.0).reshape(8, 3), np.arange(3 * 9.0).reshape(3, 9)
made = panels.panels(b)
c = np.ones((8, made.shape[0] * made.shape[2]))
multiply(c, a, made)
print(np.array_equal(c[:, :9], 1 + a @ b), made.shape[2])
"""
    file = tmp_path / "code.py"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        timeout=120,
    )
    width = {"avx": 8, "neon": 4, "none": 4}[features]
    assert done.stdout.split() == ["True", str(width)], done.stdout + done.stderr
