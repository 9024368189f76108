"""What docs/coming_from says of other libraries, asked of them."""

import warnings

import numpy as np
import pytest

import tensorgrad as tg

pytestmark = pytest.mark.host


def test_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    assert torch.nn.Linear(3, 2).weight.shape == (2, 3)
    assert (torch.ones(2) * torch.from_numpy(np.ones(2))).dtype == torch.float64
    with pytest.warns(UserWarning, match="broadcast"):
        assert functional.mse_loss(torch.ones(4, 1), torch.ones(4)).item() == 0
    assert torch.tensor([1.0, 2.0, 3.0, 4.0]).median() == 2
    assert torch.tensor([1.0, 2.0, 3.0]).std() == 1
    assert len(torch.ones(2, 2).max(dim=1)) == 2
    one = torch.tensor(1.0)
    assert functional.gelu(one).item() == pytest.approx(tg.gelu(1.0, approximate="none").item())


def test_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert jnp.ones(2, dtype="float64").dtype == "float32"
    assert jnp.arange(3)[10] == 2
    found = jax.grad(lambda z: jnp.abs(z) ** 2)(1 + 2j)
    ours = tg.grad(lambda z: tg.abs(z) ** 2)(1 + 2j).item()
    assert complex(found) == pytest.approx(ours.conjugate())
    with pytest.raises(TypeError):
        jnp.ones(3)[0] = 5.0


def test_hips_autograd():
    autograd = pytest.importorskip("autograd")
    anp = autograd.numpy
    assert type(autograd.grad(lambda x: x * x)(2.0)) is np.float64
    with pytest.warns(UserWarning, match="independent"):
        assert autograd.grad(lambda x: 3.0)(1.0) == 0

    def assigns(t):
        a = anp.zeros(2)
        a[0] = t
        return anp.sum(a)

    with pytest.raises(ValueError, match="sequence"):
        autograd.grad(assigns)(1.0)


@pytest.mark.slow
def test_keras(monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    assert keras.backend.image_data_format() == "channels_last"
    assert keras.losses.mean_squared_error(np.ones((4, 2)), np.zeros((4, 2))).shape == (4,)
    assert keras.optimizers.Adam().epsilon == 1e-7
    norm = keras.layers.BatchNormalization()
    assert (norm.epsilon, norm.momentum) == (1e-3, 0.99)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", "mse")
    assert model.fit(np.ones((4, 2)), np.ones(4), verbose=0).history["loss"]
