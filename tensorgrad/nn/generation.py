"""Writing on: tokens drawn from a language model, one after the other."""

from __future__ import annotations

import numpy as np

from ..core import Tensor
from ..creation import asarray, beside
from ..errors import DTypeError, ShapeError
from ..randomness import host_generator
from ..settings import gate
from ..switches import evaluating
from ..typing import ArrayLike, Count, Fraction, Natural, NonNegative
from .cache import KeyValueCache
from .container import takes
from .module import Module

__all__ = ["generate"]


@gate
def generate(
    model: Module,
    ids: ArrayLike,
    steps: Natural,
    temperature: NonNegative = 1.0,
    top_k: Count | None = None,
    top_p: Fraction | None = None,
) -> Tensor:
    """`steps` more tokens for each row of `ids`, drawn from the model one after the other:
    (n, T) -> (n, T + steps), int64.

    Args:
        model: ids (n, T) -> logits (n, T, classes), causal. If its call takes a `cache`, as that of
            a Sequential with causal attention does, each step is one token's work; otherwise all
            tokens are read again.
        ids: whole numbers, one or more of each row; a row alone may be (T,).
        temperature: the logits are divided by it; 0 takes the most likely token.
        top_k: draw among the k most likely alone.
        top_p: draw among the fewest most likely that have this probability together (Holtzman et
            al. 2020).
    Raises: ShapeError for ids that are no rows, or a model that gives something else.

    Tokens are drawn from the host's generator, which `tg.seed` seeds. The model is in evaluation
    mode meanwhile, and nothing is recorded.

    >>> from tensorgrad import nn
    >>> block = nn.TransformerBlock(2, 4, causal=True)
    >>> model = nn.Sequential(nn.Embedding(5, 4), block, nn.Dense(5))
    >>> generate(model, [[1, 2]], 3).shape
    (1, 5)
    """
    given = asarray(ids)
    rows = given.numpy()
    if rows.dtype.kind not in "iu":
        raise DTypeError(f"generate: ids are whole numbers, got dtype {rows.dtype}")
    if rows.ndim not in (1, 2) or not rows.shape[-1]:
        raise ShapeError(f"generate: ids are (n, T), T of 1 or more; got shape {rows.shape}")
    tokens = rows.reshape(-1, rows.shape[-1]).astype("int64")
    cache = KeyValueCache(tokens.shape[1] + steps) if takes(model, "cache") else None
    made, new = [tokens], tokens
    with evaluating(model.modules()):
        for _ in range(steps):
            read = new if cache is not None else np.concatenate(made, axis=1)
            options = {} if cache is None else {"cache": cache}
            logits = model(beside(read, given), **options)
            if getattr(logits, "ndim", 0) != 3 or logits.shape[:2] != read.shape:
                raise ShapeError(
                    f"generate: the model gives logits (n, T, classes), {read.shape} here and the "
                    f"classes; got {getattr(logits, 'shape', type(logits).__name__)}"
                )
            last = logits[:, -1].numpy().astype("float64")
            new = chosen(last, temperature, top_k, top_p)[:, None]
            made.append(new)
    found = np.concatenate(made, axis=1)
    return beside(found if rows.ndim == 2 else found[0], given)


def chosen(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None
) -> np.ndarray:
    """A class for each row of logits (n, classes)."""
    if temperature == 0:
        return logits.argmax(axis=-1)
    logits = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
        logits = np.where(logits < least, -np.inf, logits)
    p = np.exp(logits)
    p /= p.sum(axis=-1, keepdims=True)
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=-1, kind="stable")
        falling = np.take_along_axis(p, order, axis=-1)
        falling[np.cumsum(falling, axis=-1) - falling >= top_p] = 0
        falling[:, 0] = np.maximum(falling[:, 0], np.finfo("float64").tiny)
        np.put_along_axis(p, order, falling, axis=-1)
        p /= p.sum(axis=-1, keepdims=True)
    ends = p.cumsum(axis=-1)
    drawn = host_generator().random((len(p), 1)) * ends[:, -1:]
    return (ends <= drawn).sum(axis=-1)
