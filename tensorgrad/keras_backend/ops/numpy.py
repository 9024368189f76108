"""NumPy's vocabulary as Keras means it: tables by rule of dtype, and what is no plain row."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from keras.src.backend.common.backend_utils import vectorize_impl

import tensorgrad as tg
from tensorgrad.backend import is_floating

from .core import (
    Tensor,
    cast,
    common,
    convert_to_numpy,
    convert_to_tensor,
    floating,
    kind_of,
    numpy_dtype,
    together,
    untracked,
    vectorized_map,
)
from .creation import (  # noqa: F401
    _shape,
    arange,
    array,
    bartlett,
    blackman,
    copy,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    geomspace,
    hamming,
    hanning,
    identity,
    kaiser,
    linspace,
    logspace,
    meshgrid,
    ones,
    ones_like,
    tri,
    zeros,
    zeros_like,
)
from .searching import (  # noqa: F401
    bincount,
    histogram,
    nonzero,
    searchsorted,
    select,
    unique,
    unravel_index,
)
from .table import (
    SAME,
    axes,
    binary,
    compared,
    counted,
    define,
    floats,
    kept,
    made,
    promoted,
    promoted_floats,
    unary,
    whole,
)

_HERE = globals()


def _table(rows: str, arrays: int, rule: Any, out: Any = None) -> None:
    define(_HERE, rows, lambda f: made(f, arrays, rule, out))


# --- the tables ---------------------------------------------------------------------------------

define(
    _HERE,
    """arccos arccosh arcsin arcsinh arctan arctanh cbrt cos cosh deg2rad exp exp2 expm1 fabs log
    log10 log1p log2 rad2deg reciprocal sin sinc sinh sqrt tan tanh ceil floor i0 angle corrcoef""",
    lambda f: unary(f, floating),
)
define(_HERE, "slogdet", lambda f: unary(f, floating), tg.linalg)
define(
    _HERE,
    """negative sign real imag conjugate conj absolute=abs isfinite isinf isnan isneginf isposinf
    isreal logical_not signbit""",
    lambda f: unary(f, convert_to_tensor),
)
define(
    _HERE,
    """add subtract maximum minimum mod floor_divide fmax fmin fmod bitwise_and bitwise_or
    bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm power""",
    lambda f: binary(f, promoted),
)
define(
    _HERE,
    "divide true_divide=divide arctan2 hypot logaddexp logaddexp2 nextafter heaviside",
    lambda f: binary(f, promoted_floats),
)
define(
    _HERE,
    "equal not_equal greater greater_equal less less_equal",
    lambda f: binary(f, compared),
)
define(_HERE, "logical_and logical_or logical_xor", lambda f: made(f, 2, kept))

_table(
    """broadcast_to diag diagflat diagonal diff expand_dims flip fliplr flipud moveaxis repeat rot90
    squeeze swapaxes tile transpose tril triu bitwise_invert sort round all any ptp nanmax
    nanmin""",
    1,
    kept,
)
_table("split array_split hsplit vsplit dsplit", 1, kept, list)
_table("mean std var median nanmedian nanmean nanstd nanvar", 1, floats)
_table("sum trace nansum nanprod", 1, lambda x: [whole(x)], SAME)
_table("argmax argmin argpartition count_nonzero", 1, kept, "int32")
_table("digitize", 2, promoted, "int32")
_table("take_along_axis", 2, kept)
_table("correlate", 2, promoted_floats)
_table("dot inner kron outer vdot tensordot append isclose allclose isin", 2, promoted)
_table("concatenate stack hstack vstack dstack", -1, promoted)

abs = _HERE["absolute"]
bitwise_not = _HERE["bitwise_invert"]


def _extreme(name: str) -> Any:
    def call(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Tensor:
        x, function = convert_to_tensor(x), getattr(tg, name)
        return cast(function(x, axes(axis), keepdims=keepdims, initial=initial), x.dtype)

    return call


max, min = amax, amin = _extreme("max"), _extreme("min")


def multiply(x1: Any, x2: Any) -> Tensor:
    """x1 * x2."""
    if type(x1) is Tensor and type(x2) is Tensor and x1.dtype is x2.dtype:
        return tg.multiply(x1, x2)
    return tg.multiply(*promoted(x1, x2))


def square(x: Any) -> Tensor:
    """x * x."""
    return tg.square(counted(x))


def matmul(x1: Any, x2: Any) -> Tensor:
    """The product of matrices; of bytes in 32 bits."""
    if type(x1) is Tensor and type(x2) is Tensor and x1.dtype is x2.dtype is np.dtype("float32"):
        return tg.matmul(x1, x2)
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if x1.dtype == x2.dtype == np.int8:
        return tg.matmul(x1.astype("int32"), x2.astype("int32"))
    return tg.matmul(*together(x1, x2))


def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Tensor:
    """The product of vectors of three numbers; of two: the third is 0. Of two twice: its third."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = promoted(x1, x2)
    a, b = tg.moveaxis(a, axisa, -1), tg.moveaxis(b, axisb, -1)
    flat = a.shape[-1] == b.shape[-1] == 2
    a, b = (tg.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, 1),)) if x.shape[-1] == 2 else x
            for x in (a, b))  # fmt: skip
    y = tg.cross(a, b)
    return y[..., 2] if flat else tg.moveaxis(y, -1, axisc)


