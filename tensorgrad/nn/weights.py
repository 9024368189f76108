"""Weights as they leave and enter a module: copies of all parameters and buffers, by path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from ..backend import make
from ..core import Tensor, stamp
from ..errors import ArgumentError, FileError, ShapeError
from ..files import load
from ..files.trees import save_arrays
from ..kernels.interrupts import uninterrupted
from ..settings import Own, gate, shown
from ..typing import ArrayLike, DType, PathLike

if TYPE_CHECKING:
    from numpy.typing import NDArray


State: TypeAlias = Annotated[Mapping[str, ArrayLike], Own("a dict of arrays by path")]
TorchState: TypeAlias = Annotated[Any, Own("a state dict of PyTorch, or a file of one")]


class Loaded(NamedTuple):
    """What loading left out: parameters and buffers that were not given, and names that are not the
    module's. Both are empty unless `strict=False`."""

    missing: list[str]
    unexpected: list[str]


class Weights:
    """The methods of a Module that give and take weights."""

    named_state: Any
    named_modules: Any
    torch_names: dict[str, str] = {}  # what PyTorch calls and stores otherwise; see torch_state.py

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and buffers as NumPy arrays, by path."""
        return {name: p.numpy().copy() for name, p in self.named_state()}

    @gate
    def load_state_dict(self, state: State, strict: bool = True) -> Loaded:
        """Set all parameters and buffers from arrays by path, cast to their dtype. All or nothing:
        ShapeError names every missing, unexpected and mis-shaped entry. With `strict=False` missing
        and unexpected ones are returned instead, and what is missing stays as it is.

        >>> from .dense import Dense
        >>> Dense(1, 2).load_state_dict({"weight": [[1.0], [2.0]]}, strict=False).missing
        ['bias']
        """
        if not isinstance(state, Mapping):
            raise ArgumentError(
                f"load_state_dict takes a dict of arrays by path, got {shown(state)}"
            )
        if waiting := [path or "(self)" for path, m in self.named_modules() if not m.built]:
            raise ShapeError(
                f"load_state_dict of {type(self).__name__}: the layers {', '.join(waiting)} have "
                "no parameters yet; call the model on a batch first, or give them in_features"
            )
        own = dict(self.named_state())
        left = Loaded([n for n in own if n not in state], [n for n in state if n not in own])
        given = {name: p for name, p in own.items() if name in state}
        wrong = [f"missing {name}" for name in left.missing if strict]
        wrong += [f"unexpected {name}" for name in left.unexpected if strict]
        wrong += [
            f"{name} has shape {_shape(state[name])}, the module's {p.shape}"
            for name, p in given.items()
            if _shape(state[name]) != p.shape
        ]
        if wrong:
            raise ShapeError(f"load_state_dict of {type(self).__name__}: {'; '.join(wrong)}")
        made = [_owned(state[name], p) for name, p in given.items()]
        replace_data(given.values(), made, keeps_gradients=True)
        return left

    @gate
    def save(
        self, path: PathLike, dtype: DType = None, architecture: bool | Literal["auto"] = "auto"
    ) -> None:
        """Write all parameters and buffers by path to a safetensors file, whole or not at all.

        Args:
            path: of the file.
            dtype: to which floating ones are cast in the file.
            architecture: whether the layers themselves are described in it, for `nn.load_model`:
                "auto" where they can be, True for an error where they cannot.
        Raises: FileError where it cannot be written; ArgumentError for layers without a registered
            name.

        >>> from .dense import Dense
        >>> Dense(1, 2).save("m.safetensors"); sorted(tg.load("m.safetensors"))
        ['bias', 'weight']
        """
        from . import config

        module: Any = self
        module.parameters()  # says which layers have none yet
        tree = {name: p.detach() for name, p in self.named_state()}
        save_arrays(path, tree, config.described(module, architecture), dtype)

    def to_config(self) -> dict[str, Any]:
        """The layers as JSON: their registered names and what they were made with, without weights,
        for `nn.from_config`. Attributes that were assigned later are not part of it.

        Raises: ArgumentError for a layer of yours without `@tg.nn.register`, and for arguments that
            JSON cannot hold.

        >>> from .dense import Dense
        >>> Dense(1).to_config()["layers"]
        [{'class': 'Dense', 'arguments': {'units': 1}}]
        """
        from . import config

        return config.to_config(self)  # type: ignore[arg-type]

    def arguments(self) -> dict[str, Any]:
        """What the module was made with, by the names of its constructor's parameters."""
        return vars(self)["_made_with"].named(self)  # type: ignore[no-any-return]

    @gate
    def load_weights(self, path: PathLike, strict: bool = True) -> Loaded:
        """`load_state_dict` from a safetensors file, or NumPy's .npz, of any program: read straight
        to where the parameters are, and cast to their dtypes.

        Raises: FileError for a file that is damaged; ShapeError for weights of another model.

        >>> from .dense import Dense
        >>> tg.save({"weight": tg.ones((2, 1))}, "w.safetensors")
        >>> Dense(1, 2).load_weights("w.safetensors", strict=False)
        Loaded(missing=['bias'], unexpected=[])
        """
        state = load(path, backend="numpy", mapped=True)
        if not isinstance(state, dict) or not all(isinstance(a, Tensor) for a in state.values()):
            raise FileError(f"{os.fspath(path)} holds no tensors by name: tg.load reads it")
        return self.load_state_dict(state, strict)

    @gate
    def load_torch(
        self, state: TorchState, strict: bool = True, names: dict[str, str] | None = None
    ) -> Loaded:
        """Set all parameters and buffers from a state dict of PyTorch. Names are derived from the
        paths here, what is stored transposed is transposed, and all is cast to the dtypes here.

        Args:
            state: a dict of PyTorch's tensors or of arrays, a module of PyTorch's, or the path of a
                safetensors file. (PyTorch's own files are pickles, which are not read.)
            strict: whether all names have to agree; else those that do not are returned.
            names: {path here: name there} of layers and parameters that are called otherwise there.
        Raises: ShapeError that names all that is missing, unexpected or of another shape.

        >>> from .dense import Linear
        >>> layer = Linear(2, 1); theirs = {"weight": np.ones((1, 2)), "bias": np.zeros(1)}
        >>> layer.load_torch(theirs); layer.weight.shape
        Loaded(missing=[], unexpected=[])
        (2, 1)
        """
        from . import torch_state

        return torch_state.from_torch(self, state, strict, names)  # type: ignore[arg-type]

    @gate
    def to_torch_state(self, names: dict[str, str] | None = None) -> dict[str, NDArray[Any]]:
        """All parameters and buffers as NumPy arrays under PyTorch's names and in its shapes: what
        `load_torch` reads, `torch.from_numpy` takes one by one, and `tg.save` writes to a file that
        `safetensors.torch.load_file` reads.

        >>> from .dense import Linear
        >>> {name: a.shape for name, a in Linear(2, 1).to_torch_state().items()}
        {'weight': (1, 2), 'bias': (1,)}
        """
        from . import torch_state

        return torch_state.to_torch(self, names)  # type: ignore[arg-type]

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all parameters and buffers as NumPy arrays, in the order they were made."""
        return list(self.state_dict().values())

    def set_weights(self, weights: Iterable[ArrayLike]) -> None:
        """Set all parameters and buffers from arrays in the order of `get_weights`."""
        weights, names = list(weights), [name for name, _ in self.named_state()]
        if len(weights) != len(names):
            raise ShapeError(
                f"set_weights: {type(self).__name__} has {len(names)} parameters and buffers "
                f"({', '.join(names)}), got {len(weights)} arrays"
            )
        self.load_state_dict(dict(zip(names, weights, strict=True)))


def replace_data(
    tensors: Iterable[Tensor], arrays: list[Any], keeps_gradients: bool = False
) -> None:
    """New arrays of parameters and buffers, of all or, where making one failed, of none."""
    with uninterrupted():
        for t, a in zip(tensors, arrays, strict=True):
            t._data = a
            if not keeps_gradients:
                t._grad = None
            stamp(t)


def _owned(value: Any, p: Tensor) -> Any:
    """The array of a value like that of a parameter, in memory of its own."""
    raw = value._data if isinstance(value, Tensor) else value
    a = make(raw, p.dtype, p.backend)
    shares = type(a) is np.ndarray and isinstance(raw, np.ndarray) and np.may_share_memory(a, raw)
    return a.copy() if a is raw or shares or hasattr(raw, "__dlpack__") else a


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
