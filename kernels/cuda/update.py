"""Optimizer steps, one launch a parameter; learning rate and step count stay on the device."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import adam_fits, hyper_fits, lists, sgd_fits
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, sizes, wide

SOURCE = Source(
    "update",
    ["advance_step", *[f"{name}<{t}>" for name in ("sgd", "adam") for t in TYPES.values()]],
)
_PLAIN, _CLASSICAL, _NESTEROV = np.int32(0), np.int32(1), np.int32(2)  # enum Momentum


@accepts(dtypes=("float64",), when=hyper_fits)
def advance_step(h):
    device(h).launch(SOURCE, "advance_step", (1,), (1,), (h,))


@accepts(dtypes=DTYPES, others=("h",), when=sgd_fits)
def sgd(h, *arrays, momentum, nesterov, weight_decay):
    kind = _PLAIN if not momentum else _NESTEROV if nesterov else _CLASSICAL
    for p, g, *buffer in lists(arrays, 3 if momentum else 2):
        if p.size:
            a, b = wide(p), buffer[0] if buffer else p  # without momentum it is not read
            args = (p, g, b, h, *sizes(p.size), a(momentum), a(weight_decay), kind)
            device(p).launch(SOURCE, f"sgd<{ctype(p)}>", blocks(p.size), (BLOCK,), args)


@accepts(dtypes=DTYPES, others=("h",), when=adam_fits)
def adam(h, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    numbers = [np.float64(c) for c in (beta1, beta2, eps, weight_decay)]
    for p, g, m, v in lists(arrays, 4):
        if p.size:
            args = (p, g, m, v, h, *sizes(p.size), *numbers, np.int32(decoupled))
            device(p).launch(SOURCE, f"adam<{ctype(p)}>", blocks(p.size), (BLOCK,), args)
