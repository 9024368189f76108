"""Generated from the op table: every kernel against its op's reference, run in float64.

The table says which kernels there are to be (functions of the ops' names), what they are tested
on (the ops' samples and those of tests/sized) and how exact they must be. CUDA kernels run on
cudasim, in three orders of threads, and on a GPU where there is one.
"""

import importlib
import inspect
import itertools
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype NumPy knows)
import numpy as np
import pytest
from tensorgrad.kernels.cpu import jit
from tensorgrad.kernels.cuda import device

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.loss import check_labels
from tensorgrad.ops.samples import Sample, draw, integers
from tensorgrad.testing import tolerance

from .sized import LARGE, SIZED
from .sized.basic import dense_grads, norm_grads, repeated
from .test_ops import magnitude

ROOT = Path(__file__).parent.parent
HELPERS = {
    "blas",
    "buffers",
    "cache",
    "conv_depthwise",
    "conv_tiles",
    "conv_weights",
    "forks",
    "gather_gemm",
    "jit",
    "library",
    "llvm",
    "native",
    "panels",
    "products",
    "scalars",
    "share",
    "turns",
    "vector_copy",
    "warm",
    "device",
    "cublas",
    "cudnn",
}
STATISTICS = ("mean", "rstd", "lse")  # in the dtype that is computed in
VECTORS = ("hyper", "apply_if", "scaling", "finite", "by")  # of optimizers: always float64


def kernels_of(folder):
    """Op name -> kernel, of all families in a folder."""
    found = {}
    for path in sorted((ROOT / "kernels" / folder).glob("*.py")):
        if path.stem in {"__init__", *HELPERS}:
            continue
        module = importlib.import_module(f"tensorgrad.kernels.{folder}.{path.stem}")
        for name, value in vars(module).items():
            if hasattr(value, "guard"):
                assert OPS[name].family == path.stem, f"{folder}/{path.stem}.py: {name}"
                found[name] = value
    return found


CPU, CUDA = kernels_of("cpu"), kernels_of("cuda")
ALL = [pytest.param(f, n, k, id=f"{f}-{n}") for f, t in (("cpu", CPU), ("cuda", CUDA))
       for n, k in t.items()]  # fmt: skip
SIZES = (0, 1, 31, 32, 33, 1023, 1024, 1025)
SIZED.update(
    {n: repeated(n) for n in {**CPU, **CUDA} if OPS[n].family in ("elementwise", "special")}
)


# --- what a kernel is given and what it should give --------------------------------------------


def exact_args(op, sample, dtype):
    """The sample rounded to the dtype, in float64, with None for inputs left out."""
    args = list(sample.args) + [None] * (len(op.inputs) - len(sample.args))
    for i, (name, a) in enumerate(zip(op.names(len(args)), args, strict=True)):
        if (
            isinstance(a, np.ndarray)
            and a.dtype == np.float64
            and name not in (*STATISTICS, *VECTORS)
        ):
            args[i] = a.astype(backends.dtype_of(dtype)).astype(np.float64)
    if op.name.endswith("_norm_grad"):  # the statistics of the rounded numbers
        forward = OPS[op.name.removesuffix("_grad")]
        groups = {"groups": args[-1].shape[1]} if "groups" in forward.params else {}
        args[3:] = forward.ref(args[1], **groups)[1:]
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def placed(op, args, dtype, from_host):
    """Exact arguments in the dtype on a device."""
    wide = "float32" if dtype in device.HALVES else dtype
    made = []
    for name, a in zip(op.names(len(args)), args, strict=True):
        if isinstance(a, np.ndarray):
            if a.dtype == np.float64 and name not in VECTORS:
                a = a.astype(backends.dtype_of(wide if name in STATISTICS else dtype))
            a = from_host(a.copy())
        made.append(a)
    return made


def length(sample):
    return max([a.size for a in sample.args if isinstance(a, np.ndarray)], default=1)


def check(name, actual, expected, dtype, n):
    """Equal up to the tolerance of the dtype, relative to the magnitude of the values."""
    if expected is None:
        assert actual is None, name
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, name
    if actual.dtype.kind in "iu":
        np.testing.assert_array_equal(actual, expected, err_msg=name)
        return
    rtol, atol = tolerance(dtype, n)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    np.testing.assert_allclose(
        actual.astype(np.float64), expected, rtol=rtol, atol=atol * size, err_msg=name
    )


