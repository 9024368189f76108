"""What the compiled loops stand on: Numba only when needed, its thread pool, formulas."""

import importlib
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from tensorgrad.kernels import cpu
from tensorgrad.kernels.cpu import jit, scalars

RUN = """
import numpy as np, sys
import tensorgrad as tg
from tensorgrad.kernels.cpu import elementwise, jit, update
from tensorgrad.core import OPS
n = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
x = np.linspace(-1, 1, n, dtype=np.float32)
def run():
    np.testing.assert_allclose(OPS["sigmoid_grad"](x, x), x * x * (1 - x), rtol=1e-5, atol=1e-6)
"""


def python(code, *args, **env):
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", RUN + code, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **{k: str(v) for k, v in env.items()}},
        cwd="/",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_small_arrays_run_without_numba():
    assert python("run(); print('numba' in sys.modules)", 100) == "False"
    assert python("run(); print('numba' in sys.modules)", 9000) == "True"


def test_loops_of_one_name_are_one():
    """Machine code is kept by the names of loop and formulas: others of these would get it, too."""
    for module in pkgutil.iter_modules(cpu.__path__):
        importlib.import_module(f"{cpu.__name__}.{module.name}")
    found = {}
    for loop in jit.loops:
        formulas = [cell.cell_contents for cell in loop.function.__closure__ or ()]
        key = loop.function.__module__, loop.name
        assert found.setdefault(key, formulas) == formulas, key


def test_an_error_in_a_loop_is_raised():
    @jit.jit
    def wrong(x, y):
        y[0] = x.no_such_attribute

    with pytest.raises(Exception, match="no_such_attribute"):
        wrong(np.ones(3), np.ones(3))


# --- threads ------------------------------------------------------------------------------------

LARGE = 300_000


def test_tbb_is_found_and_used():
    layer, reason = jit.pool()
    if layer is None:
        pytest.skip(f"loops run serially here: {reason}")
    assert layer == "tbb"
    assert python("run(); import numba; print(numba.threading_layer())", LARGE) == "tbb"


def test_without_tbb_loops_run_serially():
    code = """
sys.modules["numba.np.ufunc.tbbpool"] = None
run()
import numba
try:
    print(numba.threading_layer())
except ValueError:
    print(jit.threading_layer(), jit.threads())
"""
    assert python(code, LARGE) == "None 1"


@pytest.mark.slow
def test_workqueue_is_never_used():
    assert python(
        "run(); print(jit.threading_layer())", LARGE, NUMBA_THREADING_LAYER="workqueue"
    ) == ("None")
    code = """
import numba
numba.config.THREADING_LAYER = "workqueue"
@numba.njit(parallel=True)
def start(y):
    for i in numba.prange(y.size):
        y[i] = i
start(x.copy())
run()
print(numba.threading_layer(), jit.threading_layer())
"""
    assert python(code, LARGE) == "workqueue None"


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["TENSORGRAD_NUM_THREADS", "OMP_NUM_THREADS"])
def test_number_of_threads_can_be_set(variable):
    if jit.pool().layer is None:
        pytest.skip("loops run serially here")
    clean = {"TENSORGRAD_NUM_THREADS": "", "OMP_NUM_THREADS": "", variable: 1}
    assert python("run(); print(jit.threads())", LARGE, **clean) == "1"
    assert python("import numba; run(); print(jit.threads())", LARGE, **clean) == "1"


@pytest.mark.slow
def test_many_user_threads_and_a_fork():
    code = """
import os, threading
failed = []
def work():
    try:
        for _ in range(20):
            run()
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert not failed, failed
child = os.fork()
if child == 0:
    run()  # serially: the child has none of the pool's threads
    os._exit(7 if jit.threading_layer() is None else 8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    assert python(code, LARGE) == "7"


def test_description_for_the_doctor():
    facts = jit.describe()
    assert set(facts) == {"numba", "threads", "threading layer", "cache"}
    assert all(isinstance(v, str) and v for v in facts.values())


# --- the formulas of one number -----------------------------------------------------------------

EXACT = {
    "exp": (np.exp, -86, 88),
    "expm1": (np.expm1, -30, 80),
    "tanh": (np.tanh, -30, 30),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80, 80),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_formulas_are_exact_to_two_units(name, dtype):
    """Against 80-bit floats, near zero and over the whole range."""
    formula, (exact, low, high) = getattr(scalars, name), EXACT[name]

    @jit.jit
    def loop(x, y):
        for i in range(x.size):
            y[i] = formula(x[i])

    near, far = np.linspace(-0.01, 0.01, 4001), np.linspace(low, high, 40_001)
    x = np.concatenate([near, far]).astype(dtype)
    y = np.empty_like(x)
    loop(x, y)
    wanted = exact(x.astype(np.longdouble))
    ulps = np.abs(y - wanted) / np.spacing(np.abs(wanted).astype(dtype))
    assert float(ulps.max()) < 3


def test_formulas_run_in_plain_python_too():
    for name in ("tanh", "sigmoid", "gelu", "silu"):
        for x in (-1.5, 0.0, 0.7):
            expected = {
                "tanh": np.tanh(x),
                "sigmoid": 1 / (1 + np.exp(-x)),
                "gelu": 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))),
                "silu": x / (1 + np.exp(-x)),
            }[name]
            assert getattr(scalars, name)(np.float64(x)) == pytest.approx(expected, rel=1e-12)


ONCE = """
import importlib, math, numba
from numba.core import codegen
made, generate = [], codegen.JITCodeLibrary._finalize_specific
def counted(self):
    made.append(self.name)
    generate(self)
codegen.JITCodeLibrary._finalize_specific = counted
@numba.njit
def theirs(x):
    return max(x[0], np.empty(2)[:0].sum())
before = theirs(np.ones(2))
made.clear()
jit.numba()
x = np.ones((3, 40000), np.float32)
first = [f for f in jit.loops if f._compiled]
out = OPS["softmax"](x, axis=1), OPS["sigmoid_grad"](x, x), OPS["gelu"](x)
loops = sum(len(f._compiled) for f in jit.loops) - len(first)
assert loops >= 3, loops
names = {f.name.partition("-")[0] for f in jit.loops}
print(len(made) - loops, [n for n in made if n.partition("-")[0] not in names])
@numba.njit
def later(x):
    if x.size == 0:
        raise ValueError("empty", x.size)
    return np.empty(3).size + max(x[0], 2.0)
assert later(np.ones(2)) == 5.0 and before == 1.0
try:
    later(np.ones(0))
except ValueError as error:
    assert error.args == ("empty", 0)
"""


@pytest.mark.slow
def test_each_loop_is_generated_once_and_others_code_as_ever(tmp_path):
    """Helpers alone are never made into machine code, which took a fifth of a first run. (A release
    of Numba that library.py was not tried on is to be tried, then.)"""
    assert python(ONCE, NUMBA_CACHE_DIR=tmp_path) == "0 []"
