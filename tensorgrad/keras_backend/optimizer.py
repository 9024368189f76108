"""Keras's optimizers on tensorgrad: nothing of an update is recorded, and those that nearly all
programs take are computed on arrays, in Keras's order of operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.optimizers.base_optimizer import BaseOptimizer

import tensorgrad as tg
from tensorgrad.backend import BY_TYPE
from tensorgrad.core import stamp

from .ops.core import convert_to_tensor


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

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        rule = _rules().get(type(self).update_step)
        special = in_stateless_scope() or getattr(self, "amsgrad", False)
        if rule is None or special or not all(map(_float32, trainable_variables)):
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        lr = convert_to_tensor(learning_rate, "float32")._data
        step = rule(self, lr)
        for g, v in zip(grads, trainable_variables, strict=True):
            t = v._value
            g = tg.asarray(g)._data
            g = g if g.dtype == t.dtype else g.astype(t.dtype)
            t._data = step(t._data, g, self._get_variable_index(v))
            stamp(t)


def _float32(v: Any) -> bool:
    """Whether a variable is a NumPy array of float32."""
    a = v._value._data
    return BY_TYPE[type(a)].name == "numpy" and a.dtype == np.float32


def _rules() -> dict[Any, Callable]:
    """An optimizer's `update_step`, by which a subclass with its own is told, -> our step."""
    global _found
    if _found is None:
        from keras.src.optimizers import adam, sgd

        _found = {adam.Adam.update_step: _adam, sgd.SGD.update_step: _sgd}
    return _found


_found: dict[Any, Callable] | None = None


def _adam(opt: Any, lr: Any) -> Callable:
    """Adam (Kingma & Ba 2015), as Keras has it: epsilon outside the bias correction."""
    one, t = np.float32(1), (convert_to_tensor(opt.iterations)._data + 1).astype(np.float32)
    first, second = (np.power(np.float32(b), t) for b in (opt.beta_1, opt.beta_2))
    alpha = lr * np.sqrt(one - second) / (one - first)

    def step(p: Any, g: Any, i: int) -> Any:
        states = opt._momentums[i]._value, opt._velocities[i]._value
        m, v = (s._data for s in states)
        m = m + (g - m) * (1 - opt.beta_1)
        v = v + (np.square(g) - v) * (1 - opt.beta_2)
        for state, new in zip(states, (m, v), strict=True):
            state._data = new
        return p - m * alpha / (np.sqrt(v) + opt.epsilon)

    return step


def _sgd(opt: Any, lr: Any) -> Callable:
    """Gradient descent with momentum (Sutskever et al. 2013)."""
    mu = np.float32(opt.momentum)

    def step(p: Any, g: Any, i: int) -> Any:
        if not opt.momentum:
            return p - g * lr
        state = opt.momentums[i]._value
        state._data = m = state._data * mu - g * lr
        return p + (m * mu - g * lr if opt.nesterov else m)

    return step
