"""Where machine code is kept between processes, and what of it is loaded.

To load an entry is to run it, and it is a pickle besides. So a folder is used only if it is this
user's and nobody else can write to it or move it, a file only if this user wrote it and its digest
is right. What is not so is compiled again: the worst of any damage is the time that takes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import linecache
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import turns

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_UNIX = hasattr(os, "geteuid")  # elsewhere a user's folders are closed to others by their ACLs
_DIGEST = hashlib.sha256().digest_size
said: list[str] = []  # the warnings of this process


class Kept:
    """The cache of one compiled function, with the methods that Numba calls. Numba's own reads an
    index, a pickle, from wherever it finds one, and runs object files with bits flipped.

    An entry is one file: the digest of its name and content, and the pickled machine code. As a
    context manager it ends the turn of a process that has not come to keep what it compiled.
    """

    def __init__(self, function: Callable, name: str):
        self.name = plain(f"{function.__module__.rpartition('.')[2]}.{name}")
        self.source = _source(function.__code__.co_filename)
        self.turn: Path | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: object) -> None:
        if self.turn is not None:
            turns.give_back(self.turn)
        self.turn = None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """What is kept; if nothing is, not before nobody else compiles it."""
        context.refresh()
        path = self._path(signature, context.codegen())
        if path is None:
            return None
        found = _rebuilt(context, path)
        if found is None and turns.take(path):
            self.turn = path
            found = _rebuilt(context, path)
            if found is not None:
                self.__exit__()
        return found

    def save_overload(self, signature: Any, result: Any) -> None:
        from numba.core.serialize import dumps

        path = self._path(signature, result.library.codegen)
        with self:
            if path is not None and not result.library.has_dynamic_globals:
                try:
                    _write(path, dumps(result._reduce()))
                except OSError as error:
                    warn_once(f"compiled kernels cannot be kept in {path.parent}: {error}")

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        """The file for arguments of these types on this processor."""
        place = folder()
        if place is None or self.source is None:
            return None
        facts = repr((self.name, self.source, str(signature), codegen.magic_tuple()))
        return place / f"{self.name}.{hashlib.sha256(facts.encode()).hexdigest()[:16]}.code"


def _rebuilt(context: Any, path: Path) -> Any:
    """The function of an entry, or None."""
    from numba.core.compiler import CompileResult

    if (code := _read(path)) is None:
        return None
    try:
        return CompileResult._rebuild(context, *pickle.loads(code))
    except Exception:  # ours and intact, yet of no use here: compiled again
        _drop(path)
        return None


def has(name: str) -> bool:
    """Whether there is an entry of that function, for arguments of any types."""
    place = folder()
    return place is not None and any(place.glob(f"*.{plain(name)}.*.code"))


def describe() -> str:
    """Where machine code is kept, for `python -m tensorgrad doctor`."""
    place = folder()
    if place is None:
        return "none: each process compiles anew"
    return f"{place}, {shutil.disk_usage(place).free >> 20} MiB free"


def plain(name: str) -> str:
    """A function's name as part of a file's."""
    return name.replace("<", "").replace(">", "")


@functools.cache
def _source(file: str) -> str | None:
    """The digest of a source file, or of generated lines; code that is in neither is not kept."""
    try:
        if file in linecache.cache and file.startswith("<"):
            return hashlib.sha256("".join(linecache.getlines(file)).encode()).hexdigest()
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


# --- files --------------------------------------------------------------------------------------


def _seal(path: Path, code: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + code).digest()


def _write(path: Path, code: bytes) -> None:
    """Write an entry, whole or not at all, that others can neither read nor write."""
    handle, partial = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_seal(path, code) + code)
        os.replace(partial, path)
    except BaseException:
        _drop(Path(partial))
        raise


def _read(path: Path) -> bytes | None:
    """The code of an entry. One that is damaged, or that someone else could write, is deleted."""
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | _NO_LINKS)) as file:
            facts, content = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    except OSError:  # a link, or a disk at fault
        _drop(path)
        return None
    ours = not _UNIX or (facts.st_uid == os.geteuid() and not facts.st_mode & 0o022)
    if ours and content[:_DIGEST] == _seal(path, content[_DIGEST:]):
        return content[_DIGEST:]
    _drop(path)
    return None


def _drop(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


# --- the folder ---------------------------------------------------------------------------------


@functools.cache
def folder() -> Path | None:
    """The folder for machine code: in NUMBA_CACHE_DIR if set, beside the kernels, in the user's
    cache, or a temporary one; None where nothing can be written. Its name changes with the kernels'
    sources, Python, Numba and the processor."""
    name, refused, place = f"tensorgrad-{_fingerprint()}", [], None
    for base in _bases():
        try:
            _make(base / name)
            reason = why_unsafe(base / name)
            if reason is None:
                with tempfile.TemporaryFile(dir=base / name):  # dates the folder, too
                    place = base / name
                _remove_unused(base)
                break
            if os.access(base, os.W_OK):  # elsewhere we would have written nothing anyway
                refused.append(reason)
        except OSError:
            continue
    lasting = place is not None
    place = place or _temporary()
    if refused or not lasting:
        why = refused[0] if refused else "no folder for them can be written (see NUMBA_CACHE_DIR)"
        where = f"kept in {place}" if lasting else "compiled anew by each process"
        warn_once(f"{why}: compiled kernels are {where}")
    return place


def why_unsafe(place: Path) -> str | None:
    """Why someone else could put files into a folder, or put another in its place; or None.

    It must be the user's, each folder above it the user's or root's, and none writable by others,
    except above it those with the sticky bit, where each can rename only what is theirs.
    """
    if not _UNIX:
        return None
    me = os.geteuid()
    real = Path(os.path.realpath(place.parent), place.name)
    for part in dict.fromkeys([*reversed(place.parents), *reversed(real.parents), real]):
        facts = part.lstat()
        if facts.st_uid not in ((me,) if part == real else (me, 0)):
            return f"{part} belongs to another user"
        if stat.S_ISLNK(facts.st_mode) and part != real:
            continue  # where it leads to is looked at as well
        if not stat.S_ISDIR(facts.st_mode):
            return f"{part} is not a folder"
        others = facts.st_mode & stat.S_IWGRP and not _alone(part, facts.st_gid)
        others = others or facts.st_mode & stat.S_IWOTH
        if others and (part == real or not facts.st_mode & stat.S_ISVTX):
            return f"{part} can be written by other users"
    return None


def _alone(part: Path, gid: int) -> bool:
    """Whether a group is this user's own, as most Linux systems give each user one. (Group 0 is
    not: containers give it to everyone.)"""
    try:
        import grp
        import pwd

        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except (ImportError, KeyError):
        return False
    own = gid != 0 and gid == user.pw_gid and group.gr_name == user.pw_name
    return own and set(group.gr_mem) <= {user.pw_name} and not _has_acl(part)


def _has_acl(part: Path) -> bool:
    """Whether more users than the mode shows may have been let in (Linux)."""
    try:
        return "system.posix_acl_access" in os.listxattr(part)
    except (AttributeError, OSError):  # no such thing on this system, or file system
        return False


def _make(place: Path) -> None:
    """Make a folder that is closed to others, and those above it, which others may read."""
    for part in reversed([p for p in place.parents if not p.exists()]):
        part.mkdir(mode=0o755, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)


def _temporary() -> Path | None:
    try:
        place = Path(tempfile.mkdtemp(prefix="tensorgrad-"))
    except OSError:
        return None
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in forked children
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    return place if why_unsafe(place) is None else None


def _remove_unused(base: Path, days: int = 30) -> None:
    """Delete the folders of other versions that no process has used for some time."""
    for old in base.glob("tensorgrad-*"):
        with contextlib.suppress(OSError):  # another process may do the same
            if time.time() - old.stat().st_mtime > days * 86400:
                shutil.rmtree(old)


def _bases() -> list[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    bases = [Path(given).absolute()] if given else [Path(__file__).parent / "__pycache__"]
    if sys.platform == "win32":
        user = os.environ.get("LOCALAPPDATA", "")
    else:
        user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # without a home "~" stays as it is: a folder of that name would be the working directory's
    return [*bases, Path(user, "tensorgrad")] if os.path.isabs(user) else bases


def _fingerprint() -> str:
    """Of all that machine code depends on and a function's own source file does not show."""
    import llvmlite
    import numba
    from llvmlite import binding

    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    features = binding.get_host_cpu_features().flatten()
    numpys = (np.__version__, np.__file__)  # whose BLAS the code may call
    versions = (sys.version, numba.__version__, llvmlite.__version__)
    for fact in (*numpys, *versions, binding.get_host_cpu_name(), features):
        digest.update(os.fsencode(fact) + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def warn_once(message: str) -> None:
    """Warn of that once in a process, and have the doctor say it."""
    message = message.replace("\n", " ")
    said.append(message)
    warnings.warn(f"tensorgrad: {message}", RuntimeWarning, stacklevel=2)
