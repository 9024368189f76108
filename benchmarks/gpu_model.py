"""What a training step costs on paper: launches, bytes and floating-point operations of the
networks of gpu_training.py, ours and PyTorch's, and the time that a card needs for them at least.

    python benchmarks/gpu_model.py                          # counts, and prints the table
    python benchmarks/gpu_model.py --write docs/gpu.md      # and puts it there
    python benchmarks/gpu_model.py --beside result.json     # a measured run beside it

Needs no GPU. Ours are counted at the launcher of `tests/cudasim`, in the second step: launches of
our kernels, products of cuBLASLt, and calls of CuPy that compute. Their bytes are those of all
arrays that a launch is given or returns, each once (an optimizer's three that it writes, twice).
Convolution and attention are our own kernels here, and cuDNN's where that is installed. PyTorch's
are the aten ops of its dispatcher, views left out, which is an estimate: on a GPU some of them are
several launches, and a convolution's may copy. Nothing is computed, neither here nor there, so the
sizes are the real ones. Operations are those that the mathematics needs, by formula.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests/cudasim is in a clone only

import gpu_contenders
from gpu_place import Place
from gpu_training import Case, cases
from networks import CNN, MLP, Net, Transformer

# NVIDIA's data sheet of the H200 SXM: memory; float32 without tensor cores. Of the 989 TFLOP/s
# that it gives for bfloat16, about 790 are what large products reach at its clocks under load.
CARD = {"name": "H200", "bytes": 4.8e12, "float32": 67e12, "bfloat16": 790e12}
UPDATES = {"rescale": 2, "square_parts": 1}  # passes of an update
MARKS = ("<!-- counted by benchmarks/gpu_model.py -->", "<!-- end -->")


class Count(NamedTuple):
    """What a step asks of a device; `kinds` has the launches by name, and `products` are the
    multiplications and additions of its matrix products alone (ours)."""

    launches: int
    bytes: int
    kinds: dict[str, int]
    products: int


class Tally:
    """Launches and their bytes, as they come."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.bytes = self.products = 0

    def add(self, name: str, nbytes: int) -> None:
        self.kinds[name] += 1
        self.bytes += nbytes

    def count(self) -> Count:
        kinds = dict(self.kinds.most_common())
        return Count(self.kinds.total(), self.bytes, kinds, self.products)


# --- ours ---------------------------------------------------------------------------------------


def stored(arrays: Iterator[np.ndarray]) -> int:
    """The bytes of some arrays in memory, each once; a broadcast one has those that it repeats."""
    seen = {}
    for a in arrays:
        shape = [n for n, stride in zip(a.shape, a.strides, strict=True) if stride]
        seen[a.__array_interface__["data"][0], a.nbytes] = math.prod(shape) * a.itemsize
    return sum(seen.values())


