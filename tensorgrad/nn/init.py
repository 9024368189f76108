"""Weight initialisation. Weights are drawn on the host in float64, then cast and copied to the
device, so that they are the same on every backend."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from .. import backend as backends
from ..core import Tensor
from ..creation import asarray, called
from ..errors import ArgumentError, DTypeError, FileError, ShapeError, suggest
from ..randomness import host_generator
from ..settings import gate
from ..typing import Count, DType, Fraction, Initializer, NonNegative, Positive

Shape = tuple[int, ...]


class _Allowed(threading.local):
    """How many numbers may still be drawn in this thread: a model from a file has no more weights
    than the file; None for no limit."""

    numbers: int | None = None


allowed = _Allowed()


def fans(shape: Shape) -> tuple[int, int]:
    """(fan-in, fan-out): the inputs and outputs of a unit, for weights (in, out) or filters
    (out, in, ...)."""
    if len(shape) > 2:
        return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    return (shape[0], shape[-1]) if len(shape) > 1 else (math.prod(shape), math.prod(shape))


def uniform(bound: float, shape: Shape) -> np.ndarray:
    """Uniform in [-bound, bound)."""
    return host_generator().uniform(-bound, bound, shape)


def narrow(fan_in: int) -> Callable[[Shape], np.ndarray]:
    """PyTorch's initialisation of weights and biases: uniform in +-1 / sqrt(fan_in)."""
    return partial(uniform, 1 / math.sqrt(max(1, fan_in)))


def _uniform(bound: Callable[[int, int], float]) -> Callable[[Shape], np.ndarray]:
    return lambda shape: host_generator().uniform(-1, 1, shape) * bound(*fans(shape))


def _normal(std: Callable[[int, int], float]) -> Callable[[Shape], np.ndarray]:
    return lambda shape: host_generator().standard_normal(shape) * std(*fans(shape))