def run(op, kernel, sample, dtype, home):
    """Run the kernel if its guard accepts the sample; compare with the reference in float64."""
    exact = exact_args(op, sample, dtype)
    args = placed(op, exact, dtype, home.from_host)
    if not kernel.guard(sized=False)(tuple(args), sample.params):
        return False
    before = [np.asarray(home.to_host(a)).tobytes() if hasattr(a, "dtype") else a for a in args]
    result = kernel(*args, **sample.params)
    expected = op.ref(*exact, **sample.params)
    n = length(sample) * magnitude(op, sample.args) ** 2
    name = f"{op.name} {dtype} {[getattr(a, 'shape', a) for a in args]}"
    pair = (result, expected) if isinstance(expected, tuple) else ((result,), (expected,))
    for got, wanted in zip(*pair, strict=True):
        check(name, None if got is None else home.to_host(got), wanted, dtype, n)
    for of, a, old, wanted in zip(op.names(len(args)), args, before, exact, strict=True):
        if of in op.inplace:
            check(f"{name} {of}", None if a is None else home.to_host(a), wanted, dtype, 1)
        elif hasattr(a, "dtype"):
            assert home.to_host(a).tobytes() == old, f"{name} wrote into {of}"
    return True


def orders(home):
    """Repeat the test in each order of threads that the device offers."""
    if home.name != "cudasim":
        yield 0
        return
    from . import cudasim

    for kind in (cudasim.FORWARD, cudasim.REVERSED, cudasim.SHUFFLED):
        cudasim.order(kind, seed=7)
        yield kind
    cudasim.order(cudasim.FORWARD)


NUMPY = backends.get("numpy")
cpu_kernels = pytest.mark.parametrize("name", CPU)
compiled_in_float64 = pytest.param("float64", marks=pytest.mark.slow)  # takes as long once more
cuda_kernels = pytest.mark.parametrize("name", CUDA)


# --- the rules of the folder --------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["cpu", "cuda"])
def test_every_kernel_is_an_op(folder):
    """`kernels_of` has looked each name up in the table; here nothing may hide from it."""
    for path in sorted((ROOT / "kernels" / folder).glob("*.py")):
        if path.stem in {"__init__", *HELPERS}:
            continue
        module = importlib.import_module(f"tensorgrad.kernels.{folder}.{path.stem}")
        marked = sum(hasattr(v, "guard") for v in vars(module).values())
        assert path.read_text().count("@accepts(") == marked
        assert path.stem in {op.family for op in OPS.values()}


@pytest.mark.parametrize(("folder", "name", "kernel"), ALL)
def test_signature_is_the_ops(folder, name, kernel):
    """Parameter names, kinds and defaults are those of the reference."""
    assert inspect.signature(kernel) == inspect.signature(OPS[name].ref)


@pytest.mark.parametrize(("folder", "name", "kernel"), ALL)
def test_kernel_has_samples_of_many_sizes(folder, name, kernel):
    assert name in SIZED, f"give {name} an entry in SIZED, in tests/sized"


def test_formulas_of_a_float32_stay_float32():
    """An untyped constant would promote the loop to float64: right results, at half the speed."""
    from tensorgrad.kernels.cpu import jit, scalars

    numba = jit.numba()
    for name, formula in vars(scalars).items():
        if name in OPS:
            compiled = numba.njit(formula)
            compiled(*[np.float32(0.5)] * len(inspect.signature(formula).parameters))
            assert str(compiled.nopython_signatures[0].return_type) == "float32", name


# --- values -------------------------------------------------------------------------------------


def all_samples(op):
    return [*op.samples(), *(op.extreme or list)(), *itertools.chain(*map(SIZED[op.name], SIZES))]


@pytest.mark.parametrize("dtype", ["float32", compiled_in_float64])
@cpu_kernels
def test_cpu_kernel_agrees_with_the_reference(name, dtype):
    op, kernel = OPS[name], CPU[name]
    before = forms_of_loops(dtype)
    taken = [run(op, kernel, s, dtype, NUMPY) for s in all_samples(op)]
    assert any(taken), f"the guard refuses all samples in {dtype}"
    again = {
        loop for loop, forms in forms_of_loops(dtype).items() if forms > max(1, before.get(loop, 1))
    }
    assert not again, f"{again}: compiled again, which costs seconds, for other kinds of arguments"


