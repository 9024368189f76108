"""Writing to disk: a file is the old one or the new one, and a folder has one writer."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import FileError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

_REMEDIES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota of this disk is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "you have no permission to write there",
    errno.EPERM: "you have no permission to write there",
    errno.ENOENT: "there is no such folder: make it first",
    errno.EISDIR: "it is a folder: give the name of a file in it",
    errno.ENOTDIR: "a part of that path is a file, not a folder",
    errno.EFBIG: "it would be larger than a file may be there",
}


def not_written(path: Path, error: Exception) -> FileError:
    """The error for a file that could not be written, with what to do."""
    code = getattr(error, "errno", None)
    what = _REMEDIES.get(code, str(error))  # type: ignore[arg-type]
    kept = "; the file that was there is as it was" if path.is_file() else ""
    return FileError(f"{path} is not written: {what}{kept}")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name in the same folder for the block to write to; at its end that file is
    flushed to the disk and takes the place of `path`. On an error nothing is changed, and nothing
    left; what a killed process left is removed by the next one that writes there."""
    path = Path(os.path.realpath(path))  # the file that a link stands for
    temporary = path.with_name(f".{path.name}.{_writer()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        swept(path.parent, path.name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        with suppress(OSError):  # a new file has the default ones
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
        synced(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and not isinstance(error, FileError):
            raise not_written(path, error) from error
        raise


def synced(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system does that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _writer() -> str:
    return f"{platform.node()}-{os.getpid()}"


def swept(folder: Path, name: str = "*") -> None:
    """Remove what processes of this machine that are gone left half written."""
    here = f"{platform.node()}-"
    for left in folder.glob(f".{name}.*.tmp"):
        host, _, pid = left.name.removesuffix(".tmp").rpartition("-")
        if host.endswith(f".{here}"[:-1]) and pid.isdigit() and not _alive(int(pid)):
            with suppress(OSError):
                left.unlink()


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # what this process writes now has another name
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Lock:
    """The right to write to a folder, which one process has at a time: until `release`, or its end,
    however it ends. Raises: FileError that names the process that has it."""

    def __init__(self, folder: Path):
        self.path = folder / ".lock"
        self._file: IO[str] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+")  # noqa: SIM115  # held until it is released
        except OSError as error:
            raise not_written(self.path, error) from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            other = self._file.read(200).strip() or "unknown"
            self._file.close()
            raise FileError(
                f"{folder} is being written by another process ({other}): two runs need two folders"
            ) from error
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {platform.node()}")
        self._file.flush()

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None