def _orthogonal(shape: Shape) -> np.ndarray:
    """A random matrix with orthonormal columns, or rows if there are fewer (Saxe et al. 2014)."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    drawn = host_generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.where(np.diagonal(r) < 0, -1, 1)  # qr's choice of signs is not random
    return (q if rows >= columns else q.T).reshape(shape)


def _truncated(shape: Shape, std: float = 1.0, least: float = -2.0, most: float = 2.0) -> Any:
    """Normal numbers, drawn again while they are beyond the bounds (in numbers, not deviations)."""
    rng = host_generator()
    values = rng.standard_normal(shape) * std
    while (beyond := (values < least) | (values > most)).any():
        values[beyond] = rng.standard_normal(int(beyond.sum())) * std
    return values


def _truncated_lecun(shape: Shape) -> np.ndarray:
    """Variance 1 / fan_in, within two deviations of the normal distribution that is cut there."""
    return _truncated(shape) * (math.sqrt(1 / max(1, fans(shape)[0])) / 0.87962566103423978)


def _identity(shape: Shape) -> np.ndarray:
    """The identity matrix, ones on the diagonal of a rectangular one."""
    if len(shape) != 2:
        raise ShapeError(f"the identity is for matrices, got weights of shape {shape}")
    return np.eye(*shape)


def _dirac(shape: Shape, groups: int = 1) -> np.ndarray:
    """Filters that pass their input on, as far as there are channels for it."""
    if len(shape) < 3 or shape[0] % groups:
        raise ShapeError(
            f"dirac is for filters (out, in, ...) in {groups} groups, got weights of shape {shape}"
        )
    made, each = np.zeros(shape), shape[0] // groups
    for g in range(groups):
        for k in range(min(each, shape[1])):
            made[(g * each + k, k, *[n // 2 for n in shape[2:]])] = 1
    return made


def _sparse(shape: Shape, sparsity: float, std: float = 0.01) -> np.ndarray:
    """A matrix of normal numbers, of whose columns that share is zeros (Martens 2010)."""
    if len(shape) != 2:
        raise ShapeError(f"sparse is for matrices, got weights of shape {shape}")
    rng = host_generator()
    values = rng.standard_normal(shape) * std
    zeros = math.ceil(sparsity * shape[0])
    for column in range(shape[1]):
        values[rng.permutation(shape[0])[:zeros], column] = 0
    return values


INITIALIZERS: dict[str, Callable[[Shape], np.ndarray]] = {
    "zeros": np.zeros,
    "ones": np.ones,
    # Glorot & Bengio 2010: variance 2 / (fan_in + fan_out)
    "xavier_uniform": _uniform(lambda fan_in, fan_out: math.sqrt(6 / max(1, fan_in + fan_out))),
    "xavier_normal": _normal(lambda fan_in, fan_out: math.sqrt(2 / max(1, fan_in + fan_out))),
    # He et al. 2015: variance 2 / fan_in, for relu
    "he_uniform": _uniform(lambda fan_in, _: math.sqrt(6 / max(1, fan_in))),
    "he_normal": _normal(lambda fan_in, _: math.sqrt(2 / max(1, fan_in))),
    # LeCun et al. 1998: variance 1 / fan_in
    "lecun_uniform": _uniform(lambda fan_in, _: math.sqrt(3 / max(1, fan_in))),
    "lecun_normal": _normal(lambda fan_in, _: math.sqrt(1 / max(1, fan_in))),
    "orthogonal": _orthogonal,
    "truncated_normal": _truncated_lecun,
    "identity": _identity,
    "dirac": _dirac,
}
ALIASES = {"glorot": "xavier", "kaiming": "he"}


def initial(init: Initializer, shape: Shape, dtype: DType = "float32") -> Any:
    """An array of initial weights on the default backend.

    Args:
        init: a name in INITIALIZERS ("glorot_" and "kaiming_" are aliases of "xavier_" and "he_"),
            a constant, or a function of the shape that returns an array.
        shape: of the weights; fan-in and fan-out follow from it (`fans`).
    Raises: ArgumentError for unknown names; ShapeError where the function gives another shape.

    >>> initial("zeros", (2, 3)).shape
    (2, 3)
    """
    if allowed.numbers is not None:
        allowed.numbers -= math.prod(shape)
        if allowed.numbers < 0:
            raise FileError(f"the file has fewer weights than its layers: one more of {shape}")
    if isinstance(init, str):
        first, _, rest = init.partition("_")
        name = "_".join([ALIASES.get(first, first), rest]) if rest else init
        if name not in INITIALIZERS:
            raise ArgumentError(f"initializer {init!r} is unknown: {suggest(init, INITIALIZERS)}")
        values = called(f"the initializer {init}", INITIALIZERS[name], shape)
    else:
        values = init(shape) if callable(init) else np.full(shape, init)
    if np.shape(values) != shape:
        raise ShapeError(f"an initializer gave shape {np.shape(values)} where {shape} is needed")
    home = backends.default().name
    return backends.make(np.asarray(values).astype(backends.dtype_of(dtype)), None, home)


# --- in place, under PyTorch's names --------------------------------------------------------------

_GAINS = {"relu": math.sqrt(2), "tanh": 5 / 3, "selu": 3 / 4}
Named: TypeAlias = Literal[
    "linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv1d", "conv2d", "conv3d"
]
Mode: TypeAlias = Literal["fan_in", "fan_out"]


@gate
def calculate_gain(nonlinearity: Named, param: float | None = None) -> float:
    """By what deviations are multiplied before an activation, so that its output has the variance
    of its input; `param`: the slope of "leaky_relu", 0.01 where left out.

    >>> round(calculate_gain("leaky_relu", 0.2), 4)
    1.3868
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    return _GAINS.get(nonlinearity, 1.0)


def _written(name: str, tensor: Tensor, draw: Callable[[Shape], Any]) -> Tensor:
    """The tensor, with new numbers."""
    if not isinstance(tensor, Tensor):
        raise DTypeError(f"init.{name} writes into a parameter, got {type(tensor).__name__}")
    values = initial(draw, tensor.shape, tensor.dtype)
    tensor.data = asarray(values, tensor.dtype, tensor.backend).data
    return tensor


@gate
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Numbers uniform in [a, b), written into a parameter.

    >>> uniform_(tg.nn.Parameter([0.0, 0.0])).shape
    (2,)
    """
    return _written("uniform_", tensor, lambda shape: host_generator().uniform(a, b, shape))


@gate
def normal_(tensor: Tensor, mean: float = 0.0, std: NonNegative = 1.0) -> Tensor:
    """Normal numbers, written into a parameter.

    >>> normal_(tg.nn.Parameter([0.0, 0.0]), std=0.0).tolist()
    [0.0, 0.0]
    """
    draw = lambda shape: mean + std * host_generator().standard_normal(shape)  # noqa: E731
    return _written("normal_", tensor, draw)


@gate
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: Positive = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Normal numbers within [a, b], written into a parameter.

    >>> bool((abs(trunc_normal_(tg.nn.Parameter(np.zeros(100)))) <= 2).all())
    True
    """
    if not (a < b and mean - 5 * std < b and a < mean + 5 * std):
        raise ArgumentError(f"init.trunc_normal_: there is little of the distribution in {a}..{b}")
    draw = lambda shape: mean + _truncated(shape, std, a - mean, b - mean)  # noqa: E731
    return _written("trunc_normal_", tensor, draw)


