"""The reference, written from the public face: each public name once, with its signature, types and
docstring. `pages()` gives the Markdown that conf.py has Sphinx read; nothing in it is by hand."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from reference_examples import with_imports

import tensorgrad as tg

PAGES = {  # page -> the modules, below tensorgrad/, whose public names stand on it
    "creation": "creation functions.spaced dtypes core",
    "elementwise": """functions.elementwise functions.analytic functions.special functions.logic
    functions.comparison functions.machine functions.interpolation""",
    "reductions": "functions.reduce functions.statistics functions.quantiles functions.nans",
    "products": "functions.products functions.contraction functions.distance functions.sparse",
    "linalg": "linalg",
    "fft": "fft functions.complex_numbers",
    "scans": "functions.scan functions.sorting functions.sets",
    "indexing": "functions.indexing functions.masks functions.segments functions.diagonals",
    "shape": "functions.shape functions.joining functions.repeating functions.padding",
    "windows": """functions.conv functions.conv_nd functions.pooling functions.adaptive
    functions.fractional functions.resampling functions.windows""",
    "random": "random randomness functions.random",
    "networks": """functions.activation functions.nonlinearity functions.norm functions.attention
    functions.recurrent functions.embedding losses nn""",
    "autograd": "autograd jacobians batching.transform tape custom recompute",
    "inside": "drawing profiling anomaly memory testing",
    "running": "backend dispatch precision files errors compiling.step",
}
HOME = {module: page for page, modules in PAGES.items() for module in modules.split()}
SPACES = ("linalg", "fft", "random")
LAYERS = {  # page -> the modules of tensorgrad/nn whose names stand on it
    "Modules and containers": "module container collections config called dense lengths shape",
    "Convolution and pooling layers": "conv pooling fractional resampling",
    "Normalisation, dropout": "norm dropout",
    "Recurrent layers": "recurrent simple_recurrent",
    "Attention, Transformers, embeddings": """attention multihead transformer embedding positions
    cache generation""",
    "Graph convolutions": "graph",
    "Activations as layers": "activation",
    "Losses as modules": "loss",
    "Initial weights": "init",
    "Computed parameters": "parametrize",
}
OTHERS = {  # page -> the namespaces whose names stand on it
    "Losses": "losses",
    "Optimizers": "optim optim.schedules",
    "Data": "data data.transforms",
    "Training": "train train.metrics",
    "CUDA graphs, several processes, ONNX, tests of ops": "cuda distributed onnx testing",
}


def module_of(name: str) -> str:
    """The module, below tensorgrad/, that defines the public name `tg.<name>`."""
    if name in tg.functions.FAMILY:
        return f"functions.{tg.functions.FAMILY[name]}"
    return tg._FROM.get(name) or inspect.unwrap(getattr(tg, name)).__module__.partition(".")[2]


def public() -> dict[str, dict[str, Any]]:
    """{page of functions: {public name: what it is}}."""
    found: dict[str, dict[str, Any]] = {page: {} for page in PAGES}
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


def names_of(space: str) -> dict[str, Any]:
    """{`nn.Dense`: the class} for a namespace; one without `__all__` has what it defines."""
    module = tg
    for part in space.split("."):
        module = getattr(module, part)
    names = getattr(module, "__all__", None) or [
        n
        for n, thing in vars(module).items()
        if not n.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]
    found = {f"{space}.{n}": getattr(module, n) for n in names}
    return {n: thing for n, thing in found.items() if not isinstance(thing, types.ModuleType)}


def families(titles: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title of a page, {public name: what it is}) in the order of the site."""
    found = public()
    for page, title in titles.items():
        yield title, found[page]
    layers = names_of("nn")
    for title, modules in LAYERS.items():
        files, mine = modules.split(), {}
        for n, thing in layers.items():
            if inspect.unwrap(thing).__module__.rpartition(".")[2] in files:
                mine[n] = thing
        for space in files:
            if isinstance(getattr(tg.nn, space, None), types.ModuleType) and not mine:
                mine = names_of(f"nn.{space}")
        yield title, mine
    for title, spaces in OTHERS.items():
        yield title, {n: t for space in spaces.split() for n, t in names_of(space).items()}


class Raw(str):
    """Text that a signature shows as it is."""

    def __repr__(self) -> str:
        return str(self)


def signature(thing: Any, bound: bool = False) -> str:
    """Names, types and defaults, as they are written."""
    try:
        found = inspect.signature(thing)
    except (ValueError, TypeError):
        return "()"
    parameters = list(found.parameters.values())
    if bound and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    shown = []
    for p in parameters:
        text = getattr(p.default, "__name__", None) or repr(p.default)
        default = p.default
        if default is not p.empty and (callable(default) or text.startswith(("<", "dtype("))):
            default = Raw(text if text.isidentifier() else "...")
        note = Raw(p.annotation) if isinstance(p.annotation, str) else p.annotation
        shown.append(p.replace(default=default, annotation=note))
    result = found.return_annotation
    result = Raw(result) if isinstance(result, str) else result
    if isinstance(thing, type):
        result = inspect.Signature.empty
    return str(inspect.Signature(shown, return_annotation=result)).replace("collections.abc.", "")


