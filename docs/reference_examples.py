"""Examples of docstrings run with the names of their module, and the public ones, at hand
(tests/test_docs.py). A reader has neither: in the reference each begins with its imports."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib.util
import math
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

import tensorgrad as tg


def with_imports(doc: str, module: str) -> str:
    """A docstring of a module, whose first example imports what all of them take from there."""
    examples = doctest.DocTestParser().get_examples(doc)
    if not examples:
        return doc
    package = sys.modules[module].__package__ or module

    def absolute(match: re.Match[str]) -> str:
        return f"from {importlib.util.resolve_name(match[1], package)} import"

    doc = re.sub(r"\bfrom (\.[\w.]*) import", absolute, doc)
    lines = "".join(f"{' ' * examples[0].indent}>>> {line}\n" for line in imports(examples, module))
    return re.sub(r"^ *>>>", lambda first: lines + first[0], doc, count=1, flags=re.MULTILINE)


def imports(examples: list[doctest.Example], module: str) -> list[str]:
    """Statements for the names that examples use and do not make."""
    found: dict[str, set[str]] = {}
    here = {"tg": tg, "np": np, "math": math} | vars(sys.modules[module])
    for name in unbound("".join(example.source for example in examples)):
        home = module
        if hasattr(builtins, name) and name not in here:
            continue
        thing = here[name] if name in here else getattr(tg, name, None)
        if isinstance(thing, types.ModuleType):
            home, _, last = thing.__name__.rpartition(".")
            if not home or last != name:
                alias = "" if thing.__name__ == name else f" as {name}"
                found[f"import {thing.__name__}{alias}"] = set()
                continue
        assert thing is not None, f"an example of {module} takes {name} from nowhere"
        home = next(place for place in homes(thing, home) if attribute(place, name) is thing)
        found.setdefault(f"from {home} import", set()).add(name)
    lines = (f"{line} {', '.join(sorted(names))}".strip() for line, names in found.items())
    return sorted(lines, key=lambda line: (not line.startswith("import"), line))


def homes(thing: Any, module: str) -> Iterator[str]:
    """Where a thing may be taken from, the shortest first: tensorgrad, tensorgrad.nn, ..."""
    for whole in (getattr(thing, "__module__", None) or module, module):
        parts = whole.split(".")
        yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def attribute(module: str, name: str) -> Any:
    place = sys.modules.get(module)
    listed = name in getattr(place, "__all__", ()) or name in getattr(place, "__dict__", ())
    return getattr(place, name) if listed else None


def unbound(source: str) -> set[str]:
    """Names that a program reads and nowhere binds."""
    read, bound = set(), set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound |= {(alias.asname or alias.name).partition(".")[0] for alias in names}
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
    return read - bound
