"""Keras's optimizers on tensorgrad: nothing of an update is recorded."""

from __future__ import annotations

from typing import Any

from keras.src.optimizers.base_optimizer import BaseOptimizer

import tensorgrad as tg


class Optimizer(BaseOptimizer):
    """The base of all of Keras's optimizers."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """An update of the variables, off the tape."""
        with tg.no_grad():
            return super().apply(grads, trainable_variables)

    def stateless_apply(self, *args: Any, **kwargs: Any) -> Any:
        """The same of values instead of variables."""
        with tg.no_grad():
            return super().stateless_apply(*args, **kwargs)
