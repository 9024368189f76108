"""`from tensorgrad import tf`: for programs of Keras that say `tf.`: `tf.keras`, `tf.GradientTape`
and TensorFlow's names of functions that Keras has. It is not TensorFlow: `tf.data`, graphs and
sessions are refused by name.

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(y - model(x)))
    tape.gradient(loss, model.trainable_variables)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .keras_backend.hook import load
from .tape import GradientTape as _Tape
from .trees import leaves

keras: Any = load()
ops, Variable = keras.ops, keras.Variable
float16, float32, float64, bfloat16 = "float16", "float32", "float64", "bfloat16"
int32, int64, uint8, bool = "int32", "int64", "uint8", "bool"

# TensorFlow's name -> Keras's.
_NAMES = {
    "argsort": "argsort",
    "convert_to_tensor": "convert_to_tensor",
    "concat": "concatenate",
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_sum": "sum",
    "reduce_variance": "var",
    "range": "arange",
    "gather": "take",
}
_SAME = """abs add argmax argmin broadcast_to cast clip cond cos cosh cumsum divide einsum equal
exp expand_dims expm1 eye floor greater greater_equal less less_equal log log1p logical_and
logical_not logical_or matmul maximum meshgrid minimum multiply nn norm not_equal one_hot ones
ones_like pad power repeat reshape round rsqrt shape sigmoid sign sin sinh sort split sqrt square
squeeze stack stop_gradient subtract tan tanh tensordot tile transpose unstack where while_loop
zeros zeros_like""".split()


class GradientTape(_Tape):
    """TensorFlow's tape: the variables of Keras are watched, others after `watch`.

    `gradient` gives None for those that the target does not depend on.
    """

    def watch(self, *tensors: Any) -> None:
        """Record what is computed with these tensors."""
        super().watch(*[_value(t) for t in leaves(tensors) if not isinstance(t, Variable)])

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """d(target) / d(source) for each source, in their structure."""
        if isinstance(target, (list, tuple)):
            target = sum(ops.sum(t) for t in target)
        elif getattr(target, "ndim", 0):
            target, output_gradients = _weighted(target, output_gradients), None
        one = isinstance(sources, Variable) or not isinstance(sources, (list, tuple, dict))
        given = (
            [sources] if one else list(sources.values() if isinstance(sources, dict) else sources)
        )
        made = super().gradient(target, [_value(s) for s in given], output_gradients)
        if one:
            return made[0]
        return dict(zip(sources, made, strict=True)) if isinstance(sources, dict) else made


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def _weighted(target: Any, weights: Any) -> Any:
    return ops.sum(target if weights is None else target * weights)


def constant(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A tensor of a value."""
    made = ops.convert_to_tensor(value, dtype)
    return made if shape is None else ops.broadcast_to(made, shape)


def function(f: Callable | None = None, **options: Any) -> Any:
    """The function itself: everything runs as it is written."""
    return f if f is not None else lambda f: f


def clip_by_value(x: Any, low: Any, high: Any) -> Any:
    """x within bounds."""
    return ops.clip(x, low, high)


def identity(x: Any) -> Any:
    """x."""
    return ops.convert_to_tensor(x)


def __getattr__(name: str) -> Any:
    if name in _SAME or name in _NAMES:
        return getattr(ops, _NAMES.get(name, name))
    if name == "random":
        return keras.random
    raise AttributeError(
        f"tensorgrad.tf has no {name!r}: it has keras, GradientTape and TensorFlow's names of "
        "functions in keras.ops; TensorFlow itself (tf.data, graphs, SavedModel) is not here"
    )
