"""cudasim runs CUDA C correctly on the CPU, and detects mistakes in kernels and launches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from .cudasim import FORWARD, REVERSED, SHUFFLED, KernelError, Module, why_not, xp
from .cudasim import backend as simulated_backend

EXAMPLES = Path(simulated_backend.__file__).with_name("examples")
ORDERS = (FORWARD, REVERSED, SHUFFLED)
needs_compiler = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
DTYPES = {"float": np.float32, "__half": np.float16, "__nv_bfloat16": ml_dtypes.bfloat16}

RIGHT = (EXAMPLES / "right.cu").read_text()
RIGHT_NAMES = (
    "softmax<float>", "softmax<__half>", "softmax<__nv_bfloat16>", "convert<__half, float>",
    "convert<float, __half>", "convert<double, __half>", "convert<__nv_bfloat16, float>",
    "convert<float, __nv_bfloat16>", "convert<double, __nv_bfloat16>", "groups", "votes",
    "last_block", "block_ids",
)  # fmt: skip

WRONG = (EXAMPLES / "wrong.cu").read_text()
WRONG_NAMES = (
    "no_barrier<float>", "no_barrier_in_order", "left_over", "skipped_barrier", "two_barriers",
    "mask_lacks_caller", "mask_names_exited", "mask_at_two_places", "reads_outside_mask",
    "overrun", "asserts", "deep", "fine", "warps_in_step",
)  # fmt: skip

CHECKED = (EXAMPLES / "checked.cu").read_text()
CHECKED_NAMES = ("shared_overrun<float>", "misaligned", "overflow", "shift", "divide")


@pytest.fixture(scope="module")
def right() -> Module:
    return Module(RIGHT, RIGHT_NAMES)


@pytest.fixture(scope="module")
def wrong() -> Module:
    return Module(WRONG, WRONG_NAMES)


@pytest.fixture(scope="module")
def checked() -> Module:
    return Module(CHECKED, CHECKED_NAMES, sanitize=True)


def assert_runs(module: Module) -> None:
    """A good kernel gives the right answer, whatever ran before it in this module."""
    y = np.zeros(64, np.float32)
    module.launch("fine", (1,), (64,), (y, np.float32(2), np.int64(64)))
    np.testing.assert_array_equal(y, 2 * np.arange(64)[::-1])


# ------------------------------------------------------------------------------- right kernels


@needs_compiler
@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("name", DTYPES)
def test_softmax_agrees_with_float64(right: Module, name: str, kind: int) -> None:
    dtype = DTYPES[name]
    right.order(kind, seed=3)
    for n in (1, 31, 32, 33, 100, 257):
        x = np.random.default_rng(n).normal(0, 3, (5, n)).astype(dtype)
        y = np.empty_like(x)
        right.launch(f"softmax<{name}>", (5,), (128,), (x, y, np.int64(n)), smem=16)
        exact = np.exp(x.astype(np.float64) - x.astype(np.float64).max(1, keepdims=True))
        exact /= exact.sum(1, keepdims=True)
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(y.astype(np.float64), exact, rtol=0.51 * eps + 1e-6, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize("kind", ORDERS)
def test_warp_primitives(right: Module, kind: int) -> None:
    right.order(kind)
    y = np.zeros(32, np.int32)
    right.launch("groups", (1,), (32,), (y,))
    lanes = np.arange(32)
    after = np.where(lanes < 16, lanes ^ 1, lanes)  # an odd number of exchanges, and an even one
    np.testing.assert_array_equal(y, after[::-1] + 16000)
    y = np.zeros(48, np.int32)
    right.launch("votes", (1,), (48,), (y,))
    assert (y == 711).all()


@needs_compiler
@pytest.mark.parametrize("kind", ORDERS)
def test_last_block_pattern(right: Module, kind: int) -> None:
    right.order(kind)
    x = np.arange(7 * 50, dtype=np.float32)
    y, done = np.zeros(8, np.float32), np.zeros(1, np.uint32)
    right.launch("last_block", (7,), (32,), (x, y, done, np.int32(50)))
    assert y[0] == x.sum()
    assert done[0] == 7


@needs_compiler
def test_blocks_run_in_three_orders(right: Module) -> None:
    seen = []
    for kind in ORDERS:
        right.order(kind, seed=5)
        y, count = np.zeros(12, np.int32), np.zeros(1, np.int32)
        right.launch("block_ids", (4, 3), (1,), (y, count))
        seen.append(y)
    all_blocks = [x + 100 * z for z in range(3) for x in range(4)]
    assert seen[0].tolist() == all_blocks
    assert seen[1].tolist() == all_blocks[::-1]
    assert sorted(seen[2]) == all_blocks
    assert seen[2].tolist() not in (all_blocks, all_blocks[::-1])


def run_convert(module: Module, source: str, target: str, x: np.ndarray, dtype: type) -> np.ndarray:
    y = np.empty(x.shape, dtype)
    n = x.size
    module.launch(f"convert<{source}, {target}>", (-(-n // 256),), (256,), (x, y, np.int64(n)))
    return y


def assert_same_bits(y: np.ndarray, expected: np.ndarray) -> None:
    """Equal to the last bit and the sign of zero; a NaN may have any bits."""
    nan = np.isnan(expected.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(y.astype(np.float32)), nan)
    bits = f"u{y.itemsize}"
    np.testing.assert_array_equal(y.view(bits)[~nan], expected.view(bits)[~nan])


@needs_compiler
@pytest.mark.parametrize("name", ["__half", "__nv_bfloat16"])
@pytest.mark.filterwarnings("ignore:overflow|invalid value:RuntimeWarning")
def test_storage_types_convert_as_numpy(right: Module, name: str) -> None:
    dtype = DTYPES[name]
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    wide = run_convert(right, name, "float", every, np.float32)
    assert_same_bits(wide, every.astype(np.float32))
    assert_same_bits(run_convert(right, "float", name, wide, dtype), every)

    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    values = wide[np.isfinite(wide)]
    ties = ((values[:-1].astype(np.float64) + values[1:]) / 2).astype(np.float32)
    ties = ties[np.isfinite(ties)]
    floats = np.concatenate(
        [bits.view(np.float32), ties, np.nextafter(ties, np.float32(9)), np.nextafter(ties, -9)]
    ).astype(np.float32)
    assert_same_bits(run_convert(right, "float", name, floats, dtype), floats.astype(dtype))

    # from double: through float, a value just beside a tie would be rounded twice
    exact = ties.astype(np.float64)
    doubles = np.concatenate([exact * (1 + 1e-12), exact * (1 - 1e-12), exact])
    odd = doubles.astype(np.float32).view(np.uint32)
    away = np.abs(odd.view(np.float32).astype(np.float64)) > np.abs(doubles)
    inexact = odd.view(np.float32) != doubles
    once = (
        (np.where(inexact, (odd - away) | 1, odd).astype(np.uint32)).view(np.float32).astype(dtype)
    )
    got = run_convert(right, "double", name, doubles, dtype)
    assert_same_bits(got, doubles.astype(dtype) if name == "__half" else once)


@needs_compiler
def test_many_threads_launch_at_once(right: Module, wrong: Module) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            x = np.random.default_rng(seed).normal(size=(20, 300)).astype(np.float32)
            for _ in range(5):
                y = np.empty_like(x)
                right.launch("softmax<float>", (20,), (64,), (x, y, np.int64(300)), smem=8)
                np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
                assert_runs(wrong)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ------------------------------------------------------------------------------- wrong kernels


@needs_compiler
def test_missing_barrier_shows(wrong: Module) -> None:
    x = np.arange(64, dtype=np.float32)
    for kind in ORDERS:
        wrong.order(kind)
        y = np.zeros(64, np.float32)
        wrong.launch("no_barrier<float>", (1,), (64,), (x, y))
        assert np.isnan(y).any(), "memory of a template's __shared__ array was not poisoned"
        wrong.launch("no_barrier_in_order", (1,), (64,), (y,))
        assert (y == 7).all() == (kind == FORWARD), "the other orders must show it"


@needs_compiler
def test_a_warp_that_runs_ahead_shows_a_missing_barrier(wrong: Module) -> None:
    for kind, right in ((FORWARD, 64), (REVERSED, 32)):
        wrong.order(kind)
        y = np.zeros(64, np.float32)
        wrong.launch("warps_in_step", (1,), (64,), (y,))
        assert (y == 7).sum() == right


@needs_compiler
def test_undefined_values_are_nan(wrong: Module) -> None:
    y = np.zeros(4, np.float32)
    wrong.order(FORWARD)
    wrong.launch("left_over", (4,), (32,), (y,))
    assert y[0] == 7
    assert np.isnan(y[1:]).all()
    y = np.ones(32, np.float32)
    wrong.launch("reads_outside_mask", (1,), (32,), (y,))
    assert np.isnan(y[:16]).all()


@needs_compiler
@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize(
    ("kernel", "threads", "message"),
    [
        ("skipped_barrier", 64, r"line 19 is not reached by every thread of the block: 32 of 64"),
        ("two_barriers", 64, "different __syncthreads"),
        ("mask_lacks_caller", 32, "mask of a warp primitive lacks the caller"),
        ("mask_names_exited", 32, "already exited"),
        ("mask_at_two_places", 32, "waits for ever"),
        ("overrun", 32, "beyond the dynamic shared memory of 64 bytes"),
        ("asserts", 32, r"assertion failed: y\[0\] == 12345.f"),
        ("deep", 1, "bytes of stack"),
        ("fine", 1025, "invalid block"),
        ("fine", 0, "invalid block"),
    ],
)
def test_kernel_error(wrong: Module, kernel: str, threads: int, message: str, kind: int) -> None:
    wrong.order(kind)
    args = (np.zeros(2048, np.float32),)
    if kernel == "fine":
        args += (np.float32(1), np.int64(0))
    with pytest.raises(KernelError, match=message):
        wrong.launch(kernel, (2,), (threads,), args, smem=64)
    assert_runs(wrong)


@needs_compiler
@pytest.mark.parametrize(
    ("kernel", "at", "message"),
    [
        ("shared_overrun<float>", 1, "array index out of bounds"),
        ("misaligned", 1, "misaligned"),
        ("overflow", 3000, "overflow in a multiplication"),
        ("shift", 33, "shift by too many bits"),
        ("divide", 0, "division by zero"),
    ],
)
def test_sanitized_kernel_error(checked: Module, kernel: str, at: int, message: str) -> None:
    y = np.zeros(64, np.int32 if kernel in ("overflow", "shift", "divide") else np.float32)
    good = np.int32(16 if kernel == "shift" else 4 if kernel != "shared_overrun<float>" else 0)
    for _ in range(2):
        with pytest.raises(KernelError, match=message):
            checked.launch(kernel, (1,), (64,), (y, np.int32(at)))
        checked.launch(kernel, (1,), (64,), (y, good))
    assert y.any()


# --------------------------------------------------------------------------- arguments and builds


@needs_compiler
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((2.0, np.int64(4)), r"'fine', argument 1 is a float.*np\.float32\(2\.0\)"),
        ((np.float32(2), 4), r"argument 2 is a int.*np\.int64\(4\)"),
        ((np.float32(2), True), r"np\.bool_\(True\)"),
        ((np.float64(2), np.int64(4)), "float64 scalar of 8 bytes, but .* of 4 bytes"),
        ((np.float32(2), np.int32(4)), "int32 scalar of 4 bytes, but .* of 8 bytes"),
        ((np.int32(2), np.int64(4)), "int32 scalar of 4 bytes, but .* a floating-point value"),
        ((np.ones(1, np.float32), np.int64(4)), "array of float32, but .* takes a floating-point"),
        ((np.float32(2),), "takes 3 arguments, got 2"),
    ],
)
def test_scalar_arguments_are_checked(wrong: Module, args: tuple, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        wrong.launch("fine", (1,), (64,), (np.zeros(64, np.float32), *args))


@needs_compiler
def test_array_arguments_and_launch_shape_are_checked(wrong: Module) -> None:
    rest = (np.float32(1), np.int64(1))
    with pytest.raises(TypeError, match="array of float64, but the kernel takes a pointer"):
        wrong.launch("fine", (1,), (64,), (np.zeros(64), *rest))
    with pytest.raises(TypeError, match=r"float32 scalar of 4 bytes, but .* a pointer"):
        wrong.launch("fine", (1,), (64,), (np.float32(0), *rest))
    with pytest.raises(TypeError, match="is a list"):
        wrong.launch("fine", (1,), (64,), ([0.0], *rest))
    with pytest.raises(TypeError, match="grid must be a tuple"):
        wrong.launch("fine", 1, (64,), (np.zeros(64, np.float32), *rest))
    with pytest.raises(KernelError, match="invalid grid"):
        wrong.launch("fine", (0,), (64,), (np.zeros(64, np.float32), *rest))
    with pytest.raises(KeyError, match="no kernel 'finer'"):
        wrong.launch("finer", (1,), (64,), ())
    with pytest.raises(ValueError, match="order"):
        wrong.order(3)


@needs_compiler
def test_source_has_what_nvrtc_has() -> None:
    uses = ["INFINITY", "NAN", "M_PI", "FLT_MAX", "INT_MAX", "SIZE_MAX"]
    uses += ["std::max(1, 2)", "uint32_t(1)", "max(1, 2.f)"]
    lines = [f"y[{i}] = {use};" for i, use in enumerate(uses)]
    head = 'extern "C" __global__ void k(float* y, __half h, __nv_bfloat16 b, __half* z) {'
    tail = ["y[0] = float(h + h);", "z[0] = 1.f;", "}"]
    code = "\n".join(["#include <cuda_fp16.h>", head, *lines, *tail])
    with pytest.raises(KernelError) as caught:
        Module(code, ("k",))
    text = str(caught.value)
    for i, _ in enumerate(uses):
        assert f"kernel.cu:{3 + i}:" in text, uses[i]
    for word in ("__nv_bfloat16", "deleted function", f"kernel.cu:{4 + len(uses)}:"):
        assert word in text
    with pytest.raises(KernelError, match="cannot include cmath"):
        Module("#include <cmath>", ())


def run_python(code: str, cache: Path) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    env["TENSORGRAD_CUDASIM_CACHE"] = str(cache)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=pipe, stderr=pipe, text=True
    )


GUARDED = """
import numpy as np
from tests.cudasim.shim import Module, guarded
code = 'extern "C" __global__ void k(float* y, int n) { y[n - 1] = 1.f; }'
y = guarded(np.zeros(1000, np.float32))
module = Module(code, ("k",))
module.launch("k", (1,), (1,), (y, np.int32(1000)))
print(y.sum(), flush=True)
"""


@needs_compiler
def test_two_processes_build_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    children = [run_python(GUARDED, cache) for _ in range(2)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (out, child.returncode) == ("1.0\n", 0), err
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".gch", ".so"], "and the turns"
    assert cache.stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_guarded_array_stops_the_process(tmp_path: Path) -> None:
    child = run_python(GUARDED + 'module.launch("k", (1,), (1,), (y, np.int32(1001)))', tmp_path)
    out, _ = child.communicate(timeout=60)
    assert out == "1.0\n"
    assert child.returncode == -signal.SIGSEGV


# ------------------------------------------------------------------------------------ the backend


@needs_compiler
def test_launch_of_a_source() -> None:
    source = simulated_backend.device.Source("wrong", WRONG_NAMES)
    source.code = WRONG
    y = xp.zeros(64, dtype=xp.float32)
    rest = (np.float32(1), np.int64(64))
    simulated_backend.launch(source, "fine", (1,), (64,), (y, *rest))
    np.testing.assert_array_equal(y.get(), np.arange(64)[::-1])
    with pytest.raises(TypeError, match="argument 0 is a ndarray: pass arrays of the device"):
        simulated_backend.launch(source, "fine", (1,), (64,), (y.get(), *rest))


@needs_compiler
def test_a_cotangent_of_another_backend_is_moved():
    import tensorgrad as tg

    from .cudasim import install

    install()
    x = tg.tensor([1.0, 2.0], requires_grad=True, backend="cudasim")
    (x * 2).backward(np.ones(2, np.float32))
    (x * 2).backward([1.0, 1.0])
    assert x.grad.backend == "cudasim"
    assert x.grad.tolist() == [4.0, 4.0]
    assert tg.vjp(lambda x: x * 2, x.detach())[1]([1.0, 1.0])[0].backend == "cudasim"