def ours(net: Net, half: bool) -> Count:
    """The second step of tensorgrad, on arrays of cudasim that nobody computes."""
    from tensorgrad.kernels.cuda import device

    import tensorgrad as tg
    from tests.cudasim import cuda, install, why_not
    from tests.cudasim.array import SimArray, wrap

    if reason := why_not():
        raise SystemExit(reason)
    install()
    tally, real = Tally(), cuda.run

    def launch(source, name, grid, block, args, smem=0):
        arrays = [a._array for a in args if isinstance(a, SimArray)]
        nbytes = stored(iter(arrays))
        tables = [a for a in args if isinstance(a, (np.void, np.ndarray)) and a.dtype.names]
        for table in [a for a in tables if "size" in a.dtype.names]:  # addresses of many arrays
            kind, _, types = name.rstrip(">").partition("<")
            if kind == "step":  # all are read, all but the gradients written
                UPDATES[kind] = 2 * source.step.lists - 1
                types = types.partition(", ")[2]
            widths = [{"float": 4, "double": 8}.get(dtype, 2) for dtype in types.split(", ")]
            passes = sum(widths[:2]) if kind == "cast_all" else UPDATES[kind] * widths[0]
            nbytes += int(table["size"].sum()) * passes
        tally.add(f"{source.name}.cu {name.partition('<')[0]}", nbytes)

    def counted(a, b, out, *more):
        tally.add("cuBLASLt", stored(x._array for x in (a, b, out, *more)))
        tally.products += 2 * out.size * a.shape[-1]
        return out

    class Blas:
        """Results of the right shape, and their count."""

        def matmul(self, a, b, out=None):
            if out is None:
                shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
                out = wrap(np.empty((*shape, a.shape[-2], b.shape[-1]), a.dtype))
            return counted(a, b, out)

        def fused(self, epilogue, a, b, bias=None, aux=None):
            out = wrap(np.empty((a.shape[0], b.shape[1]), a.dtype))
            return counted(a, b, out, *[x for x in (bias, aux) if x is not None])

    def run(function, *args, **kwargs):
        result = real(function, *args, **kwargs)
        given, made = list(cuda.arrays_in((args, kwargs))), list(cuda.arrays_in(result))
        name = getattr(function, "__name__", str(function))
        views = all(any(np.may_share_memory(y, a) for a in given) for y in made)
        writes = name in ("setitem", "at") or kwargs.get("out") is not None
        if name not in ("empty", "empty_like") and (writes or (made and not views)):
            tally.add(f"CuPy {name}", stored(iter([*given, *made])))
        return result

    fake = device.Device(xp=device.DEVICES[SimArray].xp, launch=launch, blas=Blas())
    place = Place(tiny=True)
    place.backend = "cudasim"
    before = tg.backend.default().name
    with ExitStack() as stack:
        stack.callback(tg.set_backend, before)
        stack.enter_context(mock.patch.dict(device.DEVICES, {SimArray: fake}))
        stack.enter_context(mock.patch.object(cuda, "poison", lambda array: array))
        stack.enter_context(np.errstate(all="ignore"))
        step = gpu_contenders.tensorgrad_net(net, half, place).step
        step()
        tally.__init__()
        stack.enter_context(mock.patch.object(cuda, "run", run))
        step()
        return tally.count()


# --- PyTorch's ----------------------------------------------------------------------------------


