"""What CUDA kernels have that the generated tests of test_kernels.py do not reach."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import device

from tensorgrad.core import OPS
from tensorgrad.ops.samples import draw

from .sized.basic import ADAM, SGD, H
from .test_kernels import CUDA, check


@pytest.fixture
def launched(gpu, monkeypatch):
    """The names of the kernels launched since."""
    kind, names = type(gpu.xp.empty(0)), []
    there = device.device(gpu.xp.empty(0))

    def launch(source, name, *rest, **more):
        names.append(name)
        there.launch(source, name, *rest, **more)

    monkeypatch.setitem(device.DEVICES, kind, there._replace(launch=launch))
    return names


# --- updates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "params", "k"), [("sgd", SGD, 3), ("adam", ADAM, 4)])
@pytest.mark.parametrize(("count", "launches"), [(64, 1), (65, 1), (300, 1), (900, 2)])
def test_one_launch_updates_many_parameters(name, params, k, count, launches, gpu, launched):
    """Empty ones, ones of several chunks, and views into other arrays, whose numbers do not begin
    at a multiple of 16 bytes."""
    sizes = [(3, 0, 1, 4096, 70, 33, 9000, 16)[i % 8] if i < 99 else i % 5 for i in range(count)]
    exact = [draw((n + 1,), 0.1, 2.0, i)[i % 2 : n + i % 2] for i, n in enumerate(sizes * k)]
    arrays = []
    for i, a in enumerate(exact):
        whole = np.zeros(a.size + 1, np.float32)
        whole[i % 2 : a.size + i % 2] = a
        arrays.append(gpu.from_host(whole)[i % 2 : a.size + i % 2])
    exact = [gpu.to_host(a).astype(np.float64) for a in arrays]
    CUDA[name](gpu.from_host(H), *arrays, **params)
    assert len(launched) == launches
    OPS[name].ref(H.copy(), *exact, **params)
    for i, (a, wanted) in enumerate(zip(arrays, exact, strict=True)):
        check(f"{name} {i}", gpu.to_host(a), wanted, "float32", 1)


def test_a_list_of_empty_parameters_launches_nothing(gpu, launched):
    empty = [gpu.from_host(np.zeros((0, 3), np.float32)) for _ in range(3)]
    CUDA["sgd"](gpu.from_host(H), *empty, **SGD)
    assert not launched


def test_cupy_launcher_passes_a_struct_as_an_array_of_one():
    given = []
    function = SimpleNamespace(
        get_function=lambda name: lambda grid, block, args, **_: given.extend(args)
    )
    runtime = SimpleNamespace(getDevice=lambda: 0)
    cupy = SimpleNamespace(
        ndarray=np.ndarray, RawModule=lambda **_: function, cuda=SimpleNamespace(runtime=runtime)
    )
    table = np.zeros((), [("at", np.uint64, 3), ("n", np.int32)])
    table["at"] = 5, 6, 7
    launch = device.CupyLauncher(cupy)
    launch(device.Source("update", ["a"]), "a", (1,), (1,), (table[()], np.int32(2)))
    assert type(given[0]) is np.ndarray
    assert given[0].size == 1
    assert given[0].tobytes() == table.tobytes()
    assert type(given[1]) is np.int32
