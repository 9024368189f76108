"""The pages of docs/functions and docs/layers, one a family, and those of training and data: their
examples run, and the tables of names are those of the public face. `python -m tests.test_pages`
writes the tables, and the index of pages in docs/README.md."""

import doctest
import inspect
import operator
import re
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

from .test_docs import Examples

pytestmark = pytest.mark.host

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {  # page -> the modules, below tensorgrad/, whose public names stand on it
    "creation": "creation functions.spaced dtypes core",
    "elementwise": """functions.elementwise functions.analytic functions.special functions.logic
    functions.comparison functions.machine functions.interpolation""",
    "reductions": "functions.reduce functions.statistics functions.quantiles functions.nans",
    "products": "functions.products functions.contraction functions.distance functions.sparse",
    "linalg": "linalg",
    "fft": "fft functions.complex_numbers",
    "scans": "functions.scan functions.sorting",
    "indexing": "functions.indexing functions.masks functions.segments functions.diagonals",
    "shape": "functions.shape functions.joining functions.repeating functions.padding",
    "windows": """functions.conv functions.conv_nd functions.pooling functions.adaptive
    functions.resampling functions.windows""",
    "random": "random randomness functions.random",
    "networks": """functions.activation functions.nonlinearity functions.norm functions.attention
    functions.recurrent functions.embedding losses nn""",
    "autograd": "autograd jacobians batching.transform tape custom recompute",
    "inside": "drawing profiling anomaly memory testing",
    "running": "backend dispatch precision files errors",
}
HOME = {module: page for page, modules in PAGES.items() for module in modules.split()}
SPACES = ("linalg", "fft", "random")
MARK = "<!-- names -->"


def module_of(name):
    """The module, below tensorgrad/, that defines the public name `tg.<name>`."""
    if name in tg.functions.FAMILY:
        return f"functions.{tg.functions.FAMILY[name]}"
    return tg._FROM.get(name) or inspect.unwrap(getattr(tg, name)).__module__.partition(".")[2]


def public():
    """{page: {public name: what it is}}."""
    found = {page: {} for page in PAGES}
    for name in set(tg.__all__) - set(tg._MODULES):
        module = module_of(name)
        assert module in HOME, f"tg.{name} of {module}: name the page of that module in PAGES"
        found[HOME[module]][name] = getattr(tg, name)
    for space in SPACES:
        module = getattr(tg, space)
        found[HOME[space]] |= {f"{space}.{n}": getattr(module, n) for n in module.__all__}
    functions = {*tg.functions.__all__, *tg.functions.FAMILY}
    others = {n for n in vars(tg.Tensor) if not n.startswith("_")} - functions
    found["creation"] |= {f"Tensor.{n}": inspect.getattr_static(tg.Tensor, n) for n in others}
    return found


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


EXAMPLES = [f"functions/{page}" for page in PAGES]
EXAMPLES += [f"layers/{path.stem}" for path in sorted(DOCS.glob("layers/*.md"))]
EXAMPLES += ["training", "data"]


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
