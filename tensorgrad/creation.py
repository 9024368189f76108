"""Creating tensors, from data, filled or random, and the state of the random generators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from . import backend as backends
from .backend import BY_TYPE, DEFAULT_DTYPE, NUMBERS, is_floating, namespace
from .core import OPS, Leaf, Tensor
from .errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    ShapeError,
    TensorgradError,
    failed,
    tried_twice,
)
from .randomness import host_generator
from .settings import Several, Truth, Whole, gate, take
from .switches import switches
from .trees import leaves
from .typing import ArrayLike, DType, Element, Natural, Number, Shape


def asarray(
    value: ArrayLike,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    copy: bool | None = None,
) -> Tensor:
    """A Tensor of `value`, sharing its memory where dtype and backend allow it; `tensor` copies.

    Args:
        value: a number, an array, nested lists, a data frame: whatever NumPy converts to an array.
            A Tensor of that dtype and backend is returned itself; a list of Tensors is stacked, and
        gradients flow back.
        dtype: of the result; None keeps that of arrays, and is float32 for Python floats.
        backend: of the result; None is the default one, and of an array of a GPU its own.
        device: the same, under the array-API standard's name, as in all functions of this file.
        copy: True for memory of its own, False for an error where there would have to be a copy.
    Raises: DTypeError for values that are not numeric, ArgumentError where `copy` forbids one.

    >>> asarray([1.0, 2.0]).dtype
    dtype('float32')
    """
    backend = device if backend is None else backend
    if copy is not None:
        return _copied(value, dtype, backend, take("asarray", "copy", Truth(), copy))
    if isinstance(value, Tensor):
        here = backend is None or backend == value.backend
        if here and (dtype is None or backends.dtype_of(dtype) == value.dtype):
            return value
        if value.node is not None and switches.recording:  # the gradient flows back
            cast = value if dtype is None else value.astype(dtype)
            return cast if backend is None else cast.to(backend)
        value = value._data
    elif isinstance(value, (list, tuple)):
        if switches.recording and tracked(value):
            joined = OPS["stack"](*[asarray(v) for v in value])
            joined = joined if dtype is None else joined.astype(dtype)
            return joined if backend is None else joined.to(backend)
        value = _untensor(value)
    if backend is None and isinstance(value, (np.ndarray, np.generic)):
        backend = backends.default().name
    a = backends.make(value, dtype, backend)
    shared = a is value
    return Tensor(a.view() if shared else a)  # a view, by which `+=` knows that memory is shared


def _copied(value: Any, dtype: DType, backend: str | None, copy: bool) -> Tensor:
    """`asarray` with a copy for certain, or with none."""
    made, given = asarray(value, dtype, backend), getattr(value, "_data", value)
    shared = type(given) is type(made._data) and (
        made is value or not given.size or namespace(given).may_share_memory(given, made._data)
    )
    if not copy and not shared:
        raise ArgumentError(f"asarray(copy=False): a {type(value).__name__} needs a copy here")
    if not (copy and shared):
        return made
    return Tensor(made._data.copy()) if made.node is None else +made


def owned(value: Any, backend: str | None = None) -> Tensor:
    """`asarray`, but while ops are recorded with a copy of the caller's memory: an op may save it,
    and the caller may write to it before backward."""
    if isinstance(value, Tensor):
        return value
    made = asarray(value, None, backend)
    a = made._data
    if not switches.recording or isinstance(value, (list, tuple, *NUMBERS, np.generic)):
        return made
    apart = isinstance(value, np.ndarray) and not (
        type(a) is np.ndarray and np.may_share_memory(a, value)
    )
    return made if apart else Tensor(a.copy())


def beside(value: Any, x: Tensor) -> Tensor:
    """A Tensor of `value`, put on x's backend unless it is an array of a GPU, which stays there.
    Python's floats have x's precision where that is double."""
    home = x.backend if backends.is_host(type(value)) else None
    plain = isinstance(value, (float, complex, list, tuple)) and x.dtype.char in "dD"
    if plain and not any(isinstance(leaf, Tensor) for leaf in leaves(value)):
        value = backends.make(value, None, home, backends.floats_beside(x.dtype))
    return owned(value, home)


@gate
def tensor(
    value: ArrayLike,
    dtype: DType = None,
    *,
    requires_grad: bool = False,
    backend: str | None = None,
) -> Tensor:
    """A new Tensor that owns a copy of `value`; with `requires_grad`, a leaf of the tape.

    Args: those of `asarray`.
    Raises: DTypeError for values that are not numeric, and for integers with `requires_grad`;
        GraphError for a list of tensors that require gradients, or the result of a recorded op,
        which a copy would cut from the tape.

    >>> tensor([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if isinstance(value, (list, tuple)) and switches.recording and tracked(value):
        raise GraphError(
            "tensor() copies data, which would cut the gradients of the tensors in the list: "
            "tg.stack(list) keeps them; .detach() the tensors if they are not wanted"
        )
    check_off_tape(value, "tensor()")
    made = asarray(value, dtype, backend)
    made = Tensor(made._data.copy())
    return track(made) if requires_grad else made


def check_off_tape(value: Any, what: str) -> None:
    """GraphError for the result of an op, whose gradient a copy of its numbers would lose."""
    if not isinstance(value, Tensor) or value.node is None or isinstance(value.node, Leaf):
        return
    if switches.recording:
        raise GraphError(
            f"{what} copies numbers, and this tensor is the result of an op: its gradient would be "
            "lost. +x is a copy that keeps it, x.detach().copy() one without"
        )


def track(t: Tensor) -> Tensor:
    """Make an untracked floating tensor a leaf, in place."""
    if not is_floating(t._data.dtype):
        raise DTypeError(
            f"requires_grad needs floating numbers, this tensor holds {t._data.dtype}; "
            "cast it with .astype('float32')"
        )
    if t.node is None:
        t.node = Leaf(t)
    return t


_MOST_AXES = 64  # of NumPy's arrays


def tracked(value: Any, depth: int = 0) -> bool:
    """Whether a Tensor in these nested lists requires gradients."""
    if isinstance(value, (list, tuple)):
        return any(tracked(v, depth + 1) for v in _at_depth(value, depth))
    return isinstance(value, Tensor) and value.node is not None


def _untensor(value: Any, depth: int = 0) -> Any:
    """Nested lists in which Tensors are replaced by their data on the host."""
    if isinstance(value, Tensor):
        return BY_TYPE[type(value._data)].to_host(value._data)
    if not isinstance(value, (list, tuple)):
        return value
    return [_untensor(v, depth + 1) for v in _at_depth(value, depth)]


def _at_depth(value: Any, depth: int) -> Any:
    if depth == _MOST_AXES:
        raise ShapeError(
            f"lists that are nested more than {depth} deep: no array has as many axes (or a list "
            "is in itself)"
        )
    return value


def called(name: str, make: Callable, *args: Any, **options: Any) -> Any:
    """make(*args, **options) of the array library, its errors translated to ours."""
    try:
        return tried_twice(make)(*args, **options)
    except TensorgradError:
        raise
    except (MemoryError, RuntimeError) as error:
        if (ours := failed(f"{name}{args}", error)) is error:
            raise
        raise ours from error
    except (ValueError, OverflowError, IndexError) as error:
        raise ShapeError(f"{name}{args}: {error}") from None
    except ZeroDivisionError:  # NumPy's word for it
        raise ArgumentError(f"{name}{args}: the step must not be 0") from None
    except (TypeError, AttributeError) as error:
        raise DTypeError(f"{name}{args}: {error}") from None


def _filled(name: str, shape: Any, value: Any, dtype: Any, backend: Any, leaf: bool) -> Tensor:
    home = backends.default() if backend is None else backends.get(backend)
    wanted = backends.dtype_of(dtype)
    made = called(name, lambda shape: home.xp.full(shape, value, dtype=wanted), shape)
    return track(Tensor(made)) if leaf else Tensor(made)


@gate
def zeros(
    shape: Shape,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros; `shape` is an int or a tuple of ints. `dtype` None is float32.

    >>> zeros((2, 3)).shape
    (2, 3)
    """
    return _filled("zeros", shape, 0, dtype, backend or device, requires_grad)


@gate
def empty(
    shape: Shape,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of arbitrary numbers, to be assigned to; `dtype` None is float32.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    home = backends.get(backend or device or _home())
    wanted = backends.dtype_of(dtype)
    made = Tensor(called("empty", lambda shape: home.xp.empty(shape, dtype=wanted), shape))
    return track(made) if requires_grad else made


@gate
def ones(
    shape: Shape,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones; `shape` is an int or a tuple of ints. `dtype` None is float32.

    >>> ones(2).tolist()
    [1.0, 1.0]
    """
    return _filled("ones", shape, 1, dtype, backend or device, requires_grad)


@gate
def full(
    shape: Shape,
    fill_value: Element,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor filled with a number. `dtype` None is that of the number: int64, bool, float32 or
    complex64.

    >>> full(2, 7).dtype, full(2, 0.5).dtype
    (dtype('int64'), dtype('float32'))
    """
    if dtype is None:
        dtype = backends.make(fill_value).dtype if np.ndim(fill_value) == 0 else None
    return _filled("full", shape, fill_value, dtype, backend or device, requires_grad)


@gate
def zeros_like(x: ArrayLike, dtype: DType = None, *, device: str | None = None) -> Tensor:
    """Zeros of the shape, dtype and backend of x, unless another dtype is given.

    >>> zeros_like([1, 2]).dtype
    dtype('int64')
    """
    return full_like(x, 0, dtype, device=device)


@gate
def ones_like(x: ArrayLike, dtype: DType = None, *, device: str | None = None) -> Tensor:
    """Ones of the shape, dtype and backend of x, unless another dtype is given.

    >>> ones_like([0.5, 2.0]).tolist()
    [1.0, 1.0]
    """
    return full_like(x, 1, dtype, device=device)


@gate
def empty_like(x: ArrayLike, dtype: DType = None, *, device: str | None = None) -> Tensor:
    """Arbitrary numbers, of the shape, dtype and backend of x, unless others are given.

    >>> empty_like([1.0, 2.0]).shape
    (2,)
    """
    x = asarray(x)
    return empty(x.shape, x.dtype if dtype is None else dtype, device or x.backend)


@gate
def full_like(
    x: ArrayLike, fill_value: Element, dtype: DType = None, *, device: str | None = None
) -> Tensor:
    """A tensor filled with a number, of the shape, dtype and backend of x, unless others are given.

    >>> full_like([1.0, 2.0], 7.0).tolist()
    [7.0, 7.0]
    """
    x = asarray(x).detach()
    if dtype is not None or device is not None:
        wanted = x.dtype if dtype is None else dtype
        return _filled("full_like", x.shape, fill_value, wanted, device or x.backend, False)
    return OPS["full_like"](x, value=fill_value)


@gate
def arange(
    start: Number,
    stop: Number | None = None,
    step: Number = 1,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
) -> Tensor:
    """start, start + step, ... up to but excluding `stop`; with one argument, that is `stop` and
    `start` is 0. int64 for integer arguments, else float32, unless `dtype` is given.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    if stop is None:
        start, stop = 0, start
    numbers = called("arange", np.arange, start, stop, step)
    kind = "float32" if numbers.dtype.kind == "f" else "int64"
    return asarray(numbers, kind if dtype is None else dtype, backend or device or _home())


@gate
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: Natural = 50,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` evenly spaced values from `start` to `stop`, which is the last unless `endpoint` is
    False. `dtype` None is float32, or that of ends that are tensors, to which gradients flow; of
    ends of a shape the values stand along a new first axis.

    >>> linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        ends = [x if isinstance(x, Tensor) else np.asarray(x) for x in (start, stop)]
        steps: Any = np.arange(num).reshape((num,) + (1,) * max(x.ndim for x in ends))
        steps = steps / max(num - endpoint, 1)
        if not any(backends.is_floating(x.dtype) for x in ends):
            steps = steps.astype(DEFAULT_DTYPE)
        y = asarray((1 - steps) * ends[0] + steps * ends[1])
        return y if dtype is None else y.astype(dtype)
    numbers = called("linspace", np.linspace, start, stop, num, endpoint=endpoint)
    wanted = backends.fitting(DEFAULT_DTYPE, numbers.dtype) if dtype is None else dtype
    return asarray(numbers, wanted, backend or device or _home())


@gate
def eye(
    n_rows: Natural,
    n_cols: Natural | None = None,
    dtype: DType = None,
    backend: str | None = None,
    *,
    k: Annotated[int, Whole(-math.inf, math.inf)] = 0,
    device: str | None = None,
) -> Tensor:
    """Ones on a diagonal, the main one or the k-th above it, and zeros elsewhere: the identity
    matrix. It is square unless `n_cols` is given. `dtype` None is float32.

    >>> eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    made = called("eye", np.eye, n_rows, n_cols, k, dtype=backends.dtype_of(dtype))
    return asarray(made, None, backend or device or _home())


def _home() -> str:
    return backends.default().name


def from_dlpack(x: Any, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor that shares the memory of an array with the DLPack protocol, on the CPU or a GPU,
    unless it is to be copied, or moved to another backend.

    >>> a = np.ones(2); t = from_dlpack(a); a[0] = 5.0; t.tolist()
    [5.0, 1.0]
    """
    kind, _ = called("from_dlpack", lambda x: x.__dlpack_device__(), x)
    home = backends.get("numpy" if kind == 1 else "cupy")
    return asarray(Tensor(home.xp.from_dlpack(x)), None, device, copy=copy)


# --- random numbers -----------------------------------------------------------------------------


@gate
def rand(
    *shape: Shape, dtype: DType = None, backend: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of uniform random numbers in [0, 1), of shape `rand(2, 3)` or `rand((2, 3))`;
    `rand()` is a scalar. `dtype` None is float32.

    >>> rand(2, 3).shape
    (2, 3)
    """
    drawn = called("rand", host_generator().random, _sizes("rand", shape))
    return _drawn("rand", drawn, dtype, backend, requires_grad)


@gate
def randn(
    *shape: Shape, dtype: DType = None, backend: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of standard normal random numbers, of shape `randn(2, 3)` or `randn((2, 3))`;
    `randn()` is a scalar. `dtype` None is float32.

    >>> randn(2, 3).shape
    (2, 3)
    """
    drawn = called("randn", host_generator().standard_normal, _sizes("randn", shape))
    return _drawn("randn", drawn, dtype, backend, requires_grad)


def _drawn(name: str, numbers: Any, dtype: DType, backend: str | None, leaf: bool) -> Tensor:
    wanted = backends.dtype_of(dtype)
    if not is_floating(wanted) or wanted.kind == "c":
        raise DTypeError(f"{name} draws real numbers with fractions, which are not {wanted}")
    made = asarray(np.asarray(numbers).astype(wanted), None, backend or _home())
    return track(made) if leaf else made


def _sizes(name: str, shape: tuple) -> tuple[int, ...]:
    return take(
        name, "shape", Several(Whole(), always=True), shape[0] if len(shape) == 1 else shape
    )
