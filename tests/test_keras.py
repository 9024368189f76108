"""The real Keras 3 on tensorgrad, where it is installed: `pip install -e ".[keras]"`."""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

# Not imported here: that would choose the backend of this process.
there = importlib.util.find_spec("keras") is not None
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not there, reason="Keras is not installed")]


ALONE = (
    "import sys; sys.modules.update(dict.fromkeys("
    "('scipy', 'jax', 'torch', 'tensorflow', 'sklearn')))"
)


def run(code, backend="tensorgrad", **env):
    """A program in a process of its own: Keras's backend is the process's. On ours nothing else
    can be imported: SciPy, JAX, PyTorch, TensorFlow (and scikit-learn, which Keras tries)."""
    if backend == "tensorgrad":
        code = f"{ALONE}; import tensorgrad.keras_backend.hook as h; h.install()\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", **env},
        timeout=300,
    )
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout


def test_an_import_line_gives_the_real_keras_on_tensorgrad():
    out = run(
        """
import os, sys
sys.meta_path.pop(0)
for m in [m for m in sys.modules if m.startswith("tensorgrad")]: del sys.modules[m]
del os.environ["KERAS_BACKEND"]
import tensorgrad
assert not [m for m in sys.modules if m.startswith(("keras", "tensorgrad.keras"))]
from tensorgrad import keras
from tensorgrad.keras.layers import Dense
import keras as real, tensorgrad as tg
assert keras is real is tg.keras and Dense is real.layers.Dense
print(keras.config.backend())
"""
    )
    assert out.strip() == "tensorgrad"


def test_what_most_programs_need_is_there():
    run(
        """
from tensorgrad import keras
import numpy as np
x, y = np.ones((8, 6, 6, 1)), np.ones((8, 1))
model = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae", "auc"])
model.fit(x, y, epochs=2, verbose=0, validation_split=0.25)
keras.layers.LSTM(3)(x[..., 0]), keras.ops.svd(x[0, :, :, 0]), keras.ops.image.resize(x, (3, 3))

v = keras.Variable([1.0, 2.0])
assert np.min(v) == 1 and np.concatenate([v, v]).shape == (4,) and np.sum(v, axis=0) == 3
assert (np.ones(2, "float32") + v).node is not None  # the variable's operator, recorded
chances = np.log([[0.2, 0.8], [0.5, 0.5], [1e-9, 1.0]]).astype("float32")
drawn = keras.random.categorical(chances, 4000, seed=3)
np.testing.assert_allclose(np.mean(drawn, 1), [0.8, 0.5, 1.0], atol=0.03)
assert not np.any(keras.random.dropout(x, 1.0, seed=1))
rows = np.array(keras.random.dropout(x, 0.5, noise_shape=(8, 1, 1, 1), seed=1)).reshape(8, -1)
assert set(map(tuple, rows)) == {(0,) * 36, (2,) * 36}
blurred = keras.ops.image.gaussian_blur(np.eye(5)[None, :, :, None][:, 2:3].repeat(5, 1), (3, 5))
assert np.array_equal(np.array(blurred[0, 2, :, 0]) > 0, [0, 1, 1, 1, 0])  # 3 along x
"""
    )


def test_keras_imported_before_with_another_backend_is_one_error():
    pytest.importorskip("torch")
    out = run(
        """
import keras
try:
    from tensorgrad import keras
except Exception as error:
    print(type(error).__name__, error)
""",
        backend="torch",
    )
    assert re.match("BackendError.*'torch'.*import it by", out), out


def test_an_unknown_version_is_refused(tmp_path):
    """A Keras whose modules choose their backend in another way."""
    out = run(
        """
import sys
from tensorgrad.keras_backend import hook
line, branch = hook.BRANCHES["keras.src.layers.layer"]
hook.BRANCHES["keras.src.layers.layer"] = (line + "another", branch)
try:
    from tensorgrad import keras
except ImportError as error:
    print(error)
"""
    )
    assert f"supports Keras {_versions()}" in out, out


def _versions():
    from tensorgrad.keras_backend.hook import VERSIONS

    return VERSIONS


# --- the programs of articles, with the line of the import changed ------------------------------