def theirs(net: Net, half: bool) -> Count:
    """The second step of eager PyTorch with its fused optimizer, on tensors without memory."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    tally = Tally()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            idle = func.is_view or name in ("detach", "empty", "empty_like", "_unsafe_view")
            if func.namespace == "aten" and not idle:
                leaves = tree_leaves((args, kwargs, result))
                tensors = {id(t): t for t in leaves if isinstance(t, torch.Tensor)}
                sizes = [t.numel() * t.element_size() for t in tensors.values()]
                if name.startswith("_fused_adam"):  # p, m and v are read and written
                    sizes += [
                        t.numel() * t.element_size() for part in (0, 2, 3) for t in args[part]
                    ]
                tally.add(name, sum(sizes))
            return result

    net.draw()
    stays = mock.patch.object(torch.nn.Module, "to", lambda model, device: model)
    with stays, FakeTensorMode(allow_non_fake_inputs=True):
        step = gpu_contenders.torch_net(net, half, Place(tiny=True)).step
        step()
        with Counting():
            step()
    return tally.count()


# --- the mathematics ----------------------------------------------------------------------------


def operations(net: Net) -> int:
    """Multiplications and additions of a step: of a product forward, and of the gradients of both
    its operands; data needs none. Of attention 2 products forward, 5 backward."""
    if isinstance(net, MLP):
        rows = net.x[0]
        return sum(2 * rows * n * m * (3 if i else 2) for i, (n, m, _) in enumerate(net.layers()))
    if isinstance(net, CNN):
        (n, c, side, _), (a, b) = net.x, net.filters
        first, second = (side - 2) ** 2 * a * c * 9, (side - 4) ** 2 * b * a * 9
        dense = sum(k * m for k, m in (net.shapes()[4], net.shapes()[6]))
        return 2 * n * (2 * first + 3 * second + 3 * dense)
    assert isinstance(net, Transformer)
    n, length, width = net.x
    weights = sum(math.prod(shape) for shape in net.shapes() if len(shape) == 2)
    attention = 7 * 2 * n * length**2 * width * net.blocks
    return 3 * 2 * n * length * weights + attention


def floors(count: Count, flops: int, half: bool) -> dict[str, float]:
    """Microseconds that the card needs at least to move the bytes, and to do the operations."""
    speed = CARD["bfloat16" if half else "float32"]
    return {"bytes": count.bytes / CARD["bytes"] * 1e6, "operations": flops / speed * 1e6}


# --- the table ----------------------------------------------------------------------------------


def model_of(case: Case) -> dict[str, Any]:
    """All of one case."""
    flops = operations(case.net)
    row: dict[str, Any] = {"name": case.name, "operations": flops}
    for who, count in (("tensorgrad", ours), ("torch", theirs)):
        found = count(case.net, case.half)
        row[who] = {**found._asdict(), "floors_us": floors(found, flops, case.half)}
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: a line a case."""
    name = CARD["name"]
    lines = [
        f"| a step of | launches, ours | PyTorch's | MB, ours | PyTorch's | GFLOP | {name}, us: "
        "bytes, ours | PyTorch's | operations |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        a, b = row["tensorgrad"], row["torch"]
        cells = [row["name"], a["launches"], b["launches"]]
        cells += [f"{x['bytes'] / 1e6:,.0f}" for x in (a, b)]
        cells += [f"{row['operations'] / 1e9:,.3g}" if row["operations"] < 1e12 else
                  f"{row['operations'] / 1e9:,.0f}"]  # fmt: skip
        cells += [f"{x['floors_us']['bytes']:,.0f}" for x in (a, b)]
        cells += [f"{a['floors_us']['operations']:,.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def beside(rows: list[dict[str, Any]], measured: dict[str, Any]) -> list[str]:
    """How far a measured run is above its floor, the larger of the two, and what a launch costs
    where there are so many that they are the limit."""
    known = {row["name"]: row for row in rows}
    lines = ["| a step of | | us | of its floor | us a launch |", "|---|---|--:|--:|--:|"]
    for case in [case for case in measured["cases"] if case["name"] in known]:
        for got in case["rows"]:
            who = got["framework"].split()[0]
            if who not in ("tensorgrad", "torch"):
                continue
            model, us = known[case["name"]][who], got["median"] * 1e3
            floor = max(model["floors_us"].values())
            cells = [case["name"], got["framework"], f"{us:,.0f}", f"{us / floor:.1f}"]
            lines.append("| " + " | ".join([*cells, f"{us / model['launches']:.2f}"]) + " |")
    return lines


def written(path: Path, lines: list[str]) -> None:
    """Replace what stands between the marks of a document."""
    text = path.read_text()
    before, _, rest = text.partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise SystemExit(f"{path} has no lines {MARKS[0]} and {MARKS[1]}")
    path.write_text(before + "\n".join([MARKS[0], "", *lines, "", MARKS[1]]) + after)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument("--tiny", action="store_true", help="small networks: does it run")
    parser.add_argument("--kinds", action="store_true", help="launches by name, too")
    parser.add_argument("--write", type=Path, help="the document to put the table into")
    parser.add_argument("--beside", type=Path, help="a JSON file of gpu_training.py")
    options = parser.parse_args()
    every = [c for c in cases(options.tiny) if options.only in c.name]
    rows = [model_of(case) for case in every if isinstance(case.net, (MLP, CNN, Transformer))]
    print("\n".join(table(rows)))
    for row in rows if options.kinds else []:
        for who in ("tensorgrad", "torch"):
            kinds = ", ".join(f"{n} {name}" for name, n in row[who]["kinds"].items())
            print(f"\n{row['name']}, {who}: {kinds}")
    if options.write:
        written(options.write, table(rows))
    if options.beside:
        print("\n".join(["", *beside(rows, json.loads(options.beside.read_text()))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
