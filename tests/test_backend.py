"""Selecting a backend, and the reasons given where one is not usable."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import cublas, device

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad import doctor
from tensorgrad.core import OPS

from .conftest import _missing
from .cudasim import cublaslt
from .rows import of_each

ROOT = Path(__file__).parent.parent


def run(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=120,
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.skipif(backends.why_no_gpu() is None, reason="there is a GPU here")
def test_cupy_without_a_gpu_is_one_clear_error():
    code = """
import numpy as np, tensorgrad as tg
try:
    tg.tensor([1.0])
except Exception as error:
    print(type(error).__name__, error)
"""
    out, err = run(code, TENSORGRAD_BACKEND="cupy")
    assert out.startswith("BackendError backend 'cupy' cannot be used: ")
    assert "TENSORGRAD_BACKEND=numpy" in out  # the remedy
    assert "doctor" in out
    assert "\n" not in out
    assert "Traceback" not in err


@pytest.mark.skipif(backends.why_no_gpu() is None, reason="there is a GPU here")
def test_auto_says_once_what_it_chose():
    code = "import tensorgrad as tg; print(tg.ones(2).backend, tg.ones(2).backend)"
    out, err = run(code, TENSORGRAD_BACKEND="auto")
    assert out == "numpy numpy"
    assert err.count("backend auto chose numpy") == 1


def test_misspelt_backend_suggests_the_nearest():
    out, _ = run(
        "import tensorgrad as tg\ntry: tg.ones(2)\nexcept tg.BackendError as e: print(e)",
        TENSORGRAD_BACKEND="numppy",
    )
    assert "did you mean 'numpy'?" in out
    with pytest.raises(tg.BackendError, match="did you mean 'cupy'"):
        tg.set_backend("cuppy")


def test_default_is_numpy_and_the_variable_is_not_case_sensitive():
    out, _ = run("import tensorgrad as tg; print(tg.ones(2).backend)", TENSORGRAD_BACKEND=" NumPy ")
    assert out == "numpy"


def test_new_tensors_go_where_the_backend_says(backend):
    assert tg.ones((2, 2)).backend == backend
    assert tg.tensor([1.0, 2.0]).backend == backend
    assert tg.randn(3).backend == backend
    array, (x, y) = np.ones(2), tg.data.DataLoader((np.ones((2, 2)), np.ones(2))).arrays
    assert next(iter(tg.data.DataLoader((x, y))))[0].backend == backend
    for make in (tg.tensor, tg.asarray, tg.exp, tg.nn.Parameter, tg.zeros_like, tg.nn.ReLU()):
        assert make(array).backend == backend
    assert tg.tensor(array, backend="numpy").backend == "numpy"
    assert tg.asarray(tg.tensor(array).data).backend == backend  # an array of the GPU stays there
    tg.set_backend("numpy")
    assert tg.asarray(tg.tensor(array, backend=backend).data).backend == backend


def test_arrays_of_the_host_go_where_the_tensors_are(backend):
    """The same program on both: NumPy arrays as operands, indices, masks and targets."""
    x, a = (
        tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        np.array([[2.0, 0.5], [1.0, 1.0]]),
    )
    for y in (
        x * a,
        a - x,
        x @ a,
        np.maximum(x, a),
        tg.where(a > 1, x, a),
        x[np.array([1, 0])],
        tg.concatenate([x, a]),
        tg.dense(x, a),
        tg.mean_squared_error(x, a),
        x[a > 1],
    ):
        assert (y.backend, y.requires_grad, y.dtype) == (backend, True, np.float32)
        y.sum().backward()
    assert (x > a).backend == backend


def test_random_numbers_are_the_same_everywhere(backend):
    tg.seed(7)
    here = tg.randn(5).numpy()
    tg.set_backend("numpy")
    tg.seed(7)
    np.testing.assert_array_equal(here, tg.randn(5).numpy())


def test_mixing_backends_says_how_to_move(backend):
    if backend == "numpy":
        pytest.skip("one backend is not a mixture")
    x, y = tg.ones(2), tg.ones(2, backend="numpy")
    for mixed in (lambda: x + y, lambda: tg.concat([y, x]), lambda: tg.where(x > 0, x, y)):
        with pytest.raises(tg.BackendError, match=r"move one with .to\('numpy'\)"):
            mixed()


def test_numpy_scalars_go_where_the_tensor_is(backend):
    x = tg.ones(2)
    for y in (x * np.float32(2), np.float32(2) * x, tg.maximum(x, np.float32(2))):
        assert y.backend == backend
        assert y.tolist() == [2, 2]


def test_numpy_conversion_is_explicit_off_the_host(backend):
    x = tg.ones(2)
    if backend == "numpy":
        assert np.shares_memory(np.asarray(x), x.data)
    else:
        with pytest.raises(tg.BackendError, match=r"\.numpy\(\)"):
            np.asarray(x)
    assert x.numpy().tolist() == [1, 1]


def test_doctor_prints_the_diagnosis():
    text = doctor.report()
    assert f"usable, {np.__version__}" in text
    reason = backends.why_no_gpu()
    assert reason is None or f"not usable: {reason}" in text
    assert "kernels on the CPU" in text


@pytest.fixture
def as_cupy(monkeypatch):
    """cudasim under CuPy's name, with a driver and a card."""
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    sim = backends.get("cudasim")
    card = {"name": b"a card", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30}
    runtime = SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda i: card,
    )
    cupy = SimpleNamespace(__version__="14.2", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(backends.BACKENDS, "cupy", sim)
    monkeypatch.setattr(backends, "why_no_gpu", lambda: None)
    there = device.DEVICES[sim.array_type]

    def broken(**parts):
        monkeypatch.setitem(device.DEVICES, sim.array_type, there._replace(**parts))

    return broken


def failing(error):
    def fail(*args, **more):
        raise error

    return fail


def test_doctor_has_the_gpu_compile_and_multiply(as_cupy):
    facts = dict(doctor._backends())
    assert facts["gpu 0"] == "a card, compute capability 9.0, 80 GiB"
    assert facts["kernels"] == "compiled and run"
    assert "bias, gelu" in facts["products"]
    assert facts["so cupy is"] == "usable"


def test_doctor_says_what_is_missing_beside_the_driver(as_cupy):
    headers = device.CompileError("the kernel tanh cannot be compiled: Failed to find CUDA headers")
    as_cupy(launch=failing(headers))
    facts = dict(doctor._backends())
    assert "NOT usable: tanh(" in facts["kernels"]
    assert 'pip install "cupy-cuda13x[ctk]"' in facts["kernels"]
    assert facts["so cupy is"] == "not usable, for its kernels"

    missing = cublas.CublasError("matrix products on a GPU need cuBLASLt, which is not found")
    as_cupy(blas=SimpleNamespace(matmul=failing(missing), refused={}))
    facts = dict(doctor._backends())
    assert "cuBLASLt, which is not found" in facts["products"]
    assert facts["so cupy is"] == "not usable, for its products"


def test_doctor_says_which_epilogue_is_not_fused(as_cupy, monkeypatch):
    blas = cublas.CublasLt(cublaslt.Cupy())
    blas.library = cublas.with_signatures(cublaslt.library()[0])
    search, asked = blas.library.cublasLtMatmulAlgoGetHeuristic, []
    as_cupy(blas=blas)

    def refuse(*given):
        asked.append(1)
        return 7 if len(asked) == 3 else search(*given)  # after the product's and bias'

    monkeypatch.setattr(blas.library, "cublasLtMatmulAlgoGetHeuristic", refuse)
    facts = dict(doctor._backends())
    assert "gelu is not fused: cuBLASLt: CUBLAS_STATUS_INVALID_VALUE" in facts["products"]
    assert "bias is not" not in facts["products"]
    assert facts["so cupy is"] == "usable"


def test_the_extras_bring_what_cupy_compiles_and_multiplies_with():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for cuda in ("12", "13"):
        assert f"cupy-cuda{cuda}x[ctk]>=14.2" in extras[f"cuda{cuda}"]


@pytest.mark.host
def test_dlpack_with_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(4.0)
    ours = tg.from_dlpack(theirs)
    theirs[0] = 9
    assert ours.tolist() == [9, 1, 2, 3]
    back = torch.from_dlpack(tg.tensor([1.0, 2.0]))
    assert back.tolist() == [1, 2]


@pytest.mark.host
def test_objects_text_and_none_are_refused():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for call in (
        lambda: tg.zeros(2, dtype=object),
        lambda: tg.zeros(2, dtype=str),
        lambda: x.astype("U5"),
        lambda: x.astype("M8[s]"),
        lambda: tg.where(x > 1, None, x),
    ):
        with pytest.raises(tg.DTypeError):
            call()


SEVERAL = [n for n, o in OPS.items() if o.samples and not o.inplace and len(o.inputs) > 1]


@of_each("name", SEVERAL)
def test_no_op_takes_arrays_of_two_backends(name, gpu):
    """Mixed backends are an error in forward, not in a rule in backward: NumPy indices, too."""
    op = OPS[name]
    args, params = op.samples()[0]
    arrays = [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]
    for other in arrays[1:]:
        made = [gpu.from_host(a) if i in arrays and i != other else a for i, a in enumerate(args)]
        with pytest.raises(tg.BackendError, match="were mixed"):
            op(*made, **params)


class Table:
    """Like a data frame: values that NumPy makes an array of."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


@pytest.mark.parametrize("made", [np.array, list, tuple, Table], ids=lambda f: f.__name__)
def test_what_stands_beside_a_tensor_of_a_gpu_goes_there(made, gpu):
    """Targets, masks and states, whatever they are made of, though the default backend is NumPy."""
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True, backend=gpu.name)
    losses = {
        "target": tg.mean_squared_error(x, made([[0.0, 1.0], [2.0, 3.0]])),
        "where": x.sum(where=made([True, False])),
    }
    assert {name: y.backend for name, y in losses.items()} == dict.fromkeys(losses, gpu.name)
    assert [y.item() for y in losses.values()] == [1.0, 4.0]
    model = tg.nn.Dense(1, 2).to(gpu.name)
    model.set_weights([made([[1.0], [2.0]]), made([3.0])])
    assert {p.backend for p in model.parameters()} == {gpu.name}
    assert model(x).tolist() == [[8.0], [14.0]]
