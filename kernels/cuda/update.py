"""Optimizer steps, one launch each; the learning rate and the step count stay on the device."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import adam_fits, hyper_fits, sgd_fits
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, sizes, wide

SOURCE = Source(
    "update",
    ["advance_step", *[f"{name}<{t}>" for name in ("sgd", "adam") for t in TYPES.values()]],
)
_PLAIN, _CLASSICAL, _NESTEROV = np.int32(0), np.int32(1), np.int32(2)  # enum Momentum


@accepts(dtypes=("float64",), when=hyper_fits)
def advance_step(h):
    device(h).launch(SOURCE, "advance_step", (1,), (1,), (h,))


@accepts(dtypes=DTYPES, same_shape=True, others=("h",), when=sgd_fits)
def sgd(p, g, buffer, h, *, momentum, nesterov, weight_decay):
    kind = _PLAIN if not momentum else _NESTEROV if nesterov else _CLASSICAL
    buffer, a = buffer if momentum else p, wide(p)  # without momentum it is not read
    if p.size:
        args = (p, g, buffer, h, *sizes(p.size), a(momentum), a(weight_decay), kind)
        device(p).launch(SOURCE, f"sgd<{ctype(p)}>", blocks(p.size), (BLOCK,), args)


@accepts(dtypes=DTYPES, same_shape=True, others=("h",), when=adam_fits)
def adam(p, g, m, v, h, *, beta1, beta2, eps, weight_decay, decoupled):
    if p.size:
        numbers = [np.float64(c) for c in (beta1, beta2, eps, weight_decay)]
        args = (p, g, m, v, h, *sizes(p.size), *numbers, np.int32(decoupled))
        device(p).launch(SOURCE, f"adam<{ctype(p)}>", blocks(p.size), (BLOCK,), args)
