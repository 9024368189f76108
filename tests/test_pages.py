"""The pages of docs/functions and docs/layers, one a family, and those of training and data: their
examples run, and the tables of names are those of the public face. `python -m tests.test_pages`
writes the tables, and the index of pages in docs/README.md."""

import doctest
import importlib
import inspect
import operator
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

from .test_docs import Examples

pytestmark = pytest.mark.host

DOCS = Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))
reference = importlib.import_module("reference")
PAGES, public = reference.PAGES, reference.public
MARK = "<!-- names -->"


def call(name, thing):
    """How it is called: names and defaults, without types."""
    if not callable(thing) or (
        isinstance(thing, type) and issubclass(thing, (BaseException, np.generic))
    ):
        return name
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:
        return name
    parameters = [p.replace(annotation=p.empty) for p in parameters if p.name != "self"]
    return f"{name}{inspect.Signature(parameters)}"


def gist(thing):
    """The first sentence of the docstring."""
    if isinstance(thing, float | None):
        return "a constant"
    if isinstance(thing, np.dtype):
        return "a dtype"
    doc = inspect.getdoc(thing)
    if inspect.ismemberdescriptor(thing) or not doc:
        return "an attribute"
    text = " ".join(doc.split("\n\n")[0].split(">>>")[0].split("Args:")[0].split())
    return re.split(r"(?<=[\w)\]`|])\. (?=[A-Z`(])", text)[0].rstrip(" .:,")


def table(names):
    """The names of a page as a table in Markdown, those of one function in one row."""
    rows = {}
    for name, thing in sorted(names.items(), key=lambda item: (item[0].lower(), item[0])):
        if inspect.isfunction(thing):  # under its own name, beside which its others stand
            own = name.rpartition(".")[0]
            own = f"{own}.{thing.__name__}" if own else thing.__name__
            if own != name and names.get(own) is thing:
                rows.setdefault(own, []).append(name)
                continue
        rows.setdefault(name, [])
    lines = []
    for name, others in sorted(rows.items(), key=lambda item: (item[0].lower(), item[0])):
        calls = ", ".join(f"`{c}`" for c in [call(name, names[name]), *others])
        text = gist(names[name]).replace("|", "\\|")
        lines.append(f"| {calls} | {text} |")
    return "\n".join(["| name | what it is |", "| --- | --- |", *lines]) + "\n"


def index():
    """The line of each page for docs/README.md: its title and its first sentence."""
    lines = []
    for page in PAGES:
        title, text = (DOCS / f"functions/{page}.md").read_text().split("\n\n")[:2]
        first = re.split(r"\.\s", text)[0].replace("\n", " ").rstrip(" .:,")
        lines.append(
            f"- [{title.lstrip('# ')}](functions/{page}.md): {first[0].lower()}{first[1:]}."
        )
    return "\n".join(lines) + "\n"


def written():
    """{file: its text as it should be}."""
    texts = {DOCS / f"functions/{page}.md": table(names) for page, names in public().items()}
    texts[DOCS / "README.md"] = index()
    return {
        path: f"{path.read_text().partition(MARK)[0]}{MARK}\n\n{generated}"
        for path, generated in texts.items()
    }


def test_tables_of_names_are_those_of_the_face():
    for path, text in written().items():
        assert path.read_text() == text, f"{path.name}: run python -m tests.test_pages"


def test_the_reference_has_each_public_name_once():
    texts = reference.pages({page: page for page in PAGES})
    heads = r":::+\{py:(?:class|function|data|exception|attribute|method|property)\} tg\.([\w.]+)"
    found = re.findall(heads, "\n".join(texts.values()))
    assert len(found) == len(set(found))
    assert {n for names in public().values() for n in names} <= set(found)
    spaces = {*tg._MODULES} - {*reference.SPACES, "keras", "tf"}  # Keras has its own
    assert {n for space in spaces for n in reference.names_of(space)} <= set(found)


def test_examples_of_the_reference_begin_with_their_imports():
    """Of names of the module, built-in ones that it replaces, public ones, and libraries."""
    doc = """
    >>> from ..nn import Parameter
    >>> sum(Parameter(np.ones((2, 3))), axis=1).tolist(), len([])
    ([3.0, 3.0], 0)
    """
    text = reference.with_imports(doc, "tensorgrad.functions.reduce")
    imports = [line.strip() for line in text.splitlines() if "import" in line]
    names = ">>> import numpy as np", ">>> from tensorgrad import sum"
    assert imports == [*names, ">>> from tensorgrad.nn import Parameter"]
    test = doctest.DocTestParser().get_doctest(text, {}, "", "", 0)
    assert not doctest.DocTestRunner().run(test).failed
    with pytest.raises(AssertionError, match="takes nonsense from nowhere"):
        reference.with_imports(">>> nonsense(1)", "tensorgrad.functions.reduce")


def test_every_page_is_in_the_sites_tree():
    tree = (DOCS / "index.md").read_text().splitlines()
    written = ("README", "reference", "project", "gallery", "benchmarks", "index", "_build")
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).with_suffix("").as_posix()
        assert name in tree or name.split("/")[0] in written, f"{name}: name it in docs/index.md"


EXAMPLES = [f"functions/{page}" for page in PAGES]
EXAMPLES += [f"layers/{path.stem}" for path in sorted(DOCS.glob("layers/*.md"))]
EXAMPLES += [f"guide/{path.stem}" for path in sorted(DOCS.glob("guide/*.md"))]
EXAMPLES += [f"coming_from/{path.stem}" for path in sorted(DOCS.glob("coming_from/*.md"))]
EXAMPLES += ["training", "data", "distributed", "compile", "backpropagation", "backpropagation_zh"]
EXAMPLES.remove("guide/own_op")  # whose pieces belong into files of the package


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for those that write files
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks, "a page has examples"
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, f"{page}.md", 0)
    runner = Examples()
    runner.run(test)
    assert runner.failures == 0
    prose = re.sub(r"```.*?```", "", text.partition(MARK)[0], flags=re.DOTALL)
    for name in re.findall(r"`tg\.([\w.]+)", prose):  # what the text names is there
        assert callable(operator.attrgetter(name)(tg)) or name in tg.__all__


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text)
