"""Products by cuBLASLt, called through ctypes.

CuPy's own binding refuses to run while a stream is captured, widens batches of float16 and fails on
those of bfloat16. cuBLASLt is handed the stream and memory to work in with every call, and finds
the algorithm before. Its matrices are column-major, so what it computes is y.T = b.T @ a.T: our
row-major matrices are its transposes, of the same memory.
"""

from __future__ import annotations

import ctypes as C
import functools
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any

# whether products of float32 may round their operands to TF32, which tensor cores take
tf32 = os.environ.get("TENSORGRAD_TF32") == "1"

WORKSPACE = 32 << 20  # bytes for each stream: what NVIDIA advises for Hopper
MOST_PLANS = 4096
MOST_MATRICES = 1 << 15  # in a call: some kernels have as many blocks in z, at most 65535
PER_THREAD = 2  # the stream that is another one in each thread: cudaStreamPerThread
FILLING = 1 << 21  # from how many numbers on the tiles of a product fill a GPU

# --- cublasLt.h, cublas_api.h and library_types.h -----------------------------------------------

CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_R_16BF = 0, 1, 2, 14
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 70, 77
CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_STATUS_NOT_SUPPORTED = 15
CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 5, 6
CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB = 3, 4
CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 7, 8
CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD = 11, 12
CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 1, 3
CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 5, 6
CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 7, 8
CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2
CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BGRADA = 1, 4, 256
CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS = 160, 164

ALIGNMENTS = (
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
)
ATTRIBUTES: dict[str, dict[int, Any]] = {  # of each kind of descriptor, and their types
    "MatmulDesc": {
        CUBLASLT_MATMUL_DESC_TRANSA: C.c_int32,
        CUBLASLT_MATMUL_DESC_TRANSB: C.c_int32,
        CUBLASLT_MATMUL_DESC_EPILOGUE: C.c_uint32,
        CUBLASLT_MATMUL_DESC_BIAS_POINTER: C.c_void_p,
        CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: C.c_void_p,
        CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: C.c_int64,
    },
    "MatrixLayout": {
        CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: C.c_int32,
        CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: C.c_int64,
    },
    "MatmulPreference": {
        CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: C.c_uint64,
        CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: C.c_uint32,
        **dict.fromkeys(ALIGNMENTS, C.c_uint32),
    },
}
# dtype -> types of the numbers, of the computation, and of the factors that scale a product
TYPES = {
    "float16": (CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F),
    "bfloat16": (CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F),
    "float32": (CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F),
    "float64": (CUDA_R_64F, CUBLAS_COMPUTE_64F, CUDA_R_64F),
}
FACTORS = {
    CUDA_R_32F: (C.c_float(1), C.c_float(0)),
    CUDA_R_64F: (C.c_double(1), C.c_double(0)),
}


