"""What programs written for Keras's other backends do, and stumbled over here once."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.test_keras import run

there = importlib.util.find_spec("keras") is not None
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not there, reason="Keras is not installed")]


def test_the_readmes_program_runs():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (program,) = re.findall(r"```py\n(.*?)```", readme, re.DOTALL)
    data = "import numpy as np\nX, Y = np.eye(4), np.ones((4, 1))\n"
    run(f"{data}{program}assert model.history.history['mae']")


def test_what_programs_stumbled_over():
    run(
        """
import itertools, sys
import keras, numpy as np
from keras import ops
from keras.src.backend import set_keras_mask
from tensorgrad import tensor, tf

# A step of its own, and no `call`: an encoder and a decoder, as in Keras's autoencoders.
class Coder(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = keras.layers.Dense(2), keras.layers.Dense(4)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self.decoder(self.encoder(x)) - x))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
        return {"error": loss}

x = np.random.default_rng(0).standard_normal((32, 4)).astype("float32")
coder = Coder()
coder.compile(keras.optimizers.Adam(0.05))
losses = coder.fit(x, epochs=8, verbose=0).history["error"]
assert len(coder.trainable_weights) == 4 and losses[-1] < 0.8 * losses[0], losses
plain = keras.Sequential([keras.layers.Dense(2), keras.layers.Reshape((3,))])
plain.compile("sgd", "mse")
try:
    plain.fit(x, x, verbose=0)
except Exception as error:
    assert "reshape" in str(error).lower(), error
else:
    raise AssertionError("a model that cannot be built")

# Weights beside a mask of another rank; what is given is not written to.
w, p = ops.array([0.5, 2.0]), ops.array([[1.0], [3.0]])
set_keras_mask(p, ops.array([[True], [False]]))
assert float(keras.losses.MeanSquaredError()(ops.zeros((2, 1)), p, sample_weight=w)) == 0.5
assert w.tolist() == [0.5, 2.0]
images = ops.full((1, 4, 4, 3), 100.0) + 0
sys.modules.pop("tensorflow")  # where it is named, Keras asks it
keras.layers.RandomBrightness((0.5, 0.6))(images, training=True)
assert set(np.ravel(images).tolist()) == {100}
keras.applications.imagenet_utils.preprocess_input(images, mode="tf")
assert set(np.ravel(images).tolist()) == {100}

# Dtypes, kinds of results and errors of keras.ops.
assert ops.clip(np.arange(5, dtype="int16"), 1, 3).tolist() == [1, 1, 2, 3, 3]
assert ops.bincount(np.array([1, 1, 3], "uint8")).tolist() == [0, 2, 0, 1]
assert type(ops.split(x, 2)) is type(ops.hsplit(x, 2)) is list
assert ops.copy([True]).tolist() == [True] and ops.argsort(3).tolist() == [0]
assert float(ops.cross([1.0, 2.0], [3.0, 4.0])) == -2
assert ops.cross([1.0, 2.0], [3.0, 4.0, 5.0]).tolist() == [10, -5, -2]
assert ops.unique([1.0, np.nan, np.nan]).shape == (3,)
assert ops.in_top_k([1, 0], [[0.1, np.nan, 0.5], [0.3, 0.2, 0.5]], 2).tolist() == [False, True]
try:
    ops.rot90([1, 2])
except ValueError as error:
    assert "axis 1" in str(error)
parts = ops.stft(np.ones(16), 4, 2, 4, window=None, center=False)
np.testing.assert_allclose(ops.istft(parts, 4, 2, 4, window=None, center=False)[2:-2], 2, 1e-5)

# CTC where a label is the blank: one more class, of the blank's probability.
logits = np.random.default_rng(1).standard_normal((1, 4, 3))
chance = np.exp(logits[0]) / np.exp(logits[0]).sum(1, keepdims=True)
chance = np.concatenate([chance, chance[:, :1]], 1)
total = sum(
    np.prod([chance[t, c] for t, c in enumerate(path)])
    for path in itertools.product(range(4), repeat=4)
    if [c for c, _ in itertools.groupby(path) if c] == [1, 2, 3]
)
loss = ops.ctc_loss(np.array([[1, 2, 0]]), logits, np.array([3]), np.array([4]))
np.testing.assert_allclose(loss, [-np.log(total)], rtol=1e-6)

# Layer normalisation is one op where its axes are the last ones and the weights of their shape.
def ops_of(node):
    name = getattr(node.op, "name", None)
    return {name}.union(*[ops_of(parent) for parent in node.parents if parent])

x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
for axis, shape, one in (
    (-1, (5,), True), ([2, 3], (4, 5), True), ([-1, -2], (4, 5), True),
    (1, (3,), False), ([1, 2], (3, 4), False), (-1, (1, 1, 1, 5), False),
):
    along = (axis,) if isinstance(axis, int) else tuple(axis)
    normal = (x - x.mean(along, keepdims=True)) / np.sqrt(x.var(along, keepdims=True) + 0.1)
    sizes = [n if i in along or i - 4 in along else 1 for i, n in enumerate(x.shape)]
    gamma, beta = np.random.default_rng(1).standard_normal((2, *shape)).astype("float32")
    for g, b in ((gamma, beta), (gamma, None), (None, beta)):
        y = ops.layer_normalization(tensor(x, requires_grad=True), g, b, axis=axis, epsilon=0.1)
        wanted = normal * (1 if g is None else g.reshape(sizes))
        wanted = wanted + (0 if b is None else b.reshape(sizes))
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-4, atol=1e-5, err_msg=str(axis))
        assert ("layer_norm" in ops_of(y.node)) == one, axis
"""
    )


def test_a_network_trains_on_the_kernels_of_a_gpu():
    from tests.cudasim import why_not

    if reason := why_not():
        pytest.skip(reason)
    run(
        """
from tests.cudasim import install
install()
import keras, numpy as np, tensorgrad as tg

x = np.random.default_rng(0).standard_normal((32, 4)).astype("float32")
losses = {}
for backend in ("numpy", "cudasim"):
    tg.set_backend(backend)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses[backend] = model.fit(x, x[:, :1], 16, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert model.trainable_variables[0].value.backend == backend
np.testing.assert_allclose(losses["cudasim"], losses["numpy"], rtol=1e-5)
assert losses["numpy"][-1] < 0.5 * losses["numpy"][0]
""",
        PYTHONPATH=str(Path(__file__).parent.parent),
    )
