"""`xp`: the part of the module `cupy` that NumPy can play, with CuPy's names and CuPy's keywords.

What exists is read from `cupy_names.json`, which `record_cupy_names.py` takes from a real CuPy. A
function here checks the call against CuPy's signature, replaces SimArrays by the arrays they hold,
calls NumPy's function of that name and wraps the results. Where CuPy differs from NumPy in a way
that matters (unwritten memory, refused dtypes), the function stands below by itself.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import numpy as np

from . import cuda
from .array import (
    SimArray,
    checked_dtype,
    host_index,
    poisoned,
    should_use_reflected,
    unwrap_all,
    unwrap_operand,
    wrap,
    wrap_all,
)

Function = Callable[..., Any]
NAMES = json.loads(Path(__file__).with_name("cupy_names.json").read_text())
VERSION = NAMES["version"]

# functions that take arrays from the host: the explicit ways in
_FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}
# CuPy reads attributes of these parameters without converting: lists and numbers fail
_ARRAY_ONLY = {"a", "a1", "a2", "condition"}
_TAKES_NUMBERS = {*_FROM_HOST, "copy", "min_scalar_type", "ndim", "shape", "size"}
# parameters that are Python numbers; an array of the device has no __index__ and CuPy refuses it
_HOST_NUMBERS = {"shape", "newshape", "axis", "axes", "axis1", "axis2", "source", "destination"}
# results of dimension 0 on the device where NumPy returns a Python number
_WRAP_NUMBERS = {"allclose", "array_equal", "array_equiv", "count_nonzero"}
_KEYWORDS = {"einsum": {"dtype", "optimize"}}  # behind CuPy's **kwargs
_NO_CALLBACKS_OR_FILES = {
    "apply_along_axis", "apply_over_axes", "fromfile", "fromfunction", "genfromtxt", "load",
    "loadtxt", "piecewise", "save", "savetxt", "savez", "savez_compressed",
}  # fmt: skip
# how large is the result? CuPy asks the device
_WAITS = {"argwhere", "bincount", "compress", "extract", "flatnonzero", "nonzero", "unique"}
_PRODUCTS = {"dot", "einsum", "inner", "tensordot", "vdot"}  # through cuBLAS
_UNREPORTED = {"cholesky", "inv", "solve"}  # by cuSOLVER, unless one has CuPy wait for its report
_HOST_OBJECTS = {"index_exp", "s_"}  # objects of NumPy that hold no arrays
_HOST_TYPES = {np.dtype, np.finfo, np.iinfo, np.ndindex}
_AT_DTYPES = {
    "add": "int32 int64 uint32 uint64 float16 float32 float64",
    "sub": "int32 uint32",
    "max": "int32 int64 uint32 uint64 float32 float64",
    "min": "int32 int64 uint32 uint64 float32 float64",
    "and": "int32 int64 uint32 uint64",
    "or": "int32 int64 uint32 uint64",
    "xor": "int32 int64 uint32 uint64",
}


class Ufunc:
    """A universal function with CuPy's restrictions: `out`, `dtype`, `casting` and nothing else."""

    def __init__(self, name: str, function: Function, recorded: str) -> None:
        nin, nout, *at = recorded.split()
        self.__name__ = name
        self.nin, self.nout = int(nin), int(nout)
        self._function = function
        self._at = at[0] if at else ""

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        if not kwargs.keys() <= {"dtype", "casting"}:
            wrong = {key: kwargs[key] for key in kwargs if key not in ("dtype", "casting")}
            raise TypeError(f"Wrong arguments {wrong}")
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"Wrong number of arguments for {self.__name__!r}: {len(args)}")
        if len(args) > self.nin:
            if out is not None:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            args, out = args[: self.nin], args[self.nin :]
        inputs = [unwrap_operand(arg) for arg in args]
        if out is None:
            return self._wrap(cuda.run(self._function, *inputs, **kwargs))
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) != self.nout:
            raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
        arrays = tuple(None if o is None else unwrap_operand(o) for o in outs)
        known = {id(a): o for a, o in zip(arrays, outs, strict=True) if o is not None}
        target = arrays[0] if self.nout == 1 else arrays
        return wrap_all(cuda.run(self._function, *inputs, out=target, **kwargs), known)

    def _wrap(self, result: Any) -> Any:
        return wrap(result) if self.nout == 1 else tuple(wrap(part) for part in result)

    def at(self, a: SimArray, indices: Any, b: Any = None) -> None:
        """In place on the elements that `indices` names, repeated ones counted."""
        if not self._at:
            raise NotImplementedError(f"`cupy_{self.__name__}.at` is not supported yet")
        allowed = _AT_DTYPES[self._at]
        if a.dtype.name not in allowed.split():
            raise TypeError(f"cupy.{self.__name__}.at only supports {allowed} as data type")
        cuda.run(self._function.at, a._array, host_index(indices), unwrap_operand(b))

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """The operation on all pairs of elements."""
        left, right = xp.asarray(a), xp.asarray(b)
        return self(left.reshape(left.shape + (1,) * right.ndim), right, **kwargs)

    def reduce(
        self,
        array: SimArray,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
    ) -> SimArray:
        """Sum or product along an axis; CuPy has no other."""
        method = {"add": "sum", "multiply": "prod"}.get(self.__name__)
        if method is None:
            raise NotImplementedError(f"`cupy_{self.__name__}.reduce` is not supported yet")
        return getattr(array, method)(axis, dtype, out, keepdims)

    def accumulate(
        self, array: SimArray, axis: Any = 0, dtype: Any = None, out: Any = None
    ) -> SimArray:
        """Running sum or product along an axis; CuPy has no other."""
        method = {"add": "cumsum", "multiply": "cumprod"}.get(self.__name__)
        if method is None:
            raise NotImplementedError(f"`cupy_{self.__name__}.accumulate` is not supported yet")
        return getattr(array, method)(axis, dtype, out)

    def __repr__(self) -> str:
        return f"<ufunc 'cupy_{self.__name__}'>"


