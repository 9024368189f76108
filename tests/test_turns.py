"""Processes that need the same kernel compile it once, and none waits for one that will not."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no locks of POSIX, and no forks"),
]

# Says when it compiles, and takes its time.
PROGRAM = """
import os, signal, sys, time
import numpy as np
from numba.core import dispatcher
from tensorgrad.kernels.cpu import cache, jit, turns

compile_, PAUSE = dispatcher._FunctionCompiler.compile, 1.0
def slowly(self, args, return_type):
    if "double" in self.py_func.__qualname__:
        print("compiles", flush=True)
        time.sleep(PAUSE)
    return compile_(self, args, return_type)
dispatcher._FunctionCompiler.compile = slowly

@jit.jit
def double(x, y):
    for i in range(x.size):
        y[i] = 2 * x[i]

def run(dtype="float32"):
    x = np.arange(5, dtype=dtype)
    y = np.zeros_like(x)
    double(x, y)
    assert (y == 2 * x).all()

def in_children(n, work):
    pids = []
    for _ in range(n):
        if not (pid := os.fork()):
            signal.alarm(60)
            work()
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * n
"""


@pytest.fixture
def start(tmp_path):
    """start(code): a process that runs it after PROGRAM, all on one cache."""
    (tmp_path / "base").mkdir(mode=0o755)
    program, processes = tmp_path / "program.py", []
    program.write_text(PROGRAM + "exec(sys.argv[1])")

    def started(code):
        process = subprocess.Popen(
            [sys.executable, str(program), code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "base")},
            cwd="/",
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def ended(*processes):
    """How often they compiled, and what they warned of."""
    told = [process.communicate(timeout=120) for process in processes]
    assert [p.returncode for p in processes] == [0] * len(processes), told
    warned = [line for _, err in told for line in err.splitlines() if "Warning" in line]
    return sum(out.count("compiles") for out, _ in told), warned


def test_one_compiles_and_the_others_wait(start):
    assert ended(*[start("run()") for _ in range(3)]) == (1, [])


def test_what_differs_is_compiled_at_once(start):
    """Nobody waits for another kernel."""
    slow, quick = start("PAUSE = 60; run()"), start("run('float64')")
    assert slow.stdout.readline() == "compiles\n"
    assert ended(quick)[0] == 1
    assert slow.poll() is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_turn_of_a_process_that_dies_is_over(end, start):
    dies = start("PAUSE = 600; run()")
    assert dies.stdout.readline() == "compiles\n"
    waits = start("run()")
    time.sleep(1.5)
    assert waits.poll() is None
    dies.send_signal(end)
    begin = time.monotonic()
    assert ended(waits)[0] == 1
    assert time.monotonic() - begin < 20


def test_an_error_ends_the_turn(start):
    fails = """
def wrong(self, args, return_type):
    raise ValueError("wrong")
dispatcher._FunctionCompiler.compile = wrong
try:
    run()
except ValueError:
    print("failed", flush=True)
    sys.stdin.read()
"""
    process = start(fails)
    assert process.stdout.readline() == "failed\n"
    assert ended(start("assert turns.PATIENCE == 60; run()"))[0] == 1


def test_a_process_that_stands_still_is_not_waited_for_for_ever(start):
    still = start("PAUSE = 600; run()")
    assert still.stdout.readline() == "compiles\n"
    still.send_signal(signal.SIGSTOP)
    assert ended(start("turns.PATIENCE = 1; run()"), start("turns.PATIENCE = 1; run()"))[0] == 2


@pytest.mark.parametrize("lacks", ["lockf", "open"])
def test_without_locks_each_compiles(lacks, start):
    """File systems without them, and folders that are read-only."""
    code = """
def none(*args): raise OSError(37, "No locks available")
def read_only(path, *args):
    if str(path).endswith(turns.FILE): raise OSError(30, "Read-only file system")
    return open_(path, *args)
if LACKS == "lockf":
    turns.fcntl.lockf = none
else:
    open_, os.open = os.open, read_only
run()
"""
    both = [start(code.replace("LACKS", repr(lacks))) for _ in range(2)]
    assert ended(*both) == (2, [])


def test_forked_children_have_what_their_parent_has(start):
    assert ended(start("run(); in_children(2, run)")) == (1, [])


def test_forked_children_compile_once_between_them(start):
    compiled, err = ended(start("run(); in_children(3, lambda: run('float64'))"))
    assert compiled == 2
    assert all("forked process" in line for line in err)
    assert len(err) == 3


def test_a_forked_child_has_no_part_in_a_turn(start):
    """It has the open file, and may close it."""
    code = """
path = cache.folder() / "some.code"
def tries():
    turns.PATIENCE = 0.1
    assert not turns.take(path)
    turns.give_back(path)
    os.close(turns._file(path.parent))
assert turns.take(path)
in_children(2, tries)
turns.give_back(path)
in_children(1, lambda: turns.take(path) or os._exit(1))
"""
    assert ended(start(code)) == (0, [])
