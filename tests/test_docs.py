"""Every public name has a docstring with an example; these, and the README's program, run and give
what they say."""

import ast
import builtins
import doctest
import importlib
import math
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tensorgrad as tg

from .rows import of_each

ROOT = Path(__file__).parent.parent
MODULES = ["tensorgrad"] + [
    m.name
    for m in pkgutil.walk_packages(tg.__path__, "tensorgrad.")
    if not re.search(r"\.kernels|__main__$|^tensorgrad\.(keras|tf)", m.name)
]


LATER = {"pandas", "pyarrow", "PIL", "onnx", "onnxruntime", "joblib", "networkx"}  # not required


class Examples(doctest.DocTestRunner):
    """Runs examples as they stand; those from the first on that needs a package which is not
    installed are skipped."""

    def __init__(self):
        super().__init__(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    def report_unexpected_exception(self, out, test, example, exc_info):
        error = exc_info[1]
        while error is not None:
            if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in LATER:
                pytest.skip(f"{error.name} is not installed")
            error = error.__cause__
        super().report_unexpected_exception(out, test, example, exc_info)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for those that write files
    module = importlib.import_module(name)
    ours = {n: getattr(tg, n) for n in tg.__all__ if not hasattr(builtins, n)}
    names = {**ours, "tg": tg, "np": np, "math": math, **vars(module)}
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = Examples()
    for test in finder.find(module, name, globs=names):
        runner.run(test)
    assert runner.failures == 0


@of_each("name", MODULES)
def test_public_names_have_docstrings(name):
    path = Path(importlib.import_module(name).__file__)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: class {node.name}"
            body = node.body
        elif isinstance(node, ast.Module):
            assert ast.get_docstring(node), path.name
            body = node.body
        else:
            continue
        for f in body:
            inherited = isinstance(node, ast.ClassDef) and node.bases
            if isinstance(f, ast.FunctionDef) and not f.name.startswith("_") and not inherited:
                marks = "".join(map(ast.dump, f.decorator_list))
                bare = "setter" in marks or "overload" in marks  # whose text stands elsewhere
                assert ast.get_docstring(f) or bare, f"{path.name}:{f.lineno} {f.name}"


def offered():
    """{where it is found: a public class or function}, but for modules and exceptions."""
    found = {}
    for place in ("", "nn", "optim", "losses", "data", "train", "testing", "cuda"):
        module = getattr(tg, place) if place else tg
        names = getattr(module, "__all__", None) or []
        for name in names:
            thing = getattr(module, name)
            if callable(thing) and not isinstance(thing, ModuleType) and not is_exception(thing):
                found[f"{module.__name__}.{name}"] = thing
    return found


def is_exception(thing):
    return isinstance(thing, type) and issubclass(thing, BaseException)


OFFERED = offered()


@of_each("name", sorted(OFFERED))
def test_public_names_have_an_example(name):
    doc = OFFERED[name].__doc__ or ""
    examples = doctest.DocTestParser().get_examples(doc)
    shows = any(e.want for e in examples) or name == "tensorgrad.set_tf32"  # which returns nothing
    assert examples, f"{name} has no example"
    assert shows, f"the example of {name} shows no result"
    names = (name.rpartition(".")[2], OFFERED[name].__name__)  # an alias has another
    assert any(n in e.source for n in names for e in examples), f"{name} is not in its example"


def test_the_readmes_program_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes files
    text, names = (ROOT / "README.md").read_text().split("## How it works")[0], {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    assert (names["again"].predict(names["X"]) == names["model"].predict(names["X"])).all()
    printed = capsys.readouterr().out
    assert "48" in printed
    assert "[0. 1. 1. 0.]" in printed


def test_links_of_the_documents_lead_somewhere():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]:
        if path.parent.name in ("gallery", "project", "reference", "_build"):
            continue  # written when the site is built
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert "://" in link or (path.parent / link).exists(), f"{path.name}: {link}"
