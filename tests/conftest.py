"""Fixtures of backends: every test that takes `backend` runs on each available one."""

import contextlib
import gc
import importlib
import os
import pkgutil
import re
import secrets
import signal
import time
import warnings
from collections import Counter

# Threads of others' libraries, PyTorch's above all, wait asleep: spinning, as they would, they keep
# the cores from the other worker's, and a loop of short calls takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad import memory, ops

for _family in pkgutil.iter_modules(ops.__path__):  # those that are imported when first used, too
    importlib.import_module(f"{ops.__name__}.{_family.name}")


def _missing(name):
    """Why a backend cannot be used here, or None; sets cudasim up on first use."""
    if name == "cudasim":
        from tests.cudasim import install, why_not

        reason = why_not()
        if reason is None:
            install()
        return reason
    return backends.why_no_gpu() if name == "cupy" else None


def pytest_addoption(parser):
    about = "tests that draw (tests/attack) go on with new seeds for so long, each of them"
    parser.addoption("--long", type=float, default=0.0, metavar="SECONDS", help=about)
    about = """only those tests that the last run skipped, as for a package that is there now; with
    `-m slow` both these and the slow ones"""
    parser.addoption("--skipped", action="store_true", help=about)


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells have it for what runs behind
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The default backend of tests that ask for none; cudasim runs them on CUDA's kernels.
DEFAULT = os.environ.get("TENSORGRAD_TEST_BACKEND", "numpy")
if reason := _missing(DEFAULT):
    pytest.exit(f"TENSORGRAD_TEST_BACKEND={DEFAULT}: {reason}", returncode=4)
tg.set_backend(DEFAULT)
BACKENDS = ["numpy", "cudasim", pytest.param("cupy", marks=pytest.mark.gpu)]
# For tests that take much longer on the simulator than elsewhere.
slow_on_cudasim = pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.slow) if b == "cudasim" else b for b in BACKENDS],
    indirect=True,
)


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a backend; the default one while the test runs."""
    name = request.param
    if reason := _missing(name):
        pytest.skip(f"{name}: {reason}")
    tg.set_backend(name)
    yield name
    tg.set_backend(DEFAULT)


@pytest.fixture(params=["cudasim", pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request):
    """A CUDA-like backend."""
    if reason := _missing(request.param):
        pytest.skip(f"{request.param}: {reason}")
    return backends.get(request.param)


@pytest.fixture
def own_kernels(monkeypatch):
    """Our own kernels, even where cuDNN is installed."""
    from tensorgrad.kernels.cuda import cudnn

    monkeypatch.setattr(cudnn, "enabled", False)


@pytest.fixture(autouse=True)
def _afresh(request):
    """A fixed seed, also for a module's generator `rng`, so that no test depends on others; no
    floating-point warnings, as tests compare values; and NumPy as the default backend of tests
    marked `host`, which are about its arrays. (One fixture, as each costs every test its time.)"""
    tg.seed(0)
    home = request.node.getparent(pytest.Module)
    if home is not None and isinstance(getattr(home.obj, "rng", None), np.random.Generator):
        home.obj.rng = np.random.default_rng(0)
    elsewhere = DEFAULT != "numpy" and request.node.get_closest_marker("host")
    if elsewhere:
        tg.set_backend("numpy")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
    if elsewhere:
        tg.set_backend(DEFAULT)


@pytest.fixture(autouse=True, scope="module")
def _older_objects():
    """What there is, half a million objects of compilers and pytest, is not looked at by a test's
    `gc.collect()`, captures and memory reports."""
    gc.freeze()


thawed, memory.thawed = memory.thawed, contextlib.nullcontext


@pytest.fixture
def frozen_objects(monkeypatch):
    """They are looked at, as outside of tests."""
    monkeypatch.setattr(memory, "thawed", thawed)


@pytest.fixture
def seeds(request):
    """`for seed in seeds(n)`: those from `first` on, always the same; with --long new ones, too. A
    failure says which was the last: `seeds(n, found=[...])` keeps it as a case."""
    last = []

    def drawn(n, first=0, found=()):
        end = time.monotonic() + request.config.getoption("long")
        for seed in (*found, *range(first, first + n)):
            last[:] = [seed]
            yield seed
        while time.monotonic() < end:
            last[:] = [secrets.randbits(48)]
            yield last[0]

    yield drawn
    print("the last seed was", *last)


gc.disable()  # collecting makes many objects and no garbage


def pytest_collection_finish():
    """The tests themselves, tens of thousands, are not looked at by each later collection."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The tests of a family of ops go to one worker, which compiles its kernels once. Without a GPU
    one test of each file says why those for it are skipped, the others are left out."""
    if "gpu" not in config.option.markexpr and _missing("cupy"):
        first, kept, out = set(), [], []
        for item in items:
            again = item.get_closest_marker("gpu") and item.path in first
            (out if again else kept).append(item)
            if item.get_closest_marker("gpu"):
                first.add(item.path)
        items[:] = kept
        config.hook.pytest_deselected(items=out)
    if config.option.skipped:
        known, slow = set(config.cache.get(SKIPPED, [])), config.option.markexpr == "slow"
        out = {i for i in items if not known & {i.nodeid, i.nodeid.partition("::")[0]}}
        if slow:
            out = {item for item in out if not item.get_closest_marker("slow")}
            config.option.markexpr = "not sanitizer"
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=list(out))
    before, groups = Counter(), {}
    for item in items:
        groups[item] = _group(item, before[item.path])
        before[item.path] += 1
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    if hasattr(config, "workerinput"):  # pytest-xdist keeps this order
        sizes = Counter(groups.values())
        items.sort(key=lambda item: (not _long(item), -sizes[groups[item]]))


# Slow tests of these files take 5 to 100 s each: each is a group of its own, and they come first.
LONG = """benchmarks coming_from edges files gallery gpu_benchmark keras keras_programs photos
    same_bits settings threads_forks_signals torch_op_db twins""".split()


def _long(item):
    stem = item.path.stem.removeprefix("test_")
    return stem in LONG and item.get_closest_marker("slow") is not None


WHOLE = ("attention", "conv", "recurrent", "typing")


def _group(item, before):
    """The family of ops that a test is of, or its file where all its tests share what takes long.
    Others are grouped by forties of a file: for each that ends, pytest-xdist looks through all
    groups so far."""
    if (module := item.path.stem.removeprefix("test_")) in WHOLE:
        return module
    params = getattr(getattr(item, "callspec", None), "params", {}).values()
    families = [getattr(value, "family", None) for value in params]
    family = next((family for family in families if isinstance(family, str)), None)
    return family or f"{item.path.stem}-{f'alone-{before}' if _long(item) else before // 40}"


def pytest_configure(config):
    """The order of the groups is ours, not by pytest-xdist's count of their tests."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    """Tests are named as on the command line, without the groups of pytest-xdist."""
    report.nodeid = re.sub(r"@[\w-]+$", "", report.nodeid)


