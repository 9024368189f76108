"""Recurrent layers over whole sequences, batch first."""

from __future__ import annotations

from typing import Literal

from ..core import Tensor
from ..ops import recurrent as ops
from ..settings import gate
from ..typing import ArrayLike
from .inputs import operands


@gate
def lstm(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w: ArrayLike,
    u: ArrayLike,
    b: ArrayLike | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = split(x_t @ w + h @ u + b, 4); c = sigmoid(f) c + sigmoid(i) tanh(g);
    h = sigmoid(o) tanh(c), for each step of a sequence.

    Args:
        x: (n, t, features).
        h0, c0: the states to begin with, (n, hidden), or None for zeros.
        w, u: (features, 4 hidden) and (hidden, 4 hidden), the gates in the order i, f, g, o.
        b: (4 hidden,), or None.
    Returns: all h, (n, t, hidden), and the last h and c, (n, hidden).
    Raises: ShapeError for an array that does not fit.

    >>> y, h, c = lstm(np.ones((2, 5, 3)), None, None, np.ones((3, 16)), np.ones((4, 16)))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    y, h, c, *_ = ops.lstm(*operands(x, h0, c0, w, u, b))
    return y, h, c


@gate
def gru(
    x: ArrayLike,
    h0: ArrayLike | None,
    w: ArrayLike,
    u: ArrayLike,
    b: ArrayLike | None = None,
    bu: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]:
    """Gated recurrent unit (Cho et al. 2014), with the reset gate applied after the recurrent
    product, as in cuDNN and PyTorch.

    r = sigmoid(x_t @ w_r + b_r + h @ u_r + bu_r), z likewise; n = tanh(x_t @ w_n + b_n +
    r (h @ u_n + bu_n)); h = (1 - z) n + z h, for each step of a sequence.

    Args:
        x: (n, t, features).
        h0: the state to begin with, (n, hidden), or None for zeros.
        w, u: (features, 3 hidden) and (hidden, 3 hidden), the gates in the order r, z, n.
        b, bu: (3 hidden,), or None.
    Returns: all h, (n, t, hidden), and the last, (n, hidden).
    Raises: ShapeError for an array that does not fit.

    >>> y, h = gru(np.ones((2, 5, 3)), None, np.ones((3, 12)), np.ones((4, 12)))
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    y, h, *_ = ops.gru(*operands(x, h0, w, u, b, bu))
    return y, h


@gate
def rnn(
    x: ArrayLike,
    h0: ArrayLike | None,
    w: ArrayLike,
    u: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
) -> tuple[Tensor, Tensor]:
    """Simple recurrence (Elman 1990): h = activation(x_t @ w + h @ u + b) for each step of a
    sequence.

    Args:
        x: (n, t, features).
        h0: the state to begin with, (n, hidden), or None for zeros.
        w, u, b: (features, hidden), (hidden, hidden), and (hidden,) or None.
        activation: "tanh" or "relu".
    Returns: all h, (n, t, hidden), and the last, (n, hidden).
    Raises: ShapeError for an array that does not fit, ArgumentError for another activation.

    >>> y, h = rnn(np.ones((2, 5, 3)), None, np.ones((3, 4)), np.ones((4, 4)))
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    return ops.rnn(*operands(x, h0, w, u, b), activation=activation)
