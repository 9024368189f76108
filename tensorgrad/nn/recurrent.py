"""Recurrent layers and cells with PyTorch's arguments and returns, on the fused ops `lstm`, `gru`
and `rnn`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from ..core import OPS, Tensor
from ..creation import asarray, beside
from ..errors import ArgumentError, GraphError, ShapeError
from ..functions import concat, dropout, expand_dims, flip, squeeze, stack, swapaxes
from ..typing import ArrayLike, Count, DType, Natural, Probability
from .init import initial, uniform
from .lazy import LazyLayer, in_dtype_of
from .lengths import Lengths
from .module import Parameter

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

Run = tuple[list[Tensor], list[Tensor]]  # each state after every step, and after the last


class Gated(LazyLayer):
    """Base of layers and cells: their weights, and one op over a sequence."""

    torch_names = {"weight_*": "*.T"}
    sized_by, gates = "input_size", 1
    states: tuple[str, ...] = ("h_0",)
    input_size: int | None
    hidden_size: int
    bias: Any
    first = ""  # what the names of the first parameters end in

    def draw(self, features: int, end: str = "", out: int | None = None) -> None:
        """The parameters of one layer and direction, uniform in +-1 / sqrt(hidden_size)."""
        wide, out = self.gates * self.hidden_size, self.hidden_size if out is None else out
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (features, wide),
            "weight_hh": (out, wide),
        }
        if self.bias:
            shapes |= {"bias_ih": (wide,), "bias_hh": (wide,)}
        if out != self.hidden_size:
            shapes["weight_hr"] = (self.hidden_size, out)
        bound = 1 / math.sqrt(self.hidden_size)
        for name, shape in shapes.items():
            drawn = initial(lambda s: uniform(bound, s), shape, self.dtype)
            setattr(self, name + end, Parameter(drawn))

    def parts(self, end: str = "") -> list[Any]:
        """Those parameters; None for biases and a projection that there are not."""
        own = vars(self)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [own.get(name + end) for name in names]

    @property
    def weight(self) -> Any:  # type: ignore[override]
        """The first matrix, whose dtype is the layer's; None until the first call."""
        return vars(self).get(f"weight_ih{self.first}")

    def run(self, x: Tensor, states: list[Any], end: str) -> Run:
        """The op over x (n, t, features) with the parameters of one layer and direction."""
        raise GraphError(f"{type(self).__name__} has no run")

    def given(self, state: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
        """The initial states as tensors of these shapes, in the layer's dtype; None for zeros."""
        if state is None:
            return [None] * len(shapes)
        several = isinstance(state, (tuple, list)) and len(self.states) > 1
        found = [asarray(s) for s in (state if several else [state])]
        if [s.shape for s in found] != shapes:
            wanted = ", ".join(f"{n} {s}" for n, s in zip(self.states, shapes, strict=True))
            raise ShapeError(
                f"{type(self).__name__}: the state to begin with is {wanted} here; got "
                + ", ".join(str(s.shape) for s in found)
            )
        return [in_dtype_of(self.weight, s) for s in found]

    def describe(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class _RNN(Gated):
    nonlinearity: str

    def run(self, x: Tensor, states: list[Any], end: str) -> Run:
        w, u, b, bu, _ = self.parts(end)
        b = None if b is None else b + bu
        y, last = OPS["rnn"](x, *states, w, u, b, activation=self.nonlinearity)
        return [y], [last]


class _LSTM(Gated):
    gates, states = 4, ("h_0", "c_0")

    def run(self, x: Tensor, states: list[Any], end: str) -> Run:
        w, u, b, bu, project = self.parts(end)
        (h, c), b = states, None if b is None else b + bu
        if project is not None:  # the state is y @ project: its product with u is one with y
            if h is not None:  # the projected one is an input of the first step
                begin = expand_dims(h, 1)
                rest = OPS["full_like"](x[:, 1:, :1], value=0.0) * begin
                x, w = concat([x, concat([begin, rest], 1)], 2), concat([w, u], 0)
            h, u = None, project @ u
        y, h, c, _, cells = OPS["lstm"](x, h, c, w, u, b)
        if project is not None:
            y, h = y @ project, h @ project
        return [y, cells], [h, c]


class _GRU(Gated):
    gates = 3

    def run(self, x: Tensor, states: list[Any], end: str) -> Run:
        w, u, b, bu, _ = self.parts(end)
        y, last = OPS["gru"](x, *states, w, u, b, bu)[:2]
        return [y], [last]


# --- layers ---------------------------------------------------------------------------------------


class Recurrent(Gated):
    """Base of RNN, LSTM and GRU: layers and directions over a sequence."""

    gives_state, first = True, "_l0"
    proj_size = 0

    def _start(
        self,
        input_size: Any,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: DType,
    ) -> None:
        self.hidden_size, self.num_layers, self.bias = hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.start(input_size, dtype)

    def make(self, length: int) -> None:
        out = self.proj_size or self.hidden_size
        for k in range(self.num_layers):
            for end in self._ends(k):
                self.draw(length if k == 0 else len(self._ends(k)) * out, end, out)

    def _ends(self, k: int) -> list[str]:
        """What the names of layer k's parameters end in, by direction."""
        return [f"_l{k}", f"_l{k}_reverse"][: 1 + self.bidirectional]

    def forward(
        self, input: ArrayLike, hx: Any = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Tensor, Any]:
        x = asarray(input)
        single = x.ndim == 2
        if x.ndim not in (2, 3):
            form = "(n, t, features)" if self.batch_first else "(t, n, features)"
            raise ShapeError(
                f"{type(self).__name__} takes sequences {form}, or one, (t, features); got an "
                f"input of shape {x.shape}"
            )
        if single:
            x = expand_dims(x, 0)
        elif not self.batch_first:
            x = swapaxes(x, 0, 1)
        x = self.checked(x)
        n, count = x.shape[0], self.num_layers * (1 + self.bidirectional)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: len(self.states)]
        shapes = [(count, size) if single else (count, n, size) for size in sizes]
        begin = [None if s is None else beside(s, x) for s in self.given(hx, shapes)]
        begin = [expand_dims(s, 1) if single and s is not None else s for s in begin]
        within = None if lengths is None else Lengths(type(self).__name__, lengths, x)
        y, ends = self._layers(x, begin, within)
        last = [squeeze(s, 1) if single else s for s in ends]
        if single:
            y = squeeze(y, 0)
        elif not self.batch_first:
            y = swapaxes(y, 0, 1)
        return y, last[0] if len(last) == 1 else tuple(last)

    def _layers(
        self, x: Tensor, begin: list[Any], within: Lengths | None
    ) -> tuple[Tensor, list[Tensor]]:
        """All outputs of the last layer, and the last states of all, stacked."""
        lasts: list[list[Tensor]] = []
        x = x if within is None else within.kept(x)
        for k in range(self.num_layers):
            outputs = []
            if k and self.dropout and self.training:
                x = dropout(x, self.dropout)
            for end in self._ends(k):
                states = [None if s is None else s[len(lasts)] for s in begin]
                y, last = self._direction(x, states, end, within)
                outputs.append(y)
                lasts.append(last)
            x = outputs[0] if len(outputs) == 1 else concat(outputs, axis=-1)
        return x, [stack(s) for s in zip(*lasts, strict=True)]

    def _direction(
        self, x: Tensor, states: list[Any], end: str, within: Lengths | None
    ) -> tuple[Tensor, list[Tensor]]:
        """All outputs and the last states of one layer in one direction."""
        reverse = end.endswith("_reverse")
        if within is None:
            (y, *_), last = self.run(flip(x, 1) if reverse else x, states, end)
            return flip(y, 1) if reverse else y, last
        sequences, _ = self.run(within.reversed(x) if reverse else x, states, end)
        last = [within.last(s, start) for s, start in zip(sequences, states, strict=True)]
        y = within.kept(sequences[0])
        return within.reversed(y) if reverse else y, last

    def describe(self) -> str:
        usual: dict[str, Any] = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
        }
        usual |= {"bidirectional": False, "proj_size": 0, "nonlinearity": "tanh"}
        own = {name: getattr(self, name, plain) for name, plain in usual.items()}
        more = [f"{n}={v!r}" for n, v in own.items() if v != usual[n]]
        return ", ".join([super().describe(), *more])


