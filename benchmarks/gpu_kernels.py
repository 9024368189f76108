"""Ops of tensorgrad one at a time, beside what the card can do: the speed of a copy in its memory
and of its fastest matrix product, both measured in the same run.

An op is counted by the bytes it has to read and write, each once, or by its multiplications and
additions; what an implementation moves besides makes its fraction smaller. Events surround as many
calls as fill 20 ms, so a short kernel's figure holds the launch too, as in training.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gpu_place import Budget, Place, calls_to_fill, within

COLUMNS = 1024  # of the matrices whose rows are reduced; classes of the cross-entropy, too


class Work(NamedTuple):
    """A call and what it costs at least: bytes moved, or floating-point operations. `peer` makes
    the same call of PyTorch's, or gives None where that is not."""

    name: str
    call: Callable[[], object]
    cost: float
    peer: Callable[[Place], Callable[[], object] | None] | None = None


class Arrays:
    """Arrays on the device, of numbers drawn there."""

    def __init__(self, place: Place, dtype: str):
        from tensorgrad import backend
        from tensorgrad.core import OPS

        self.home, self.ops = backend.get(place.backend), OPS
        self.dtype = backend.dtype_of(dtype)
        self.state = self.home.from_host(np.array([1, 0], np.uint64))

    def normal(self, *shape: int) -> Any:
        """Numbers within -1 and 1."""
        size = int(np.prod(shape))
        words = self.ops["random_bits"](self.state, size=size)
        numbers = words.astype("float32") * np.float32(2**-31) - np.float32(1)
        return numbers.astype(self.dtype).reshape(shape)

    def integers(self, below: int, size: int) -> Any:
        """Whole numbers from 0 on."""
        return (self.ops["random_bits"](self.state, size=size) % np.uint32(below)).astype(np.int64)


