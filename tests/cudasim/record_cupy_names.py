"""Write `cupy_names.json`: the public names of an installed CuPy and how each may be called.

CuPy imports without a GPU. Run it when the supported CuPy changes, and read the difference:

    pip install cupy-cuda13x==14.2.0
    python tests/cudasim/record_cupy_names.py

A value is one line of text, by the kind of name:

    "ufunc 2 1 add"            inputs, outputs, and the operation of its `.at` if it has one
    "def a, axis=, *, dtype="  a function's parameters, "=" where they have a default
    "type", "object"           a class, and anything else; NumPy's own of that name is meant
    "const 3.14"               a number, or None
    "attribute"                (of ndarray) a property
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("cupy_names.json")


def record() -> dict[str, Any]:
    """The content of the file, taken from the CuPy that can be imported."""
    import cupy

    return {
        "version": cupy.__version__,
        "cupy": _names(cupy),
        "cupy.linalg": _names(cupy.linalg),
        "cupy.fft": _names(cupy.fft),
        "cupy.ndarray": _names(cupy.ndarray),
    }


def _names(owner: Any) -> dict[str, str]:
    public = (n for n in sorted(dir(owner)) if not n.startswith("_") and n != "annotations")
    return {name: _describe(getattr(owner, name)) for name in public}


def _describe(value: Any) -> str:
    import cupy

    if isinstance(value, cupy.ufunc):
        return f"ufunc {value.nin} {value.nout} {value._scatter_op or ''}".rstrip()
    if isinstance(value, type):
        return "type"
    if isinstance(value, (float, type(None))):
        return f"const {value!r}"
    if inspect.isdatadescriptor(value):
        return "attribute"
    if not callable(value) or not (hasattr(value, "__name__") or _signature(value)):
        return "object"
    return f"def {_signature(value)}".rstrip()


def _signature(function: Any) -> str:
    """The parameters as text; of Cython's methods from the docstring, which begins with them."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return _from_docstring(function.__doc__ or "")
    words = []
    for before, parameter in zip([None, *parameters], parameters, strict=False):
        kind, name = parameter.kind, parameter.name
        starred = before is not None and before.kind in (kind.VAR_POSITIONAL, kind.KEYWORD_ONLY)
        if kind is kind.KEYWORD_ONLY and not starred:
            words.append("*")
        prefix = {kind.VAR_POSITIONAL: "*", kind.VAR_KEYWORD: "**"}.get(kind, "")
        words.append(f"{prefix}{name}{'' if parameter.default is parameter.empty else '='}")
    return ", ".join(word for word in words if word != "self")


def _from_docstring(text: str) -> str:
    """`ndarray.sum(self, axis=None, bool keepdims=False) -> ...` becomes `axis=, keepdims=`."""
    match = re.match(r"[\w.]+\((.*?)\)(?: ->|\s*\n|$)", text)
    if match is None:
        return "*args, **kwargs"
    words = []
    for word in match[1].split(","):
        name, equals, _ = word.strip().partition("=")
        name = name.split(" ")[-1]
        if name and name != "self":
            words.append(name + equals)
    return ", ".join(words)


if __name__ == "__main__":
    recorded = record()
    TARGET.write_text(json.dumps(recorded, indent=1) + "\n")
    counts = ", ".join(f"{len(v)} in {k}" for k, v in recorded.items() if isinstance(v, dict))
    print(f"CuPy {recorded['version']}: {counts}")
