"""The shape of the code: which way imports point, what `import tensorgrad` costs and touches."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .rows import of_each

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors"},
    {"backend"},
    {"words"},
    {"settings"},
    {"switches", "typing"},
    {"rules", "dispatch", "promotion"},
    {"core"},
    {"trees", "rows"},
    {"ownership"},
    {"backward"},
    {"ops"},
    {"randomness"},
    {"creation"},
    {"files"},
    {"functions"},
    {"methods", "operators", "numpy_protocol", "hooks", "fft", "linalg", "dtypes", "random"},
    {"tensor_methods"},
    {"autograd", "anomaly", "custom", "drawing", "precision", "memory", "cuda", "recompute"},
    {"jacobians", "tape", "profiling", "batching", "compiling"},
    {"testing", "nn", "losses", "optim"},
    {"distributed"},
    {"data", "onnx", "train"},
    {"keras_backend"},  # which knows Keras, and nothing else knows it
    {"keras", "tf"},
    {"doctor", "warmup", "gpu_check", "__main__", "__init__"},
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}
# The faces of a model reach up, lazily; core names ops for type checkers only.
EXCEPTIONS = {("nn", "train"), ("nn", "data")}


def imports(path, inside_functions):
    """(module imported, whether inside a function) of the package, as first path components."""
    tree = ast.parse(path.read_text())
    lazy = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))
        for n in ast.walk(f)
    }
    typing = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, ast.If) and "TYPE_CHECKING" in ast.dump(f.test)
        for n in ast.walk(f)
    }
    depth = len(path.relative_to(ROOT / "tensorgrad").parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in typing:
            if node.level < depth:
                continue  # within the same folder
            names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
            for name in names:
                yield name, id(node) in lazy


@of_each("path", sorted((ROOT / "tensorgrad").rglob("*.py")))
def test_imports_point_one_way(path):
    own = path.relative_to(ROOT / "tensorgrad").parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert own in RANK, f"{own} has no place in LAYERS: give it one"
    for name, lazy in imports(path, True):
        if name not in RANK or name == own or ((own, name) in EXCEPTIONS and lazy):
            continue
        same_rank = RANK[name] == RANK[own]
        assert RANK[name] < RANK[own] or same_rank, f"{path.name} imports {name}, which is above it"


def test_kernels_import_nothing_of_the_package():
    for path in (ROOT / "kernels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("tensorgrad") for a in node.names), path
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert not module.startswith("tensorgrad"), path
                depth = len(path.relative_to(ROOT / "kernels").parts)
                assert node.level <= depth, f"{path} reaches out of kernels/"


def run(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        cwd="/",
        timeout=120,
    )


def test_import_brings_numpy_and_nothing_else():
    heavy = "numba cupy tqdm matplotlib sklearn torch scipy safetensors ml_dtypes".split()
    done = run(f"import sys, tensorgrad; print([m for m in {heavy!r} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_small_arrays_do_not_import_numba():
    code = """
import sys, numpy as np, tensorgrad as tg
x = tg.tensor(np.ones((4, 4)), requires_grad=True)
tg.sigmoid(tg.dense(x, np.ones((4, 2)), np.ones(2), activation="tanh")).sum().backward()
print("numba" in sys.modules)
"""
    done = run(code)
    assert done.stdout.strip() == "False", done.stdout + done.stderr


def test_a_bare_checkout_says_how_to_install(tmp_path):
    (tmp_path / "tensorgrad").symlink_to(ROOT / "tensorgrad")
    code = f"""
import sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in type(f).__name__.lower()
                 and "editable" not in getattr(f, "__module__", "").lower()
                 and "editable" not in getattr(f, "__name__", "").lower()]
sys.path[:] = [p for p in sys.path if "site-packages" in p or "lib" in p]
sys.path.insert(0, {str(tmp_path)!r})
import numpy as np, tensorgrad as tg
try:
    tg.exp(np.ones(2))
except tg.BackendError as error:
    print(error)
"""
    done = run(code)
    assert "pip install -e ." in done.stdout, done.stdout + done.stderr


def test_no_module_is_named_as_a_public_function():
    import tensorgrad as tg

    modules = {p.stem for p in (ROOT / "tensorgrad").glob("*.py")}
    modules |= {p.name for p in (ROOT / "tensorgrad").iterdir() if p.is_dir()}
    functions = {n for n in tg.__all__ if callable(getattr(tg, n))}
    assert not modules & functions


def test_files_are_short():
    for folder, limit in (("tensorgrad", 500), ("kernels", 500)):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= limit, path
    heart = [(ROOT / f"tensorgrad/{name}.py").read_text() for name in ("core", "backward")]
    assert len("".join(heart).splitlines()) <= 400


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_documents_say_how_large_the_whole_is(document):
    """To within 10 per cent: a larger change must update the documents."""
    files = [p for d in ("tensorgrad", "kernels") for p in (ROOT / d).rglob("*.*")]
    files = [p for p in files if p.suffix in (".py", ".cu", ".cuh", ".h")]
    lines = sum(len(p.read_text().splitlines()) for p in files)
    said = re.search(r"about ([\d,]+)[\s,.]", (ROOT / document).read_text())
    assert lines == pytest.approx(int(said[1].replace(",", "")), rel=0.1)
