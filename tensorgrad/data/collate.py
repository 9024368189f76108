"""From samples to a batch: numbers and arrays are stacked, whatever holds them stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import make
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, ShapeError
from ..settings import Own, gate, listed, shown
from ..trees import Build, opened
from ..typing import Count, Number

Listed: TypeAlias = Annotated["Sequence[Any]", Own("a list of samples")]
TEXT = (str, bytes, type(None))  # what a batch holds as a list


@gate
def collate(samples: Listed) -> Any:
    """A batch of a list of samples of one structure: numbers and arrays become arrays with a new
    first axis; tuples, lists, dicts and dataclasses hold the batches of their parts; text, bytes
    and None become lists.

    Raises: ShapeError for samples of different shapes or structures, DTypeError for what is no
        number; both name the sample.

    >>> collate([{"x": [0.0, 1.0], "name": "a"}, {"x": [2.0, 3.0], "name": "b"}])["name"]
    ['a', 'b']
    """
    if not listed(samples) or not len(samples):
        raise ArgumentError(f"collate: samples is a list of one or more, got {shown(samples)}")
    return stacked(list(samples), range(len(samples)))


def stacked(samples: list[Any], names: Sequence[Any]) -> Any:
    """`collate`; `names` are what messages call the samples, their indices in the data set."""
    return _collated(samples, "", names)


def _collated(samples: list[Any], path: str, names: Sequence[Any]) -> Any:
    first = samples[0]
    if isinstance(first, TEXT):
        return samples
    if (parts := _parts(first)) is None:
        return _stacked(samples, path, names)
    keys, columns = _keys(first), []
    for name, s in zip(names, samples, strict=True):
        if type(s) is not type(first) or {*_keys(s)} != {*keys}:
            raise ShapeError(
                f"DataLoader: sample {name} is {_said(s)}, sample {names[0]} {_said(first)}"
                f"{_at(path)}: samples have one structure"
            )
        columns.append([s[k] for k in keys] if isinstance(s, dict) else (_parts(s) or ([],))[0])
    return parts[1](
        [
            _collated(list(column), f"{path}[{key!r}]", names)
            for key, column in zip(keys, zip(*columns, strict=True), strict=True)
        ]
    )


def _stacked(samples: list[Any], path: str, names: Sequence[Any]) -> Any:
    try:
        arrays = [_host(s) for s in samples]
    except DTypeError as error:
        bad = next(n for n, s in zip(names, samples, strict=True) if not _fits(s))
        raise DTypeError(
            f"DataLoader: sample {bad}{_at(path)}: {error}; a `collate` function of yours makes "
            "batches of anything"
        ) from None
    for name, a in zip(names, arrays, strict=True):
        if a.shape != arrays[0].shape:
            raise ShapeError(
                f"DataLoader: sample {name} has shape {a.shape}, sample {names[0]} "
                f"{arrays[0].shape}{_at(path)}: crop or resize them, or give collate=data.Pad()"
            )
    return np.stack(arrays)


def _host(value: Any) -> np.ndarray:
    """A part of a sample as a NumPy array; Python's floats become float32."""
    return np.asarray(value.numpy() if isinstance(value, Tensor) else make(value, None, "numpy"))


def _fits(value: Any) -> bool:
    try:
        _host(value)
    except DTypeError:
        return False
    return True


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") or hasattr(value, "__array_interface__")


def _of_numbers(value: Any) -> bool:
    """Whether this is a list of numbers, nested or not, which is one array."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, (int, float, complex))


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len((_parts(value) or ([],))[0])))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return f"a {type(value).__name__} of {', '.join(map(repr, value))}"
    return f"a {type(value).__name__} of {len(_keys(value))} parts"


def _at(path: str) -> str:
    return f" at {path}" if path else ""


class Pad:
    """A collate function for samples whose first axes differ in length: `value` is appended up to
    the longest of the batch, or to `length`. With `lengths`, batches are (batch, lengths int64).

    Raises: ShapeError for a sample longer than `length`, or without a first axis.

    >>> Pad()([[1, 2, 3], [4]]).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """

    @gate
    def __init__(self, value: Number = 0, length: Count | None = None, lengths: bool = False):
        self.value, self.length, self.lengths = value, length, lengths

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch of samples of one structure; scalars in it stay as they are."""
        found: list[int] = []
        widest: list[int] = []  # of each array in a sample
        flat = [[_leaf(part) for part in _leaves(s)] for s in samples]
        for parts in zip(*flat, strict=True):
            sizes = [len(a) if np.ndim(a) else 0 for a in parts]
            found = found or (sizes if np.ndim(parts[0]) else [])
            widest.append(self._width(sizes))
        padded = [
            refilled(s, iter([self._padded(a, n) for a, n in zip(parts, widest, strict=True)]))
            for s, parts in zip(samples, flat, strict=True)
        ]
        batch = stacked(padded, range(len(padded)))
        return (batch, np.array(found, np.int64)) if self.lengths else batch

    def _width(self, sizes: list[int]) -> int:
        if self.length is None:
            return max(sizes)
        if (longest := max(sizes)) > self.length:
            raise ShapeError(
                f"Pad(length={self.length}): sample {sizes.index(longest)} of the batch has a "
                f"first axis of {longest}; cut it first"
            )
        return self.length

    def _padded(self, a: Any, width: int) -> Any:
        if not np.ndim(a) or len(a) == width:
            return a
        return np.pad(
            a, [(0, width - len(a))] + [(0, 0)] * (a.ndim - 1), constant_values=self.value
        )


def _leaf(value: Any) -> Any:
    """An array, or text and single numbers as they are."""
    return value if isinstance(value, TEXT) or np.ndim(value) == 0 else _host(value)


def _parts(value: Any) -> tuple[list[Any], Build] | None:
    """The parts of a sample's container; None for what becomes one array, or a list of text."""
    if isinstance(value, TEXT) or _is_array(value) or _of_numbers(value):
        return None
    return opened(value)


def _leaves(value: Any) -> list[Any]:
    parts = _parts(value)
    return [value] if parts is None else [leaf for part in parts[0] for leaf in _leaves(part)]


def refilled(value: Any, leaves: Iterator[Any]) -> Any:
    """A sample of the same structure, with other arrays."""
    parts = _parts(value)
    return next(leaves) if parts is None else parts[1]([refilled(p, leaves) for p in parts[0]])