class Found(C.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, opaque, and what it needs."""

    _fields_ = [
        ("algo", C.c_uint64 * 8),
        ("workspace", C.c_size_t),
        ("state", C.c_int),
        ("waves", C.c_float),
        ("reserved", C.c_int * 4),
    ]


_p, _i = C.c_void_p, C.c_int
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (_p,),
    "cublasLtGetStatusName": (_i,),
    "cublasLtGetStatusString": (_i,),
    "cublasLtMatmulDescCreate": (_p, _i, _i),
    "cublasLtMatmulDescSetAttribute": (_p, _i, _p, C.c_size_t),
    "cublasLtMatmulDescDestroy": (_p,),
    "cublasLtMatrixLayoutCreate": (_p, _i, C.c_uint64, C.c_uint64, C.c_int64),
    "cublasLtMatrixLayoutSetAttribute": (_p, _i, _p, C.c_size_t),
    "cublasLtMatrixLayoutDestroy": (_p,),
    "cublasLtMatmulPreferenceCreate": (_p,),
    "cublasLtMatmulPreferenceSetAttribute": (_p, _i, _p, C.c_size_t),
    "cublasLtMatmulPreferenceDestroy": (_p,),
    "cublasLtMatmulAlgoGetHeuristic": (_p, _p, _p, _p, _p, _p, _p, _i, _p, _p),
    "cublasLtMatmul": (_p, _p, _p, _p, _p, _p, _p, _p, _p, _p, _p, _p, _p, _p, C.c_size_t, _p),
}


def with_signatures(library: C.CDLL) -> C.CDLL:
    """The library, whose functions now know what they take."""
    for name, takes in SIGNATURES.items():
        getattr(library, name).argtypes = takes
    library.cublasLtGetStatusName.restype = library.cublasLtGetStatusString.restype = C.c_char_p
    return library


class CublasError(RuntimeError):
    """cuBLASLt is missing, or answered with another status than success."""


@functools.cache
def library() -> C.CDLL:
    """NVIDIA's, from pip's wheels, conda or a CUDA toolkit."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return with_signatures(C.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path))
    except (ImportError, OSError, RuntimeError) as error:
        raise CublasError(
            "matrix products on a GPU need cuBLASLt, which is not found: "
            'pip install "cupy-cuda13x[ctk]" (or cupy-cuda12x[ctk]) brings it, as does a CUDA '
            f"toolkit ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def check(lt: C.CDLL, status: int, what: str) -> None:
    """CublasError, with the status' name, unless that is 0."""
    if status:
        said = [f(status).decode() for f in (lt.cublasLtGetStatusName, lt.cublasLtGetStatusString)]
        raise CublasError(f"cuBLASLt: {said[0]} ({said[1]}), {what}")


class Descriptor:
    """One of cuBLASLt's, made of `args`; its attributes are set as items."""

    def __init__(self, lt: C.CDLL, kind: str, *args: int):
        self.lt, self.kind, self.at = lt, kind, C.c_void_p()
        self.change = getattr(lt, f"cublasLt{kind}SetAttribute")
        check(lt, getattr(lt, f"cublasLt{kind}Create")(C.byref(self.at), *args), f"making a {kind}")

    def __setitem__(self, attribute: int, value: int) -> None:
        of_type = ATTRIBUTES[self.kind][attribute](value)
        status = self.change(self.at, attribute, C.byref(of_type), C.sizeof(of_type))
        if status:
            check(self.lt, status, f"attribute {attribute} of a {self.kind}")

    def __del__(self) -> None:
        getattr(self.lt, f"cublasLt{self.kind}Destroy")(self.at)


# --- layouts ------------------------------------------------------------------------------------


class Matrices(NamedTuple):
    """The layout of an array's matrices: whether transposed, the leading dimension, and the stride
    from one matrix to the next; in elements."""

    transposed: bool
    leading: int
    stride: int


def order_of(rows: int, columns: int, down: int, across: int) -> tuple[bool, int] | None:
    """The first two of that from a matrix' strides; None where neither rows nor columns are
    contiguous, elements overlap, or a stride is negative."""
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return False, columns if rows == 1 else down
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return True, rows if columns == 1 else across
    return None


def batch_stride(batch: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """The third from the leading axes, broadcast to `batch`: 0 for a matrix that is broadcast over
    all, None where matrices are not evenly spaced."""
    found, end = 0, None
    for i in range(1, len(batch) + 1):
        if batch[-i] > 1:
            stride = strides[-i] if i <= len(shape) and shape[-i] > 1 else 0
            if stride < 0 or end not in (None, stride):
                return None
            found, end = stride if end is None else found, stride * batch[-i]
    return found


def layout_of(x: Array, batch: Sequence[int]) -> Matrices | None:
    """The layout of an array's matrices, None where cuBLASLt has none for it."""
    strides, rest = zip(*[divmod(s, x.itemsize) for s in x.strides], strict=True)
    order = order_of(*x.shape[-2:], *strides[-2:])
    stride = batch_stride(batch, x.shape[:-2], strides[:-2])
    return None if any(rest) or order is None or stride is None else Matrices(*order, stride)


# --- products -----------------------------------------------------------------------------------


class Plan:
    """A product of arrays of certain layouts, and its algorithm; calling it is one launch. `status`
    is that of the search for the algorithm."""

    def __init__(
        self,
        blas: CublasLt,
        dtype: np.dtype,
        alignment: int,
        shape: tuple[int, ...],
        inner: int,
        matrices: Sequence[Matrices],  # left, right, out
        epilogue: int = CUBLASLT_EPILOGUE_DEFAULT,
        pointers: dict[int, int] | None = None,
    ):
        lt, (*batch, m, n), self.shape, self.dtype = blas.library, shape, shape, dtype
        self.lt, self.context = lt, blas.context()
        self.empty, self.stream = blas.cupy.empty, blas.cupy.cuda.get_current_stream
        number, compute, scale = TYPES[dtype.name]
        if tf32 and dtype == np.float32:
            compute = CUBLAS_COMPUTE_32F_FAST_TF32
        self.one, self.zero = [C.addressof(factor) for factor in FACTORS[scale]]

        self.operation = operation = Descriptor(lt, "MatmulDesc", compute, scale)
        codes = [CUBLAS_OP_T if of.transposed else CUBLAS_OP_N for of in matrices]
        operation[CUBLASLT_MATMUL_DESC_TRANSA] = codes[1]
        operation[CUBLASLT_MATMUL_DESC_TRANSB] = codes[0]
        operation[CUBLASLT_MATMUL_DESC_EPILOGUE] = epilogue
        for attribute, pointer in (pointers or {}).items():  # the search looks at their alignment
            operation[attribute] = pointer
            if attribute == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
                operation[CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD] = n

        self.layouts = []
        if math.prod(batch) >= 2**31:
            raise ValueError(f"a batch of {math.prod(batch)} products: cuBLASLt counts in 32 bits")
        for (rows, columns), of in zip(((m, inner), (inner, n), (m, n)), matrices, strict=True):
            sides = (rows, columns) if of.transposed else (columns, rows)
            layout = Descriptor(lt, "MatrixLayout", number, *sides, of.leading)
            layout[CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT] = math.prod(batch)
            layout[CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET] = of.stride
            self.layouts.append(layout)
        self.a, self.b, self.y = [layout.at for layout in self.layouts]

        preference, self.found, count = Descriptor(lt, "MatmulPreference"), Found(), C.c_int()
        preference[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES] = WORKSPACE
        # Split-K's partial sums are added in the compute type and in a fixed order. Other schemes
        # round them to halves, or add them as they arrive.
        preference[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK] = (
            CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
        )
        for operand in ALIGNMENTS:
            preference[operand] = alignment
        self.status = lt.cublasLtMatmulAlgoGetHeuristic(
            *(self.context.handle, operation.at, self.b, self.a, self.y, self.y),
            *(preference.at, 1, C.byref(self.found), C.byref(count)),
        )
        if not self.status:
            self.status = self.found.state if count.value else CUBLAS_STATUS_NOT_SUPPORTED
        self.algorithm, self.workspaces = C.addressof(self.found), self.context.workspaces
        self.handle, self.at = self.context.handle, operation.at

    def __call__(self, a: Array, b: Array, out: Array | None = None) -> Array:
        if out is None:
            out = self.empty(self.shape, self.dtype)
        stream, to = self.stream().ptr, out.data.ptr
        workspace = self.workspaces.get(stream)
        if workspace is None:
            workspace = self.context.workspace(stream)
        status = self.lt.cublasLtMatmul(
            self.handle, self.at, self.one, b.data.ptr, self.b, a.data.ptr, self.a, self.zero,
            to, self.y, to, self.y, self.algorithm, workspace.ptr, WORKSPACE, stream,
        )  # fmt: skip
        if status:
            check(self.lt, status, words(a, b))
        return out


class Context:
    """What belongs to a GPU: cuBLASLt's handle, and memory to work in for each stream."""

    def __init__(self, cupy: Any, lt: C.CDLL):
        handle = C.c_void_p()
        check(lt, lt.cublasLtCreate(C.byref(handle)), "making a handle")
        self.cupy, self.handle, self.lock = cupy, handle, threading.Lock()
        self.workspaces: dict[int, Any] = {}  # by stream
        self.own = threading.local()  # that of cudaStreamPerThread, until the thread ends

    def workspace(self, stream: int) -> Any:
        """Of the stream's own, as products of two streams run at once, and a captured graph's where
        it was captured. It is from no pool, which might belong to that graph; `CublasLt.release`
        frees it."""
        with self.lock:
            of = self.own.__dict__ if stream == PER_THREAD else self.workspaces
            if stream not in of:
                try:
                    of[stream] = self.cupy.cuda.Memory(WORKSPACE)
                except RuntimeError:  # CuPy's pool may hold what nothing uses any more
                    self.cupy.get_default_memory_pool().free_all_blocks()
                    of[stream] = self.cupy.cuda.Memory(WORKSPACE)
            return of[stream]


class CublasLt:
    """Products of CuPy's arrays, as `Blas` in device.py says. The search for an algorithm runs once
    for each layout of the operands."""

    def __init__(self, cupy: Any):
        self.cupy, self.lock = cupy, threading.Lock()
        self.contexts: dict[int, Context] = {}
        self.own = threading.local()  # plans: descriptors hold pointers, so no two threads share
        self.refused: dict[str, str] = {}  # epilogue -> why its last product went without

    @functools.cached_property
    def library(self) -> C.CDLL:
        return library()

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """`a @ b` for two or more dimensions, the leading ones broadcast. Operands whose matrices
        are neither row- nor column-major, or not evenly spaced, are made contiguous first."""
        bits = a.data.ptr | b.data.ptr
        key: tuple = (a.shape, a.strides, a.dtype, b.shape, b.strides, b.dtype)
        if out is not None:
            bits |= out.data.ptr
            key += (out.shape, out.strides, out.dtype)
        plans, alignment = self.plans(), bits & -bits & 255 or 256
        key += (alignment, self.cupy.cuda.runtime.getDevice(), tf32)
        plan = plans.get(key)
        if plan is None:
            plan = plans[key] = self._plan(a, b, out, alignment)
        return plan(a, b, out)

    def fused(
        self,
        epilogue: str,
        a: Array,
        b: Array,
        bias: Array | None = None,
        aux: Array | None = None,
    ) -> Array | None:
        """A product of matrices and what `Blas` in device.py says, or None."""
        pointers = {}
        if bias is not None:
            pointers[CUBLASLT_MATMUL_DESC_BIAS_POINTER] = bias.data.ptr
        if aux is not None:
            pointers[CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER] = aux.data.ptr
        bits = functools.reduce(int.__or__, pointers.values(), a.data.ptr | b.data.ptr)
        plans, alignment = self.plans(), bits & -bits & 255 or 256
        key = (epilogue, *pointers, a.shape, a.strides, a.dtype, b.shape, b.strides, b.dtype)
        key += (alignment, self.cupy.cuda.runtime.getDevice(), tf32)
        if key not in plans:
            plans[key] = self._fused_plan(epilogue, a, b, pointers, alignment)
        plan = plans[key]
        if plan is None:
            return None
        try:
            for attribute, pointer in pointers.items():
                plan.operation[attribute] = pointer
            return plan(a, b)
        except CublasError as error:
            self.refused[epilogue], plans[key] = str(error), None
            return None

    def plans(self) -> dict[tuple, Any]:
        """This thread's."""
        try:
            plans = self.own.plans
        except AttributeError:
            plans = self.own.plans = {}
        if len(plans) > MOST_PLANS:  # of shapes without end
            plans.clear()
        return plans

    def release(self, stream: int) -> None:
        """Free the workspace of a stream that is about to be destroyed, once its work is done
        (cudaFree waits). Without the lock: the garbage collector calls it, at any time."""
        for context in list(self.contexts.values()):
            context.workspaces.pop(stream, None)

    def context(self) -> Context:
        """That of the current GPU."""
        gpu = self.cupy.cuda.runtime.getDevice()
        with self.lock:
            if gpu not in self.contexts:
                self.contexts[gpu] = Context(self.cupy, self.library)
            return self.contexts[gpu]

    def _plan(
        self, a: Array, b: Array, out: Array | None, alignment: int
    ) -> Callable[[Array, Array, Array | None], Array]:
        """What computes a @ b for arrays of these layouts."""
        xp, (m, k), n, dtype = self.cupy, a.shape[-2:], b.shape[-1], a.dtype
        if dtype != b.dtype or dtype.name not in TYPES:
            raise TypeError(f"cuBLASLt multiplies floats of one dtype, not {words(a, b)}")
        if k != b.shape[-2]:
            raise ValueError(f"the inner sizes differ: {words(a, b)}")
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape, count = (*batch, m, n), math.prod(batch)
        if out is not None and (out.shape != shape or out.dtype != dtype):
            raise ValueError(f"out is {out.dtype} {out.shape}, but not {words(a, b)}")

        if not (count and m and n and k):
            return lambda a, b, out: written(xp.empty(shape, dtype) if out is None else out, 0)
        if count > MOST_MATRICES:
            return functools.partial(self._in_parts, batch)
        left, right = layout_of(a, batch), layout_of(b, batch)
        if left is None or right is None:
            return lambda a, b, out: self.matmul(self._even(a, batch), self._even(b, batch), out)
        to = Matrices(False, n, m * n) if out is None else layout_of(out, batch)
        if to is None or to.transposed or (count > 1 and to.stride < m * to.leading):
            return lambda a, b, out: written(out, self.matmul(a, b))
        plan = Plan(self, dtype, alignment, shape, k, (left, right, to))
        check(self.library, plan.status, words(a, b))
        return plan

    def _fused_plan(
        self, epilogue: str, a: Array, b: Array, pointers: dict[int, int], alignment: int
    ) -> Plan | None:
        (m, k), n, dtype = a.shape, b.shape[1], a.dtype
        left, right, to = layout_of(a, ()), layout_of(b, ()), Matrices(False, n, 0)
        if not (m and n and k) or left is None or right is None:
            return None
        if epilogue == "bias":
            code = CUBLASLT_EPILOGUE_BIAS
        elif epilogue == "bias_grad":  # for smaller products split-K is better
            code = CUBLASLT_EPILOGUE_BGRADA
            if m * n < FILLING or right.transposed:
                return None
        else:  # of halves only: of how many digits its tanh is, nobody says
            has_bias = CUBLASLT_MATMUL_DESC_BIAS_POINTER in pointers
            code = CUBLASLT_EPILOGUE_GELU_AUX_BIAS if has_bias else CUBLASLT_EPILOGUE_GELU_AUX
            if dtype.itemsize > 2 or n % 8:
                return None
        try:
            plan = Plan(self, dtype, alignment, (m, n), k, (left, right, to), code, pointers)
            check(self.library, plan.status, f"{words(a, b)}, {epilogue}")
            return plan
        except CublasError as error:  # of any kind: the product alone is asked for next
            self.refused[epilogue] = str(error)
            return None

    def _even(self, x: Array, batch: tuple[int, ...]) -> Array:
        """x, or a copy in a layout that cuBLASLt takes."""
        if layout_of(x, batch):
            return x
        whole = self.cupy.ascontiguousarray(x)
        if layout_of(whole, batch):
            return whole
        return self.cupy.ascontiguousarray(self.cupy.broadcast_to(x, (*batch, *x.shape[-2:])))

    def _in_parts(self, batch: tuple[int, ...], a: Array, b: Array, out: Array | None) -> Array:
        """A large batch, MOST_MATRICES at a time."""
        xp, count = self.cupy, math.prod(batch)
        a, b = [xp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b)]
        a, b = [x.reshape(count, *x.shape[-2:]) for x in (a, b)]
        y = xp.empty((count, a.shape[1], b.shape[2]), a.dtype)
        for i in range(0, count, MOST_MATRICES):
            part = slice(i, i + MOST_MATRICES)
            self.matmul(a[part], b[part], y[part])
        y = y.reshape(*batch, *y.shape[1:])
        return y if out is None else written(out, y)


def written(out: Array, y: Any) -> Array:
    out[...] = y
    return out


def words(a: Array, b: Array) -> str:
    return f"{a.dtype} {a.shape} @ {b.dtype} {b.shape}"
