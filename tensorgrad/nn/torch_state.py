"""PyTorch's state dicts, to modules and from them.

Names are derived: a module's path here is its path there, `blocks[0].weight` being
`blocks.0.weight`, and a layer of a Sequential having its number alone. What a class stores
otherwise it says in its table `torch_names`: {name here, or a pattern: name there}, where `.T` is
a transpose, `*` the name itself, and `a + b` two arrays there whose sum is one here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any, NamedTuple

import numpy as np

from ..core import Tensor
from ..errors import ArgumentError, FileError, ShapeError
from ..files import load
from ..settings import shown
from .container import Model, Sequential
from .module import STATE, Module
from .weights import Loaded

_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, and of what torch.compile gives


class Stored(NamedTuple):
    """One tensor of ours: its path, and what its numbers are called there."""

    path: str
    tensor: Tensor
    names: list[str]
    transposed: bool


def stored(module: Module, names: Mapping[str, str] | None) -> Iterator[Stored]:
    """All parameters and buffers, each once; `names` replaces the beginnings of paths."""
    seen: set[int] = set()
    todo = [("", "", module)]
    while todo:
        path, there, owner = todo.pop()
        table = owner.torch_names
        inner = []
        for name, part in owner.children():
            if id(part) in seen:
                continue
            seen.add(id(part))
            own = f"{path}.{name}" if path else name
            formula = next((table[p] for p in table if fnmatch(name, p)), "*")
            terms = formula.removesuffix(".T").replace("*", _spelt(owner, name)).split(" + ")
            renamed = (names or {}).get(own)
            full = [f"{there}.{term}" if there else term for term in terms]
            full = full if renamed is None else [renamed]
            if isinstance(part, STATE):
                yield Stored(own, part, full, formula.endswith(".T"))
            else:
                inner.append((own, full[0], part))
        todo += reversed(inner)
    if unknown := {*(names or {})} - {p for p, _ in _paths(module)}:
        raise ArgumentError(f"names: the model has no {', '.join(sorted(unknown))}")


def _paths(module: Module) -> Iterator[tuple[str, Any]]:
    yield from module.named_modules()
    yield from module.named_state()


def _spelt(owner: Module, name: str) -> str:
    """A path of one step as PyTorch has it."""
    if isinstance(owner, (Sequential, Model)):
        return re.sub(r"^layers\[(\d+)\]", r"\1", name)
    return re.sub(r"\[['\"]?(.*?)['\"]?\]", r".\1", name)


def from_torch(module: Module, state: Any, strict: bool, names: Mapping[str, str] | None) -> Loaded:
    """See `Module.load_torch`."""
    arrays = {name: _array(a) for name, a in _state_of(state).items()}
    for prefix in _PREFIXES:
        if arrays and all(name.startswith(prefix) for name in arrays):
            arrays = {name[len(prefix) :]: a for name, a in arrays.items()}
    found: dict[str, Any] = {}
    missing, wrong, used = [], [], set()
    for own in stored(module, names):
        used |= {*own.names}
        parts = [arrays[name] for name in own.names if name in arrays]
        if not parts or (len(parts) < len(own.names) and own.names[0] not in arrays):
            missing.append(own.names[0])
            continue
        a = parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])
        a = a.T if own.transposed else a
        if a.shape != own.tensor.shape:
            theirs = f"{own.names[0]} has shape {parts[0].shape}"
            turned = ", its transpose" if own.transposed else ""
            wrong.append(f"{theirs}, {own.path} here has {own.tensor.shape}{turned}")
        found[own.path] = a
    counts = [n for n in arrays if n.endswith("num_batches_tracked")]  # which we need not
    unexpected = [n for n in arrays if n not in used and n not in counts]
    if strict:
        wrong = [f"missing {n}" for n in missing] + [f"unexpected {n}" for n in unexpected] + wrong
    if wrong:
        raise ShapeError(
            f"load_torch of {type(module).__name__}: {'; '.join(wrong)}. Where a layer has another "
            "name there: names={here: there}"
        )
    module.load_state_dict(found, strict=False)
    return Loaded(missing, unexpected)


def to_torch(module: Module, names: Mapping[str, str] | None) -> dict[str, np.ndarray]:
    """See `Module.to_torch_state`."""
    made: dict[str, np.ndarray] = {}
    for own in stored(module, names):
        a = own.tensor.numpy()
        made[own.names[0]] = np.ascontiguousarray(a.T if own.transposed else a).copy()
        for name in own.names[1:]:  # a sum there, of this and zeros
            made[name] = np.zeros_like(made[own.names[0]])
        if own.path.endswith("running_var"):
            count = own.names[0].removesuffix("running_var") + "num_batches_tracked"
            made.setdefault(count, np.zeros((), np.int64))
    return made


def _state_of(state: Any) -> Mapping[str, Any]:
    if isinstance(state, (str, os.PathLike)):
        try:
            return load(state, backend="numpy", mapped=True)  # type: ignore[no-any-return]
        except FileError as error:
            raise FileError(
                f"{error}. PyTorch's own files are pickles, which can run code and are not read: "
                "there, safetensors.torch.save_file(model.state_dict(), path)"
            ) from None
    if hasattr(state, "state_dict") and not isinstance(state, Mapping):
        state = state.state_dict()  # of a module of PyTorch
    if not isinstance(state, Mapping):
        raise ArgumentError(f"load_torch takes a state dict or a file of one, got {shown(state)}")
    return state


def _array(value: Any) -> Any:
    """A tensor of PyTorch's, of ours or an array, on the host."""
    if isinstance(value, Tensor):
        return value.numpy()
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # NumPy has none
        value = value.numpy()
    return np.asarray(value)
