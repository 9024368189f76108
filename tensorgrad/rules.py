"""Code generation from gradient rules: a rule's argument names determine what an op saves.

A rule is a vector-Jacobian product such as `lambda g, y: g * y * (1 - y)`. Its arguments are `g`
the cotangent, `y` the output (both tuples if there are several, which may also be named), an
input's name, that name with `_shape` for its shape only, or a keyword parameter of the op. A joint
rule returns the gradients of all inputs at once and may also take `needs`, a tuple of bool. A rule
may itself be an op. The names are read once, here; nothing else is saved for backward.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any, NamedTuple

RESERVED = ("g", "y", "needs")


class Signature(NamedTuple):
    """The positional inputs of a reference (the last may be variadic) and its keyword metadata."""

    inputs: tuple[str, ...]
    variadic: str | None
    params: dict[str, Any]  # name -> default, `...` where there is none


def _code(function: Any) -> Any:
    return getattr(function, "ref", function).__code__


def arguments(function: Any) -> tuple[str, ...]:
    """The argument names of a function or op."""
    code = _code(function)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def signature_of(reference: Callable) -> Signature:
    """The signature of a reference: arrays are positional, metadata is keyword-only."""
    code, defaults = reference.__code__, reference.__kwdefaults__ or {}
    n, k = code.co_argcount, code.co_kwonlyargcount
    params = {name: defaults.get(name, ...) for name in code.co_varnames[n : n + k]}
    variadic = code.co_varnames[n + k] if code.co_flags & 0x04 else None
    return Signature(code.co_varnames[:n], variadic, params)


# The template of an op's call; {n} and {names} are its inputs. NumPy arrays of fewer than `least`
# elements go to `small` directly: dispatch.py sets both in the call's scope. `like` is the array of
# the last Tensor: a result of its dtype needs no promotion (promotion.py), nor do raw arrays alone.
_UNWRAP = """
    if type({n}) is Tensor:
        node_{n}, {n} = {n}.node, {n}._data
        like = {n}
    elif type({n}) is ndarray:
        node_{n}, raw = False, True
    elif type({n}) in WEAK:
        node_{n} = None
    elif type({n}) in RAW:
        node_{n}, raw = False, True
    elif isinstance({n}, Tensor):
        node_{n}, {n} = {n}.node, {n}._data
        like = {n}
    else:
        node_{n}, {n}, raw = False, _plain(op, {n}, ({names},)), True"""
_CAST = """
    if modes and switches.autocast is not None:
        {names}, = on_autocast[0](op, ({names},))"""
_SHORT = """
    if {condition}:
        return shortcut({first})"""
_PLAIN = """{cast}{short}
    like, raw = None, False{unwrap}
    if raw and like is not None:
        {names}, = coerced(op, [{names}], [{nodes}])
        {clear}
    try:
        y = {run}
    except COMPLAINTS as error:
        raise {failed}
    if like is None:
        return y
    if type(y) is not ndarray and type(y) not in BY_TYPE:
        y = make(y)  # NumPy's scalars back to 0-d arrays
    dtype = y.dtype{law}
    if ({untracked}) or (modes and not switches.recording):
        return Tensor(y)
    node, z = Node(), new(Tensor)  # half the time of two constructors
    node.op, node.parents, node.saved, node.params = op, ({nodes}), ({saved}), {params}
    node.seq, node.shape, node.dtype = next_seq(), y.shape, dtype
    z._data, z.node, z._grad = y, node, None
    return z"""
_LAW = """
    if dtype is not like.dtype:
        y, ({names},) = recomputed(op, y, [{names}], {params})
        dtype = y.dtype"""
_RAW_ONLY = """
    if {all_raw}:
        try:
            return {run}
        except COMPLAINTS as error:
            raise {failed}
    return op.general({names}{more})"""


def _until_called(*args: Any, **params: Any) -> Any:
    compile_call()  # type: ignore[name-defined]  # noqa: F821  (names of the op's scope)
    return call(*args, **params)  # type: ignore[name-defined]  # noqa: F821


def generated(source: str, name: str, scope: dict[str, Any]) -> Any:
    """The function `call`, or the lambda, that is compiled from source in the scope. Tracebacks and
    debuggers show its lines as those of the file `<op name>`."""
    file = f"<op {name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    if source.startswith("lambda"):
        return eval(compile(source, file, "eval"), scope)
    made: dict[str, Any] = {}  # not into the scope, which other threads read
    exec(compile(source, file, "exec"), scope, made)
    return made["call"]


class Compiled:
    """An op's rules as three functions, compiled on first use.

    `pick(y, arrays)` returns the tuple to save; `rewrap(saved, node, wrap, output)` wraps the saved
    arrays in Tensors on the tape, for a recorded backward; `vjp(g, saved, params, parents)` returns
    a gradient or None per input.
    """

    def __init__(
        self,
        name: str,
        ref: Callable,
        rules: dict[str, Callable],
        joint: Callable | None,
        outputs: tuple[str, ...] = (),
    ):
        self.name, self.outputs = name, outputs
        self.signature = signature_of(ref)
        self.rules, self.joint = rules, joint
        self.where = ref.__code__.co_filename
        inputs, variadic, params = self.signature
        known = (*inputs, variadic) if variadic else inputs
        if rules or joint:
            taken = [n for n in (*known, *params) if n in RESERVED or n.endswith("_shape")]
            if taken:
                raise TypeError(f"op {name}: the names {taken} are reserved for rules")
        for unknown in set(rules) - set(inputs):
            raise TypeError(f"op {name}: a rule for {unknown!r}, which is not one of {inputs}")
        if variadic and rules:
            raise TypeError(f"op {name} takes *{variadic}: give it a joint rule")
        self.slots: dict[str, int] = {}  # name -> position in `saved`
        for rule in (joint,) if joint else rules.values():
            for arg in arguments(rule):
                if arg in params or arg in ("g", "needs"):
                    continue
                if arg != "y" and arg not in outputs and arg.removesuffix("_shape") not in known:
                    raise TypeError(f"op {name}: its rule asks for {arg!r}, which nothing provides")
                self.slots.setdefault(arg, len(self.slots))

    def _source(self, arg: str, listed: str = "a") -> str:
        """The expression for a rule's argument in `pick`, where the inputs are a list `a`, or in an
        unrolled call, where they are local variables."""
        inputs, variadic, _ = self.signature
        if arg == "y":
            return "y"
        if arg in self.outputs:
            return f"y[{self.outputs.index(arg)}]"
        if arg == variadic:
            return f"tuple(a[{len(inputs)}:])"
        if arg == f"{variadic}_shape":
            return f"tuple([x.shape for x in a[{len(inputs)}:]])"
        name = arg.removesuffix("_shape")
        place = f"{listed}[{inputs.index(name)}]" if listed else name
        return place + ".shape" if arg.endswith("_shape") else place

    def _call(self, name: str, rule: Callable) -> str:
        """The expression that calls a rule in `vjp`."""
        params = self.signature.params
        given = {"g": "g", "needs": "tuple([n is not None for n in parents])"}
        parts = []
        for i, arg in enumerate(arguments(rule)):
            named = "" if i < _code(rule).co_argcount else f"{arg}="
            if arg in params:
                parts.append(f"{named}params.get({arg!r}, defaults[{arg!r}])")
            else:
                parts.append(named + (given.get(arg) or f"s[{self.slots[arg]}]"))
        return f"{name}({', '.join(parts)})"

    def unrolled(self, op: Any, plain: bool, scope: dict[str, Any]) -> Callable:
        """The call of an op as a function of its very inputs, without loops and lists. It is
        compiled at the first call, and then replaces its own stub's code."""
        inputs, variadic, _ = self.signature
        if variadic or not inputs:
            return op.general
        scope = {**scope, "op": op, "kernels": op.kernels, "NONE": {}, "least": 0}
        call = FunctionType(_until_called.__code__, scope, f"{self.name}")

        def compile_call() -> None:
            made = generated(self._source_of_call(op, plain), self.name, scope)
            call.__defaults__, call.__code__ = made.__defaults__, made.__code__

        scope.update(call=call, compile_call=compile_call, shortcut=(op.shortcut or (0, 0))[1])
        op.kernels.scope = scope
        return call

    def _source_of_call(self, op: Any, plain: bool) -> str:
        """The source of an op's call. Unless `plain` (one output, no in-place update, rules) it is
        for raw arrays only, and calls `Op.general` for others."""
        inputs, _, given = self.signature
        more, params = (", **params", "params") if given else ("", "NONE")
        left_out = len(inputs) - len(op.ref.__defaults__ or ())
        head = ", ".join([n if i < left_out else f"{n}=None" for i, n in enumerate(inputs)])
        names, all_raw = ", ".join(inputs), " and ".join([f"type({n}) in RAW" for n in inputs])
        few = f"type({inputs[0]}) is ndarray and {inputs[0]}.size < least"
        run = f"(small if {few} else kernels[type({inputs[0]})])({names}{more})"
        failed = f"explain(op.name, op.inputs, [{names}], {params}, error) from error"
        if not plain:
            return f"def call({head}{more}):" + _RAW_ONLY.format(**locals())
        cast = _CAST.format(names=names) if op.precision else ""
        unwrap = "".join([_UNWRAP.format(n=n, names=names) for n in inputs])
        nodes = "".join([f"node_{n}, " for n in inputs])
        clear = "; ".join([f"node_{n} = node_{n} or None" for n in inputs])
        saved = "".join([f"{self._source(arg, '')}, " for arg in self.slots])
        condition, other = op.shortcut or ("", None)
        short = _SHORT.format(condition=condition, first=inputs[0]) if other else ""
        lawless = op.kind == "shape" or set(inputs) <= set(op.fixed)
        law = "" if lawless else _LAW.format(names=names, params=params)
        untracked = " is ".join([f"node_{n}" for n in inputs]) + " is None"
        return f"def call({head}{more}):" + _PLAIN.format(**locals())

    @cached_property
    def pick(self) -> Callable:
        """(y, arrays) -> the tuple to save."""
        return self._make(
            "what to save", "y, a", f"({''.join(self._source(arg) + ', ' for arg in self.slots)})"
        )

    @cached_property
    def vjp(self) -> Callable | None:
        """(g, saved, params, parents) -> a gradient or None per input; None without rules."""
        if self.joint:
            gradients = self._call("joint", self.joint)
            return self._make(
                "gradients", "g, s, params, parents", f"checked({gradients}, parents)"
            )
        if not self.rules:
            return None
        parts = []
        for i, name in enumerate(self.signature.inputs):
            rule = self.rules.get(name)
            call = self._call(f"rule_{name}", rule) if rule else None
            parts.append(f"({call} if parents[{i}] is not None else None), " if rule else "None, ")
        return self._make("gradients", "g, s, params, parents", f"({''.join(parts)})")

    @cached_property
    def rewrap(self) -> Callable:
        """(saved, node, wrap, output) -> the saved values as Tensors."""
        inputs, variadic, _ = self.signature
        parts = []
        for arg, i in self.slots.items():
            if arg.endswith("_shape"):
                parts.append(f"s[{i}], ")
            elif arg == "y":
                parts.append(f"wrap(s[{i}], node), ")
            elif arg in self.outputs:
                parts.append(f"output(node, {self.outputs.index(arg)}, s[{i}]), ")
            elif arg == variadic:
                k = len(inputs)
                parts.append(f"tuple(map(wrap, s[{i}], node.parents[{k}:])), ")
            else:
                parts.append(f"wrap(s[{i}], node.parents[{inputs.index(arg)}]), ")
        return self._make("what was saved", "s, node, wrap, output", f"({''.join(parts)})")

    def _checked(self, gs: tuple, parents: list) -> tuple:
        if len(gs) != len(parents):
            raise TypeError(f"a joint rule gave {len(gs)} gradients for {len(parents)} inputs")
        return gs

    def _make(self, what: str, args: str, body: str) -> Callable:
        rules = {"joint": self.joint, **{f"rule_{name}": rule for name, rule in self.rules.items()}}
        scope = {name: getattr(rule, "call", rule) for name, rule in rules.items()}
        scope |= {"defaults": self.signature.params, "checked": self._checked}
        return generated(f"lambda {args}: {body}", f"{self.name}: {what}", scope)