def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Tensor:
    """Einstein's summation; of bytes in 32 bits."""
    xs = [convert_to_tensor(x) for x in operands]
    if {x.dtype.name for x in xs} == {"int8"}:
        xs = [x.astype("int32") for x in xs]
    return tg.einsum(subscripts, *[convert_to_tensor(x) for x in together(*xs)])


def divide_no_nan(x1: Any, x2: Any) -> Tensor:
    """x1 / x2, and 0 where x2 is 0, with gradients of 0 there."""
    x1, x2 = (convert_to_tensor(x) for x in promoted_floats(x1, x2))
    zero = x2 == 0
    return tg.where(zero, tg.zeros_like(x2), x1 / tg.where(zero, tg.ones_like(x2), x2))


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The product."""
    x = whole(x)
    return cast(tg.prod(x, axes(axis), keepdims=keepdims), dtype or x.dtype)


def average(x: Any, axis: Any = None, weights: Any = None) -> Tensor:
    """The mean, weighted."""
    if weights is None:
        return tg.mean(promoted_floats(convert_to_tensor(x))[0], axes(axis))
    x, weights = promoted_floats(convert_to_tensor(x), convert_to_tensor(weights))
    y: Any = tg.average(x, axes(axis), weights)
    return y


def argsort(x: Any, axis: Any = -1) -> Tensor:
    """Places in rising order; a number by itself is one of one."""
    x = convert_to_tensor(x)
    return cast(tg.argsort(x if x.ndim else x.reshape(1), axis=axes(axis)), "int32")


def nanargmax(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Where the largest number is; -1 where all are NaN."""
    return _nanarg(x, axis, keepdims, "argmax", -np.inf)