class Namespace:
    """The module `cupy` or one of its submodules; a name is made on first use."""

    def __init__(self, path: str, module: Any, own: dict[str, Any]) -> None:
        self._path, self._module, self._own = path, module, own
        self._names: dict[str, str] = NAMES[path]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in self._own:
            raise AttributeError(name)  # copy, pickle and doctest ask for such names
        value = self._own[name] if name in self._own else self._make(name)
        setattr(self, name, value)
        return value

    def _make(self, name: str) -> Any:
        where = f"{self._path}.{name}"
        if where in NAMES:
            own = {"matmul": _matmul} if name == "linalg" else {}
            return Namespace(where, getattr(self._module, name), own)
        if name == "random":
            raise AttributeError(
                "cudasim has no cupy.random: random numbers come from the framework's own Philox"
            )
        if name not in self._names:
            raise AttributeError(
                f"module '{self._path}' has no attribute '{name}' (CuPy {VERSION})"
            )
        kind, _, detail = self._names[name].partition(" ")
        if kind == "const":
            return None if detail == "None" else float(detail)
        function = getattr(self._module, name, None)
        if function is None or not _is_simulated(name, kind, function):
            raise AttributeError(
                f"{where} exists in CuPy {VERSION}, but cudasim does not simulate it"
            )
        if kind == "ufunc":
            return Ufunc(name, function, detail)
        if self._path == "cupy.linalg" and name in _UNREPORTED:
            function = _without_report(name, function)
        return device_function(where, function, detail) if kind == "def" else function

    def __dir__(self) -> list[str]:
        return sorted({*self._names, *self._own})

    def __repr__(self) -> str:
        return f"<simulated module '{self._path}' (CuPy {VERSION})>"


def _is_simulated(name: str, kind: str, value: Any) -> bool:
    if kind == "object":
        return name in _HOST_OBJECTS
    if kind == "type":  # CuPy's own classes (vectorize, poly1d) have NumPy's name and hold arrays
        return value in _HOST_TYPES or issubclass(value, (np.generic, Exception))
    return name not in _NO_CALLBACKS_OR_FILES