class RNN(_RNN, Recurrent):
    """The simple recurrent network (Elman 1990) with PyTorch's arguments: h = tanh(x_t @ weight_ih
    + bias_ih + h @ weight_hh + bias_hh), or relu.

    Args:
        input_size: the features of x; None for those of the first input.
        num_layers: each layer takes the outputs of the one below.
        batch_first: sequences are (n, t, features), otherwise (t, n, features).
        dropout: in training, between layers.
        bidirectional: a second RNN reads backwards, and the outputs are concatenated.
    Shapes: `layer(x, h_0=0, lengths=None)` -> (output, h_n), where the output is that of the last
        layer at all steps, (n, t, directions * hidden_size), and the states (layers * directions,
        n, hidden_size). A single sequence (t, features) has no axis n anywhere.
    With `lengths` (n,), sequence i ends after lengths[i] steps, whatever comes after: outputs there
    are 0, the last state is that at its end, and the backward direction begins there, as of
    PyTorch's packed sequences. `weight_ih_l0`, ... are the transposes of PyTorch's.

    Raises: ShapeError where an input or a state does not fit.

    >>> output, h = RNN(3, 4, num_layers=2, batch_first=True)(np.ones((2, 5, 3)))
    >>> output.shape, h.shape
    ((2, 5, 4), (2, 2, 4))
    """

    forms = "RNN(8, 16) is 8 features in, 16 out; in Keras's form SimpleRNN(16)"

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        num_layers: Count = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: Probability = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.nonlinearity = nonlinearity
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        )