def nanargmin(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Where the smallest number is; -1 where all are NaN."""
    return _nanarg(x, axis, keepdims, "argmin", np.inf)


def _nanarg(x: Any, axis: Any, keepdims: bool, name: str, worst: float) -> Tensor:
    x, function = convert_to_tensor(x), _HERE[name]
    if not is_floating(x.dtype):
        return function(x, axis=axis, keepdims=keepdims)
    nan = tg.isnan(x)
    found = function(tg.where(nan, worst, x), axis=axis, keepdims=keepdims)
    none = tg.all(nan, axes(axis), keepdims=keepdims)
    return tg.where(none, convert_to_tensor(-1, "int32"), found)


def _scan(name: str) -> Any:
    def call(x: Any, axis: Any = None, dtype: Any = None) -> Tensor:
        x = counted(x)
        dtype = x.dtype if dtype is None else dtype
        return cast(getattr(tg, name)(cast(x, dtype), axes(axis)), dtype)

    return call


cumsum, cumprod, nancumsum, nancumprod = map(
    _scan, ("cumsum", "cumprod", "nancumsum", "nancumprod")
)


# --- quantiles ----------------------------------------------------------------------------------


def _quantile(name: str, scale: float) -> Any:
    def call(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False):
        x, function = floating(x), getattr(tg, name)
        q = np.asarray(convert_to_numpy(q), "float64") * scale
        y = function(x, q, axis=axes(axis), method=method, keepdims=keepdims)
        return cast(y, x.dtype)

    return call


quantile, percentile = _quantile("quantile", 1.0), _quantile("quantile", 0.01)
nanquantile, nanpercentile = _quantile("nanquantile", 1.0), _quantile("nanquantile", 0.01)


# --- shapes and places --------------------------------------------------------------------------


def reshape(x: Any, newshape: Any) -> Tensor:
    """x in another shape."""
    return tg.reshape(convert_to_tensor(x), _shape(newshape))


def ravel(x: Any) -> Tensor:
    """All numbers in a row."""
    return tg.reshape(convert_to_tensor(x), (-1,))


def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """x moved round."""
    return tg.roll(convert_to_tensor(x), axes(shift), axes(axis))


def pad(x: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = None) -> Tensor:
    """x with a border."""
    x = convert_to_tensor(x)
    width = np.broadcast_to(np.asarray(convert_to_numpy(pad_width)), (x.ndim, 2)).tolist()
    width = tuple(tuple(w) for w in width)
    if constant_values is None:
        return tg.pad(x, width, mode)
    if mode != "constant":
        raise ValueError(
            "Argument `constant_values` can only be provided when `mode == 'constant'`. "
            f"Received: mode={mode}"
        )
    if not isinstance(constant_values, (int, float, bool)):
        constant_values = convert_to_tensor(constant_values).item()
    return tg.pad(x, width, mode, constant_values=constant_values)


def take(x: Any, indices: Any, axis: Any = None) -> Tensor:
    """Parts of x; negative indices count from the end."""
    x, indices = convert_to_tensor(x), convert_to_tensor(indices)
    if indices.dtype.kind not in "iu":
        indices = indices.astype("int32")
    if axis == 0 and x.ndim == 2 and is_floating(x.dtype) and indices.ndim > 0:
        ids = tg.where(indices < 0, indices + x.shape[0], indices)
        return tg.embedding(x, ids)
    return tg.take(x, indices, axes(axis))


def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, else x2; without them, where it does."""
    condition = convert_to_tensor(condition)
    condition = condition if condition.dtype.kind == "b" else condition.astype("bool")
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("`x1` and `x2` either both should be `None` or both should have value.")
    x1, x2 = together(x1, x2)
    return tg.where(condition, x1, x2)


def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """x within bounds."""
    x = counted(x)
    low, high = (a if a is None or type(a) in (int, float) else convert_to_tensor(a)
                 for a in (x_min, x_max))  # fmt: skip
    kinds = [kind_of(a) for a in (low, high) if a is not None]
    if x.dtype.kind in "iu" and builtins.any(k is float or is_floating(np.dtype(k)) for k in kinds):
        x = cast(x, common(x.dtype, *kinds))
    return tg.clip(x, low, high)


def trunc(x: Any) -> Tensor:
    """x towards 0."""
    x = convert_to_tensor(x)
    return tg.trunc(x) if is_floating(x.dtype) else x


def ldexp(x1: Any, x2: Any) -> Tensor:
    """x1 * 2 ** x2."""
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if x2.dtype.kind not in "biu":
        raise TypeError(
            f"ldexp exponent must be an integer type. Received: x2 dtype={x2.dtype.name}"
        )
    x1 = cast(x1, common(x1.dtype, x2.dtype, float))
    return x1 * tg.exp2(x2.astype(x1.dtype))


def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """x with numbers for NaN and infinities."""
    x = convert_to_tensor(x)
    if not is_floating(x.dtype):
        return x
    return tg.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of numbers along an axis."""
    x = None if x is None else convert_to_tensor(x)
    return tg.trapezoid(floating(y), x, dx, axis)


def vander(x: Any, N: Any = None, increasing: bool = False) -> Tensor:
    """Powers of x."""
    x = counted(x)
    n = x.shape[0] if N is None else int(N)
    powers = [tg.power(x, i) for i in range(n)]
    order = powers if increasing else powers[::-1]
    return tg.stack(order, axis=1) if order else tg.zeros((x.shape[0], 0), dtype=x.dtype)


def view(x: Any, dtype: Any = None) -> Tensor:
    """The same bytes as numbers of another dtype, without a gradient."""
    untracked("view", x)
    x = convert_to_tensor(x)
    return x if dtype is None else Tensor(x._data.view(numpy_dtype(dtype)))


def vectorize(pyfunc: Any, *, excluded: Any = None, signature: Any = None) -> Any:
    """A function of numbers, or of parts of arrays, for arrays."""

    def along(function: Any, in_axes: Any) -> Any:
        def call(*args: Any) -> Any:
            on = [i for i, axis in enumerate(in_axes) if axis is not None]

            def one(parts: Any) -> Any:
                given = list(args)
                for i, part in zip(on, parts, strict=True):
                    given[i] = part
                return function(*given)

            return vectorized_map(one, [tg.moveaxis(convert_to_tensor(args[i]), in_axes[i], 0)
                                        for i in on])  # fmt: skip

        return call

    return vectorize_impl(pyfunc, along, excluded=excluded, signature=signature)


def ndim(x: Any) -> int:
    """The number of axes."""
    return convert_to_tensor(x).ndim


def size(x: Any) -> int:
    """How many numbers there are."""
    return convert_to_tensor(x).size
