"""Programs written for the array-API standard, of people who know nothing of tensorgrad: they take
Tensors, and what they return can be differentiated."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import draw, gradcheck

X = draw((2, 3, 4))


def test_einops_rearranges_reduces_and_repeats():
    einops = pytest.importorskip("einops.array_api", reason="einops is not installed")

    def f(x):
        rows = einops.rearrange(x, "a b c -> b (a c)")
        means = einops.reduce(x, "a b c -> b 1", "mean")
        return einops.repeat(rows * means, "b n -> b n k", k=2)

    np.testing.assert_allclose(
        f(tg.tensor(X)).numpy()[..., 0],
        X.transpose(1, 0, 2).reshape(3, 8) * X.mean((0, 2))[:, None],
    )
    gradcheck(f, [X], order=2)


def test_opt_einsum_contracts():
    opt_einsum = pytest.importorskip("opt_einsum", reason="opt_einsum is not installed")
    a, b, c = draw((2, 3)), draw((3, 4), seed=1), draw((4, 2), seed=2)
    y = opt_einsum.contract("ij,jk,ki->i", tg.tensor(a), tg.tensor(b), tg.tensor(c))
    np.testing.assert_allclose(y.numpy(), np.einsum("ij,jk,ki->i", a, b, c))
    gradcheck(lambda *xs: opt_einsum.contract("ij,jk,ki->i", *xs), [a, b, c], order=2)


def test_array_api_compat_knows_a_tensor():
    compat = pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")
    x = tg.tensor(X)
    assert compat.is_array_api_obj(x)
    assert compat.array_namespace(x) is tg
    assert (compat.device(x), compat.size(x)) == (x.backend, 24)


SKLEARN = """
import sklearn, tensorgrad as tg
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise, r2_score
from tensorgrad.testing import draw, gradcheck
X, Y = draw((6, 4)), tg.tensor(draw((5, 4), seed=1))
with sklearn.config_context(array_api_dispatch=True):
    score = r2_score(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([1.0, 2.0, 2.5]))
    assert abs(score - 0.875) < 1e-6
    for f in (
        lambda x: pairwise.rbf_kernel(x, Y),
        lambda x: pairwise.euclidean_distances(x, Y),
        lambda x: PCA(2, svd_solver="full").fit_transform(x),
    ):
        assert f(tg.tensor(X, requires_grad=True)).requires_grad
        gradcheck(f, [X])
"""
SCIPY = """
import numpy as np, tensorgrad as tg
from scipy import fft, integrate, signal, special, stats
from scipy.spatial.transform import Rotation
from tensorgrad.testing import draw, gradcheck
x = draw((3, 7))
for f in (
    lambda x: stats.skew(x, axis=1),
    lambda x: stats.kurtosis(x, axis=1),
    lambda x: stats.gmean(x * x + 1, axis=0),
    lambda x: abs(fft.rfft(x)),
    lambda x: signal.fftconvolve(x, x * x),
    lambda x: special.softmax(x, axis=0),
    lambda x: integrate.cumulative_trapezoid(x),
    lambda x: Rotation.from_rotvec(x[:, :3]).as_matrix(),
):
    y = f(tg.tensor(x, requires_grad=True))
    assert y.requires_grad
    np.testing.assert_allclose(y.numpy(), f(x))
    gradcheck(f, [x])
gradcheck(lambda x: stats.skew(x, axis=1), [x], order=2)
"""


@pytest.mark.parametrize(
    ("program", "needs"),
    [(SCIPY, "scipy"), (SKLEARN, "array_api_compat")],
    ids=["scipy", "sklearn"],
)
def test_scipy_and_scikit_learn_take_tensors(program, needs):
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    run = subprocess.run(  # SciPy reads its switch when it is imported
        [sys.executable, "-c", program],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
