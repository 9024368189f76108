"""Trees of tensors in one file: the tensors as arrays, the containers around them as JSON text."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import BY_TYPE, cast, default, dtype_of, get, is_floating, make, on_host
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, FileError
from ..settings import Own, gate
from ..typing import DType, PathLike
from .tensors import File, is_npz, write

Tree: TypeAlias = Annotated[Any, Own("a tree of tensors: dicts, lists and tuples of them")]
KEY, VERSION = "tensorgrad", 1
_PLAIN = (bool, int, float, str, type(None))


@gate
def save(tree: Tree, path: PathLike, dtype: DType = None) -> None:
    """Write a tree to a file: tensors, arrays, numbers and text, in nested dicts, lists and tuples,
    for `load`. The file is in the safetensors format, which others read, too.

    Args:
        tree: what is saved. Tensors of a GPU are copied to the host, a tensor that is in the tree
            twice is written once.
        path: of the file. It is the old file or the whole new one at any moment, and it is on the
            disk when `save` returns.
        dtype: to which floating tensors and arrays are cast in the file, such as "bfloat16".
    Raises: ArgumentError that names the place of what cannot be saved, such as an object of a class
        of yours; FileError where the file cannot be written.

    >>> save({"weight": tg.ones(2), "step": 7, "sizes": (3, 4)}, "run.safetensors")
    >>> tree = load("run.safetensors")
    >>> tree["weight"].tolist(), tree["step"], tree["sizes"]
    ([1.0, 1.0], 7, (3, 4))
    """
    if isinstance(tree, (str, os.PathLike)) and not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("save(tree, path): the tree comes first, then the path")
    writer = _Writer(None if dtype is None else _floating("save", dtype))
    try:
        shape = writer.node(tree, "")
    except RecursionError:
        raise ArgumentError(
            "save: containers nested deeper than Python's stack, or in themselves"
        ) from None
    write(path, writer.arrays, {KEY: json.dumps({"version": VERSION, "tree": shape})})


@gate
def load(
    path: PathLike, dtype: DType = None, backend: str | None = None, mapped: bool = False
) -> Any:
    """What `save` wrote: the same tree. Of a safetensors file by others, a dict of its tensors; of
    NumPy's .npz the same. No file can run code, and what is damaged or made up is refused whole.

    Args:
        path: of the file.
        dtype: to which floating tensors and arrays are cast; None keeps theirs.
        backend: where the tensors are made; None is the default one.
        mapped: whether arrays are the file's own memory, read from the disk where they are used:
            what is written to is copied then, and the file is never changed. On a GPU the file is
            copied from there.
    Raises: FileError for a file that is no whole safetensors file, or of a newer version.

    >>> save([tg.ones(1), 2.5], "pair.safetensors")
    >>> a, number = load("pair.safetensors", dtype="float64")
    >>> str(a.dtype), number
    ('float64', 2.5)
    """
    cast_to = None if dtype is None else _floating("load", dtype)
    home = default() if backend is None else get(backend)
    if is_npz(path):
        from .arrays import load_npz

        arrays = load_npz(path)
        return {n: tensor_of(make(a, None, "numpy"), cast_to, home) for n, a in arrays.items()}
    with File(path) as file:
        reader = _Reader(file, cast_to, home, mapped)
        if KEY not in file.text:
            return {name: reader.tensor(name) for name in file.entries}
        return reader.tree()


def save_arrays(
    path: PathLike, tensors: dict[str, Tensor], text: dict[str, str], dtype: Any
) -> None:
    """Write tensors by name, with text of the caller's and no tree."""
    writer = _Writer(None if dtype is None else _floating("save", dtype))
    write(path, {name: writer.host(t) for name, t in tensors.items()}, text)


def _floating(who: str, dtype: Any) -> np.dtype:
    wanted = dtype_of(dtype)
    if not is_floating(wanted):
        raise DTypeError(f"{who}: dtype is for floating tensors, got {wanted}")
    return wanted


def tensor_of(a: np.ndarray, dtype: np.dtype | None, home: Any) -> Tensor:
    """An array of a file as a tensor on a backend."""
    a = a if dtype is None or not is_floating(a.dtype) else cast(a, dtype)
    return Tensor(home.from_host(a))


