"""What Numba's TBB pool prints from C whenever a process forks beside other threads, kept back.

It warns of parallel loops in the child, which we run none of, and Python cannot catch it. So while
the process forks its output goes to memory, and what is not that warning is written afterwards.
"""

from __future__ import annotations

import ctypes
import os
import re

_WARNINGS = re.compile(
    rb"Unable to join threads to shut down before fork\(\)[^\n]*\n+"
    rb"|Numba: Attempted to fork from a non-main thread[^\n]*\n"
)
_muted: list[tuple[int, int, int]] = []  # (stream, what it was, the memory it goes to)


def mute() -> None:
    """Have standard output and error go to memory, where the system has such files."""
    if not hasattr(os, "memfd_create"):
        return
    _flush()
    for stream in (1, 2):
        try:
            kept, memory = os.dup(stream), os.memfd_create("tensorgrad")
        except OSError:  # closed, as in a daemon
            continue
        os.dup2(memory, stream)
        _muted.append((stream, kept, memory))


def unmute() -> None:
    """Undo `mute`, and write what else was printed."""
    if _muted:
        _flush()
    while _muted:
        stream, kept, memory = _muted.pop()
        os.dup2(kept, stream)
        os.close(kept)
        text = os.pread(memory, 1 << 20, 0)
        os.close(memory)
        if rest := _WARNINGS.sub(b"", text):
            os.write(stream, rest)


def _flush() -> None:
    """Empty C's buffers, which lie under the streams."""
    ctypes.CDLL(None).fflush(None)
