"""Poor surroundings: each ends in slower work and one warning, or in one clear error, and the
doctor lives to name it. Each case is a process of its own."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
import numpy as np
import tensorgrad as tg

def work(n=20_000):
    x = np.linspace(-1, 1, n, dtype=np.float32)
    y = tg.tensor(x, requires_grad=True)
    tg.tanh(tg.sigmoid(y)).sum().backward()
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(y.grad, s * (1 - s) / np.cosh(s) ** 2, rtol=1e-4)

"""
WITHOUT_NUMBA = """
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
"""
DOCTOR = """
from tensorgrad.__main__ import main
code = main(["doctor"])
assert code == 0, code
"""


def python(code, *before, cwd="/", preparation="", **env):
    """What a process printed, and what it said on standard error."""
    env = {k: v for k, v in {**os.environ, **env}.items() if v is not None}
    env = {k: str(v) for k, v in env.items()}
    done = subprocess.run(
        [*before, sys.executable, "-c", PROGRAM + preparation + code],
        capture_output=True,
        env=env,
        cwd=cwd,
        timeout=120,
    )
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    assert done.returncode == 0, out + err
    return out.strip(), err


def warned(err):
    return re.findall(r"RuntimeWarning: (tensorgrad: .*)", err)


# --- no Numba -----------------------------------------------------------------------------------

EVERY_OP = """
from tensorgrad import dispatch
from tensorgrad.core import OPS
refused = set()

def again(a):
    return a.copy() if isinstance(a, np.ndarray) else a

for op in list(OPS.values()):
    for args, params in (op.samples or list)():
        mine, theirs = [[again(a) for a in args] for _ in range(2)]
        with tg.use_kernels("always"):
            ours = op(*mine, **params)
            refused |= {op.name} if dispatch._unusable else set()
            dispatch._unusable.clear()
        wanted = op.ref(*theirs, **params)
        for got, right in ([ours, *mine], [wanted, *theirs]),:
            for x, y in zip(got, right, strict=True):
                for one, other in zip(*[v if isinstance(v, tuple) else (v,) for v in (x, y)]):
                    assert one is other or np.array_equal(one, other, equal_nan=True), op.name
assert {"conv2d", "lstm", "matmul", "sum_to", "optimizer_step"} <= refused, refused
"""


def test_without_numba_references_run():
    _, err = python("work(); work(); work(10)", preparation=WITHOUT_NUMBA)
    assert len(warned(err)) == 1
    assert "No module named 'numba'" in warned(err)[0]


def test_without_numba_each_op_is_its_reference():
    """Whichever is met first: kernels have written nothing when they miss Numba."""
    python(EVERY_OP, preparation=WITHOUT_NUMBA)


def test_small_programs_never_hear_of_numba():
    assert python("work(10)", preparation=WITHOUT_NUMBA)[1] == ""


@pytest.mark.parametrize("fault", ["ImportError('Numba needs NumPy 2.9')", "OSError('no LLVM')"])
def test_a_broken_numba_is_as_none(fault, tmp_path):
    (tmp_path / "numba.py").write_text(f"raise {fault}")
    _, err = python("work(); work()", PYTHONPATH=tmp_path)
    assert len(warned(err)) == 1
    assert re.search(r"\('(.*)'\)", fault)[1] in warned(err)[0]
    out, _ = python(DOCTOR, PYTHONPATH=tmp_path)
    assert "all ops run on NumPy alone: Numba cannot be imported" in out


def test_without_numba_the_commands_say_so():
    out, _ = python(DOCTOR, preparation=WITHOUT_NUMBA)
    assert "all ops run on NumPy alone: Numba cannot be imported: No module named" in out
    assert "environment" in out, "the sections after that"
    code = "from tensorgrad.__main__ import main; assert main(['warmup']) == 2"
    _, err = python(code, preparation=WITHOUT_NUMBA)
    said = "tensorgrad: warmup: Numba cannot be imported: No module named 'numba': pip install"
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


# --- no place -----------------------------------------------------------------------------------

