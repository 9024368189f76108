"""Two GPUs, on cudasim: arrays of another one than the current are refused, in one clear error."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim

from .conftest import _missing
from .cudasim import cuda


@pytest.fixture
def two(monkeypatch):
    """Two GPUs; the first is the current one."""
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    monkeypatch.setattr(cuda, "gpus", 2)
    tg.set_backend("cudasim")
    with tg.use_kernels("auto"):  # which asks anew how many there are
        yield cuda.Device
    tg.set_backend("numpy")


CALLS = {  # of a tensor on the other GPU, and of one here
    "a kernel": lambda there, here: tg.tanh(there),
    "a reference": lambda there, here: tg.sin(there.T),
    "a number first": lambda there, here: 1 - there,
    "two arrays": lambda there, here: here + there,
    "a product": lambda there, here: here @ there,
    "a list": lambda there, here: tg.concatenate([here, there]),
    "an index": lambda there, here: here[there.astype("int64")],
    "a view": lambda there, here: there.T.reshape(9),
    "a layer": lambda there, here: nn.Dense(2)(there),
    "backward": lambda there, here: there.sum().backward(),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_array_of_another_gpu_is_refused(name, two):
    with two(1):
        there = tg.ones((3, 3), requires_grad=True)
        assert there.data.device.id == there.T.data.device.id == 1
    wanted = r"test_several_gpus.py:\d+: .* is on GPU 1, the current one is GPU 0"
    with pytest.raises(tg.BackendError, match=wanted) as caught:
        CALLS[name](there, tg.ones((3, 3)))
    assert "with cupy.cuda.Device(1):" in str(caught.value)


def test_backward_runs_where_the_tensors_are(two):
    with two(1):
        x = tg.ones((3, 3), requires_grad=True)
        loss = tg.tanh(x).sum()
    with pytest.raises(tg.BackendError, match=r"backward at .* is on GPU 1"):
        loss.backward()
    with two(1):
        loss.backward()
    assert x.grad.data.device.id == 1


def test_each_gpu_trains_a_model_of_its_own(two):
    losses = []
    for gpu in (0, 1):
        with two(gpu):
            tg.seed(0)
            model = nn.Sequential([nn.Dense(4, 3, activation="relu"), nn.Dense(1, 4)])
            sgd, x = optim.Adam(model.parameters(), lr=0.1), tg.ones((8, 3))
            for _ in range(3):
                sgd.zero_grad()
                (loss := model(x).mean()).backward()
                sgd.step()
            losses.append(loss.item())
            assert {p.data.device.id for p in model.parameters()} == {gpu}
    assert losses[0] == losses[1]
    with pytest.raises(tg.BackendError, match="is on GPU 1, the current one is GPU 0"):
        sgd.step()


def test_a_copy_moves_to_the_current_gpu(two):
    with two(1):
        there = tg.ones(3)
    here = tg.asarray(there.numpy())
    np.testing.assert_array_equal((here * 2).numpy(), [2, 2, 2])
