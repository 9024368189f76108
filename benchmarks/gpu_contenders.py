"""The frameworks of gpu_training.py: each trains a network of networks.py on the GPU.

Weights and their updates are float32. With `half` products are computed in bfloat16: by autocast,
in JAX by casting weights and inputs. Without, all compute in plain float32, TF32 off. PyTorch and
tensorgrad run the same loop with the same fused Adam.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from itertools import cycle
from types import SimpleNamespace
from typing import Any, NamedTuple

from gpu_place import Place, Timed
from networks import LSTM, OPTIMIZERS, Net, functional, loss_of


class Contender(NamedTuple):
    """A network at its initial weights: one step, the loss of the last one, and a clock."""

    step: Callable[[], object]
    loss: Callable[[], float]
    timed: Timed


def kept_loss(work: Callable[[Any, Any], Any], batches: Any) -> tuple[Callable, Callable]:
    """A step on the next batch, and the loss of the last step."""
    kept: list = []

    def step():
        kept[:] = [work(*next(batches))]

    return step, lambda: float(kept[0].item())


# --- tensorgrad ---------------------------------------------------------------------------------


def tensorgrad_net(net: Net, half: bool, place: Place, graphed: bool = False) -> Contender:
    import tensorgrad as tg
    from tensorgrad import losses, optim

    if graphed and not hasattr(tg, "cuda"):
        raise ImportError("this tensorgrad has no tg.cuda.graphed")
    if graphed and place.tiny:
        raise ImportError("CUDA graphs need a GPU")
    tg.set_backend(place.backend)
    kind, options = OPTIMIZERS[net.optimizer]
    model = net.tensorgrad()()
    model.set_weights(net.params)
    optimizer = getattr(optim, kind)(model.parameters(), lr=net.lr, **options)
    data = [tuple([tg.asarray(a, backend=place.backend) for a in batch]) for batch in net.data]

    def work(x, t):
        with tg.autocast("bfloat16" if half else None):
            loss = losses.cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    if graphed:
        work = tg.cuda.graphed(work, data[0])
    return Contender(*kept_loss(work, cycle(data)), place.clock("cupy"))


# --- PyTorch ------------------------------------------------------------------------------------


def torch_net(net: Net, half: bool, place: Place, mode: str = "eager") -> Contender:
    """Eager, compiled, or all of a step in one CUDA graph."""
    import torch
    from torch.nn import functional as F

    if not place.tiny and not torch.cuda.is_available():
        raise ImportError("this PyTorch sees no GPU")
    if place.tiny and mode != "eager":
        raise ImportError("not in --tiny")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    device, (kind, options) = torch.device(place.torch), OPTIMIZERS[net.optimizer]
    model = net.torch()().to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    data = [tuple([torch.as_tensor(a, device=device) for a in batch]) for batch in net.data]

    def initial():
        with torch.no_grad():
            for p, value in zip(params, net.params, strict=True):
                p.copy_(torch.as_tensor(value.T if value.ndim == 2 else value))

    initial()
    capturable = {"capturable": True} if mode == "graphed" else {}
    optimizer = getattr(torch.optim, kind)(params, lr=net.lr, fused=True, **options, **capturable)

    def loss_on(x, t):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            z = model(x)
        return F.cross_entropy(z.float().flatten(0, -2), t.flatten())

    if mode == "compile":
        torch._dynamo.reset()
        loss_on = torch.compile(loss_on, dynamic=False)

    def work(x, t):
        loss = loss_on(x, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    if mode != "graphed":
        return Contender(*kept_loss(work, cycle(data)), place.clock("torch"))
    here, side = torch.cuda.current_stream(), torch.cuda.Stream()
    batch = [a.clone() for a in data[0]]
    side.wait_stream(here)
    with torch.cuda.stream(side):
        for _ in range(3):
            work(*batch)
    here.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad()
    with torch.cuda.graph(graph):
        loss = work(*batch)
    initial()
    for state in optimizer.state.values():
        for kept in state.values():
            kept.zero_()

    def replay(*given):
        for a, value in zip(batch, given, strict=True):
            a.copy_(value)
        graph.replay()
        return loss

    replay.holds = model, optimizer  # of their arrays the graph has but the addresses

    return Contender(*kept_loss(replay, cycle(data)), place.clock("torch"))


# --- JAX ----------------------------------------------------------------------------------------


def jax_net(net: Net, half: bool, place: Place) -> Contender:
    """The whole step in one jit, which may write into the old parameters and state."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need memory, too
    import jax
    import jax.numpy as jnp

    if not place.tiny and jax.default_backend() != "gpu":
        raise ImportError(f"this JAX computes on {jax.default_backend()}")
    if half and isinstance(net, LSTM):
        raise ImportError("its loop over time carries float32")
    jax.config.update("jax_default_matmul_precision", "default" if half else "highest")

    def logits(xp, params, x):
        if half:
            params, x = [p.astype(xp.bfloat16) for p in params], x.astype(xp.bfloat16)
        return net.logits(xp, params, x).astype("float32")

    in_half = SimpleNamespace(loss=net.loss, logits=logits)
    gradients = jax.value_and_grad(functools.partial(loss_of, in_half, jnp))
    jit = functools.partial(jax.jit, donate_argnums=(0, 1))
    step, loss = functional(net, jnp, jnp.array, gradients, jit)()

    def timed(step, calls):
        jax.block_until_ready(loss())
        begin = time.perf_counter()
        for _ in range(calls):
            step()
        jax.block_until_ready(loss())
        return (time.perf_counter() - begin) / calls

    return Contender(step, lambda: float(loss()), timed)


CONTENDERS: dict[str, Callable[[Net, bool, Place], Contender]] = {
    "tensorgrad": tensorgrad_net,
    "tensorgrad graphed": functools.partial(tensorgrad_net, graphed=True),
    "torch": torch_net,
    "torch compile": functools.partial(torch_net, mode="compile"),
    "torch graphed": functools.partial(torch_net, mode="graphed"),
    "jax jit": jax_net,
}
BASELINES = ("torch", "torch compile", "torch graphed", "jax jit")
