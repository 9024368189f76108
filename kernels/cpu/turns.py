"""What several processes need is compiled by one of them; the others wait, and load it.

The locks are of one file in the cache's folder, a byte of it for an entry. POSIX ends them with the
process that holds them, however it ends, and gives none to the children that it forks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: each process compiles for itself
    fcntl = None  # type: ignore[assignment]

FILE = "turns"
PATIENCE = 60.0  # seconds, after which a process compiles beside one that does not come to an end


def take(path: Path, patience: float | None = None) -> bool:
    """Wait until no other process makes that file, and have them wait; False where there are no
    such locks, as on some file systems or in a folder that is read-only."""
    file = _file(path.parent)
    end = time.monotonic() + (patience or PATIENCE)
    if file is None:
        return False
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(path))
            return True
        except (BlockingIOError, PermissionError):  # which of them is the system's choice
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        except OSError:
            return False


def give_back(path: Path) -> None:
    """Let the others have it."""
    if (file := _file(path.parent)) is not None:
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_UN, 1, _byte(path))


@functools.cache
def _file(folder: Path) -> int | None:
    """The file of the locks. It stays open: closing it would end them all."""
    if fcntl is None:
        return None
    try:
        return os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def _byte(path: Path) -> int:
    return int(hashlib.sha256(path.name.encode()).hexdigest()[:7], 16)