def forms_of_loops(dtype):
    """{loop: for how many kinds of arguments it is compiled}, of those whose first is of a dtype"""
    found = {loop.name: loop._compiled.get(np.dtype(dtype)) for loop in jit.loops}
    return {name: len(run.signatures) for name, run in found.items() if run is not None}


# The dtypes in each order of threads, and those that are left: floats and halves have code of
# their own, the others share it.
IN_ORDER = ("float32", "float16"), ("float32",), ("float16",)
REST = tuple(tuple(set(device.DTYPES) - set(these)) for these in IN_ORDER)


@pytest.mark.parametrize(
    "dtypes", [IN_ORDER, pytest.param(REST, marks=pytest.mark.slow)], ids=["each", "rest"]
)
@cuda_kernels
def test_cuda_kernel_agrees_with_the_reference(name, gpu, dtypes):
    op, kernel = OPS[name], CUDA[name]
    for order in orders(gpu):
        for dtype in dtypes[order] if gpu.name == "cudasim" else device.DTYPES:
            taken = [run(op, kernel, s, dtype, gpu) for s in all_samples(op)]
            assert any(taken), f"the guard refuses all samples in {dtype}"


@cpu_kernels
def test_cpu_kernel_on_all_threads(name):
    """Sizes from which loops run in parallel."""
    op, kernel = OPS[name], CPU[name]
    for sample in SIZED[name](LARGE.get(name, 140_001)):
        assert run(op, kernel, sample, "float32", NUMPY)


@cpu_kernels
def test_cpu_kernel_gives_the_same_bits_every_time(name):
    op, kernel = OPS[name], CPU[name]
    for sample in SIZED[name](70_001):
        seen = set()
        for _ in range(3):
            args = placed(op, exact_args(op, sample, "float32"), "float32", NUMPY.from_host)
            result = kernel(*args, **sample.params)
            given = [result] if isinstance(result, np.ndarray) else list(result or ())
            seen.add(b"".join(a.tobytes() for a in [*given, *args] if a is not None))
        assert len(seen) == 1


ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 88.7, -87.5, 1.0])


def odd_samples(name):
    """NaN, infinities, zeros, subnormal and huge numbers, against ordinary ones and each other."""
    op, params = OPS[name], SIZED[name](1)[0].params
    if op.family == "elementwise":
        pairs = np.array(list(itertools.product(ODD, repeat=len(op.inputs))))
        return [Sample(tuple(pairs.T.copy()), params)]
    rows = np.tile(draw((6,)), (len(ODD), 1))
    rows[:, 2] = ODD
    rows = np.concatenate([rows, np.full((1, 6), -np.inf), np.full((1, 6), np.inf)])
    if op.family == "loss":
        grads = (draw((len(rows),)),) if op.inputs[0] == "g" else ()
        return [Sample((*grads, rows, integers((len(rows),), 6)))]
    return [Sample((*[draw(rows.shape)] * (len(op.inputs) - 1), rows), params)]


ODDLY = [n for n in SIZED if OPS[n].family in ("elementwise", "reduce", "loss")]


def odd(name, kernel, home, dtype):
    """What is NaN, infinite or zero in the reference is so in the kernel."""
    op = OPS[name]
    for sample in odd_samples(name):
        args = placed(op, exact_args(op, sample, dtype), dtype, NUMPY.from_host)
        expected = op.ref(*[a.copy() for a in args], **sample.params)
        got = home.to_host(kernel(*[home.from_host(a) for a in args], **sample.params))
        rtol, atol = tolerance(dtype)
        if home.name == "cupy" and dtype == "float32" and op.family == "elementwise":
            # CuPy has subnormal numbers taken as 0, also those that an exponential gives
            tiny = [((a != 0) & (np.abs(a) < 1e-38)) | (np.abs(np.abs(a) - 95) < 9) for a in args]
            got, expected = got[~np.any(tiny, axis=0)], expected[~np.any(tiny, axis=0)]
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", compiled_in_float64])
@pytest.mark.parametrize("name", [n for n in ODDLY if n in CPU])
def test_odd_numbers(name, dtype):
    odd(name, CPU[name], NUMPY, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in ODDLY if n in CUDA])
