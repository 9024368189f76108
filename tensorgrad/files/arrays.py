"""NumPy's .npz, in and out: arrays by name, never pickles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import on_host
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, FileError
from ..settings import Own, gate
from ..typing import ArrayLike, PathLike
from .disk import replacing

Arrays: TypeAlias = Annotated[Mapping[str, ArrayLike], Own("a dict of arrays by name")]


@gate
def save_npz(arrays: Arrays, path: PathLike) -> None:
    """Write arrays by name as NumPy's .npz, for programs that read that: whole or not at all.
    Others are served better by `save`, which is faster, and knows bfloat16.

    >>> save_npz({"x": tg.ones(2)}, "x.npz"); np.load("x.npz")["x"].tolist()
    [1.0, 1.0]
    """
    if not isinstance(arrays, Mapping):
        raise ArgumentError(f"save_npz takes a dict of arrays, got a {type(arrays).__name__}")
    made = {name: _host(name, a) for name, a in arrays.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **made)  # type: ignore[arg-type]


def _host(name: str, value: Any) -> np.ndarray:
    a = value._data if isinstance(value, Tensor) else value
    a = on_host(a)
    if a.dtype.kind not in "biufc":
        raise DTypeError(f"save_npz: {name} is {a.dtype}: files of NumPy hold it as a pickle or as "
                         "bytes; cast it to float32, or use tg.save")  # fmt: skip
    return a


@gate
def load_npz(path: PathLike) -> dict[str, np.ndarray]:
    """The arrays of NumPy's .npz by name. A pickle in it is refused.

    >>> np.savez("y.npz", y=[1, 2]); load_npz("y.npz")["y"].tolist()
    [1, 2]
    """
    import zlib
    from zipfile import BadZipFile

    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        if other := [name for name, a in arrays.items() if not isinstance(a, np.ndarray)]:
            raise FileError(f"{path} is an archive with other files than arrays: {other[0][:60]!r}")
        return arrays
    except FileNotFoundError:
        raise
    except (ValueError, OSError, KeyError, EOFError, BadZipFile, zlib.error,
            NotImplementedError, SyntaxError, RuntimeError, MemoryError, OverflowError,
            TypeError, AttributeError) as error:  # fmt: skip
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} is no whole .npz file of numbers: {str(error)[:100]}") from None


def _check_sizes(path: Any) -> None:
    """FileError for an archive that is said to unpack to far more than it holds."""
    import zipfile

    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
        if len({*names}) != len(names):
            raise FileError(f"{path} holds an array twice")
        unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > 2000 * size + 2**20:
            raise FileError(f"{path} says that its {size} bytes unpack to {unpacked}")