def signature(text: str) -> Signature:
    """The signature that `record_cupy_names.py` wrote as `a, axis=, *, dtype=`."""
    parameters, kind = [], Parameter.POSITIONAL_OR_KEYWORD
    for word in filter(None, text.split(", ")):
        name = word.strip("*=")
        if word.startswith("**"):
            parameters.append(Parameter(name, Parameter.VAR_KEYWORD))
        elif word.startswith("*"):
            kind = Parameter.KEYWORD_ONLY
            if name:
                parameters.append(Parameter(name, Parameter.VAR_POSITIONAL))
        else:
            default = None if word.endswith("=") else Parameter.empty
            parameters.append(Parameter(name, kind, default=default))
    return Signature(parameters)


def device_function(where: str, function: Function, recorded: str) -> Function:
    """NumPy's `function`, called as CuPy's of the recorded signature, on and with SimArrays."""
    name = where.rpartition(".")[2]
    declared = signature(recorded)
    shared = _positions_shared_with(function, declared)
    host = name in _FROM_HOST
    array_only = set() if name in _TAKES_NUMBERS else _ARRAY_ONLY & declared.parameters.keys()

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = _bind(where, recorded, declared, args, kwargs)
        _check_arguments(where, bound.arguments, array_only)
        if len(args) > shared:
            raise TypeError(
                f"{where}: positional argument {shared + 1} is not the same in NumPy and CuPy: "
                "give it by keyword"
            )
        if not kwargs.keys() <= _KEYWORDS.get(name, kwargs.keys()):
            raise TypeError(f"Did not understand the following kwargs: {sorted(kwargs)}")
        known: dict[int, SimArray] = {}
        inputs = [unwrap_all(arg, known, host) for arg in args]
        keywords = {key: unwrap_all(value, known, host) for key, value in kwargs.items()}
        keywords.pop("blocking", None)  # of a copy to the device
        from_host = host and not isinstance(args[0] if args else None, SimArray)
        if (from_host and np.ndim(inputs[0])) or name in _WAITS:
            cuda.transfer(where)
        if name in _PRODUCTS or where.startswith("cupy.linalg."):
            cuda.library("cuBLAS or cuSOLVER")
        result = cuda.run(function, *inputs, **keywords)
        if from_host:
            return wrap(result.copy())  # NumPy may have shared the host's memory
        return wrap(result) if name in _WRAP_NUMBERS else wrap_all(result, known)

    call.__name__ = call.__qualname__ = name
    call.__signature__ = declared  # type: ignore[attr-defined]
    return call


def _bind(
    where: str, recorded: str, declared: Signature, args: Any, kwargs: Any
) -> inspect.BoundArguments:
    try:
        return declared.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{where}: {error}; CuPy {VERSION} has ({recorded})") from None


def _check_arguments(where: str, arguments: dict[str, Any], array_only: set[str]) -> None:
    for key, value in arguments.items():
        if key in array_only and not isinstance(value, SimArray):
            raise TypeError(f"{where}: {key} must be an array, Unsupported type {type(value)}")
        if key in _HOST_NUMBERS:
            for part in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(part, SimArray):
                    raise TypeError(
                        f"{where}: 'cupy.ndarray' in {key} cannot be read as an integer"
                    )


def _positions_shared_with(function: Function, declared: Signature) -> int:
    """How many leading positional parameters mean the same in NumPy's function and CuPy's."""
    many = 1000
    try:
        theirs = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return many  # a C function without a signature: NumPy's own error will do
    ours = list(declared.parameters.values())
    for i, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if Parameter.VAR_POSITIONAL in (our.kind, their.kind):
            return many
        required = our.default is their.default is Parameter.empty
        if their.kind is Parameter.KEYWORD_ONLY or not (required or our.name == their.name):
            return i
    return min(len(ours), len(theirs))


# ----------------------------------------------------- functions that are not just NumPy's