ARTICLES = {
    "functional": """
from tensorgrad import tf
import numpy as np

def create_model():
    input_layer = tf.keras.layers.Input(shape=(2,))
    hidden_layer = tf.keras.layers.Dense(1, activation='relu')(input_layer)
    output_layer = tf.keras.layers.Dense(1)(hidden_layer)
    model = tf.keras.models.Model(input_layer, output_layer)
    return model

model = create_model()
model.compile(optimizer=tf.keras.optimizers.SGD(learning_rate=0.01), loss='mse')
X_train = np.array([[1, 2], [3, 4], [5, 6], [7, 8]])
y_train = np.array([1, 1, 2, 2])
model.fit(X_train, y_train, epochs=100, verbose=1)
for layer in model.layers:
    print(layer.get_weights())
""",
    "sequential": """
from tensorgrad import tf
import numpy as np

model = tf.keras.Sequential([
    tf.keras.layers.Dense(3, activation='sigmoid', input_shape=(2,)),
    tf.keras.layers.Dense(1, activation='sigmoid')
])
model.compile(optimizer='adam', loss='mean_squared_error')
x_train = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y_train = np.array([[0], [1], [1], [0]])
model.fit(x_train, y_train, epochs=1000, verbose=0)  # the article's, but for what it prints
assert model.predict(x_train).shape == (4, 1)
""",
    "tape": """
from tensorgrad import tf

class NeuralNetwork(tf.keras.Model):
    def __init__(self, units):
        super(NeuralNetwork, self).__init__()
        self.fc1 = tf.keras.layers.Dense(units, activation='relu')
        self.fc2 = tf.keras.layers.Dense(1, activation='sigmoid')

    def call(self, x):
        x = self.fc1(x)
        x = self.fc2(x)
        return x

def loss_fn(y_true, y_pred):
    return tf.keras.losses.binary_crossentropy(y_true, y_pred)

optimizer = tf.keras.optimizers.Adam(learning_rate=0.001)

def train_step(x, y):
    with tf.GradientTape() as tape:
        y_pred = model(x)
        loss = loss_fn(y, y_pred)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

def evaluate_step(x, y):
    y_pred = model(x)
    loss = loss_fn(y, y_pred)
    return loss

# The article does not say what these are.
import numpy as np
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype("float32")
y = (x.sum(1, keepdims=True) > 0).astype("float32")
train_dataset = [(x[i : i + 32], y[i : i + 32]) for i in (0, 32)]
test_dataset = (x, y)
model = NeuralNetwork(8)
before = float(tf.reduce_mean(evaluate_step(x, y)))

epochs = 100
for epoch in range(epochs):
    for x, y in train_dataset:
        train_step(x, y)
try:
    loss = evaluate_step(test_dataset)  # the article's own mistake
except TypeError as error:
    assert "missing 1 required positional argument: 'y'" in str(error), error
after = float(tf.reduce_mean(evaluate_step(*test_dataset)))
assert after < 0.8 * before, (before, after)
""",
}


@pytest.mark.parametrize("name", ARTICLES)
def test_articles_run_with_the_import_changed(name):
    run(ARTICLES[name])


# Programs in NumPy keep their import, as its functions take tensors: the weights are made those.
SIGMOID = """
import numpy as np
import tensorgrad as tg

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def sigmoid_derivative(x):
    return x * (1 - x)

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([[0], [1], [1], [0]])
np.random.seed(1)
"""
DERIVED = (
    SIGMOID
    + """
w0 = tensor(2 * np.random.random((2, 2)) - 1)
w1 = tensor(2 * np.random.random((2, 1)) - 1)
for i in range(300):  # of the article's 10000
    l0 = X
    l1 = sigmoid(np.dot(l0, w0))
    l2 = sigmoid(np.dot(l1, w1))
    l2_error = y - l2
    l2_delta = l2_error * sigmoid_derivative(l2)
    l1_error = l2_delta.dot(w1.T)
    l1_delta = l1_error * sigmoid_derivative(l1)
    w1 += l1.T.dot(l2_delta)
    w0 += l0.T.dot(l1_delta)
"""
)
MISTAKEN = (
    SIGMOID
    + """
W1, b1 = tensor(np.random.randn(2, 2)), tensor(np.random.randn(1, 2))
W2, b2 = tensor(np.random.randn(2, 1)), tensor(np.random.randn(1, 1))
layer1 = sigmoid(np.dot(X, W1.T) + b1)
layer2 = sigmoid(np.dot(layer1, W2.T) + b2)
"""
)


def test_articles_in_numpy_run_with_tensors_for_weights():
    numpy, ours = {"tensor": np.asarray}, {"tensor": tg.tensor}
    exec(DERIVED, numpy)
    exec(DERIVED, ours)
    assert {type(ours[name]) for name in ("w0", "w1", "l1", "l2")} == {tg.Tensor}
    np.testing.assert_allclose(ours["l2"].numpy(), numpy["l2"], rtol=1e-12)
    with pytest.raises(ValueError, match="not aligned"):  # the article's own mistake
        exec(MISTAKEN, numpy)
    with pytest.raises(tg.ShapeError, match=r"float64\[4, 2\].*float64\[1, 2\]"):
        exec(MISTAKEN, ours)


# --- the same numbers as on other backends ------------------------------------------------------

