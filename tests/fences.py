"""Arrays between pages that nobody may touch: machine code that reads or writes beyond one crashes.

`fenced()` has NumPy take all its memory from here. `fence_loops()` does so for what compiled loops
allocate, through the symbol by which their machine code asks for memory; it comes before any of it
is loaded. An array ends where a fence begins, or with `low` begins where one ends. What is not yet
written is NaN.
"""

import contextlib
import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
_place, _size = ctypes.c_void_p, ctypes.c_size_t
_free: dict[int, list[int]] = {}  # number of pages -> regions that are not used
_used: dict[int, tuple[int, int, int]] = {}  # address -> region, pages, bytes
low = False


def _map(pages):
    """That many pages, and one before and one behind them that may not be touched."""
    c = ctypes.CDLL(None)
    c.mmap.restype, c.mmap.argtypes = _place, [_place, _size, *[ctypes.c_int] * 3, ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    whole = c.mmap(None, (pages + 2) * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    assert whole not in (None, ctypes.c_void_p(-1).value), "no more memory"
    c.mprotect.argtypes = [_place, _size, ctypes.c_int]
    for fence in (whole, whole + (pages + 1) * PAGE):
        assert c.mprotect(fence, PAGE, 0) == 0, "no fence can be put up"
    return whole + PAGE


def take(size):
    pages = max(1, -(-size // PAGE))
    try:
        first = _free.setdefault(pages, []).pop()
    except IndexError:
        first = _map(pages)
    ctypes.memset(first, 0xFF, pages * PAGE)
    at = first if low else first + pages * PAGE - max(size, 1)
    _used[at] = first, pages, size
    return at


def give(at):
    if at:
        first, pages, _ = _used.pop(at)
        _free[pages].append(first)


# --- NumPy's memory (NEP 49) --------------------------------------------------------------------


def _calloc(_, count, size):
    at = take(count * size)
    ctypes.memset(at, 0, count * size)
    return at


def _realloc(_, old, size):
    at = take(size)
    if old:
        ctypes.memmove(at, old, min(size, _used[old][2]))
        give(old)
    return at


_CALLS = {
    "malloc": ((_place, _size), lambda _, size: take(size)),
    "calloc": ((_place, _size, _size), _calloc),
    "realloc": ((_place, _place, _size), _realloc),
    "free": ((_place, _place, _size), lambda _, at, size: give(at)),
}


class _Handler(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _place),
        *[
            (name, ctypes.CFUNCTYPE(None if name == "free" else _place, *kinds))
            for name, (kinds, _) in _CALLS.items()
        ],
    ]


_handler = _Handler(b"fenced", 1, None)
for (_name, _kind), (_, _call) in zip(_Handler._fields_[3:], _CALLS.values(), strict=True):
    setattr(_handler, _name, _kind(_call))
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [_place, ctypes.c_char_p, _place]
_NAME = b"mem_handler"
_capsule = _new(ctypes.addressof(_handler), _NAME, None)
_SET = 304  # PyDataMem_SetHandler's place in the table of NumPy's C API


def _set_handler(capsule):
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = _place, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(
        pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(_place)
    )
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET])(capsule)


@contextlib.contextmanager
def fenced(at_the_start):
    """All arrays that NumPy makes meanwhile are fenced; nothing may lie before them, or behind."""
    global low
    low, before = at_the_start, _set_handler(_capsule)
    try:
        yield
    finally:
        _set_handler(before)


# --- that of compiled loops ---------------------------------------------------------------------

_released = ctypes.CFUNCTYPE(None, _place)(give)
_kept = []


def fence_loops(numba):
    from llvmlite import binding
    from numba.core.registry import cpu_target
    from numba.core.runtime import _nrt_python, rtsys

    rtsys.initialize(cpu_target.target_context)
    api = ctypes.CFUNCTYPE(ctypes.POINTER(_place))(_nrt_python.c_helpers["get_api"])()
    manage = ctypes.CFUNCTYPE(_place, _place, type(_released))(api[2])  # manage_memory
    allocate = ctypes.CFUNCTYPE(_place, _size, ctypes.c_uint)(
        lambda size, align: manage(take(size), _released)
    )
    for name in ("NRT_MemInfo_alloc_aligned", "NRT_MemInfo_alloc_safe_aligned"):
        binding.add_symbol(name, ctypes.cast(allocate, _place).value)
    _kept.append(allocate)