class LSTM(_LSTM, Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with PyTorch's arguments, gates in the
    order i, f, g, o; see `tg.lstm`. Arguments and shapes are those of RNN, but for the states,
    which are pairs: `layer(x, (h_0, c_0))` -> (output, (h_n, c_n)).

    With `proj_size` outputs and h are multiplied by a matrix (hidden_size, proj_size), and have its
    size (Sak et al. 2014); c has hidden_size.

    >>> output, (h, c) = LSTM(3, 4, bidirectional=True)(np.ones((5, 2, 3)))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 8), (2, 2, 4), (2, 2, 4))
    """

    forms = "LSTM(8, 16) is 8 features in, 16 out; in Keras's form SimpleLSTM(16)"

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        num_layers: Count = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Probability = 0.0,
        bidirectional: bool = False,
        proj_size: Natural = 0,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        if proj_size >= hidden_size:
            raise ArgumentError(
                f"LSTM: proj_size={proj_size} must be smaller than hidden_size={hidden_size}"
            )
        self.proj_size = proj_size
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        )


class GRU(_GRU, Recurrent):
    """Gated recurrent unit (Cho et al. 2014) with PyTorch's arguments, gates in the order r, z, n,
    the reset gate applied after the recurrent product and its bias; see `tg.gru`. Arguments and
    shapes are those of RNN.

    >>> output, h = GRU(3, 4)(np.ones((5, 3)))
    >>> output.shape, h.shape
    ((5, 4), (1, 4))
    """

    forms = "GRU(8, 16) is 8 features in, 16 out; in Keras's form SimpleGRU(16)"

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        num_layers: Count = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Probability = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self._start(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        )


# --- cells ----------------------------------------------------------------------------------------


class Cell(Gated):
    """Base of the cells: one step."""

    def _start(self, input_size: Any, hidden_size: int, bias: bool, dtype: DType) -> None:
        self.hidden_size, self.bias = hidden_size, bias
        self.start(input_size, dtype)

    def make(self, length: int) -> None:
        self.draw(length)

    def forward(self, input: ArrayLike, hx: Any = None) -> Any:
        x = asarray(input)
        if x.ndim not in (1, 2):
            raise ShapeError(
                f"{type(self).__name__} takes one step, (n, features) or (features,); got an input "
                f"of shape {x.shape}"
            )
        x = self.checked(x)
        shape = (*x.shape[:-1], self.hidden_size)
        begin = [
            None if s is None else beside(s, x).reshape(-1, self.hidden_size)
            for s in self.given(hx, [shape] * len(self.states))
        ]
        _, last = self.run(x.reshape(-1, 1, x.shape[-1]), begin, "")
        last = [s.reshape(shape) for s in last]
        return last[0] if len(last) == 1 else tuple(last)


class RNNCell(_RNN, Cell):
    """One step of an RNN: (n, input_size), h (n, hidden_size) -> the next h. Without h it is 0, and
    without n one example is meant.

    >>> RNNCell(3, 4)(np.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.nonlinearity = nonlinearity
        self._start(input_size, hidden_size, bias, dtype)


class LSTMCell(_LSTM, Cell):
    """One step of an LSTM: (n, input_size), the pair (h, c), each (n, hidden_size), -> the next
    pair. Without it both are 0, and without n one example is meant.

    >>> h, c = LSTMCell(3, 4)(np.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self._start(input_size, hidden_size, bias, dtype)


class GRUCell(_GRU, Cell):
    """One step of a GRU: (n, input_size), h (n, hidden_size) -> the next h. Without h it is 0, and
    without n one example is meant.

    >>> GRUCell(3, 4)(np.ones(3)).shape
    (4,)
    """

    def __init__(
        self,
        input_size: Count | None,
        hidden_size: Count,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self._start(input_size, hidden_size, bias, dtype)