SKIPPED = "tensorgrad/skipped"  # tests and whole files, in pytest's cache


def pytest_sessionfinish(session):
    """Keep the names of what was skipped."""
    config = session.config
    worker, cache = hasattr(config, "workerinput"), getattr(config, "cache", None)
    if worker or cache is None or config.option.skipped or config.option.collectonly:
        return
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    cache.set(SKIPPED, sorted({report.nodeid for report in reports}))


def pytest_xdist_auto_num_workers(config):
    """One process for a GPU; else as many as there are cores."""
    return 0 if config.option.markexpr in ("gpu", "sanitizer") else None


# --- pytest -m gpu: within 8 minutes, and its result on one screen ------------------------------

STARTED = time.monotonic()
GPU_SECONDS = float(os.environ.get("TENSORGRAD_GPU_SECONDS", "450"))


def pytest_runtest_teardown(item, nextitem):
    """Ends `pytest -m gpu` as a failure when its time is spent: nobody knows of the other tests."""
    if nextitem is None or item.config.option.markexpr != "gpu":
        return
    if time.monotonic() - STARTED > GPU_SECONDS:
        left = len(item.session.items) - item.session.items.index(nextitem)
        spent = f"TENSORGRAD_GPU_SECONDS={GPU_SECONDS:g} are spent"
        item.session.shouldfail = f"NOT RUN: {left} tests, as {spent}"


def pytest_terminal_summary(terminalreporter, config):
    if config.option.markexpr != "gpu":
        return
    say, stats, files = terminalreporter.write_line, terminalreporter.stats, {}
    for kind in ("passed", "failed", "error", "skipped"):
        for report in stats.get(kind, []):
            files.setdefault(report.nodeid.partition("::")[0], Counter())[kind] += 1
    terminalreporter.section(f"on the GPU: {backends.why_no_gpu() or 'one is usable'}")
    for file, counts in files.items():
        say(f"{file:32}" + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    reasons = Counter(str(report.longrepr[2]) for report in stats.get("skipped", []))
    for reason, n in reasons.most_common(6):
        say(f"{n} skipped: {reason.removeprefix('Skipped: ')}"[:120])
    broken = [*stats.get("failed", []), *stats.get("error", [])]
    for report in broken[:12]:
        why = str(report.longrepr).strip().splitlines()[-1] if report.longrepr else ""
        say(f"FAILED {report.nodeid.partition('::')[2]}: {why}"[:150])
    if stopped := terminalreporter._session.shouldfail:
        say(f"FAILED {stopped}")
    say(f"{len(broken)} failed in all, {time.monotonic() - STARTED:.0f} s")
