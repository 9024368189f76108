"""NVIDIA's own cuBLASLt, where it is installed (pip install nvidia-cublas); no GPU is needed. It
accepts our descriptors, and our constants are those of its headers."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest
from tensorgrad.kernels.cuda import cublas


@pytest.fixture
def true_library():
    try:
        return cublas.library()
    except RuntimeError as error:
        pytest.skip(str(error))


def test_descriptors_take_what_we_set(true_library):
    """The library compares the size of every value with its own."""
    made = {
        "MatmulDesc": (cublas.CUBLAS_COMPUTE_32F, cublas.CUDA_R_32F),
        "MatrixLayout": (cublas.CUDA_R_16BF, 8, 8, 8),
        "MatmulPreference": (),
    }
    for kind, attributes in cublas.ATTRIBUTES.items():
        descriptor = cublas.Descriptor(true_library, kind, *made[kind])
        for attribute in attributes:
            descriptor[attribute] = 1
    for number, compute, scale in cublas.TYPES.values():
        cublas.Descriptor(true_library, "MatmulDesc", compute, scale)
        cublas.Descriptor(true_library, "MatrixLayout", number, 8, 8, 8)
    wrong = ctypes.c_int64(1)
    operation = cublas.Descriptor(true_library, "MatmulDesc", *made["MatmulDesc"])
    status = operation.change(operation.at, 7, ctypes.byref(wrong), 8)
    with pytest.raises(RuntimeError, match="CUBLAS_STATUS_INVALID_VALUE"):
        cublas.check(true_library, status, "a value of the wrong size")
    name = true_library.cublasLtGetStatusName(cublas.CUBLAS_STATUS_NOT_SUPPORTED)
    assert name == b"CUBLAS_STATUS_NOT_SUPPORTED"


def test_names_mean_what_the_headers_say(true_library):
    folder = Path(true_library._name).parent.parent / "include"
    if not (folder / "cublasLt.h").exists():
        pytest.skip(f"no cublasLt.h in {folder}")
    names = ("cublasLt.h", "cublas_api.h", "library_types.h")
    text = "".join((folder / n).read_text() for n in names if (folder / n).exists())
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    meaning = {}
    for name, value in re.findall(r"\b(CU\w+)\s*=\s*([^,}]+)", text):
        value = re.sub(r"\bCU\w+", lambda found: str(meaning.get(found[0], 0)), value)
        meaning[name] = eval(value)
    ours = {
        n: v for n, v in vars(cublas).items() if n.startswith(("CUBLAS_", "CUBLASLT", "CUDA_R"))
    }
    unknown = set(ours) - set(meaning)
    assert all(n.startswith("CUDA_R") for n in unknown)  # in library_types.h, of another wheel
    assert {n: meaning[n] for n in ours if n in meaning} == {
        n: v for n, v in ours.items() if n in meaning
    }
    fields = re.search(r"typedef struct \{([^}]*)\} cublasLtMatmulHeuristicResult_t", text)[1]
    declared = re.findall(r"(\w+) (\w+)(?:\[(\d+)\])?;", fields)
    assert [of for of, *_ in declared] == [
        "cublasLtMatmulAlgo_t", "size_t", "cublasStatus_t", "float", "int"
    ]  # fmt: skip
    assert "uint64_t data[8];\n} cublasLtMatmulAlgo_t" in re.sub(r"\n\s+", "\n", text)
    for name, takes in cublas.SIGNATURES.items():
        said = re.search(rf"\b{name}\s*\(([^;]*)\);", text)[1]
        assert len(said.split(",")) == len(takes), name
