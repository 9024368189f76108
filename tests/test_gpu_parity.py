"""Layers, losses and optimizers on a CUDA-like backend beside the CPU in float64, gradients
included; what only a GPU has: DLPack with PyTorch there, and memory that runs out."""

import copy

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype NumPy knows)
import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad import losses, nn, optim

from . import loss_cases
from .conftest import _missing
from .layer_cases import CASES  # beside PyTorch, on this backend, too

pytestmark = pytest.mark.host  # layers are made there and moved
rng = np.random.default_rng(0)
ROWS, IMAGES, STEPS = (6, 8), (3, 4, 6, 6), (3, 5, 8)
IDS = rng.integers(0, 7, (3, 5))
LAYERS = {  # how it is made, and what it takes
    **{name: (getattr(nn, name), ROWS) for name in (
        "ELU", "GELU", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh")},
    **{f"Dense {a}": (lambda a=a: nn.Dense(5, 8, activation=a), ROWS) for a in (
        None, "relu", "sigmoid", "tanh", "gelu", "softmax")},
    "Linear": (lambda: nn.Linear(8, 5), ROWS),
    "Dropout": (lambda: nn.Dropout(0.4), ROWS),
    "Flatten": (nn.Flatten, IMAGES),
    "LayerNorm": (lambda: nn.LayerNorm(8), ROWS),
    "RMSNorm": (lambda: nn.RMSNorm(8), ROWS),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), IMAGES),
    "Conv2d": (lambda: nn.Conv2d(4, 3, 3, padding=1, activation="relu"), IMAGES),
    "Conv2d in groups": (lambda: nn.Conv2d(4, 4, 2, stride=2, groups=2), IMAGES),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), IMAGES),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), IMAGES),
    "GlobalAvgPool": (nn.GlobalAvgPool, IMAGES),
    "SimpleLSTM": (lambda: nn.SimpleLSTM(5, 8), STEPS),
    "SimpleGRU": (lambda: nn.SimpleGRU(5, 8), STEPS),
    "SimpleRNN": (lambda: nn.SimpleRNN(5, 8), STEPS),
    "Embedding": (lambda: nn.Embedding(7, 4), IDS),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, 8), STEPS),
    "PositionalEmbedding": (lambda: nn.PositionalEmbedding(5, 8), STEPS),
    "TransformerBlock": (lambda: nn.TransformerBlock(2, 8, 16), STEPS),
}  # fmt: skip
ALIKE = set("GlobalMaxPool Conv BatchNorm Reshape Permute DropPath Residual Parallel".split())
# Tests of their own run there
ALIKE |= set(
    """TransformerEncoder TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer
    Transformer MultiheadAttention SinusoidalPositions KeyValueCache Last RNN LSTM GRU RNNCell
    LSTMCell GRUCell""".split()
)
NO_LAYERS = set(
    """Activation Buffer Input Model Module Parameter Sequential Lambda ModuleList ModuleDict
    ParameterList ParameterDict concatenate init generate register from_config load_model
    functional_call parametrize""".split()
)


@pytest.mark.parametrize("time", ["first", "second"])
def test_numbers_do_not_depend_on_the_tests_before(time):
    np.testing.assert_array_equal(rng.normal(size=3), np.random.default_rng(0).normal(size=3))


def test_every_layer_is_among_them():
    known = {name.split()[0] for name in LAYERS} | NO_LAYERS | ALIKE | set(CASES)
    others = {n for family in ("loss", "graph") for n in nn._LATER[family].split()}
    assert known == set(nn.__all__) - others  # which have tests of their own


def trained(model, x, name, half):
    """The output, and the gradients of the parameters and of x, in float64 on the host."""
    tg.seed(3)
    model = model.to(name)
    whole = x.dtype.kind == "i"
    x = tg.asarray(x, backend=name) if whole else tg.tensor(x, backend=name, requires_grad=True)
    with tg.autocast(half):
        y = model.train()(x)
    y = y[0] if isinstance(y, tuple) else y
    seed = np.random.default_rng(1).normal(size=y.shape)
    (y.astype("float64") * tg.asarray(seed, backend=name)).sum().backward()
    found = {n: p.grad for n, p in model.named_parameters()}
    found |= {"y": y} | ({} if whole else {"x": x.grad})
    return {n: None if t is None else t.numpy().astype(np.float64) for n, t in found.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, dtype, gpu):
    make, given = LAYERS[name]
    tg.seed(0)
    model, half = make().astype("float64"), dtype == "bfloat16"
    x = given if isinstance(given, np.ndarray) else rng.normal(size=given)
    model(tg.asarray(x))  # layers that find out their sizes have them
    wanted = trained(copy.deepcopy(model), x, "numpy", None)
    model = model.astype("float32" if half else dtype)
    x = x if x.dtype.kind == "i" else x.astype("float32" if half else dtype)
    got = trained(model, x, gpu.name, dtype if half else None)
    close = {"float64": 1e-11, "float32": 2e-5, "bfloat16": 0.06}[dtype]
    assert got.keys() == wanted.keys()
    for part, value in wanted.items():
        if value is None:
            assert got[part] is None, part
            continue
        size = max(1.0, np.abs(value).max(initial=0))
        np.testing.assert_allclose(got[part], value, rtol=0, atol=close * size, err_msg=part)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["Conv2d", "Conv2d in groups"])
def test_layer_without_cudnn(name, dtype, gpu, own_kernels):
    test_layer(name, dtype, gpu)


