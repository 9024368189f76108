"""NVIDIA's own cuDNN, where it and its frontend are installed: for every graph that our kernels
make there is an engine, on GPUs that are described to it, none of which need be here."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorgrad.kernels.cuda import cudnn

# GPUs from tables of NVIDIA, in the words of `cudnn.create_device_properties(0).serialize()`.
H100 = {
    "deviceName": "NVIDIA H100 80GB HBM3",
    "cudaDeviceId": 0,
    "deviceVer": 900,
    "driverVer": 13000,
    "cudartVer": 13000,
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "oversizedSharedMemoryPerBlock": 0,
    "reservedSharedMemoryPerBlock": 1024,
    "maxRegistersPerSM": 65536,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 2619000,
    "memoryBusWidth": 5120,
    "l2CacheSize": 50 << 20,
    "totalGlobalMem": 80 << 30,
}
A100 = {
    **H100,
    "deviceName": "NVIDIA A100-SXM4-80GB",
    "deviceVer": 800,
    "multiProcessorCount": 108,
    "maxSharedMemoryPerBlockOptin": 166912,
    "smClockRateKHz": 1410000,
    "memClockRateKHz": 1593000,
    "l2CacheSize": 40 << 20,
}
GPUS = {"sm_80": A100, "sm_90": H100}
# A driver that loads what engines compile while a plan is made, and knows of no GPU.
LOADS = """cuKernelGetFunction cuLibraryGetKernel cuLibraryLoadData cuLibraryLoadFromFile
    cuModuleGetFunction cuModuleLoadData""".split()
DOES = """cuKernelSetAttribute cuLibraryUnload cuModuleUnload cuTensorMapEncodeIm2col
    cuTensorMapEncodeTiled""".split()
FAILS = """cuCtxGetCurrent cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuDeviceGet
    cuDeviceGetCount cuDriverGetVersion cuGetErrorName cuGetErrorString cuKernelGetAttribute
    cuLaunchCooperativeKernel cuLaunchKernel cuLaunchKernelEx cuLinkAddData cuLinkComplete
    cuLinkCreate cuLinkDestroy cuOccupancyMaxPotentialClusterSize cuStreamGetCtx""".split()


def driver(folder):
    """That driver, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler to make up a CUDA driver with")
    lines = [f"int {name}(void **made) {{ *made = (void *)64; return 0; }}" for name in LOADS]
    lines += [f"int {name}(void) {{ return {100 * (name in FAILS)}; }}" for name in DOES + FAILS]
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text("\n".join(lines))
    named = ["-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)]
    subprocess.run([compiler, "-shared", "-fPIC", *named], check=True)
    return library


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Makes plans in a process of their own, as nothing else should meet such a driver."""
    if isinstance(cudnn.library(), str):
        pytest.skip(cudnn.library())
    path = driver(tmp_path_factory.mktemp("driver"))

    def make(cases, tf32=False):
        done = subprocess.run(
            [sys.executable, "-c", "from tests import test_cudnn_library as t; t.main()"],
            input=json.dumps({"driver": str(path), "cases": cases, "tf32": tf32}),
            capture_output=True, text=True, cwd=Path(__file__).parent.parent, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return [tuple(found) for found in json.loads(done.stdout.splitlines()[-1])]

    return make


def main():
    """In that process: a plan for each case, as name and workspace, or the reason why not."""
    asked = json.load(sys.stdin)
    ctypes.CDLL(asked["driver"], ctypes.RTLD_GLOBAL)
    import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype NumPy knows)
    from tensorgrad.kernels.cuda import cublas

    library, cublas.tf32 = cudnn.library(), asked["tf32"]

    def array(described):
        if described is None:
            return None
        shape, dtype, order = described
        x = np.empty([shape[i] for i in order], dtype)
        return x.transpose(np.argsort(order))

    found = []
    for gpu, op, inputs, outputs, how in asked["cases"]:
        facts = GPUS[gpu]
        where = {"device_property": library.create_device_properties(json.dumps(facts))}
        where["sm_version"] = facts["deviceVer"] // 10
        arrays = [[array(x) for x in xs] for xs in (inputs, outputs)]
        try:
            plan = cudnn.Plan(library, op, *arrays, how, **where)
            found.append((plan.name, plan.workspace, len(plan.tensors)))
        except RuntimeError as error:
            found.append((None, str(error), 0))
    print(json.dumps(found))


def lies(shape, dtype, order=None):
    return shape, dtype, order or list(range(len(shape)))


def convolutions(gpu, dtype, x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """conv2d with and without a bias, and both of its gradients."""
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    ]
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    y = lies((x[0], w[0], *out), dtype)
    x, b, w = lies(x, dtype), lies((1, w[0], 1, 1), dtype), lies(w, dtype)
    return [
        (gpu, "conv2d", [x, w, None], [y], how),
        (gpu, "conv2d", [x, w, b], [y], how),
        (gpu, "conv2d_input", [y, w], [x], how),
        (gpu, "conv2d_weight", [x, y], [w], how),
    ]


GEOMETRIES = [
    ((8, 64, 56, 56), (64, 64, 3, 3), {"padding": (1, 1)}),
    ((8, 3, 64, 64), (16, 3, 7, 7), {"padding": (3, 3), "stride": (2, 2)}),
    ((2, 5, 9, 11), (7, 5, 3, 2), {"stride": (2, 1), "dilation": (1, 2), "padding": (2, 0)}),
    ((4, 32, 14, 14), (32, 1, 3, 3), {"padding": (1, 1)}),
    ((4, 32, 14, 14), (64, 8, 3, 3), {"padding": (1, 1), "stride": (2, 2)}),
    ((1, 1, 28, 28), (8, 1, 5, 5), {}),
    ((2, 256, 7, 7), (512, 256, 1, 1), {"stride": (2, 2)}),
    ((1, 2, 2, 3), (3, 2, 1, 1), {"padding": (3, 4)}),
]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_convolutions_have_an_engine(dtype, gpu, planned):
    cases = [c for x, w, how in GEOMETRIES for c in convolutions(gpu, dtype, x, w, **how)]
    for case, (name, said, tensors) in zip(cases, planned(cases), strict=True):
        assert name, (case, said)
        assert said <= cudnn.WORKSPACE
        assert tensors == sum(x is not None for x in case[2]) + 1


def attentions(gpu, dtype, batch, heads, rows, keys, depth, columns, causal, order=None):
    """Attention and its gradients; with another order of axes in memory."""
    q, k, v, y = [
        lies((batch, heads, n, width), dtype, order)
        for n, width in ((rows, depth), (keys, depth), (keys, columns), (rows, columns))
    ]
    lse = lies((batch, heads, rows, 1), "float32")
    how = {"attn_scale": 0.3, **({"diagonal_band_right_bound": 0} if causal else {})}
    return [
        (gpu, "attention", [q, k, v], [y, lse], how),
        (gpu, "attention_grad", [y, q, k, v, y, lse], [q, k, v], how),
    ]


BESIDE = [0, 2, 1, 3]  # heads side by side
ATTENTIONS = [
    (4, 8, 512, 512, 64, 64, True, BESIDE),
    (2, 3, 100, 65, 64, 64, False, None),
    (1, 1, 64, 64, 8, 8, True, None),
    (1, 2, 129, 64, 72, 40, True, BESIDE),
    (2, 2, 64, 200, 128, 128, False, BESIDE),
]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_has_an_engine(dtype, gpu, planned):
    cases = [c for how in ATTENTIONS for c in attentions(gpu, dtype, *how)]
    for case, (name, said, tensors) in zip(cases, planned(cases), strict=True):
        assert name, (case, said)
        assert said <= cudnn.WORKSPACE
        assert tensors == len(case[2]) + len(case[3])


def test_tf32_is_a_switch(planned):
    """Otherwise float32 is computed by other engines, halves by the same ones."""
    for gpu in GPUS:
        for dtype, same in (("float32", False), ("float16", True)):
            cases = convolutions(gpu, dtype, *GEOMETRIES[0][:2], padding=(1, 1))
            for exact, rounded in zip(planned(cases), planned(cases, True), strict=True):
                assert (exact[0] == rounded[0]) == same


def test_the_gradient_of_long_attention(planned):
    """All scores would take 4 GiB; on Hopper there is another way."""
    long = (8, 16, 4096, 4096, 64, 64, True, BESIDE)
    cases = [attentions(gpu, "float16", *long)[1] for gpu in GPUS]
    ampere, hopper = planned(cases)
    assert ampere[0] is None
    assert "workspace" in ampere[1]
    assert hopper[1] < cudnn.WORKSPACE


def test_what_has_no_engine_is_said(planned):
    (name, said, _), (wide, too, _) = planned([
        attentions("sm_80", "float16", 1, 1, 64, 64, 256, 256, False)[1],
        attentions("sm_90", "float16", 1, 1, 64, 64, 12, 12, False)[0],
    ])  # fmt: skip
    assert name is wide is None
    assert "hidden_dim" in said
    assert "multiple of 8" in too
