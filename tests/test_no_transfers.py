"""A training step does not synchronise with the device, and copies nothing to or from the host."""

from __future__ import annotations

import pytest

import tensorgrad as tg

from .conftest import _missing
from .steps import MODELS, OPTIMIZERS, training


@pytest.fixture
def cudasim():
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    tg.set_backend("cudasim")
    yield "cudasim"
    tg.set_backend("numpy")


def steps(run, warm=1):
    from .cudasim.cuda import no_transfers

    for batch in [next(run.batches) for _ in range(warm)]:
        run.step(*batch)
    batches = [next(run.batches) for _ in range(2)]
    with no_transfers():
        for batch in batches:
            run.step(*batch)


@pytest.mark.parametrize("mode", ["auto", "reference"])
@pytest.mark.parametrize("half", [None, "float16", "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_stays_on_the_device(model, half, mode, cudasim):
    with tg.use_kernels(mode):
        steps(training(cudasim, model, "adamw", "warmup", clip=0.5, half=half))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_stay_on_the_device(optimizer, cudasim):
    for half in (None, "float16"):
        steps(training(cudasim, "mlp", optimizer, "warmup", clip=0.5, half=half))


def test_transfers_are_seen(cudasim):
    from .cudasim.cuda import Transfer, no_transfers

    x = tg.ones((2, 3))
    for call in (
        lambda: x.numpy(),
        lambda: x[0, 0].item(),
        lambda: float(x[0, 0]),
        lambda: bool(x[0, 0] > 0),
        lambda: repr(x),
        lambda: x.tolist(),
        lambda: tg.asarray([1.0, 2.0]),
        lambda: x[x > 0],
        lambda: x[:, [0, 1]],
        lambda: tg.nn.Dense(3, 3).to("cudasim"),
    ):
        with no_transfers(), pytest.raises(Transfer):
            call()
    with no_transfers():
        ((x + 1.0) * 2.0)[0].sum()