LOGITS, LABELS = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
P, T = rng.uniform(0.05, 0.95, (6, 4)), rng.uniform(0, 1, (6, 4))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", loss_cases.NAMES)
def test_loss(name, dtype, gpu):
    (a, b), loss = loss_cases.case(name), getattr(losses, name)
    found = []
    for home, kind in ((gpu.name, dtype), ("numpy", "float64")):
        x = tg.tensor(a, dtype=kind, backend=home, requires_grad=True)
        t = tg.asarray(b, dtype=None if b.dtype.kind == "i" else kind, backend=home)
        value = loss(x, t)
        value.backward()
        found.append((value.numpy(), x.grad.numpy()))
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11 if dtype == "float64" else 2e-5)


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "schedule": lambda p: optim.Adam(p, lr=optim.schedules.cosine(0.05, 4)),
    "groups": lambda p: optim.SGD([{"params": p[:1], "lr": 0.2}, {"params": p[1:]}], lr=0.01),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name, dtype, gpu):
    start = [np.random.default_rng(i).normal(size=s) for i, s in enumerate(((7, 5), (5,), (1,)))]
    found = []
    for home, kind in ((gpu.name, dtype), ("numpy", "float64")):
        params = [nn.Parameter(tg.asarray(a, dtype=kind, backend=home)) for a in start]
        optimizer = OPTIMIZERS[name](params)
        for _ in range(4):
            optimizer.zero_grad()
            sum([(p * p * p).sum() for p in params]).backward()
            optimizer.step()
        assert {p.backend for p in params} == {home}
        found.append([p.numpy() for p in params])
    close = {"float64": 1e-11, "float32": 1e-5}[dtype]
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=close, atol=close)


def test_loss_scale_leaves_out_steps_that_overflow(gpu):
    w = nn.Parameter(tg.asarray(np.ones(3, "float32"), backend=gpu.name))
    sgd, scale = optim.SGD([w], lr=1.0), optim.LossScale(start=2.0**14)
    for factor, taken in ((1e-3, True), (100.0, False), (1e-3, True)):
        sgd.zero_grad()
        half = tg.asarray(np.full(3, factor, "float16"), backend=gpu.name)
        scale((w.astype("float16") * half).sum()).backward()
        assert scale.step(sgd) == taken
    np.testing.assert_allclose(w.numpy(), 1 - 2e-3, rtol=1e-4)


def test_numpy_arrays_go_where_the_tensor_is(gpu):
    """Host arrays as targets, indices and masks, and in functional models, are copied
    implicitly."""
    x = tg.asarray(P, backend=gpu.name)
    assert losses.mean_squared_error(x, T).backend == gpu.name
    assert losses.cross_entropy(x, LABELS).backend == losses.cross_entropy(x, T).backend == gpu.name
    assert losses.binary_cross_entropy(x, T.round().tolist()).backend == gpu.name
    np.testing.assert_array_equal(x[np.array([2, 0])].numpy(), P[[2, 0]])
    np.testing.assert_array_equal(x[P > 0.5].numpy(), P[P > 0.5])
    layer = nn.MultiHeadAttention(2, 8).to(gpu.name)
    given = tg.ones((3, 5, 8), backend=gpu.name)
    assert layer(given, mask=np.ones((5, 5), bool)).backend == gpu.name
    tg.set_backend(gpu.name)
    try:
        inp = nn.Input(3)
        model = nn.Model(inp, np.float32([1, 2, 3]) * inp + np.float32([1, 1, 1]))
        np.testing.assert_array_equal(model(np.ones((2, 3), "float32")).numpy(), [[2, 3, 4]] * 2)
    finally:
        tg.set_backend("numpy")


# --- what only a GPU has ------------------------------------------------------------------------


@pytest.fixture
def cupy():
    """CuPy, on a GPU that works."""
    if reason := _missing("cupy"):
        pytest.skip(f"cupy: {reason}")
    return backends.get("cupy").xp


@pytest.mark.gpu
def test_memory_is_shared_with_pytorch(cupy):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch sees no GPU")
    theirs = torch.arange(4.0, device="cuda")
    ours = tg.from_dlpack(theirs)
    assert ours.backend == "cupy"
    theirs[0] = 9
    torch.cuda.synchronize()
    assert ours.tolist() == [9, 1, 2, 3]
    x = tg.tensor(np.arange(6.0).reshape(2, 3), backend="cupy")
    back = torch.from_dlpack(x)
    assert back.device.type == "cuda"
    assert back.data_ptr() == x.data.data.ptr
    np.testing.assert_array_equal(back.cpu().numpy(), x.numpy())


@pytest.mark.gpu
def test_after_memory_ran_out_training_goes_on(cupy):
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + (64 << 20))
    try:
        model = nn.Dense(2, 3).to("cupy")
        sgd, x = optim.SGD(model.parameters(), lr=0.1), tg.ones((4, 3), backend="cupy")
        with pytest.raises(tg.OutOfMemoryError, match="allocat"):
            tg.zeros((1 << 28,), backend="cupy") + 1.0
        before = model.get_weights()[0]
        for _ in range(2):
            sgd.zero_grad()
            model(x).sum().backward()
            sgd.step()
        assert (model.get_weights()[0] != before).all()
    finally:
        pool.set_limit(size=0)


@pytest.mark.gpu
def test_float32_products_are_not_rounded_to_tf32(cupy):
    a, b = rng.normal(size=(2, 256, 256))
    y = tg.matmul(*[tg.asarray(x.astype("float32"), backend="cupy") for x in (a, b)])
    np.testing.assert_allclose(y.numpy(), a @ b, rtol=0, atol=2e-4)