def _asnumpy(
    a: Any, stream: None = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    if isinstance(a, SimArray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)


def _get_array_module(*args: Any) -> Any:
    return xp if any(isinstance(arg, SimArray) for arg in args) else np


def _empty(shape: Any, dtype: Any = float, order: str = "C") -> SimArray:
    _check_arguments("cupy.empty", {"shape": shape}, set())
    return SimArray(shape, dtype, order=order)


def _empty_like(
    prototype: SimArray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> SimArray:
    _check_arguments("cupy.empty_like", {"a": prototype}, {"a"})
    return wrap(poisoned(np.empty_like(prototype._array, dtype, order, shape=shape)))


def _matmul(a: Any, b: Any, out: Any = None, **kwargs: Any) -> SimArray:
    known: dict[int, SimArray] = {}
    recorded = NAMES["cupy"]["matmul"].removeprefix("def ")
    _bind("cupy.matmul", recorded, signature(recorded), (a, b), kwargs)
    _check_arguments("cupy.matmul", {"a": a, "b": b}, {"a", "b"})
    cuda.library("cuBLAS")
    left, right, target = (unwrap_all(x, known) for x in (a, b, out))
    if max(left.ndim, right.ndim) > 2 and "bfloat16" in (left.dtype.name, right.dtype.name):
        raise TypeError("data type 'E' not understood")  # CuPy 14 has no batched one; nor may we
    return wrap_all(cuda.run(np.matmul, left, right, out=target, **kwargs), known)


def _without_report(name: str, function: Function) -> Function:
    """NumPy's function, which raises no error of LAPACK's: where a matrix is singular the result is
    infinite, where it is not positive definite what LAPACK's potf2 had written until then."""

    def call(a: np.ndarray, *more: np.ndarray) -> np.ndarray:
        try:
            return function(a, *more)
        except np.linalg.LinAlgError:
            pass
        y = np.array(more[0] if more else a)  # of one batch: CuPy broadcasts none
        for i in np.ndindex(a.shape[:-2]):
            if name == "cholesky":
                y[i] = _potf2(a[i])
                continue
            try:
                y[i] = function(a[i], *[y[i] for _ in more])
            except np.linalg.LinAlgError:
                y[i] = np.inf
        return y

    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return call


def _potf2(a: np.ndarray) -> np.ndarray:
    """A factor column by column, up to one whose pivot is not positive."""
    y = np.tril(a)
    for j in range(len(y)):
        y[j:, j] -= y[j:, :j] @ y[j, :j].conj()
        if not y[j, j].real > 0:
            break
        y[j:, j] /= np.sqrt(y[j, j])
    return y


# -------------------------------------------------------------- operators and methods


def _binary_method(name: str) -> Function:
    """`x + y` as CuPy does it: what is no array or number goes through NumPy's dispatch."""
    function = getattr(np, name)

    def method(x: SimArray, y: Any) -> Any:
        if isinstance(y, (SimArray, int, float)):
            return getattr(xp, name)(x, y)
        return NotImplemented if should_use_reflected(x, y) else function(x, y)

    return method


def _reflected_method(name: str) -> Function:
    function = getattr(np, name)

    def method(x: SimArray, y: Any) -> Any:
        return NotImplemented if should_use_reflected(x, y) else function(y, x)

    return method


def _inplace_method(name: str) -> Function:
    def method(x: SimArray, y: Any) -> SimArray:
        return getattr(xp, name)(x, y, x)

    return method


def _compare_method(name: str) -> Function:
    general = _binary_method(name)

    def method(x: SimArray, y: Any) -> Any:
        foreign = y is None or type(y).__eq__ is object.__eq__
        if foreign and name in ("equal", "not_equal") and not should_use_reflected(x, y):
            return xp.full(x.shape, name == "not_equal", dtype=bool)
        return general(x, y)

    return method


def _scatter_method(name: str) -> Function:
    def method(self: SimArray, slices: Any, value: Any) -> None:
        getattr(xp, name).at(self, slices, value)

    return method


def _unary_method(name: str) -> Function:
    return lambda x: getattr(xp, name)(x)


def _array_method(name: str, recorded: str) -> Function:
    """A method of the held array, called as CuPy's method of the recorded signature."""
    where = f"cupy.ndarray.{name}"
    declared = signature(recorded)

    def method(self: SimArray, *args: Any, **kwargs: Any) -> Any:
        bound = _bind(where, recorded, declared, args, kwargs)
        if name == "astype":
            _check_astype(bound.arguments)
        _check_arguments(where, bound.arguments, set())
        known = {id(self._array): self}
        inputs = [unwrap_all(arg, known) for arg in args]
        keywords = {key: unwrap_all(value, known) for key, value in kwargs.items()}
        if name in ("tolist", *_WAITS):
            cuda.transfer(where)
        if name in _PRODUCTS:
            cuda.library("cuBLAS")
        result = cuda.run(getattr(np.ndarray, name), self._array, *inputs, **keywords)
        return result if name == "tolist" else wrap_all(result, known)

    method.__name__ = name
    return method


def _check_astype(arguments: dict[str, Any]) -> None:
    checked_dtype(arguments["dtype"])
    for key in ("casting", "subok"):
        if arguments.get(key) is not None:
            raise TypeError(f"{key} is not supported yet")


def _array_ufunc(self: SimArray, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`np.exp(x)` calls `xp.exp(x)`, as in CuPy."""
    function = getattr(xp, ufunc.__name__, None)
    if method != "__call__":
        function = getattr(function, method, None)
    if function is None:
        return NotImplemented
    out = kwargs.get("out", ())
    if out:
        if len(out) != 1:
            raise ValueError("The 'out' parameter must have exactly one array value")
        kwargs["out"] = out[0]
    allowed = (SimArray, np.ndarray, np.generic, bool, int, float, complex)
    if method == "__call__" and not all(isinstance(x, allowed) for x in (*inputs, *out)):
        return NotImplemented
    return function(*inputs, **kwargs)


def _array_function(self: SimArray, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """`np.concatenate([x])` calls `xp.concatenate([x])`, as in CuPy."""
    owner: Any = xp
    for part in func.__module__.split(".")[1:]:
        owner = getattr(owner, part, None)
    function = getattr(owner, func.__name__, None)
    if function is None or not all(issubclass(t, (SimArray, np.ndarray)) for t in types):
        return NotImplemented
    return function(*args, **kwargs)


_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "lshift": "left_shift",
    "rshift": "right_shift", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "matmul": "matmul", "divmod": "divmod",
}  # fmt: skip
_COMPARE = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
_SCATTER = {"scatter_add": "add", "scatter_max": "maximum", "scatter_min": "minimum"}
_OWN_METHODS = {"get", "item", "set", *_SCATTER}
_NOT_SIMULATED = {
    "cstruct",
    "dump",
    "dumps",
    "mdspan",
    "reduced_view",
    "toDlpack",
    "tobytes",
    "tofile",
}


def _attach() -> None:
    for short, name in _BINARY.items():
        setattr(SimArray, f"__{short}__", _binary_method(name))
        setattr(SimArray, f"__r{short}__", _reflected_method(name))
        if short not in ("matmul", "divmod"):
            setattr(SimArray, f"__i{short}__", _inplace_method(name))
    for short, name in _COMPARE.items():
        setattr(SimArray, f"__{short}__", _compare_method(name))
    for short, name in _UNARY.items():
        setattr(SimArray, f"__{short}__", _unary_method(name))
    for short, name in _SCATTER.items():
        setattr(SimArray, short, _scatter_method(name))
    for name, recorded in NAMES["cupy.ndarray"].items():
        if recorded.startswith("def") and name not in _OWN_METHODS | _NOT_SIMULATED:
            setattr(SimArray, name, _array_method(name, recorded.removeprefix("def").strip()))
    SimArray.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
    SimArray.__array_function__ = _array_function  # type: ignore[attr-defined]


xp = Namespace(
    "cupy",
    np,
    {
        "ndarray": SimArray,
        "asnumpy": _asnumpy,
        "get_array_module": _get_array_module,
        "empty": _empty,
        "empty_like": _empty_like,
        "matmul": _matmul,
        "cuda": cuda,
        "get_default_memory_pool": lambda: cuda.default_pool,
        "__version__": VERSION,
    },
)
_attach()