def streaming(on: Arrays, nbytes: int) -> Iterator[Work]:
    """Ops that are limited by memory, on arrays of so many bytes."""
    ops, xp, n = on.ops, on.home.xp, nbytes // on.dtype.itemsize
    x = on.normal(n // COLUMNS, COLUMNS)
    g, row = on.normal(*x.shape), on.normal(COLUMNS)
    read, rows = x.nbytes, len(x)
    labels = on.integers(COLUMNS, rows)
    one = on.normal(rows)
    softmax = ops["softmax"](x, axis=-1)
    _, mean, rstd = ops["layer_norm"](x, row, row)
    images = x.reshape(-1, 16, 8, 8)
    channels = on.normal(16)
    _, channel_mean, channel_rstd = ops["batch_norm"](images, channels, channels)
    moments, h = [xp.zeros_like(x), xp.zeros_like(x)], on.home.from_host(np.array([1e-9, 1.0]))
    ids = on.integers(rows, rows)
    every = (True, True, True)

    def work(name, times, call):
        return Work(name, call, times * read)

    yield work("add", 3, lambda: ops["add"](x, g))
    yield work("add a row", 2, lambda: ops["add"](x, row))
    yield work("multiply by 2", 2, lambda: ops["multiply"](x, 2.0))
    yield work("sqrt", 2, lambda: ops["sqrt"](softmax))
    yield work("accumulate", 3, lambda: ops["accumulate"](g, x))
    yield work("sum", 1, lambda: ops["sum"](x))
    yield work("sum of rows", 1, lambda: ops["sum"](x, axis=-1))
    yield work("sum of columns", 1, lambda: ops["sum"](x, axis=0))
    yield work("relu", 2, lambda: ops["relu"](x))
    yield work("gelu", 2, lambda: ops["gelu"](x))
    yield work("gelu_grad", 3, lambda: ops["gelu_grad"](g, x))
    yield work("dropout", 2, lambda: ops["dropout"](x, on.state, p=0.1))
    yield work("softmax", 2, lambda: ops["softmax"](x, axis=-1))
    yield work("softmax_grad", 3, lambda: ops["softmax_grad"](g, softmax, axis=-1))
    yield work("cross-entropy", 1, lambda: ops["softmax_cross_entropy"](x, labels))
    grad = ops["softmax_cross_entropy_grad"]
    yield work("cross-entropy grad", 2, lambda: grad(one, x, labels))
    yield work("layer_norm", 2, lambda: ops["layer_norm"](x, row, row))
    norm_grad = ops["layer_norm_grad"]
    yield work("layer_norm_grad", 3, lambda: norm_grad(g, x, row, mean, rstd, needs=every))
    yield work("rms_norm", 2, lambda: ops["rms_norm"](x, row))
    yield work("batch_norm", 2, lambda: ops["batch_norm"](images, channels, channels))
    batch_grad = ops["batch_norm_grad"]
    seen = (g.reshape(images.shape), images, channels, channel_mean, channel_rstd)
    yield work("batch_norm_grad", 3, lambda: batch_grad(*seen, needs=every))
    yield work(
        "max_pool2d", 1.25 + 1 / on.dtype.itemsize, lambda: ops["max_pool2d"](images, size=(2, 2))
    )
    yield work("embedding", 2, lambda: ops["embedding"](x, ids))
    from tensorgrad.ops.update import _ADAM, _SGD

    step, sgd = ops["optimizer_step"], {"formula": "sgd", "options": {**_SGD, "momentum": 0.9}}
    yield work("SGD, momentum", 5, lambda: step(h, x, g, moments[0], **sgd))
    adam = {"formula": "adam", "options": _ADAM}
    update = work("Adam", 7, lambda: step(h, x, g, *moments, **adam))
    yield update._replace(peer=partial(torch_adam, x.dtype.name, x.size))


def products(on: Arrays, tiny: bool) -> Iterator[Work]:
    """Ops that are limited by arithmetic."""
    ops = on.ops
    n, m, k = (8, 8, 8) if tiny else (8192, 2048, 2048)
    x, w, b = on.normal(n, k), on.normal(k, m), on.normal(m)
    y = ops["dense"](x, w, b, activation="relu")
    yield Work("dense, relu", lambda: ops["dense"](x, w, b, activation="relu"), 2 * n * m * k)
    needs = {"activation": "relu", "needs": (True, True, True)}
    yield Work("dense_grad", lambda: ops["dense_grad"](y, x, w, y, **needs), 4 * n * m * k)
    batch, heads, t, d = (1, 1, 8, 8) if tiny else (8, 16, 1024, 64)
    q = on.normal(batch, heads, t, d)
    pairs = 2 * batch * heads * t * t * d  # of one product
    attend, back = ops["scaled_dot_product_attention"], ops["attention_grad"]
    out, lse = attend(q, q, q)
    yield Work("attention", lambda: attend(q, q, q), 2 * pairs)
    seen, how = (out, q, q, q, None, out, lse), {"causal": False, "scale": None}
    every = (True, True, True, False)
    yield Work("attention grad", lambda: back(*seen, **how, needs=every), 5 * pairs)
    images, channels, side = (2, 4, 6) if tiny else (64, 64, 56)
    x = on.normal(images, channels, side, side)
    w = on.normal(channels, channels, 3, 3)
    flops = 2 * images * (channels * side * 3) ** 2
    yield Work("conv2d 3 x 3", lambda: ops["conv2d"](x, w, padding=(1, 1)), flops)


def speed(place: Place, work: Work, framework: str = "cupy") -> dict[str, float]:
    """Seconds of a call, and how much of its cost is done in one."""
    timed = place.clock(framework)
    calls, _ = calls_to_fill(timed, work.call, 0.0 if place.tiny else 0.02)
    seconds = statistics.median([timed(work.call, calls) for _ in range(5)])
    return {"us": seconds * 1e6, "per_second": work.cost / seconds}


def ceilings(place: Place) -> dict[str, dict[str, float]]:
    """Bytes per second of a copy within the memory, read and written; and operations per second
    of the fastest square product, tensorgrad's or PyTorch's, for each dtype."""
    from tensorgrad.core import OPS

    found = {}
    for dtype in ("float32", "bfloat16"):
        on = Arrays(place, dtype)
        if dtype == "float32":
            x = on.normal((1 << 12 if place.tiny else 1 << 30) // 4)
            out = on.home.xp.empty_like(x)
            found["copy"] = speed(place, Work("copy", copying(place, out, x), 2 * x.nbytes))
            del x, out
        n = 16 if place.tiny else 8192
        a, b = on.normal(n, n), on.normal(n, n)
        ours = speed(place, Work("product", lambda a=a, b=b: OPS["matmul"](a, b), 2 * n**3))
        theirs = torch_product(place, dtype, n)
        found[f"product {dtype}"] = max(ours, theirs or ours, key=lambda s: s["per_second"])
        found[f"product {dtype}"]["tensorgrad"] = ours["per_second"]
    return found


def copying(place: Place, out: Any, x: Any) -> Callable[[], object]:
    if place.tiny:
        return lambda: np.copyto(out, x)
    return lambda: out.data.copy_from_device_async(x.data, x.nbytes)


def torch_product(place: Place, dtype: str, n: int) -> dict[str, float] | None:
    """PyTorch's, or None where it is not."""
    torch = torch_on(place)
    if torch is None:
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.rand(n, n, device=place.torch).to(getattr(torch, dtype))
    return speed(place, Work("product", lambda: a @ a, 2 * n**3), "torch")


def torch_adam(dtype: str, size: int, place: Place) -> Callable[[], object] | None:
    """The step of PyTorch's fused Adam on one tensor, or None where it is not."""
    torch = torch_on(place)
    if torch is None:
        return None
    p = torch.zeros(size, device=place.torch, dtype=getattr(torch, dtype), requires_grad=True)
    p.grad = torch.full_like(p, 1e-3)
    return torch.optim.Adam([p], lr=1e-9, fused=True).step


def torch_on(place: Place) -> Any:
    """PyTorch, where it is installed and sees the place."""
    try:
        import torch
    except ImportError:
        return None
    return torch if place.tiny or torch.cuda.is_available() else None


def measured(place: Place, top: dict[str, Any], budget: Budget, reserve: float) -> list[dict]:
    """A row an op, dtype and size, as far as the time goes that is not reserved."""
    rows, sizes = [], [1 << 14] if place.tiny else [256 << 20, 64 << 20]
    for size in sizes:
        for dtype in ("float32", "bfloat16"):
            on = Arrays(place, dtype)
            families = {"copy": streaming(on, size)}
            if size == sizes[0]:
                families[f"product {dtype}"] = products(on, place.tiny)
            for limit, works in families.items():
                facts = {"limit": limit, "dtype": dtype}
                facts["mib"] = size / 2**20 if limit == "copy" else None
                for row in of_family(place, works, top[limit]["per_second"], budget, reserve):
                    rows.append({**facts, **row})
                place.emptied("tensorgrad")
    return rows


def of_family(
    place: Place, works: Iterator[Work], ceiling: float, budget: Budget, reserve: float
) -> Iterator[dict]:
    """The rows of some ops. One that fails says so, and the others go on."""
    if budget.left() < reserve:
        yield {"name": "all of them", "error": "no time left"}
        return
    try:
        for work in works:
            try:
                with within(60):
                    found = speed(place, work)
                    theirs = beside(place, work)
                yield {
                    "name": work.name,
                    **found,
                    "fraction": found["per_second"] / ceiling,
                    **theirs,
                }
            except Exception as error:
                yield {"name": work.name, "error": said(error)}
    except Exception as error:  # while arrays were made
        yield {"name": "all that follow", "error": said(error)}


def beside(place: Place, work: Work) -> dict[str, float]:
    """How long PyTorch takes; a peer that fails is left out."""
    try:
        call = work.peer(place) if work.peer is not None else None
        return (
            {}
            if call is None
            else {"torch_us": speed(place, work._replace(call=call), "torch")["us"]}
        )
    except RuntimeError:
        return {}


def said(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