class _Writer:
    """Takes a tree apart: JSON for its containers, arrays by name."""

    def __init__(self, dtype: np.dtype | None):
        self.dtype, self.arrays = dtype, {}  # type: np.dtype | None, dict[str, np.ndarray]
        self._seen: dict[int, Any] = {}
        self._kept: list[Any] = []  # so that no id is used again

    def node(self, value: Any, path: str) -> Any:
        """The JSON of a value: plain ones are themselves, all others {kind: what it is}."""
        kind = type(value)
        if kind in _PLAIN and not (kind is float and not math.isfinite(value)):
            return value
        if kind is float:
            return {"float": repr(value)}
        if kind is complex:
            return {"complex": [repr(value.real), repr(value.imag)]}
        if kind in (list, tuple):
            parts = [self.node(part, f"{path}[{i}]") for i, part in enumerate(value)]
            return {kind.__name__: parts}
        if kind is dict:
            return {"dict": [self._pair(k, v, path) for k, v in value.items()]}
        if isinstance(value, Tensor):
            return self._array("tensor", value, path)
        if isinstance(value, (np.ndarray, np.generic)) or kind in BY_TYPE:
            return self._array("number" if isinstance(value, np.generic) else "array", value, path)
        raise ArgumentError(
            f"save: {path or 'the tree'} is a {kind.__name__}; files hold tensors, arrays, numbers "
            "and text in dicts, lists and tuples: give its parts, such as model.state_dict()"
        )

    def _pair(self, key: Any, value: Any, path: str) -> list[Any]:
        if type(key) not in _PLAIN or (type(key) is float and not math.isfinite(key)):
            raise ArgumentError(
                f"save: {path or 'the tree'} has the key {key!r}; in files keys are text or numbers"
            )
        inner = f"{path}.{key}" if path else str(key)
        return [key, self.node(value, inner)]

    def _array(self, kind: str, value: Any, path: str) -> Any:
        if id(value) in self._seen:
            return self._seen[id(value)]
        name = path.strip("[]").replace("[", ".").replace("]", "") or "0"
        while name in self.arrays or name == "__metadata__":
            name += "_"
        a = self.host(value)
        node: dict[str, Any] = {kind: name}
        if a.dtype == np.complex128:  # which the format has not: pairs of its parts
            a, node = (
                np.ascontiguousarray(a).reshape(*a.shape, 1).view("float64"),
                {**node, "as": "complex128"},
            )
        self.arrays[name] = np.asarray(a)
        self._kept.append(value)
        self._seen[id(value)] = node
        return node

    def host(self, value: Any) -> np.ndarray:
        """The numbers as they are in the file, but for complex128."""
        raw = value._data if isinstance(value, Tensor) else value
        a = on_host(raw)
        return cast(a, self.dtype) if self.dtype is not None and is_floating(a.dtype) else a


class _Reader:
    """Puts a tree together. What it reads may be anything."""

    def __init__(self, file: File, dtype: np.dtype | None, home: Any, mapped: bool):
        self.file, self.dtype, self.home, self.mapped = file, dtype, home, mapped
        self._made: dict[tuple[str, str], Any] = {}

    def tree(self) -> Any:
        """The whole tree."""
        try:
            said = json.loads(self.file.text[KEY])
            if type(said) is not dict or type(said.get("version")) is not int:
                raise ValueError
            if said["version"] > VERSION:
                raise FileError(
                    f"{self.file.path} is in version {said['version']} of tensorgrad's files, this "
                    f"one reads up to {VERSION}: update tensorgrad"
                )
            return self._value(said["tree"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            if isinstance(error, FileError):
                raise
            raise self.file.refused("what it says of its tree is not what save writes") from None

    def _value(self, node: Any) -> Any:
        if type(node) in _PLAIN:
            return node
        if type(node) is not dict or not node:
            raise ValueError
        (kind, given), *rest = node.items()
        if kind in ("tensor", "array", "number"):
            return self._leaf(kind, given, dict(rest).get("as"))
        if rest:
            raise ValueError
        read: dict[str, Callable[[Any], Any]] = {"float": float, "complex": _complex}
        read |= {"list": self._list, "tuple": self._tuple, "dict": self._dict}
        return read[kind](given)

    def _list(self, given: list[Any]) -> list[Any]:
        if type(given) is not list:
            raise ValueError
        return [self._value(part) for part in given]

    def _tuple(self, given: list[Any]) -> tuple[Any, ...]:
        return tuple(self._list(given))

    def _dict(self, given: list[Any]) -> dict[Any, Any]:
        if type(given) is not list or any(type(key) not in _PLAIN for key, _ in given):
            raise ValueError
        return {key: self._value(part) for key, part in given}

    def tensor(self, name: str) -> Tensor:
        """The tensor of an array in the file."""
        return tensor_of(self.file.read(name, self.mapped), self.dtype, self.home)

    def _leaf(self, kind: str, name: Any, seen_as: Any) -> Any:
        if type(name) is not str or seen_as not in (None, "complex128"):
            raise ValueError
        if (kind, name) not in self._made:
            a = self.file.read(name, self.mapped)
            if seen_as:
                a = a.view("complex128").reshape(a.shape[:-1])
            if kind == "tensor":
                self._made[kind, name] = tensor_of(a, self.dtype, self.home)
            else:
                if self.dtype is not None and is_floating(a.dtype):
                    a = cast(a, self.dtype)
                self._made[kind, name] = a if kind == "array" else a[()]
        return self._made[kind, name]


def _complex(parts: list[str]) -> complex:
    real, imaginary = parts
    return complex(float(real), float(imaginary))
