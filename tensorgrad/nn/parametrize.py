"""Parameters that are computed from others: weight and spectral normalisation, orthogonal weights,
masks of pruning that stay. One mechanism for all of them:

    tg.nn.parametrize.register_parametrization(layer, "weight", f)

makes `layer.weight` f of what is trained, `layer.parametrizations.weight.original`, as in PyTorch.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Literal

from .. import functions, linalg
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..ops.matmul import matmul
from ..randomness import host_generator
from ..settings import gate
from ..switches import recording
from ..typing import ArrayLike, Count, Fraction, Positive
from .collections import ModuleDict
from .dense import Dense
from .module import Buffer, Module, Parameter

__all__ = [
    "is_parametrized",
    "orthogonal",
    "prune",
    "register_parametrization",
    "remove_parametrizations",
    "spectral_norm",
    "weight_norm",
]


class Parametrized(Module):
    """One parameter as a function, or several, of its originals."""

    def __init__(self, value: Tensor):
        super().__init__()
        self.originals: list[str] = ["original"]
        self.functions: list[Any] = []
        self.original = Parameter(value)

    def forward(self) -> Tensor:
        value: Any = [getattr(self, name) for name in self.originals]
        for f in self.functions:
            value = [f(*value)]
        return value[0]  # type: ignore[no-any-return]


_classes: dict[tuple[type, tuple[str, ...]], type] = {}


def _class(base: type, names: tuple[str, ...]) -> type:
    """The class of layers whose attributes of these names are computed."""
    if (base, names) in _classes:
        return _classes[base, names]

    def forward(self: Any, *inputs: Any, **options: Any) -> Any:
        outer = self.__dict__.get("_computed")  # once for a call, however often they are read
        self.__dict__["_computed"] = {n: self.parametrizations[n]() for n in names}
        try:
            return base.forward(self, *inputs, **options)  # type: ignore[attr-defined]
        finally:
            self.__dict__["_computed"] = outer

    def reduced(self: Any, protocol: Any) -> Any:
        return _remade, (base, names), self.__dict__

    made = type(base.__name__, (base,), {"__module__": base.__module__, "forward": forward})
    made.__reduce_ex__ = reduced  # type: ignore[method-assign, assignment]
    for name in names:
        setattr(made, name, property(_reader(name), _writer(name)))
    return _classes.setdefault((base, names), made)


def _reader(name: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        known = self.__dict__.get("_computed")
        return self.parametrizations[name]() if known is None else known[name]

    return read


def _writer(name: str) -> Callable[[Any, Any], None]:
    def write(self: Any, value: Any) -> None:
        raise ArgumentError(
            f"{type(self).__name__}.{name} is computed: set its original, "
            f"parametrizations.{name}.{self.parametrizations[name].originals[0]}"
        )

    return write


def _remade(base: type, names: tuple[str, ...]) -> Any:
    return copyreg.__newobj__(_class(base, names))  # type: ignore[attr-defined]


@gate
def is_parametrized(module: Module, name: str | None = None) -> bool:
    """Whether a parameter of the module, or any, is computed from others.

    >>> is_parametrized(weight_norm(tg.nn.Linear(2, 3)), "weight")
    True
    """
    names = module.__dict__.get("parametrizations", {})
    return bool(names) if name is None else name in names


def _base(module: Module) -> type:
    return type(module).__mro__[1] if is_parametrized(module) else type(module)


@gate
def register_parametrization(module: Module, name: str, parametrization: Callable[..., Any]) -> Any:
    """Make a parameter a function of what is trained; a second one is applied to the first one's
    result. Returns the module.

    Args:
        parametrization: a function of the original, or a Module, whose parameters and buffers are
            trained and saved, too. One that has `right_inverse(value)` is given the parameter as
            it is, and returns the original, or several.
    Raises: ArgumentError unless the module has a parameter of that name; ShapeError where the
    function gives another shape.

    >>> layer = register_parametrization(tg.nn.Linear(2, 2), "weight", tg.triu)
    >>> layer.weight.tolist()[1][0]
    0.0
    """
    layer: Any = module
    known = is_parametrized(module, name)
    value: Any = getattr(module, name, None)
    if not (known or isinstance(value, Parameter)):
        raise ArgumentError(
            f"register_parametrization: {type(module).__name__} has no parameter {name!r}"
            + ("" if module.built else " yet: call it on a batch first")
        )
    computed = layer.parametrizations[name] if known else Parametrized(value)
    inverse = getattr(type(parametrization), "right_inverse", None)
    if inverse is not None and not computed.functions:
        with recording(False):
            originals = inverse(parametrization, computed.original)
        if isinstance(originals, tuple):
            del computed.original
            computed.originals = [f"original{i}" for i in range(len(originals))]
        for path, t in zip(
            computed.originals,
            originals if isinstance(originals, tuple) else [originals],
            strict=True,
        ):
            setattr(computed, path, Parameter(t))
    computed.functions.append(parametrization)
    with recording(False):
        found = computed()
    if found.shape != value.shape:
        computed.functions.pop()
        raise ShapeError(
            f"register_parametrization: {name} has shape {value.shape}, of it the function makes "
            f"{found.shape}"
        )
    if not known:
        base = _base(module)
        if not is_parametrized(module):
            module.__dict__["parametrizations"] = ModuleDict()
        layer.parametrizations[name] = computed
        module.__dict__.pop(name)
        layer.__class__ = _class(base, tuple(layer.parametrizations))
    return module


@gate
def remove_parametrizations(module: Module, name: str, leave_parametrized: bool = True) -> Any:
    """Make a computed parameter one again, of its value, or of its original. Returns the module.

    >>> layer = weight_norm(tg.nn.Linear(2, 3))
    >>> is_parametrized(remove_parametrizations(layer, "weight"))
    False
    """
    if not is_parametrized(module, name):
        raise ArgumentError(f"remove_parametrizations: {name!r} of {type(module).__name__} is none")
    layer: Any = module
    computed, base = layer.parametrizations[name], _base(module)
    if not leave_parametrized and len(computed.originals) > 1:
        raise ArgumentError(
            f"remove_parametrizations: {name} has {len(computed.originals)} originals: take "
            "leave_parametrized=True"
        )
    value = computed().detach() if leave_parametrized else computed.original
    del layer.parametrizations[name]
    rest = tuple(layer.parametrizations)
    layer.__class__ = _class(base, rest) if rest else base
    if not rest:
        del module.__dict__["parametrizations"]
    setattr(module, name, Parameter(value))
    return module


# --- the kinds ------------------------------------------------------------------------------------


def _axis(module: Module, dim: int) -> int:
    """An axis of PyTorch's weight; those of dense layers are transposed."""
    return 1 - dim if isinstance(module, Dense) and dim in (0, 1) else dim