LOSSES = Path(__file__).parent / "peers" / "keras_losses.py"


@functools.cache
def output(path, backend="tensorgrad"):
    """What a file prints. Of XLA only results are asked here, which it has sooner unoptimised."""
    return run(path.read_text(), backend, XLA_FLAGS="--xla_backend_optimization_level=0")


@pytest.mark.parametrize("other", ["torch", "jax"])
def test_losses_are_those_of_other_backends(other):
    """Ten networks, four epochs, from the same weights: each loss to a relative 2e-5."""
    pytest.importorskip(other)
    found = {b: json.loads(output(LOSSES, b)) for b in ("tensorgrad", other)}
    for name, losses in found[other].items():
        np.testing.assert_allclose(found["tensorgrad"][name], losses, rtol=2e-5, err_msg=name)


GRADIENTS = LOSSES.with_name("keras_gradients.py")
# Whole numbers, truth values, constants and modules; `eig` is compared beside PyTorch
# (tests/test_linalg.py), and `jvp` and `custom_gradient` are about gradients themselves.
WITHOUT = """all allclose any arange argmax argmin argpartition bartlett bitwise_and bitwise_invert
bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman
convert_to_numpy count_nonzero custom_gradient digitize dtype eig empty empty_like equal eye
full_like gcd greater greater_equal hamming hanning histogram identity image in_top_k is_tensor
isclose isfinite isin isinf isnan isneginf isposinf isreal jvp kaiser lcm left_shift less
less_equal linalg logical_and logical_not logical_or logical_xor matrix_rank multi_hot nanargmax
nanargmin ndim nextafter nn nonzero not_equal numpy one_hot ones ones_like right_shift
searchsorted shape size tri unravel_index view zeros zeros_like""".split()
REFUSED = {"unique", "lu_factor", "ctc_decode"}
NOT_BY_JAX = {"while_loop", "segment_prod"}  # which has no reverse mode for these


def test_no_function_loses_its_gradient_in_silence():
    """Each of keras.ops gives a gradient, or a NotImplementedError that names it."""
    ours = json.loads(output(GRADIENTS))
    names = json.loads(run("import json; from keras import ops; print(json.dumps(dir(ops)))"))
    known = {row.partition("(")[0] for row in ours} | {*WITHOUT}
    assert {n for n in names if not n.startswith("__")} <= known
    refused = {row for row, found in ours.items() if str(found).startswith("refused")}
    assert {row.partition("(")[0] for row in refused} == REFUSED
    constant = {"argsort(x)", "signbit(x)", "stop_gradient(x)", "image.map_coordinates(x,at,0)"}
    for row in ours.keys() - refused:
        assert isinstance(ours[row], list), f"{row}: {ours[row]}"
        assert "no path" not in ours[row] or row in constant, row


def test_gradients_are_those_of_jax():
    """Each row that JAX can differentiate, but for the functions that we refuse."""
    pytest.importorskip("jax")
    ours, theirs = (json.loads(output(GRADIENTS, b)) for b in ("tensorgrad", "jax"))
    for row, found in theirs.items():
        name = row.partition("(")[0]
        if isinstance(found, str):
            assert name in NOT_BY_JAX, f"{row}: {found}"
        elif name not in REFUSED:
            for a, b in zip(ours[row], found, strict=True):
                a = np.zeros(len(b)) if isinstance(a, str) else a  # constant: "no path"
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=row)


def test_correlate_has_the_dtype_that_keras_infers():
    run("""
from keras import KerasTensor, ops
for kind in ("bool", "uint8", "int32", "float16", "float32"):
    x, v = ops.ones(3, kind), ops.ones(2, kind)
    inferred = ops.correlate(KerasTensor((3,), kind), KerasTensor((2,), kind)).dtype
    assert ops.correlate(x, v).dtype.name == inferred, (kind, inferred)
""")