@gate
def constant_(tensor: Tensor, val: float) -> Tensor:
    """One number, written into a parameter.

    >>> constant_(tg.nn.Parameter([0.0, 0.0]), 3.0).tolist()
    [3.0, 3.0]
    """
    return _written("constant_", tensor, lambda shape: np.full(shape, val))


@gate
def zeros_(tensor: Tensor) -> Tensor:
    """Zeros, written into a parameter.

    >>> zeros_(tg.nn.Parameter([1.0])).tolist()
    [0.0]
    """
    return _written("zeros_", tensor, np.zeros)


@gate
def ones_(tensor: Tensor) -> Tensor:
    """Ones, written into a parameter.

    >>> ones_(tg.nn.Parameter([0.0])).tolist()
    [1.0]
    """
    return _written("ones_", tensor, np.ones)


@gate
def eye_(tensor: Tensor) -> Tensor:
    """The identity, written into a matrix.

    >>> eye_(tg.nn.Parameter(np.zeros((2, 2)))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _written("eye_", tensor, _identity)


@gate
def dirac_(tensor: Tensor, groups: Count = 1) -> Tensor:
    """Filters that pass channels on as they are, written into those of a convolution.

    >>> dirac_(tg.nn.Parameter(np.zeros((1, 1, 3)))).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    return _written("dirac_", tensor, lambda shape: _dirac(shape, groups))


@gate
def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with variance gain^2 2 / (fan_in + fan_out) (Glorot & Bengio 2010).

    >>> xavier_uniform_(tg.nn.Parameter(np.zeros((2, 3)))).shape
    (2, 3)
    """
    draw = INITIALIZERS["xavier_uniform"]
    return _written("xavier_uniform_", tensor, lambda shape: gain * draw(shape))


@gate
def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with variance gain^2 2 / (fan_in + fan_out) (Glorot & Bengio 2010).

    >>> xavier_normal_(tg.nn.Parameter(np.zeros((2, 3)))).shape
    (2, 3)
    """
    draw = INITIALIZERS["xavier_normal"]
    return _written("xavier_normal_", tensor, lambda shape: gain * draw(shape))


def _he(shape: Shape, a: float, mode: str, nonlinearity: Any) -> float:
    """The standard deviation of He et al. 2015."""
    gain: float = calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" else None)
    return gain / math.sqrt(max(1, fans(shape)[mode == "fan_out"]))


@gate
def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: Mode = "fan_in", nonlinearity: Named = "leaky_relu"
) -> Tensor:
    """Uniform with variance gain^2 / fan (He et al. 2015), for layers before an activation, whose
    slope below 0 is `a`. Matrices are (in, out) here, so that fans are those of the layer.

    >>> kaiming_uniform_(tg.nn.Parameter(np.zeros((2, 3))), nonlinearity="relu").shape
    (2, 3)
    """
    bound = math.sqrt(3) * _he(tensor.shape, a, mode, nonlinearity)
    return _written("kaiming_uniform_", tensor, partial(uniform, bound))


@gate
def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: Mode = "fan_in", nonlinearity: Named = "leaky_relu"
) -> Tensor:
    """Normal with variance gain^2 / fan (He et al. 2015), as `kaiming_uniform_`.

    >>> kaiming_normal_(tg.nn.Parameter(np.zeros((2, 3)))).shape
    (2, 3)
    """
    std = _he(tensor.shape, a, mode, nonlinearity)
    return _written(
        "kaiming_normal_", tensor, lambda shape: std * host_generator().standard_normal(shape)
    )


@gate
def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """A random orthogonal matrix times the gain (Saxe et al. 2014); of filters, one row each.

    >>> w = orthogonal_(tg.nn.Parameter(np.zeros((3, 3)))).numpy()
    >>> bool(np.allclose(w @ w.T, np.eye(3), atol=1e-6))
    True
    """

    def draw(shape: Shape) -> np.ndarray:
        if len(shape) < 2:
            raise ShapeError(f"init.orthogonal_ is for two axes or more, got shape {shape}")
        rows = math.prod(shape[1:])
        return gain * _orthogonal((shape[0], rows)).reshape(shape)

    return _written("orthogonal_", tensor, draw)


@gate
def sparse_(tensor: Tensor, sparsity: Fraction, std: Positive = 0.01) -> Tensor:
    """Normal numbers, of which that share in each column of a matrix is zeros (Martens 2010).

    >>> int((sparse_(tg.nn.Parameter(np.ones((4, 2))), 0.5).numpy() == 0).sum())
    4
    """
    return _written("sparse_", tensor, lambda shape: _sparse(shape, sparsity, std))