def escaped(text: str) -> str:
    """Text of a docstring in Markdown, but for what stands in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        p if p.startswith("`") and len(p) > 2 else re.sub(r"([\\*_<>\[\]$~#|])", r"\\\1", p)
        for p in parts
    )


def markdown(thing: Any) -> str:
    """The docstring of a thing as Markdown: its sections as lists, its examples and formulas as
    code."""
    written = inspect.unwrap(getattr(thing, "fget", getattr(thing, "__func__", thing)))
    doc = with_imports(inspect.getdoc(thing) or "", written.__module__)
    out: list[str] = []
    blocks = re.split(r"\n[ \t]*\n", doc)
    for block in blocks:
        lines = block.splitlines()
        if not block.strip():
            continue
        if ">>> " in block:
            first = next(i for i, line in enumerate(lines) if line.lstrip().startswith(">>>"))
            if first:
                out.append(escaped(" ".join(line.strip() for line in lines[:first])))
            out.append("```python\n" + inspect.cleandoc("\n".join(lines[first:])) + "\n```")
        elif lines[0].startswith("    ") and all(line.startswith("    ") for line in lines if line):
            out.append("```text\n" + inspect.cleandoc("\n".join(["", *lines])) + "\n```")
        else:
            out += sections(lines)
    return "\n\n".join(out)


def sections(lines: list[str]) -> Iterator[str]:
    """Paragraphs, and the sections Args, Returns and Raises, of one block."""
    kept: list[str] = []
    items: list[str] | None = None
    for line in [*lines, "Raises:"]:
        head = re.match(r"(Args|Returns|Raises|Yields|Attributes):\s*(.*)", line)
        if head:
            if kept:
                yield escaped(" ".join(kept))
            if items:
                yield "\n".join(items)
            kept, items = [], None
            if head[1] in ("Args", "Attributes"):
                items = []
            elif head[2]:
                kept = [f"{head[1]}: {head[2]}"]
        elif items is not None and line.startswith("    "):
            named = re.match(r"    (\*{0,2}\w[\w, *`.]*): (.*)", line)
            if named:
                items.append(f"- **{escaped(named[1])}**: {escaped(named[2])}")
            elif items:
                items[-1] += " " + escaped(line.strip())
        else:
            if items:
                yield "\n".join(items)
                items = None
            kept.append(re.sub(r"^- ", "\\- ", line.strip()))


def kind(name: str, thing: Any) -> tuple[str, bool]:
    """(Sphinx's directive, whether it is called)."""
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return "exception", False
    if isinstance(thing, type) and issubclass(thing, np.generic):
        return "data", False
    if isinstance(thing, type):
        return "class", True
    if name.startswith("Tensor."):
        called = callable(thing) and not isinstance(thing, property)
        return ("method", True) if called else ("attribute", False)
    return ("function", True) if callable(thing) else ("data", False)


def methods(name: str, cls: type) -> Iterator[str]:
    """Entries of the documented methods that a class defines itself, or has of a private base."""
    if cls is tg.Tensor or issubclass(cls, BaseException):
        return
    bases = [c for c in cls.__mro__ if c is cls or c.__name__.startswith("_")]
    seen = set()
    for base in bases:
        for n, thing in vars(base).items():
            public_name = not n.startswith("_") and n not in seen
            inner = getattr(thing, "__func__", getattr(thing, "fget", thing))
            if not public_name or not inspect.isfunction(inner) or not inner.__doc__:
                continue
            seen.add(n)
            what = "property" if isinstance(thing, property) else "method"
            call = "" if what == "property" else signature(inner, bound=True)
            yield f"::::{{py:{what}}} {name}.{n}{call}\n\n{markdown(inner)}\n::::\n"


def entry(name: str, thing: Any, others: list[str]) -> str:
    """One public name: its directive in Markdown."""
    directive, called = kind(name, thing)
    doc = inspect.getdoc(thing) if not isinstance(thing, float | int | str | dict | None) else None
    if isinstance(thing, np.dtype) or inspect.ismemberdescriptor(thing):
        doc = None
    call = signature(thing, bound=directive == "method") if called else ""
    body = markdown(thing) if doc else ""
    if others:
        body = f"Also {', '.join(f'`tg.{n}`' for n in others)}.\n\n{body}"
    # other names of the same thing are targets and stand in the index, without a text
    hidden = "".join(f":::{{py:{directive}}} tg.{n}\n:no-typesetting:\n:::\n\n" for n in others)
    if directive == "class":
        body += "\n\n" + "\n".join(methods(f"tg.{name}", thing))
    return f"{hidden}:::::{{py:{directive}}} tg.{name}{call}\n\n{body}\n:::::\n"


def pages(titles: dict[str, str]) -> dict[str, str]:
    """{file name: Markdown} of the reference. `titles` are those of the pages of functions."""
    found = list(families(titles))
    home: dict[int, str] = {}
    others: dict[str, list[str]] = {}
    for _, names in found:  # a thing stands under the first of its names, its own if it has it
        for name, thing in sorted(names.items(), key=lambda i: rank(*i)):
            if not callable(thing) or isinstance(thing, np.dtype):
                continue
            if id(thing) in home:
                others.setdefault(home[id(thing)], []).append(name)
            else:
                home[id(thing)] = name
    alias = {name for names in others.values() for name in names}
    texts, listed = {}, []
    for title, names in found:
        file = re.sub(r"\W+", "_", title.lower()).strip("_")
        shown = sorted((n for n in names if n not in alias), key=lambda n: (n.lower(), n))
        if not shown:
            continue
        entries = [entry(n, names[n], others.get(n, [])) for n in shown]
        texts[f"{file}.md"] = f"# {title}\n\n" + "\n".join(entries)
        listed.append(file)
    tree = "\n".join(listed)
    texts["index.md"] = (
        "# Reference\n\nEvery public name, from its own signature and docstring. "
        "`import tensorgrad as tg`.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n"
    )
    return texts


def rank(name: str, thing: Any) -> tuple[bool, int, str]:
    """Of the names of one thing: that of its definition comes first, and the short one."""
    other = getattr(thing, "__name__", None) != name.rpartition(".")[2]
    return other, name.count("."), name
