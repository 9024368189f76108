"""Every CUDA kernel through NVRTC, the compiler that CuPy uses; no GPU and no driver are needed.

g++ runs the same text in `cudasim`, but it knows host headers that NVRTC has not, and nothing of
registers. Here each kernel is compiled for sm_80 and sm_90: there may be no warning, nothing may be
spilled from registers to memory, and kernels for floats and halves may not compute in double.
"""

import importlib
import io
import re
from pathlib import Path

import pytest
from tensorgrad.kernels.cuda import update
from tensorgrad.kernels.steps import step_of

ROOT = Path(__file__).parent.parent
FAMILIES = sorted(p.stem for p in (ROOT / "kernels/cuda").glob("*.cu"))
SOURCES = {f: importlib.import_module(f"tensorgrad.kernels.cuda.{f}").SOURCE for f in FAMILIES}
# Of formulas, those with the most states and numbers.
ALL_GIVEN = {"maximize": True, "l1": 0.1, "weight_decay": 0.1, "decoupled": True}
BETAS = {**ALL_GIVEN, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
STEPS = {
    "adam": {**BETAS, "amsgrad": True},
    "radam": BETAS,
    "nadam": {**BETAS, "momentum_decay": 4e-3},
    "rmsprop": {**ALL_GIVEN, "alpha": 0.9, "eps": 1e-8, "momentum": 0.9, "centered": True},
}
SOURCES |= {f: update.generated(step_of(f, options)) for f, options in STEPS.items()}
MOST_REGISTERS = 64  # with more, a multiprocessor holds fewer than half of its 2048 threads
KERNEL = r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)"
IN_TILES = {"attention", "conv"}  # accumulate tiles in registers: many registers, few threads
IN_DOUBLE = {"update", *STEPS}  # bias corrections, from hyper-parameters that are doubles


def _nvrtc():
    """CuPy's binding of NVRTC, or None and why there is none."""
    try:
        from cupy._core import core
        from cupy.cuda import compiler, nvrtc
    except Exception as error:  # CuPy raises several types for a library it misses
        return None, f"no CuPy: {error}"

    def build(code, names, arch):
        """PTX, {name: mangled name} and what the compiler says, from machine code being made."""
        options = core.assemble_cupy_compiler_options(()) + ("-ftz=true",)
        program = compiler._NVRTCProgram(
            code, "kernel.cu", (), (), name_expressions=names, method="cubin"
        )
        log = io.StringIO()
        options += (f"-arch=sm_{arch}", "--device-as-default-execution-space")
        _, mangled = program.compile((*options, "--ptxas-options=-v"), log)
        return nvrtc.getPTX(program.ptr).decode(), mangled, log.getvalue()

    try:
        build("#include <cuda_bf16.h>\n__global__ void k() {}", ("k",), 80)
    except Exception as error:  # no NVRTC, or no CUDA headers
        return None, f"no NVRTC: {str(error).splitlines()[0]}"
    return build, ""


BUILD, WHY_NOT = _nvrtc()
needs_nvrtc = pytest.mark.skipif(BUILD is None, reason=WHY_NOT)


def usage(log):
    """Mangled kernel name -> (registers, bytes spilled), from the report of ptxas."""
    found = {}
    for entry in log.split("Compiling entry function '")[1:]:
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", entry))
        found[entry.split("'")[0]] = int(re.search(r"Used (\d+) registers", entry)[1]), spilled
    return found


@needs_nvrtc
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("family", [*FAMILIES, *STEPS])
def test_no_warnings_no_spills_and_no_double_for_floats(family, arch):
    source = SOURCES[family]
    ptx, mangled, log = BUILD(source.code, source.names, arch)
    assert "warning" not in log, log
    used = usage(log)
    for name in source.names:
        registers, spilled = used[mangled[name]]
        assert not spilled, f"{name} spills {spilled} bytes"
        most = 255 if family in IN_TILES else MOST_REGISTERS
        if family in STEPS and "double" in name:
            most = 80  # with every option at once: three blocks of 256 threads instead of four
        assert registers <= most, f"{name} takes {registers} registers"
    for name in source.names if family not in IN_DOUBLE else ():
        double = in_double(ptx, mangled[name])
        assert not double or "double" in name, f"{name} computes in double: {double[0]}"


def in_double(ptx, name):
    """The lines of a kernel that compute in double."""
    entry = ptx.split(f".entry {name}(")[1].split("\n}")[0]
    return [line.strip() for line in entry.splitlines() if ".f64" in line]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_is_named(family):
    """A template that no name instantiates would not be compiled by any test."""
    kernels = set(re.findall(KERNEL, SOURCES[family].code))
    names = [*SOURCES[family].names, *(SOURCES["adam"].names if family == "update" else ())]
    assert kernels == {name.split("<")[0] for name in names}


def test_a_mistake_is_found():
    if BUILD is None:
        pytest.skip(WHY_NOT)
    code = "__global__ void k(float* y) { int unused; y[0] = y[0] * 0.1; }"
    ptx, mangled, log = BUILD(code, ("k",), 80)
    assert "warning" in log
    assert in_double(ptx, mangled["k"])