def test_files_go_from_backend_to_backend(tmp_path):
    pytest.importorskip("torch")
    program = """
import keras, numpy as np
x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype("float32")
if {write}:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(4, return_sequences=True),
        keras.layers.LayerNormalization(),
        keras.layers.Conv1D(2, 3), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :2], epochs=2, verbose=0)
    model.save("{path}.keras"), model.save_weights("{path}.weights.h5")
else:
    model = keras.saving.load_model("{path}.keras", compile={whole})
    again = keras.models.clone_model(model)
    again.load_weights("{path}.weights.h5")
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert not {whole} or int(model.optimizer.iterations) == 2
print(model.predict(x, verbose=0).tolist())
"""
    for first, second in (("torch", "tensorgrad"), ("tensorgrad", "torch")):
        path, whole = tmp_path / first, first != "torch"  # whose optimizers need PyTorch
        wrote, read = (run(program.format(write=w, path=path, whole=whole), b)
                       for w, b in ((True, first), (False, second)))  # fmt: skip
        np.testing.assert_allclose(json.loads(wrote), json.loads(read), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    out = run(
        f"""
import keras, numpy as np
keras.mixed_precision.set_global_policy("{policy}")
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 8)).astype("float32")
model = keras.Sequential([keras.layers.Dense(16, "gelu"), keras.layers.LayerNormalization(),
    keras.layers.Dense(1, dtype="float32")])
model.compile(keras.optimizers.Adam(0.02), "mse")
losses = model.fit(x, x[:, :1] * x[:, 1:2], epochs=12, verbose=0).history["loss"]
assert losses[-1] < 0.7 * losses[0], losses
assert {{v.dtype for v in model.trainable_variables}} == {{"float32"}}
print(type(model.optimizer).__name__, model.layers[0](x).dtype)
"""
    )
    half = policy.partition("_")[2]
    assert out.split() == ["LossScaleOptimizer" if half == "float16" else "Adam", half]


def test_jit_compile_captures_the_step_or_says_why():
    """Losses to a relative 1e-6: fused loops have exponentials of their own."""
    run(f"""
import sys, warnings
sys.path[:0] = [{str(LOSSES.parent)!r}]
import keras, keras_losses as k, numpy as np

def dropped():
    model = k.sequential(k.layers.Dense(8, "relu"), k.layers.Dropout(0.5), k.layers.Dense(1))
    return model, k.random(48, 6), k.random(48, 1, seed=1), "adamw", "mse"

def losses(network, jit):
    keras.utils.set_random_seed(0)
    model, x, y, optimizer, loss = network()
    model.compile(optimizer, loss, jit_compile=jit)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = model.fit(x, y, 16, epochs=3, shuffle=False, verbose=0).history["loss"]
    return found, [str(w.message) for w in told], model.compiled_step

for network in (dropped, k.masked, k.images, k.transformer, k.accumulated):
    eager, none, _ = losses(network, False)
    found, told, step = losses(network, True)
    np.testing.assert_allclose(found, eager, rtol=1e-6, err_msg=network.__name__)
    assert not none
    if network is k.accumulated:  # `keras.ops.cond` chooses by a number
        assert len(told) == 1 and "jit_compile=True" in told[0] and "reads a number" in told[0]
    else:
        assert not told and sum(p.calls_made for p in sum(step.plans.values(), [])) >= 3, told
model, x, y, *_ = dropped()
model.compile("sgd", "mse")
model.fit(x, y, verbose=0)
assert model.compiled_step is None  # "auto"
""")


def test_tensorboard_needs_no_tensorflow(tmp_path):
    pytest.importorskip("tensorboardX")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    losses = json.loads(
        run(f"""
import json, keras, numpy as np
from tensorgrad.keras_backend.tensorboard import TensorBoard
x = np.arange(12, dtype="float32").reshape(6, 2) / 12
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.25), "mse")
told = TensorBoard({str(tmp_path)!r}, histogram_freq=1, update_freq="batch")
held = (x, x[:, 1:])
made = model.fit(x, x[:, :1], 3, epochs=2, validation_data=held, callbacks=[told], verbose=0)
print(json.dumps(made.history))
try:
    TensorBoard("x", update_freq="step")
except ValueError as error:
    assert "'step'" in str(error)
""")
    )
    for name, key in (("train", "loss"), ("validation", "val_loss")):
        read = events.EventAccumulator(str(tmp_path / name)).Reload()
        found = [e.value for e in read.Scalars("epoch_loss")]
        np.testing.assert_allclose(found, losses[key], rtol=1e-6)
        if name == "train":
            assert [e.value for e in read.Scalars("epoch_learning_rate")] == [0.25, 0.25]
            assert len(read.Scalars("batch_loss")) == 4
            assert len(read.Tags()["histograms"]) == 2


def test_the_page_runs(tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "keras.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    run(f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks))


def test_what_is_not_there_is_refused_by_name():
    run(
        """
import keras, numpy as np
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
x = np.ones((2, 2), "float32")

def distributed():
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    return keras.layers.Dense(1)

for call, said in (
    (lambda: model.export("x", verbose=0), "SavedModel"),
    (lambda: keras.ops.convert_to_tensor(x, sparse=True), "sparse"),
    (lambda: keras.ops.one_hot([1], 2, sparse=True), "sparse"),
    (lambda: keras.device("tpu:0").__enter__(), "gpu:0"),
    (keras.distribution.list_devices, "one device"),
    (lambda: distributed().build((None, 2)), "one device"),
):
    try:
        call()
    except Exception as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
from tensorgrad import tf
try:
    tf.data.Dataset
except AttributeError as error:
    assert "tf.data" in str(error)
"""
    )
