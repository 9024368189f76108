"""Hooks of modules: functions of the user's that are called before and after a module, and with the
gradients of its inputs and outputs. They stand in the instance's `forward`; a module without hooks
knows nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..core import Tensor
from ..errors import GraphError
from ..hooks import Handle, seen, through, used
from ..trees import leaves, refill


class Hookable:
    """The methods of a Module that register hooks; all return a handle with `remove()`."""

    def register_forward_pre_hook(self, hook: Callable[[Any, tuple[Any, ...]], Any]) -> Handle:
        """Call hook(module, inputs) before `forward`. What it returns, a tuple or one value,
        replaces the inputs by position, unless it is None."""
        return _hooks_of(self).register("before", hook)

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> Handle:
        """Call hook(module, inputs, output) after `forward`. What it returns replaces the output,
        unless it is None.

        >>> from .dense import Dense
        >>> layer, shapes = Dense(2, 3), []
        >>> handle = layer.register_forward_hook(lambda m, inputs, y: shapes.append(y.shape))
        >>> y = layer([[1.0, 2.0, 3.0]]); handle.remove(); y = layer([[1.0, 2.0, 3.0]]); shapes
        [(1, 2)]
        """
        return _hooks_of(self).register("after", hook)

    def register_full_backward_hook(
        self, hook: Callable[[Any, tuple[Any, ...], tuple[Any, ...]], Any]
    ) -> Handle:
        """Call hook(module, grad_input, grad_output) in backward, once the gradients of all inputs
        by position are known: tuples, with None for what has no gradient. What it returns, such a
        tuple or one tensor, replaces the gradients of the inputs, unless it is None. Where no input
        requires a gradient it is called with those of the outputs, and replaces nothing."""
        return _hooks_of(self).register("backward", hook)


def _hooks_of(module: Any) -> ModuleHooks:
    found = vars(module).get("forward")
    if not isinstance(found, ModuleHooks):
        found = vars(module)["forward"] = ModuleHooks(module)
    return found


class ModuleHooks:
    """The `forward` of a module that has hooks."""

    def __init__(self, module: Any):
        self.module, self.forward = module, vars(module).get("forward")
        self.before: dict[int, Any] = {}
        self.after: dict[int, Any] = {}
        self.backward: dict[int, Any] = {}

    def register(self, kind: str, hook: Callable[..., Any]) -> Handle:
        """Add a hook to one of the three."""
        return Handle(getattr(self, kind), hook, self._tidy)

    def __iter__(self) -> Iterator[Any]:
        return iter([*self.before.values(), *self.after.values(), *self.backward.values()])

    def _tidy(self) -> None:
        """Leave the module as it was when the last hook is removed."""
        if not [*self] and vars(self.module).get("forward") is self:
            del vars(self.module)["forward"]
            if self.forward is not None:
                vars(self.module)["forward"] = self.forward

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        for hook in [*self.before.values()]:
            new = hook(self.module, inputs)
            if new is not None:
                inputs = new if isinstance(new, tuple) else (new,)
        watch = _Watch(self) if self.backward else None
        if watch is not None:
            inputs = watch.entering(inputs)
        if self.forward is not None:
            y = self.forward(*inputs, **options)
        else:
            y = type(self.module).forward(self.module, *inputs, **options)
        for hook in [*self.after.values()]:
            new = hook(self.module, inputs, y)
            y = y if new is None else new
        return y if watch is None else watch.leaving(y)


class _Watch:
    """The gradients of one call of a module, for its backward hooks."""

    def __init__(self, hooks: ModuleHooks):
        self.module, self.hooks = hooks.module, hooks.backward
        self.inputs: list[bool] = []  # which of them have a gradient
        self.outputs: list[bool] = []
        self.of_outputs: tuple[Any, ...] = ()

    def entering(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs behind a node that calls the hooks."""
        self.inputs = [isinstance(x, Tensor) and x.node is not None for x in inputs]
        return tuple(_behind(list(inputs), self.inputs, self.at_inputs))

    def leaving(self, y: Any) -> Any:
        """The outputs behind a node that notes their gradients."""
        flat = leaves(y)
        self.outputs = [isinstance(t, Tensor) and t.node is not None for t in flat]
        return refill(y, iter(_behind(flat, self.outputs, self.at_outputs)))

    def at_outputs(self, gs: list[Any]) -> list[Any]:
        """Note the gradients of the outputs."""
        self.of_outputs = _spread(gs, self.outputs)
        if not any(self.inputs):
            self._called((None,) * len(self.inputs))
        return gs

    def at_inputs(self, gs: list[Any]) -> list[Any]:
        """Call the hooks, which may replace the gradients of the inputs."""
        given = _spread(gs, self.inputs)
        found = [g for g, has in zip(self._called(given), self.inputs, strict=True) if has]
        shown = [g for g, has in zip(given, self.inputs, strict=True) if has]
        what = f"a backward hook of {type(self.module).__name__}"
        return [
            old if new is was or old is None else None if new is None else used(new, old, what)
            for new, was, old in zip(found, shown, gs, strict=True)
        ]

    def _called(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        outputs, self.of_outputs = self.of_outputs, ()  # no cycle through gradients on the tape
        for hook in [*self.hooks.values()]:
            new = hook(self.module, given, outputs)
            if new is not None:
                new = new if isinstance(new, tuple) else (new,)
                if len(new) != len(given):
                    raise GraphError(
                        f"a backward hook of {type(self.module).__name__} returned {len(new)} "
                        f"gradients for {len(given)} inputs"
                    )
                given = new
        return given


def _behind(flat: list[Any], which: list[bool], call: Callable[..., Any]) -> list[Any]:
    if not any(which):
        return flat
    made = iter(through([t for t, has in zip(flat, which, strict=True) if has], call))
    return [next(made) if has else t for t, has in zip(flat, which, strict=True)]


def _spread(gs: list[Any], which: list[bool]) -> tuple[Any, ...]:
    """Cotangents as users see them, with None where there is none."""
    each = iter(gs)
    found = [next(each) if has else None for has in which]
    return tuple([None if g is None else seen(g) for g in found])
