"""Backends as a fixture: every test that takes `backend` runs on each one there is."""

import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import backend as backends


def _missing(name):
    """Why a backend cannot be used here, or None; sets cudasim up on first use."""
    if name == "cudasim":
        from tests.cudasim import install, why_not

        reason = why_not()
        if reason is None:
            install()
        return reason
    return backends.why_no_gpu() if name == "cupy" else None


BACKENDS = ["numpy", "cudasim", pytest.param("cupy", marks=pytest.mark.gpu)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a backend; the default one while the test runs."""
    name = request.param
    if reason := _missing(name):
        pytest.skip(f"{name}: {reason}")
    tg.set_backend(name)
    yield name
    tg.set_backend("numpy")


@pytest.fixture(params=["cudasim", pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request):
    """A CUDA-like backend."""
    if reason := _missing(request.param):
        pytest.skip(f"{request.param}: {reason}")
    return backends.get(request.param)


@pytest.fixture(autouse=True)
def _quiet_and_seeded():
    """A known seed, and no floating-point warnings: tests look at values."""
    tg.seed(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
