"""Training by several processes. Each test starts them itself, with a time limit; a world of one
needs nothing."""

import functools
import importlib.util
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.distributed import ranks

pytestmark = pytest.mark.host

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "ranks"
ONE = dict.fromkeys(("TENSORGRAD_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
LIMIT = 240  # seconds for a start: the machine may be busy
SLACK = float(os.environ.get("TENSORGRAD_TEST_SLACK", "5"))  # seconds, for the same reason


def launched(n, program, *arguments, **variables):
    """A program as n ranks, or by itself for n = 0."""
    if n or "benchmarks" in str(program):
        pytest.importorskip("mpi4py")
    start = ["-m", "tensorgrad", "launch", "-n", str(n)] if n else []
    return subprocess.run(
        [sys.executable, *start, str(PROGRAMS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **ONE, **variables},
    )


# --- a world of one -------------------------------------------------------------------------------


def test_a_world_of_one_needs_no_mpi(monkeypatch):
    for name in ranks._SIGNS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    world = tg.distributed.init(timeout=1)
    assert world is tg.distributed.world()
    assert (world.rank, world.size, world.local_rank) == (0, 1, 0)
    model = tg.nn.Dense(1, 2)
    tg.distributed.broadcast(model)
    sgd = tg.optim.SGD(model.parameters())
    for x in tg.distributed.shard([tg.tensor(np.ones((3, 2)))]):
        model(x).sum().backward()
        before = [p.grad for p in model.parameters()]
        tg.distributed.average(sgd, examples=len(x))
        assert all(p.grad is g for p, g in zip(model.parameters(), before, strict=True))


def test_fit_warns_where_nobody_has_called_init(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.delenv(ranks._OWNER, raising=False)
    model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("sgd", "mse")
    with pytest.warns(UserWarning, match="4 processes were started, and every one trains alone"):
        model.fit([[0.0], [1.0]], [[0.0], [2.0]])


@pytest.mark.parametrize("n", range(1, 11))
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("least", [1, 2])
def test_each_row_is_one_ranks_own(n, size, least):
    from tensorgrad.distributed.sharing import Sharing

    counted = np.zeros(n, int)
    for rank in range(size):
        world = ranks.Alone()
        world.rank, world.size = rank, size
        rows, own = Sharing(world, least).rows(n)
        assert own in (0, len(range(n)[rows]))
        assert len(range(n)[rows]) >= min(least, n)
        counted[rows] += own > 0
    assert (counted == 1).all()


def test_ranks_have_masks_of_their_own_and_all_else_alike():
    from tensorgrad.randomness import Generator

    zero, one = Generator(3), Generator(3)
    one.rank = 1
    one.seed(3)
    assert zero.host.random() == one.host.random()
    state = [g.state("numpy", 4) for g in (zero, one)]
    assert state[0][0] != state[1][0]
    one.set_state(zero.get_state())  # as from a checkpoint of rank 0
    assert one.state("numpy", 4)[0] == state[1][0]


WEIGHED = {
    "ignore_index": {"ignore_index": 0},
    "classes": {"weight": [0.5, 2.0, 3.0]},
    "examples": {"sample_weight": np.array([0.0, 0.0, 1.0, 3.0, 0.5])},
    "all": {"ignore_index": 0, "weight": [0.5, 2.0, 3.0], "sample_weight": np.arange(5.0)},
    "sum": {"reduction": "sum"},
}


@pytest.mark.parametrize("options", WEIGHED.values(), ids=WEIGHED)
def test_parts_of_a_loss_add_up(options):
    """The first part has no label that counts, the last none of its own rows."""
    from tensorgrad.train.together import Part

    x, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 0, 1, 2, 0])
    rows, shares = (slice(0, 2), slice(2, 5), slice(0, 2)), (0.4, 0.6, 0.0)
    own = [np.zeros(1), np.zeros(1), np.zeros(1)]

    def losses(total):
        found = 0.0
        for i, (part, share) in enumerate(zip(rows, shares, strict=True)):
            more = {k: v[part] if k == "sample_weight" else v for k, v in options.items()}
            world = ranks.Alone()
            world.size = 3
            world.sum = lambda arrays, what, i=i: total(i, arrays[0])
            with Part(world, share):
                found += share * tg.cross_entropy(x[part], labels[part], **more).item()
        return found

    def note(i, a):
        own[i][...] = a
        a[...] = 1.0

    losses(note)
    found = losses(lambda i, a: a.__setitem__(..., sum(own)))
    assert found == pytest.approx(tg.cross_entropy(x, labels, **options).item(), rel=1e-14)
    world = ranks.Alone()
    world.size = 2
    learned = tg.Parameter(np.ones(5))
    with Part(world, 0.5), pytest.raises(tg.GraphError, match="weights of a loss require a grad"):
        tg.cross_entropy(x, labels, sample_weight=learned)


# --- the same as one process ----------------------------------------------------------------------


@functools.cache
def results(n, *names):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.pickle"
        done = launched(n, "cases.py", out, *names)
        assert done.returncode == 0, done.stderr[-4000:]
        return pickle.loads(out.read_bytes())


def table(name):
    """The names that a decorator of cases.py marks, with its tolerance, without running it."""
    text = (PROGRAMS / "cases.py").read_text()
    return re.findall(r"^@case\((.*?)\).*\ndef (\w+)", text, re.M)


CASES = [(name, float(t or 1e-12)) for t, name in table("case") if t != "None"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tolerance"), CASES)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_several_processes_give_what_one_does(n, name, tolerance):
    alike(results(n)[name], results(0)[name], tolerance)


def alike(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = max(np.linalg.norm(value), 1e-300)
        assert np.linalg.norm(found[key] - value) <= tolerance * scale, key


@pytest.mark.slow
def test_one_process_that_is_launched_is_one():
    name = "sharded_states"
    alike(results(1, name)[name], results(0)[name], 0)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    whole = launched(0, "resumed.py", tmp_path / "a", 0, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    for n, stop in ((3, 5), (0, 3), (2, 6), (4, 0)):  # two of them in the middle of an epoch
        done = launched(n, "resumed.py", tmp_path / "b", stop, tmp_path / "stopped")
        assert done.returncode == (9 if stop else 0), done.stderr
    one, several = [pickle.loads((tmp_path / f).read_bytes()) for f in ("whole", "stopped")]
    for kind, of in (("plain", "plain"), ("plain", "sharded")):
        for key, value in one[kind].items():
            np.testing.assert_allclose(several[of][key], value, rtol=1e-11, err_msg=key)
        assert (tmp_path / f"b-{of}.csv").read_text().count("\n") == 4


@pytest.mark.slow
def test_the_benchmark_counts_one_exchange_a_step(tmp_path):
    pytest.importorskip("torch")
    record = tmp_path / "record.json"
    options = ["--tiny", "--rounds", "1", "--output", record]
    done = launched(0, ROOT / "benchmarks/distributed.py", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(record.read_text())["rows"]
    numbers = 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    for form in ("weak", "strong"):
        one, several, efficiency, *counted = rows[f"dense 8 {form} ours"]
        assert efficiency == pytest.approx(one / several / (2 if form == "strong" else 1))
        assert counted == [2, 4 * numbers + 48]
        assert f"conv 8 {form} PyTorch" in rows


# --- GPUs -----------------------------------------------------------------------------------------

ON_GPUS = """momentum_and_a_tail_of_five labels_that_are_ignored a_loop_that_adds_up_gradients
sharded_states float32""".split()


@pytest.mark.slow
def test_ranks_with_simulated_gpus_give_what_one_process_does(tmp_path):
    from tests.cudasim.shim import why_not

    if reason := why_not():
        pytest.skip(reason)
    done = launched(2, "cases.py", tmp_path / "out", *ON_GPUS, STAND_IN="1")
    assert done.returncode == 0, done.stderr[-4000:]
    found, one = pickle.loads((tmp_path / "out").read_bytes()), results(0)
    for name in ON_GPUS:
        alike(found[name], one[name], 1e-5 if name == "float32" else 1e-11)


def test_an_nccl_that_is_missing_is_an_error_with_the_remedy(monkeypatch):
    from tensorgrad.distributed import nccl

    without = types.ModuleType("nccl")  # as CuPy's is then
    without.available = False
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", without)
    with pytest.raises(tg.BackendError, match=r"NCCL, which is missing: .*\[nccl\]"):
        nccl.bindings()
    assert nccl.status().startswith("not usable: ")


CALLS = [  # of exchanges of float32 a (6,) and float64 b (4,), as NCCL's C functions take them
    ["AllReduce", "a0", "a0", 6, 7, 0, "comm", "stream"],
    ["AllReduce", "b", "b", 4, 8, 0, "comm", "stream"],
    ["Bcast", "b", 32, 1, 0, "comm", "stream"],
    ["Reduce", "a0", "a0", 2, 7, 0, 0, "comm", "stream"],  # to rank 0; rank 1 has no part
    ["Reduce", "a2", "a2", 4, 7, 0, 2, "comm", "stream"],
    ["Bcast", "a0", 2, 7, 0, "comm", "stream"],
    ["Bcast", "a2", 4, 7, 2, "comm", "stream"],
    ["CommGetAsyncError", "comm"],
    ["CommAbort", "comm"],
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a library for Linux")
def test_the_stand_in_is_like_the_real_nccl_which_gets_what_we_mean():
    pytest.importorskip("cupy")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    found = subprocess.run(
        [sys.executable, str(PROGRAMS / "bindings.py")],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert found.returncode == 0, found.stderr[-3000:]
    real = json.loads(found.stdout)
    spec = importlib.util.spec_from_file_location("stand_in", PROGRAMS / "stand_in.py")
    ours = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)
    for name, value in vars(ours).items():
        if name.startswith("NCCL_"):
            assert real["constants"][name] == value, name
    assert {"get_unique_id", "get_version", "groupStart", "groupEnd"} <= {*real["names"]}
    own = {name for name in vars(ours.NcclCommunicator) if not name.startswith("_")}
    assert own <= {*real["methods"]}
    assert real["id"] == len(ours.get_unique_id())
    called = [call for call in real["calls"] if not call[0].startswith("Group")]
    assert [call[: len(c)] for call, c in zip(called, CALLS, strict=True)] == CALLS
    assert sum(call[0] == "GroupEnd" for call in real["calls"]) == 4


# --- what goes wrong ------------------------------------------------------------------------------

HUNG = "DistributedError: after 5 s rank {0} of 3 had not come to the gradients of a step"
LEFT = "DistributedError: rank {0} of 3 ended early, while others wait for the gradients of a step"
LOST = "tensorgrad: rank {0} of 3 .* ended without a word"
ENDS = {  # what one rank does -> what is said, once
    ("raises", 1): "tensorgrad: rank {0} of 3 ended with ValueError; all ranks stop",
    ("raises", 0): "tensorgrad: rank {0} of 3 ended with ValueError; all ranks stop",
    ("is killed", 1): LOST,
    ("is killed", 0): LOST,
    ("leaves at once", 1): LOST,
    ("hangs", 1): HUNG,
    ("hangs", 0): HUNG,
    ("exits with 0", 2): LEFT,
    ("exits with 0", 0): LEFT,
    ("exits with 3", 1): LEFT,
    ("layer", 1): r"DistributedError: the model's layers\[0\].weight differs on rank {0}",
}


@functools.cache
def ends():
    """What one of several ranks does, of all kinds: the starts wait more than they work."""
    with ThreadPoolExecutor(2) as pool:
        begun = {case: pool.submit(timed, *case) for case in ENDS}
        return {case: future.result() for case, future in begun.items()}


def timed(*case):
    return launched(3, "failing.py", *case), time.time()


@pytest.mark.slow
@pytest.mark.parametrize("case", ENDS, ids=lambda case: "-".join(map(str, case)))
def test_an_end_of_one_rank_ends_all_with_one_message(case):
    done, ended = ends()[case]
    assert done.returncode != 0, done.stdout
    assert "is through" not in done.stdout
    said = re.findall(r"^(?:tensorgrad: |tensorgrad\.errors\.).*", done.stderr, re.M)
    assert len(said) == 1, "\n".join(said) + done.stderr[-3000:]
    assert re.search(ENDS[case].format(case[1]), said[0]), said[0]
    if left := re.search(r"leaves at ([\d.]+)", done.stdout):
        assert ended - float(left[1]) < 5 + 5 + SLACK


DIFFERENCES = {  # what rank 1 has otherwise -> what is said
    "layer": r"the model's layers\[0\].weight differs on rank 1: rank 0 has \(3, 4\) float32, ",
    "dtype": "the model's .* differs on rank 1: .*float32.*float64",
    "optimizer": "the optimizer differs on rank 1: rank 0 has Adam, rank 1 SGD",
    "rate": "the learning rate differs on rank 1: rank 0 has 0.1, rank 1 0.2",
    "option": "the optimizer's eps differs on rank 1: rank 0 has 1e-08, rank 1 1e-06",
    "loss": "the loss differs on rank 1: rank 0 has mean_squared_error, rank 1 mean_absolute_error",
    "loss option": r"the loss differs on rank 1: .*delta=1.0\), rank 1 .*delta=2.0\)",
    "metric": "the list of scores differs on rank 1: rank 0 has loss, mae, rank 1 loss, mse",
    "batch size": "the batch size differs on rank 1: rank 0 has 5, rank 1 6",
    "examples": "the number of examples differs on rank 1: rank 0 has 30, rank 1 25",
    "epochs": "the number of epochs differs on rank 1: rank 0 has 2, rank 1 3",
    "data": "the data differs on rank 1",
    "shuffle": "shuffle= differs on rank 1: rank 0 has True, rank 1 False",
    "accumulate": "accumulate= differs on rank 1: rank 0 has 1, rank 1 2",
    "clip_norm": "clip_norm= differs on rank 1: rank 0 has None, rank 1 1.0",
    "clip_value": "clip_value= differs on rank 1: rank 0 has None, rank 1 1.0",
    "precision": "precision= differs on rank 1: rank 0 has None, rank 1 bfloat16",
    "callbacks": "the list of callbacks differs on rank 1",
    "batches": "the ranks are at different places of the program: .*rank 1 is at the scores of an",
    "alone": "the ranks are at different places of the program: .*rank 1 is at the order of the",
    "lengths": "the gradients of a step: the ranks exchange different numbers of bytes: rank 0 32",
    "drift": "the ranks have drifted apart: the parameters of rank 1 are not those of rank 0",
}


@functools.cache
def differences():
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "said.json"
        done = launched(3, "failing.py", out)
        assert done.returncode == 0, done.stderr[-4000:]
        assert "tensorgrad:" not in done.stderr  # errors that are caught are no end
        return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("what", DIFFERENCES)
def test_what_one_rank_has_otherwise_is_an_error_on_all(what):
    first, *others = differences()[what]
    assert re.match(DIFFERENCES[what], first), first
    assert others == [f"rank 0 says: {first}"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("missing", [None, 1])
def test_a_bare_mpiexec_does_and_a_rank_that_never_joins_is_missed(missing):
    """MPI starts when all have come to it: a rank that ended before is found by the deadline."""
    pytest.importorskip("mpi4py")
    from tensorgrad.distributed import launch

    sign = "OMPI_COMM_WORLD_RANK" if launch.found()[1] == "Open MPI" else "PMI_RANK"
    what = ("drift", 2) if missing is None else ("does not start", missing)
    command = [*launch.launcher(), "-n", "3", sys.executable, PROGRAMS / "failing.py", *what, sign]
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **ONE, "TENSORGRAD_TIMEOUT": "4"},
    )
    assert done.returncode != 0
    if missing is None:
        assert (
            done.stderr.count("\ntensorgrad.errors.DistributedError: the ranks have drifted") == 1
        )
    else:
        ours, theirs = "once_all_processes_have_started", "process rank 1"  # Open MPI may notice
        assert ours in done.stderr or theirs in done.stderr


# --- where it runs --------------------------------------------------------------------------------

JOINS = "import tensorgrad as tg; print(tg.distributed.init().size)"


def said(*command, **variables):
    """What a program says of these surroundings; under no launcher but the one named by these."""
    bare = {k: v for k, v in os.environ.items() if k not in (*ranks._SIGNS, *ONE)}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**bare, "PYTHONPATH": str(ROOT), **variables},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_an_mpi_that_is_missing_is_one_error_with_the_remedy():
    pytest.importorskip("mpi4py")
    program, lost = str(PROGRAMS / "failing.py"), {"MPI4PY_LIBMPI": "/nowhere/libmpi.so"}
    code, text = said("-m", "tensorgrad", "launch", "-n", "2", program, "drift", "0", **lost)
    assert (code, text.count("\n")) == (2, 1)
    assert re.match("tensorgrad: several processes need mpi4py and MPI: .*pip install", text)
    code, text = said("-m", "tensorgrad", "doctor", **lost)
    assert re.search("MPI +NOT usable.*\n +WARNING +several processes need .*pip install", text)
    assert re.search(r"ranks and threads .*\n(.*\n)*? +NCCL ", text)


@pytest.mark.slow
@pytest.mark.parametrize("number", ["0", "1"])
def test_a_launcher_of_another_mpi_is_one_error_with_the_remedy(number):
    """As under SLURM without PMI: every process finds itself alone."""
    pytest.importorskip("mpi4py")
    code, text = said("-c", JOINS, SLURM_NTASKS="2", SLURM_PROCID=number)
    assert code == 1
    if number == "0":
        assert re.search("2 processes were started, and MPI sees 1: .*srun --mpi=pmi2", text)
    else:
        assert text == ""


def test_more_threads_than_cores_are_a_warning(monkeypatch):
    world = ranks.Alone()
    world.local_size = 2 * ranks.cores()
    monkeypatch.setenv("TENSORGRAD_NUM_THREADS", "2")
    with pytest.warns(UserWarning, match="TENSORGRAD_NUM_THREADS=1, or leave it out"):
        ranks.set_threads(world)


@pytest.mark.slow
def test_a_loop_that_exchanges_nothing_is_told(tmp_path):
    program = tmp_path / "alone.py"
    program.write_text("import tensorgrad as tg\nprint(tg.distributed.init().size)\n")
    done = launched(2, program)
    assert done.returncode == 0
    assert done.stdout.split() == ["2", "2"]
    assert done.stderr.count("2 ranks have each done all of this program's work") == 1


@pytest.mark.parametrize("option", ["graphed", "compiled"])
def test_steps_that_do_not_run_each_time_are_refused(option, monkeypatch):
    monkeypatch.setattr(ranks, "_world", two := ranks.Alone())
    two.size = 2
    model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("sgd", "mse", **{option: True})
    with pytest.raises(tg.GraphError, match=f"fit: {option}=True"):
        model.fit([[0.0], [1.0]], [[0.0], [2.0]])