FULL = """
import errno, os, tempfile
made = os.fdopen
class Full:
    def __init__(self, *args): self.file = made(*args)
    def __enter__(self): return self
    def __exit__(self, *error): self.file.close()
    def write(self, data): raise OSError(errno.ENOSPC, "No space left on device")
os.fdopen = Full
"""


def test_a_disk_that_fills_up(tmp_path):
    _, err = python("work(); work()", preparation=FULL, NUMBA_CACHE_DIR=tmp_path)
    assert len(warned(err)) == 1
    assert "cannot be kept" in warned(err)[0]
    assert "No space left" in warned(err)[0]
    assert not any(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()), "half written"


def in_a_namespace(script):
    """The words before a command that run it where a shell script has changed what is mounted."""
    before = ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")
    try:
        done = subprocess.run([*before, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare on this system")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    return before


@pytest.mark.parametrize("size", ["size=8k", "size=40k", "nr_inodes=1", "nr_inodes=2"])
def test_a_full_disk(size, tmp_path):
    before = in_a_namespace(f"mount -t tmpfs -o {size},mode=700 none {tmp_path}")
    out, err = python("work(); work()" + DOCTOR, *before, NUMBA_CACHE_DIR=tmp_path, TMPDIR=tmp_path,
                      XDG_CACHE_HOME=tmp_path)  # fmt: skip
    assert len(warned(err)) == 1, err
    assert re.search("WARNING .*(No space left|compiled anew)", out)


def test_a_system_that_is_read_only(tmp_path):
    """Without a temporary folder, too."""
    before = in_a_namespace("mount -o remount,bind,ro /")
    out, err = python("work(); work()" + DOCTOR, *before, NUMBA_CACHE_DIR=None)
    if not warned(err):
        pytest.skip("other file systems are mounted here that can be written")
    assert len(warned(err)) == 1
    assert re.search("WARNING .*compiled anew by each process", out)
    assert "none: each process compiles anew" in out


NO_TEMPORARY = """
import tempfile
def none(*args, **kwargs): raise FileNotFoundError(2, "No usable temporary directory found")
tempfile.mkdtemp = tempfile.TemporaryFile = tempfile.gettempdir = none
"""


def test_no_folder_at_all(tmp_path):
    out, err = python("work(); work()" + DOCTOR, preparation=NO_TEMPORARY, NUMBA_CACHE_DIR=tmp_path)
    assert len(warned(err)) == 1
    assert "none: each process compiles anew" in out


NO_HOME = """
import pwd
def nobody(uid): raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = nobody
"""


@pytest.mark.parametrize("set_to", [{}, {"HOME": "nowhere"}, {"XDG_CACHE_HOME": "cache"}])
def test_no_home(set_to, tmp_path):
    """The working directory is not taken for one."""
    (tmp_path / "file").touch()
    env = {"HOME": None, "XDG_CACHE_HOME": None, **set_to}
    env["NUMBA_CACHE_DIR"] = tmp_path / "file" / "a"
    _, err = python("work()" + DOCTOR, preparation=NO_HOME, cwd=tmp_path, **env)
    assert len(warned(err)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- other poverty ------------------------------------------------------------------------------


def test_a_locale_without_unicode(tmp_path):
    poor = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    poor |= {"PYTHONIOENCODING": None}
    place = tmp_path / "Zwölf Boxkämpfer"
    out, err = python("work()" + DOCTOR, NUMBA_CACHE_DIR=place, **poor)
    assert warned(err) == []
    assert list(place.rglob("*.code"))
    assert "Boxk" in out, "the doctor names the folder"


def test_without_tbb_the_doctor_says_so(tmp_path):
    code = "sys.modules['numba.np.ufunc.tbbpool'] = None\nwork(300_000)"
    out, err = python(code + DOCTOR, NUMBA_CACHE_DIR=tmp_path)
    assert "parallel loops run on one thread: no TBB" in out
    assert "pip install tbb" in out
    assert warned(err) == []


@pytest.mark.parametrize("section", ["_versions", "_backends", "_blas", "_cpu_kernels"])
def test_the_doctor_survives_a_broken_section(section):
    code = f"""
from tensorgrad import doctor
def broken():
    yield "first", 1
    raise RuntimeError("a broken thing")
doctor.{section} = broken
"""
    out, _ = python(code + DOCTOR)
    assert "RuntimeError: a broken thing" in out
    assert "environment" in out


def test_a_process_says_once_that_it_compiles(tmp_path):
    """On any stderr, when that takes longer than a second; not one that finds the code."""
    code = """
from tensorgrad.kernels.cpu import jit
class Soon(threading.Timer):
    def __init__(self, seconds, *args):
        assert seconds == 1
        super().__init__(0, *args)
jit.threading = types.SimpleNamespace(**vars(threading) | {"Timer": Soon})
work()
tg.softmax(tg.ones((300, 300)))
"""
    code = "import threading, types" + code
    for times in (1, 0):
        _, err = python(code, NUMBA_CACHE_DIR=tmp_path)
        assert err.count("tensorgrad: compiling") == times
        assert err.count("for this processor, once") == times


# --- forks --------------------------------------------------------------------------------------

FORK = """
import os, threading, time
from tensorgrad.kernels.cpu import jit
if jit.pool().layer != "tbb":
    print("no TBB")
    sys.exit()
work(300_000)
stop = threading.Event()
def train():
    while not stop.is_set():
        work(300_000)
thread = threading.Thread(target=train)
thread.start()
def fork():
    child = os.fork()
    if child == 0:
        os.write(1, b"child\\n")
        work(300_000)  # what the parent has compiled
        tg.softmax(tg.ones((300, 300)))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.write(2, b"parent\\n")
for _ in range(2):
    fork()
other = threading.Thread(target=fork)
other.start(); other.join()
stop.set(); thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_beside_a_training_thread(tmp_path):
    """TBB says nothing, a child says once that it compiles, the next ones find its code, and
    nothing that was printed is lost."""
    out, err = python(FORK, NUMBA_CACHE_DIR=tmp_path)
    if out == "no TBB":
        pytest.skip("no TBB here")
    if not hasattr(os, "memfd_create"):
        pytest.skip("no files in memory here, to keep TBB's words from the output")
    assert out.splitlines() == ["child"] * 3
    assert err.count("parent\n") == 3
    assert len(warned(err)) == 1
    assert "forked process" in warned(err)[0]
    assert re.sub(r"parent\n|tensorgrad: compiling.*\n|.*RuntimeWarning.*\n  .*\n", "", err) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_thread_compiles(tmp_path):
    """The child could compile nothing if it were forked in the middle of that."""
    code = """
import os, signal, threading, time
from numba.core import dispatcher
from tensorgrad.kernels.cpu import jit
began, real = threading.Event(), dispatcher._FunctionCompiler.compile
def compile(self, *args):
    began.set()
    time.sleep(0.5)
    return real(self, *args)
dispatcher._FunctionCompiler.compile = compile
thread = threading.Thread(target=work)
thread.start()
began.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    dispatcher._FunctionCompiler.compile = real
    x = np.ones(20_000, np.float32)
    tg.exp(tg.relu(x))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
thread.join()
"""
    python(code, NUMBA_CACHE_DIR=tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_output_at_a_fork_is_not_lost():
    code = """
import ctypes, os
from tensorgrad.kernels.cpu import forks
print("first", flush=True)
for _ in range(2):
    forks.mute()
    os.write(1, b"one\\nUnable to join threads to shut down before fork(). This.\\n\\ntwo\\n")
    os.write(2, b"Numba: Attempted to fork from a non-main thread, so.\\nthree\\n")
    forks.unmute()
print("last", flush=True)
os.close(2)
forks.mute(); forks.unmute()
"""
    if not hasattr(os, "memfd_create"):
        pytest.skip("no files in memory here")
    out, err = python(code)
    assert out.split() == ["first", "one", "two", "one", "two", "last"]
    assert err.split() == ["three", "three"]
