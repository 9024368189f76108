"""The safetensors format: named arrays and text, in one file, without code.

A file from someone else is checked whole before an array is made, is refused with one error where
anything is wrong, and can be mapped to memory. Tests hold this against the format's own library.

A file is the length of its header (8 bytes), the header (JSON: each array's dtype, shape and place;
text under "__metadata__"), and the arrays, without gaps.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

import numpy as np

from ..backend import dtype_of
from ..errors import ArgumentError, DTypeError, FileError, suggest
from ..typing import PathLike
from .disk import replacing

LARGEST_HEADER = 100_000_000  # bytes, as the format says
PIECE = 2**18  # bytes of a call to write: the kernel takes larger ones at half of the speed
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
_NAMES = {name: code for code, name in DTYPES.items()}


class Entry(NamedTuple):
    """One array in a file: its dtype, its shape, and the bytes it is in, after the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def write(path: PathLike, arrays: Mapping[str, np.ndarray], text: Mapping[str, str]) -> None:
    """Write arrays by name, and text. Whole or not at all.

    Raises: FileError where it cannot be written; DTypeError for a dtype that the format has not.
    """
    header: dict[str, Any] = {"__metadata__": dict(text)} if text else {}
    held, end = [], 0
    # the widest first, so that all are aligned
    for name, a in sorted(arrays.items(), key=lambda pair: -pair[1].dtype.itemsize):
        if a.dtype.name not in _NAMES:
            raise DTypeError(f"{path}: {name} is {a.dtype}, and files hold {', '.join(_NAMES)}")
        if sys.byteorder == "big" or not a.dtype.isnative:
            a = a.astype(a.dtype.newbyteorder("<"))
        start, end = end, end + a.nbytes
        place = {"shape": list(a.shape), "data_offsets": [start, end]}
        header[name] = {"dtype": _NAMES[a.dtype.name], **place}
        held.append(a)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > LARGEST_HEADER:
        raise ArgumentError(f"{path}: {len(arrays)} arrays need a header of {len(head)} bytes")
    with replacing(path) as temporary, open(temporary, "wb", buffering=0) as file:
        _put(file, memoryview(len(head).to_bytes(8, "little") + head))
        for a in held:
            if a.size:
                _put(file, np.ascontiguousarray(a).reshape(-1).view(np.uint8).data)


def _put(file: IO[bytes], data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += file.write(data[done : done + PIECE])


class File:
    """A file that is open for reading: `entries` and `text` are checked. Raises: FileError."""

    def __init__(self, path: PathLike):
        self.path = os.fspath(path)
        self._file: IO[bytes] = open(self.path, "rb", buffering=0)  # noqa: SIM115
        try:
            self.entries, self.text, self._start = self._header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def refused(self, why: str) -> FileError:
        """The error for a file that is not taken."""
        return FileError(f"{self.path} is no whole safetensors file: {why}")

    def _header(self) -> tuple[dict[str, Entry], dict[str, str], int]:
        size = os.fstat(self._file.fileno()).st_size
        length = int.from_bytes(self._file.read(8), "little")
        if size < 8:
            raise self.refused(f"it has {size} bytes")
        if length > min(size - 8, LARGEST_HEADER):
            raise self.refused(f"a header of {length} bytes in a file of {size}")
        try:
            header = json.loads(_whole(self._file, length).decode(), object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise self.refused(f"its header is not JSON: {str(error)[:80]}") from None
        if type(header) is not dict:
            raise self.refused("its header is no dict")
        text = header.pop("__metadata__", {})
        if type(text) is not dict or not all(type(value) is str for value in text.values()):
            raise self.refused("its metadata is not text by name")
        entries = {name: self._entry(name, said) for name, said in header.items()}
        here = 0
        for name, entry in sorted(entries.items(), key=lambda pair: pair[1][2:]):
            if entry.start != here:
                raise self.refused(
                    f"{name[:60]!r} begins at {entry.start}, the one before ends at {here}"
                )
            here = entry.stop
        if here != size - 8 - length:
            raise self.refused(f"its arrays end at {here} of {size - 8 - length} bytes")
        return entries, text, 8 + length

    def _entry(self, name: str, said: Any) -> Entry:
        name = name[:60]
        if type(said) is not dict or {*said} != {"dtype", "shape", "data_offsets"}:
            raise self.refused(f"{name!r} is not a dtype, a shape and offsets")
        code, shape, place = said["dtype"], said["shape"], said["data_offsets"]
        if type(code) is not str or code not in DTYPES:
            raise self.refused(f"{name!r} is of dtype {suggest(str(code)[:20], DTYPES)}")
        for what, numbers, most in (("shape", shape, 64), ("offsets", place, 2)):
            whole = type(numbers) is list and all(type(n) is int for n in numbers[: most + 1])
            if not whole or len(numbers) > most or not all(0 <= n < 2**63 for n in numbers):
                raise self.refused(f"{name!r} has {what} that is not up to {most} whole numbers")
        dtype = dtype_of(DTYPES[code]).newbyteorder("<" if sys.byteorder == "big" else "=")
        least = math.prod([max(1, n) for n in shape]) * dtype.itemsize
        size = math.prod(shape) * dtype.itemsize
        if least >= 2**63 or len(place) != 2 or place[1] - place[0] != size:
            raise self.refused(f"{name!r}, {dtype} of shape {str(shape)[:60]}, is at {place}")
        return Entry(dtype, tuple(shape), *place)

    def read(self, name: str, mapped: bool = False) -> np.ndarray:
        """An array of its own memory; where `mapped`, of the file's, copied where it is written to
        and read where it is used."""
        entry = self.entries[name]
        start, count = self._start + entry.start, math.prod(entry.shape)
        if mapped and entry.shape and count and start % entry.dtype.alignment == 0:
            a = np.memmap(self.path, entry.dtype, "c", start, entry.shape).view(np.ndarray)
        else:
            self._file.seek(start)
            a = np.empty(entry.shape, entry.dtype)
            if count:
                _fill(self._file, a.reshape(-1).view(np.uint8).data)
        if entry.dtype.kind == "b" and count and a.view(np.uint8).max() > 1:
            raise self.refused(f"{name!r} holds truth values other than 0 and 1")
        return a if sys.byteorder == "little" else a.astype(entry.dtype.newbyteorder("="))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} is there twice")
    return found


def _whole(file: IO[bytes], size: int) -> bytes:
    data = bytearray(size)
    _fill(file, memoryview(data))
    return bytes(data)


def _fill(file: IO[bytes], target: memoryview) -> None:
    done = 0
    while done < len(target):  # one call reads 2 GiB at most
        read = file.readinto(target[done:])  # type: ignore[attr-defined]
        if not read:
            raise FileError(f"{file.name} became shorter while it was read")
        done += read


def names_of(path: PathLike) -> dict[str, Entry]:
    """The arrays of a file by name, without reading them."""
    with File(path) as file:
        return file.entries


def is_npz(path: PathLike) -> bool:
    """Whether a file is a zip archive, as NumPy's .npz is."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    return False
