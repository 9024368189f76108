"""Recurrent layers over sequences (n, t, features)."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

from ..core import OPS, Tensor
from ..creation import asarray, beside
from ..errors import GraphError, ShapeError
from ..typing import ArrayLike, Count, DType, Initializer
from .init import initial
from .lazy import LazyLayer, in_dtype_of
from .module import Parameter

__all__ = ["SimpleGRU", "SimpleLSTM", "SimpleRNN"]


class Recurrent(LazyLayer):
    """Base of SimpleRNN, SimpleLSTM and SimpleGRU: they differ in the op, the gates, the states.

    `layer(x, state=None)` returns the last output (n, units), or with `return_sequences` the
    outputs of all time steps (n, t, units); with `return_state` a tuple of it and the last states.
    (Type checkers take that for a Tensor, too: `y, h = layer(x)` is two of them either way.) The
    initial state is zero unless given. `in_features` may be left out: the weights are then
    initialised at the first call. `weight` is (features, gates * units), `recurrent_weight` (units,
    gates * units); each gate's matrix is initialised on its own, by default Xavier-uniform and
    orthogonal (Saxe et al. 2014), as in Keras.
    """

    in_features: int | None
    torch_names = {
        "weight": "weight_ih_l0.T",
        "recurrent_weight": "weight_hh_l0.T",
        "bias": "bias_ih_l0 + bias_hh_l0",
    }
    gates = 1
    states: tuple[str, ...] = ("h",)

    def __init__(
        self,
        units: Count,
        in_features: Count | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        bias: bool = True,
        weight_init: Initializer = "xavier_uniform",
        recurrent_init: Initializer = "orthogonal",
        bias_init: Initializer = "zeros",
        dtype: DType = "float32",
    ):
        super().__init__()
        self.units, self.use_bias = units, bias
        self.return_sequences, self.return_state = return_sequences, return_state
        self.inits = (weight_init, recurrent_init, bias_init)
        self.start(in_features, dtype)

    def make(self, length: int) -> None:
        self.weight = self.drawn(self.inits[0], length, self.units)
        self.recurrent_weight = self.drawn(self.inits[1], self.units, self.units)
        if self.use_bias:
            self.bias = self.drawn(self.inits[2], self.units)

    def drawn(self, init: Any, *shape: int) -> Parameter:
        """The matrices of all gates, each initialised on its own, concatenated."""
        parts = [initial(init, shape, self.dtype) for _ in range(self.gates)]
        return Parameter(OPS["concat"](*parts, axis=-1))

    def run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, ...]:
        """Call the layer's op: all outputs, the last states, and what only its gradient needs."""
        raise GraphError(f"{type(self).__name__} has no run")

    def forward(self, x: ArrayLike, state: ArrayLike | None = None) -> Tensor:
        x, name = asarray(x), f"{type(self).__name__}({self.units})"
        if len(x.shape) != 3:
            hint = "; a recurrent layer before it needs return_sequences=True"
            raise ShapeError(
                f"{name} takes sequences (n, t, features), got an input of shape {x.shape}"
                + (hint if len(x.shape) == 2 else "")
            )
        x = self.checked(x)
        y, *rest = self.run(x, self._given(state, x, name))
        last = rest[: len(self.states)]
        y = y if self.return_sequences else last[0]
        return (y, *last) if self.return_state else y  # type: ignore[return-value]

    def _given(self, state: Any, x: Tensor, name: str) -> list[Tensor | None]:
        """The initial states as tensors (n, units) on x's backend, None for zeros."""
        shape = (x.shape[0], self.units)
        if state is None:
            return [None] * len(self.states)
        several = isinstance(state, (tuple, list))
        given = [beside(s, x) for s in (state if several else [state])]
        if len(given) != len(self.states) or any(s.shape != shape for s in given):
            raise ShapeError(
                f"{name}: state is ({', '.join(self.states)}), each of shape {shape} here; "
                f"got {', '.join(str(s.shape) for s in given)}"
            )
        return [in_dtype_of(self.weight, s) for s in given]

    def describe(self) -> str:
        more = ", return_sequences=True" if self.return_sequences else ""
        return f"{self.units}, in_features={self.in_features}{more}"


class SimpleLSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in the order i, f, g, o; see
    `tg.lstm`. Its state is the pair (h, c). The bias of the forget gate is initialised to 1, the
    others to 0, so that gradients flow through time from the start (Gers et al. 2000; Jozefowicz
    et al. 2015).

    >>> SimpleLSTM(4, return_sequences=True)(np.zeros((2, 3, 5))).shape
    (2, 3, 4)
    >>> y, h, c = SimpleLSTM(4, return_state=True)(np.zeros((2, 3, 5)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = 4
    states = ("h", "c")

    def make(self, length: int) -> None:
        super().make(length)
        if self.bias is not None and self.inits[2] == "zeros":
            self.bias._data[self.units : 2 * self.units] = 1

    def run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, ...]:
        return OPS["lstm"](x, *states, self.weight, self.recurrent_weight, self.bias)


class SimpleGRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014), gates in the order r, z, n, the reset gate applied
    after the recurrent product; see `tg.gru`. It has a second bias, `recurrent_bias`.

    >>> SimpleGRU(4)(np.zeros((2, 3, 5))).shape
    (2, 4)
    """

    torch_names = {
        **Recurrent.torch_names,
        "bias": "bias_ih_l0",
        "recurrent_bias": "bias_hh_l0",
    }
    gates = 3

    def make(self, length: int) -> None:
        super().make(length)
        if self.use_bias:
            self.recurrent_bias = self.drawn(self.inits[2], self.units)

    def run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, ...]:
        more = (self.bias, self.recurrent_bias) if self.use_bias else ()
        return OPS["gru"](x, *states, self.weight, self.recurrent_weight, *more)


class RecurrentOptions(TypedDict, total=False):
    """The options that `SimpleRNN` shares with the other recurrent layers."""

    return_sequences: bool
    return_state: bool
    bias: bool
    weight_init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    dtype: DType


class SimpleRNN(Recurrent):
    """The simple recurrent network (Elman 1990): h = activation(x_t @ weight + h @ recurrent_weight
    + bias), where the activation is tanh or relu.

    >>> SimpleRNN(4, activation="relu")(np.zeros((2, 3, 5))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: Count,
        in_features: Count | None = None,
        activation: Literal["tanh", "relu"] = "tanh",
        **options: Unpack[RecurrentOptions],
    ):
        self.activation = activation
        super().__init__(units, in_features, **options)

    def run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, ...]:
        return OPS["rnn"](
            x,
            *states,
            self.weight,
            self.recurrent_weight,
            self.bias,
            activation=self.activation,
        )
