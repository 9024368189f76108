"""What is shipped and what is required: the sdist is whole and can test itself, licences are
listed, nothing is downloaded, and no file is read that could be code."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("benchmarks", "docs", "examples", "kernels", "tensorgrad", "tests")
SITE = ("docs/_build/", "docs/gallery/", "docs/project/", "docs/reference/", "docs/benchmarks.md")
MADE = ("__pycache__", ".code", ".pyc", ".so")  # by running it


def files(root):
    """The files of the project under a folder, without what running it makes."""
    found = [p for p in root.iterdir() if p.is_file() and p.suffix in (".md", ".toml")]
    found += [p for folder in FOLDERS for p in (root / folder).rglob("*") if p.is_file()]
    names = {p.relative_to(root).as_posix() for p in found}
    names = {n for n in names if not n.startswith(SITE)}  # which conf.py writes
    return {n for n in names if not any(made in n for made in MADE) and "/." not in n}


# --- the sdist ----------------------------------------------------------------------------------

BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_sdist(sys.argv[1]))
"""
EDITABLE = BUILD.replace("build_sdist", "build_editable")


def setuptools():
    try:
        return int(metadata.version("setuptools").partition(".")[0])
    except metadata.PackageNotFoundError:
        return 0


def build(program, source, target):
    """What setuptools makes of a source tree."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source tree that comes out of the sdist of this one."""
    if setuptools() < 77:
        pytest.skip('building needs setuptools 77: pip install "setuptools>=77"')
    tree = tmp_path_factory.mktemp("tree")
    for name in [*files(ROOT), "LICENSE", "MANIFEST.in", ".ci/run"]:
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    sdist = build(BUILD, tree, tmp_path_factory.mktemp("sdist"))
    out = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    return next(out.iterdir())


def test_the_sdist_has_every_file(unpacked):
    assert files(ROOT) - files(unpacked) == set()
    assert (unpacked / "LICENSE").exists()


def test_the_sdist_has_nothing_that_running_made(unpacked):
    names = [p.name for p in unpacked.rglob("*")]
    assert not [n for n in names if n.endswith(MADE)]


def test_the_sdist_runs_its_tests(unpacked, tmp_path):
    """Installed from there, in an environment that has only what it requires from this one."""
    wheel = build(EDITABLE, unpacked, tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # plain paths: what makes this checkout importable, a .pth file, is not read there
    (site / "others.pth").write_text("\n".join(p for p in sys.path if "site-packages" in p))
    tests = ["tests/test_errors.py", "tests/test_ops.py", "-k", "sigmoid or misspelt or names"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    done = subprocess.run(
        [python, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *tests],
        cwd=unpacked, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    where = "import tensorgrad.kernels as k, tensorgrad as t; print(k.__file__, t.__file__)"
    done = subprocess.run([python, "-c", where], cwd="/", env=env, capture_output=True, text=True)
    assert all(p.startswith(str(unpacked)) for p in done.stdout.split()), done.stdout + done.stderr


PROGRAM = """
import numpy as np, tensorgrad as tg, tensorgrad.kernels
from tensorgrad import nn
assert "env" in tg.__file__ and tg.kernels.__file__.startswith(tg.__file__[: -len("__init__.py")])
model = nn.Sequential(nn.Dense(4, activation="tanh"), nn.Dense(1)).compile("adam", "mse")
past = model.fit(np.ones((8, 2)), np.zeros((8, 1)), epochs=2, verbose=0)
model.save("model.safetensors")
again, x = nn.load_model("model.safetensors"), np.ones((1, 2))
assert (again.predict(x) == model.predict(x)).all()
x = np.ones((300, 300), "float32")
tg.grad(lambda x: tg.tanh(x).sum())(x)  # a compiled kernel
"""


def test_the_wheel_works_from_another_folder(unpacked, tmp_path):
    wheel = build(BUILD.replace("build_sdist", "build_wheel"), unpacked, tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = archive.namelist()
        (about,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        text = archive.read(about).decode()
    assert {"tensorgrad/py.typed", "tensorgrad/kernels/cuda/scalars.cuh"} <= {*names}
    assert not [n for n in names if n.startswith(("tests/", "docs/", "examples/"))]
    assert "License-Expression: MIT" in text
    assert "Classifier: Programming Language :: Python :: 3.14" in text
    (site / "others.pth").write_text("\n".join(p for p in sys.path if "site-packages" in p))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    for run in (["-c", PROGRAM], ["-m", "tensorgrad", "doctor"]):
        done = subprocess.run([python, *run], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


# --- licences -----------------------------------------------------------------------------------


def required():
    """The packages named in pyproject.toml."""
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    lists.append(PROJECT["build-system"]["requires"])
    return {re.match(r"[\w-]+", line)[0] for lines in lists for line in lines}


def test_every_requirement_has_its_licence_listed():
    rows = re.findall(r"^\| ([\w-]+) \| (.+?) \|", (ROOT / "THIRD_PARTY.md").read_text(), re.M)
    listed = {name for name, licence in rows if name != "package" and licence.strip(" -")}
    assert listed == required()


def test_licences_are_as_the_installed_packages_say():
    """Where these say it as SPDX does, and so far as that is short."""
    rows = re.findall(r"^\| ([\w-]+) \| (.+?) \|", (ROOT / "THIRD_PARTY.md").read_text(), re.M)
    compared = 0
    for name, licence in rows:
        try:
            facts = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        said = facts.get("License-Expression") or ""
        if said and len(said) < 30:
            assert said == licence.partition(" (")[0], name
            compared += 1
    assert compared > 3


# --- what the code does not do ------------------------------------------------------------------

CONNECTS = "urllib http socket ssl ftplib requests httpx smtplib xmlrpc huggingface_hub".split()
# A pickle is code. The cache's entries are read after their owner and digest; workers send their
# exceptions to the process that forked them, ranks their facts to the others of one program.
UNPICKLES = {"kernels/cpu/cache.py", "tensorgrad/data/workers.py", "tensorgrad/distributed/mpi.py"}
# Text becomes code in these: our own rules, signatures and formulas, and this checkout's README.
COMPILES = {"tensorgrad/rules.py", "tensorgrad/settings.py", "tensorgrad/gpu_check.py"}
COMPILES |= {"kernels/tracing.py", "tensorgrad/compiling/plan.py", "tensorgrad/compiling/quick.py"}
COMPILES |= {"tensorgrad/keras_backend/hook.py"}  # modules of the Keras that is installed


def sources():
    return [p for d in ("tensorgrad", "kernels") for p in (ROOT / d).rglob("*.py")]


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_connections_and_no_code_from_files(path):
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [a.name for a in node.names]
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        for module in modules:
            top = module.partition(".")[0]
            assert top not in CONNECTS, f"{name} imports {module}"
            unpickles = top in ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")
            assert not unpickles or name in UNPICKLES, f"{name} imports {module}"
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in ("eval", "exec", "compile"):
                assert name in COMPILES, f"{name} calls {called.id}"
            pickles = [k for k in node.keywords if k.arg == "allow_pickle"]
            assert all(ast.unparse(k.value) == "False" for k in pickles), f"{name} allows pickles"
