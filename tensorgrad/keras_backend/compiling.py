"""`jit_compile=True`: a train step through `tg.compile` where it can be captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src import tree

import tensorgrad as tg

from .ops.core import Variable, convert_to_tensor


def compiled(model: Any) -> Callable:
    """The train step of a model, compiled; where it cannot be captured, it runs as it is, and a
    warning says why, once.

    Of Keras's objects a plan reads nothing by name: as on Keras's other backends, what is changed
    after `compile` (`trainable`, a dropout's rate) is seen by the next `compile`.
    """

    def step(data: Any) -> Any:
        def told(x: Any) -> Any:
            return convert_to_tensor(x) if isinstance(x, Variable) else x

        return tree.map_structure(told, model.train_step(data))

    step.__name__ = f"the train_step of {model.name!r} (jit_compile=True)"
    made: Callable = tg.compile(step)
    return made
