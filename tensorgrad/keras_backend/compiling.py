"""`jit_compile=True`: a train step through `tg.compile` where it can be captured."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any


def compiled(model: Any) -> Callable:
    """The train step of a model, compiled; as it is, with a warning that says why, where not."""
    warnings.warn(
        "jit_compile=True: the steps of Keras's models run eagerly on tensorgrad, because Keras's "
        "optimizers and metrics replace their variables from Python",
        stacklevel=3,
    )
    return model.train_step