def test_odd_numbers_on_the_gpu(name, gpu, dtype):
    odd(name, CUDA[name], gpu, dtype)


# --- guards -------------------------------------------------------------------------------------


def stepped(a):
    """The same elements, with a stride of 2."""
    wide = np.zeros((*a.shape[:-1], a.shape[-1] * 2), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


@cpu_kernels
def test_strided_and_foreign_arrays_are_refused(name):
    op, accept = OPS[name], CPU[name].guard(sized=False)
    sample = SIZED[name](1024)[0]
    args = placed(op, exact_args(op, sample, "float32"), "float32", NUMPY.from_host)
    assert accept(tuple(args), sample.params)
    for i, (of, a) in enumerate(zip(op.names(len(args)), args, strict=True)):
        if a is None or a.size == 1:  # contiguous with any strides
            continue
        others = [(stepped(a), of in CPU[name].strided), (1.0, CPU[name].broadcast)]
        if a.dtype == np.float32:
            floats = sum(b is not None and b.dtype == np.float32 for b in args)
            others += [(a.astype(np.float64), floats == 1), (a.astype(np.float16), False)]
        for other, fine in others:
            changed = (*args[:i], other, *args[i + 1 :])
            assert accept(changed, sample.params) == fine, (of, getattr(other, "dtype", other))


@pytest.mark.parametrize("name", [n for n in CPU if CPU[n].broadcast])
def test_one_number_for_an_array(name):
    """Of any kind, on either side; two of them make no array, and shapes and dtypes must agree."""
    op, accept, x = OPS[name], CPU[name].guard(sized=False), draw((3, 5), 0.5, 2.0)
    two = np.array(2.0)
    for number in (2, 2.5, True, two, np.broadcast_to(two, (3, 5))):
        for args in ((x, number), (number, x)):
            assert accept(args, {})
            np.testing.assert_allclose(CPU[name](*args), op.ref(*args), rtol=1e-12)
    for number in (None, "2", np.float32(2), np.array(2), np.zeros((3, 1)), np.zeros((2, 3, 1)),
                   np.broadcast_to(two, 5), np.broadcast_to(two, (2, 3, 5)), np.float16(2),
                   np.zeros(3), np.zeros(5, "f4"), np.zeros((1, 5))):  # fmt: skip
        assert not accept((x, number), {})
        assert not accept((number, x), {})
    empty = np.zeros((0, 5))
    for a in (empty, np.broadcast_to(two, (0, 5))):
        for args in ((a, 2.0), (2.0, a), (a, a)):
            assert not accept(args, {}) or CPU[name](*args).shape == (0, 5)
    assert not accept((two, two), {})
    assert not accept((two, 2.0), {})


@pytest.mark.parametrize("name", [n for n in CPU if CPU[n].broadcast])
def test_a_row_for_every_row(name):
    """On either side; rows may have several axes, and there may be none."""
    op, accept = OPS[name], CPU[name].guard(sized=False)
    for shape, row in (((3, 5), (5,)), ((2, 3, 5), (3, 5)), ((2, 3, 5), (5,)), ((1, 5), (5,)),
                       ((600, 300), (300,)), ((0, 5), (5,))):  # fmt: skip
        x, r = draw(shape, 0.5, 2.0), draw(row, 0.5, 2.0, 1)
        for args in ((x, r), (r, x)):
            assert accept(args, {}) or shape[0] in (0, 1)
            if accept(args, {}):
                np.testing.assert_allclose(CPU[name](*args), op.ref(*args), rtol=1e-12)


@cpu_kernels
def test_small_arrays_are_left_to_numpy(name):
    op, kernel = OPS[name], CPU[name]
    for size, sized, taken in ((8, True, False), (8, False, True), (200_000, True, True)):
        if name == "random_bits" and not sized:
            continue  # its only array is the state: `when` looks at the size, in every mode
        accept, results = kernel.guard(sized), set()
        for sample in SIZED[name](size):
            args = placed(op, exact_args(op, sample, "float32"), "float32", NUMPY.from_host)
            results.add(accept(tuple(args), sample.params))
        assert taken in results
        assert taken or results == {False}


def test_calls_that_do_not_fit_reach_the_reference_and_its_errors():
    x, labels = np.zeros((600, 5), np.float32), np.zeros(601, np.int64)
    with tg.use_kernels("always"):
        for call, message in (
            (lambda: OPS["softmax_cross_entropy"](x, labels), "one label for each row"),
            (lambda: OPS["dense"](x, np.zeros((6, 2), np.float32)), "x has 5 features, w takes 6"),
            (lambda: OPS["layer_norm"](x, np.zeros(4, np.float32)), "weight has shape"),
            (lambda: OPS["softmax"](x, axis=2), "axis 2 is out of bounds"),
        ):
            with pytest.raises(tg.TensorgradError, match=message):
                call()
        row, bias = np.ones((3, 4), np.float32), np.ones((3, 1), np.float32)
        y = OPS["dense"](row, np.ones((4, 2), np.float32), bias)  # a bias that broadcasts
        np.testing.assert_array_equal(y, np.full((3, 2), 5))
        np.testing.assert_array_equal(OPS["tanh_grad"](row, bias), np.zeros((3, 4)))


# --- single kernels -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 5, 2**40])
def test_a_label_outside_the_classes_is_said_as_by_the_reference(bad):
    logits, labels = draw((600, 5)).astype(np.float32), integers((600,), 5)
    labels[3] = bad
    with pytest.raises(ValueError, match="labels run from") as expected:
        check_labels(labels, logits.shape)
    with pytest.raises(ValueError, match="labels run from") as raised:
        CPU["softmax_cross_entropy"](logits, labels)
    assert str(raised.value) == str(expected.value)


def test_a_label_outside_the_classes_gives_nan_on_the_gpu(gpu):
    logits, labels = draw((4, 5)).astype(np.float32), np.array([0, 5, -1, 4])
    losses = CUDA["softmax_cross_entropy"](gpu.from_host(logits), gpu.from_host(labels))
    np.testing.assert_array_equal(np.isnan(gpu.to_host(losses)), [False, True, True, False])


@pytest.mark.parametrize("kind", ["int8", "int32", "int64"])
def test_labels_of_any_size_and_a_broadcast_gradient(kind, gpu):
    """The cotangent of a mean is a broadcast scalar with strides of 0, which is not copied."""
    logits, labels = draw((600, 5)).astype(np.float32), integers((600,), 5).astype(kind)
    one = np.full((), 0.25, np.float32)
    expected = OPS["softmax_cross_entropy_grad"].ref(
        np.broadcast_to(one, (600,)), logits.astype(float), labels
    )
    for home, table in ((NUMPY, CPU), (gpu, CUDA)):
        kernel = table["softmax_cross_entropy_grad"]
        xp = home.xp
        args = (
            xp.broadcast_to(home.from_host(one), (600,)),
            home.from_host(logits),
            home.from_host(labels),
        )
        assert kernel.guard(sized=True)(args, {})
        check(kind, home.to_host(kernel(*args)), expected, "float32", 5)


def test_random_words_are_the_same_everywhere(gpu):
    for key, drawn in ((0, 0), (7, 5), (2**64 - 1, 2**64 - 3), (3, 2**32 - 100)):
        state = np.array([key, drawn], np.uint64)
        expected = OPS["random_bits"].ref(state, size=4099)
        np.testing.assert_array_equal(CPU["random_bits"](state, size=4099), expected)
        words = CUDA["random_bits"](gpu.from_host(state), size=4099)
        np.testing.assert_array_equal(gpu.to_host(words), expected)


def test_philox_known_answers():
    """The vectors that Random123, the authors' library, is tested with."""
    state = np.zeros(2, np.uint64)
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    np.testing.assert_array_equal(CPU["random_bits"](state, size=4), words)


def test_dropout_masks_are_the_same_everywhere(gpu):
    x, state = np.ones(5000, np.float32), np.array([11, 2**32 - 9], np.uint64)
    word = int(OPS["random_bits"].ref(state, size=5000)[4321])
    for p in (0.4, word / 2**32):  # a word that equals the threshold is kept
        expected = OPS["dropout"].ref(x, state, p=p)
        assert expected[4321] or p == 0.4
        assert abs(np.mean(expected == 0) - p) < 0.03
        np.testing.assert_array_equal(CPU["dropout"](x, state, p=p), expected)
        for n, dtype in itertools.product((5000, 4994, 4993), ("float16", "float32", "float64")):
            here = gpu.from_host(x[:n].astype(dtype))
            y = CUDA["dropout"](here, gpu.from_host(state), p=p)
            np.testing.assert_array_equal(gpu.to_host(y) != 0, expected[:n] != 0)


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh"])
def test_dense_grad_gives_what_is_needed(activation, needs, gpu):
    (g, x, w, y), _ = dense_grads(33)[0]
    sample = Sample((g, x, w, y), {"activation": activation, "needs": needs})
    for home, table in ((NUMPY, CPU), (gpu, CUDA)):
        assert run(OPS["dense_grad"], table["dense_grad"], sample, "float32", home)


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
def test_layer_norm_grad_gives_what_is_needed(needs, gpu):
    args = norm_grads(33)[0].args
    for weight in (args[2], None):
        sample = Sample((*args[:2], weight, *args[3:]), {"needs": needs})
        for home, table in ((NUMPY, CPU), (gpu, CUDA)):
            assert run(OPS["layer_norm_grad"], table["layer_norm_grad"], sample, "float32", home)


@pytest.mark.parametrize("axis", [0, 1, -1, -2, (0, 2), (2, 1), None])
@pytest.mark.parametrize("name", ["softmax", "softmax_grad", "log_softmax", "log_softmax_grad"])
def test_softmax_along_any_axes(name, axis, gpu):
    op = OPS[name]
    args = tuple([draw((4, 5, 6), 0.1, 1.0, i) for i in range(len(op.inputs))])
    for home, table in ((NUMPY, CPU), (gpu, CUDA)):
        assert run(op, table[name], Sample(args, {"axis": axis}), "float32", home)


def test_matmul_takes_transposed_matrices(gpu):
    a, b = draw((33, 17)), draw((9, 33), seed=1)
    y = CUDA["matmul"](gpu.from_host(a).T, gpu.from_host(b).T)
    np.testing.assert_allclose(gpu.to_host(y), a.T @ b.T, rtol=1e-12)


# --- CUDA sources and CuPy's launcher, by a stand-in --------------------------------------------


@pytest.mark.parametrize("family", sorted({op.family for op in map(OPS.get, CUDA)}))
def test_source_holds_its_headers_once(family):
    code = importlib.import_module(f"tensorgrad.kernels.cuda.{family}").SOURCE.code
    assert '#include "' not in code
    assert code.count("struct WideOf<double>") == 1


def test_cupy_launcher_compiles_each_kernel_once_and_takes_typed_arguments_only():
    built, launched = [], []

    def raw_module(code, options, name_expressions):
        built.append(name_expressions)
        return SimpleNamespace(
            get_function=lambda name: SimpleNamespace(kernel=lambda *a: launched.append((name, *a)))
        )

    runtime = SimpleNamespace(getDevice=lambda: 0)
    cupy = SimpleNamespace(
        ndarray=np.ndarray, RawModule=raw_module, cuda=SimpleNamespace(runtime=runtime)
    )
    launch, source = device.CupyLauncher(cupy), device.Source("update", ["a", "b"])
    x = np.zeros(3, np.float32)
    for name in ("a", "b", "a"):
        launch(source, name, (1,), (2,), (x, np.float32(2)), smem=4)
    assert built == [("a",), ("b",)]
    assert launched[2] == ("a", (1,), (2,), (x, np.float32(2)), 4)
    for wrong in (2.0, 3, True, None, [1]):
        with pytest.raises(TypeError, match=f"argument 1 is a {type(wrong).__name__}"):
            launch(source, "a", (1,), (2,), (x, wrong))


def test_a_device_is_made_for_cupy_only():
    with pytest.raises(TypeError, match="no CUDA-like device has arrays of type list"):
        device.device([])


def test_launch_shapes():
    for n in (1, 255, 256, 257, 10**6, 10**10):
        assert 1 <= device.blocks(n)[0] <= device.MOST_BLOCKS
    for rows, n in itertools.product((1, 3, 4, 10**7), (1, 32, 512, 513, 10**6)):
        (grid,), (x, y) = device.row_launch(rows, n)
        assert 1 <= grid < 2**31
        assert x % 32 == 0
        assert x == 32 or y == 1
        assert x * y <= 1024
        parts, per = device.parts_of(rows)
        assert parts <= 65535
        assert (parts - 1) * per < rows <= parts * per