class _WeightNorm(Module):
    def __init__(self, axis: int | None):
        super().__init__()
        self.norm_axis = axis

    def _size(self, v: Tensor) -> Tensor:
        axes = tuple([i for i in range(v.ndim) if i != self.norm_axis])
        return functions.sqrt(functions.sum(v * v, axes, keepdims=True))

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self._size(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._size(weight), weight


@gate
def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Any:
    """Weight normalisation (Salimans & Kingma 2016): weight = g v / |v|, with lengths g, the
    original0, and directions v, the original1, of each output, or along another axis `dim` of
    PyTorch's weight; None for one length. Returns the module.

    >>> [n for n, _ in weight_norm(tg.nn.Linear(2, 3, bias=False)).named_parameters()]
    ['parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    axis = None if dim is None else _axis(module, dim)
    return register_parametrization(module, name, _WeightNorm(axis))


class _SpectralNorm(Module):
    u: Buffer
    v: Buffer

    def __init__(self, weight: Tensor, steps: int, axis: int, eps: float):
        super().__init__()
        self.steps, self.norm_axis, self.eps = steps, axis, eps
        rows = self._matrix(weight)
        draw = host_generator().standard_normal
        for part, n in (("u", 0), ("v", 1)):
            made = asarray(draw(rows.shape[n]), weight.dtype, weight.backend)
            setattr(self, part, Buffer(functions.normalize(made, axis=0, eps=eps)))
        with recording(False):
            self._iterate(rows, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        first = functions.moveaxis(weight, self.norm_axis, 0)
        return functions.reshape(first, (first.shape[0], -1))

    def _iterate(self, matrix: Tensor, steps: int) -> None:
        for _ in range(steps):
            u = functions.normalize(matmul(matrix, self.v), axis=0, eps=self.eps)
            self.u.data = u.data
            v = functions.normalize(matmul(u, matrix), axis=0, eps=self.eps)
            self.v.data = v.data

    def forward(self, weight: Tensor) -> Tensor:
        matrix = self._matrix(weight)
        if self.training:
            with recording(False):
                self._iterate(matrix.detach(), self.steps)
        u, v = self.u.detach().copy(), self.v.detach().copy()  # which later steps overwrite
        return weight / functions.sum(u * matmul(matrix, v))


@gate
def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: Count = 1,
    eps: Positive = 1e-12,
    dim: int | None = None,
) -> Any:
    """Spectral normalisation (Miyato et al. 2018): the weight divided by its largest singular
    value, which a step of power iteration follows at each call in training mode. `dim` is the axis
    of outputs in PyTorch's weight. Returns the module.

    >>> layer = spectral_norm(tg.nn.Linear(3, 3))
    >>> round(float(tg.linalg.norm(layer.weight, 2).item()), 1)
    1.0
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    made = _SpectralNorm(getattr(module, name), n_power_iterations, _axis(module, dim), eps)
    return register_parametrization(module, name, made)


class _Orthogonal(Module):
    def forward(self, weight: Tensor) -> Tensor:
        rows, columns = weight.shape
        tall = weight if rows >= columns else functions.transpose(weight)
        n, k = tall.shape
        skew = functions.pad(functions.tril(tall, -1), ((0, 0), (0, n - k)))
        skew = skew - functions.transpose(skew)
        q = linalg.matrix_exp(skew)[:, :k]
        return q if rows >= columns else functions.transpose(q)


@gate
def orthogonal(module: Module, name: str = "weight") -> Any:
    """A matrix with orthonormal rows or columns: the exponential of a skew-symmetric matrix, whose
    lower half is trained (Lezcano-Casado 2019). It begins near the identity. Returns the module.

    >>> w = orthogonal(tg.nn.Linear(3, 3)).weight.numpy()
    >>> bool(np.allclose(w @ w.T, np.eye(3), atol=1e-5))
    True
    """
    return register_parametrization(module, name, _Orthogonal())


class _Mask(Module):
    def __init__(self, mask: Tensor):
        super().__init__()
        self.mask = Buffer(mask)

    def forward(self, weight: Tensor) -> Tensor:
        return functions.where(self.mask, weight, 0.0)


@gate
def prune(
    module: Module,
    name: str = "weight",
    amount: Fraction = 0.5,
    *,
    by: Literal["size", "random"] = "size",
    mask: ArrayLike | None = None,
) -> Any:
    """Numbers of a parameter set to 0 for good, by a mask that stays, and is saved: training leaves
    them there. Returns the module; `remove_parametrizations` makes it permanent.

    Args:
        amount: the share of those that are still there.
        by: the smallest absolute values (Han et al. 2015), or any.
        mask: instead, True or 1 where a number stays, of the parameter's shape.

    >>> int((prune(tg.nn.Linear(4, 5), amount=0.25).weight.numpy() == 0).sum())
    5
    """
    weight = getattr(module, name)
    if mask is None:
        values = abs(weight.numpy()).ravel()
        there = values.nonzero()[0]
        rank = values[there] if by == "size" else host_generator().random(len(there))
        gone = there[rank.argsort(kind="stable")[: round(amount * len(there))]]
        keep: Any = values == values
        keep[gone] = False
        keep[values == 0] = False
        keep = keep.reshape(weight.shape)
    else:
        keep = asarray(mask).numpy().astype("bool")
        if keep.shape != weight.shape:
            raise ShapeError(f"prune: a mask of shape {keep.shape} for {name} of {weight.shape}")
    made = asarray(keep, None, weight.backend)
    return register_parametrization(module, name, _Mask(made))
