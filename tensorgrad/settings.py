"""The gate for settings. What an option may be is said once, by its annotation in the signature:

    def huber(prediction: ArrayLike, target: ArrayLike, delta: Positive = 1.0, ...)

Plain types say it themselves: `bool`, `int`, `float` (which is finite), `str`, `Literal["a", "b"]`,
`Callable[...]`, a class, and `|` of them. Ranges, and what is written in several ways, have names
(`Count`, `Positive`, `Axes`, `Size`, ... in typing.py), which are `Annotated[type, Kind]`. `@gate`
checks what a caller gives, and hands it on in one form: NumPy's scalars, arrays and tensors of one
number become Python's. Defaults are not checked, and arrays are the business of `make`.
"""

from __future__ import annotations

import inspect
import linecache
import math
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from operator import index
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import numpy as np

from .backend import dtype_of
from .errors import ArgumentError, GraphError, TensorgradError, suggest
from .words import explained

F = TypeVar("F", bound=Callable[..., Any])
LARGEST = 2**63 - 1  # what a 64-bit integer holds
_LARGEST = np.finfo("float64").max.item()


class Kind:
    """What an argument may be. `take` returns a value in its plain form, or raises a TypeError or
    ValueError; `str()` says what is taken."""

    own = False  # whether the function itself checks it
    quick = ""  # a condition in Python of values {0} that are taken as they are
    hint = ""  # said, too, of a value that is no number: it may be meant for another argument

    def take(self, value: Any) -> Any:
        """The value that the function gets."""
        return value

    def refused(self, value: Any) -> str:
        """What is said of a value that is not taken."""
        return f"={shown(value)} must be {self}"


def _plain(value: Any) -> Any:
    """A number that is no truth value and has no axes: of Python, NumPy or an untracked tensor."""
    if getattr(value, "node", None) is not None:
        raise GraphError(
            "takes a plain number, and no gradient reaches a tensor there: give .item(), or write "
            "the formula out"
        )
    dtype = getattr(value, "dtype", None)
    if isinstance(value, bool) or getattr(value, "ndim", False) or value is np.ma.masked:
        raise TypeError
    if dtype is not None and getattr(dtype, "kind", "") in ("b", "c"):
        raise TypeError
    return value


class Whole(Kind):
    """A whole number in [least, most], as an int."""

    def __init__(self, least: float = -LARGEST, most: float = LARGEST, hint: str = ""):
        self.least, self.most, self.hint = least, most, hint
        self.quick = f"type({{0}}) is int and {least} <= {{0}} <= {most}" if most < math.inf else ""

    def hold(self, numbers: Sequence[int]) -> bool:
        """Whether all of them are within the bounds."""
        return self.least <= min(numbers) and max(numbers) <= self.most

    def take(self, value: Any) -> int:
        number = value if type(value) is int else index(_plain(value))
        if self.least <= number <= self.most:
            return number
        raise ValueError

    def __str__(self) -> str:
        least = "" if self.least <= -LARGEST else f" of {self.least} or more"
        return f"a whole number{least}" + ("" if self.most >= LARGEST else f", at most {self.most}")

    def refused(self, value: Any) -> str:
        large = isinstance(value, int) and value > self.most == LARGEST
        return f"={shown(value)} must be {self}" + (", within 64 bits" if large else "")


class Real(Kind):
    """A number in [least, most], or in the open intervals of `above` and `below`, as a float."""

    def __init__(
        self,
        least: float = -math.inf,
        most: float = math.inf,
        *,
        above: float = -math.inf,
        below: float = math.inf,
        infinite: bool = False,
    ):
        self.least, self.most, self.above, self.below = max(least, above), most, above, below
        self.infinite = infinite
        # the same as a closed interval
        largest = math.inf if infinite else _LARGEST
        self.low, self.high = max(self.least, -largest), min(most, below, largest)
        if self.low == above > -math.inf:
            self.low = math.nextafter(above, math.inf)
        if self.high == below < math.inf:
            self.high = math.nextafter(below, -math.inf)
        if not infinite:
            self.quick = f"type({{0}}) is float and {self.low!r} <= {{0}} <= {self.high!r}"

    def take(self, value: Any) -> float:
        if type(value) is not float:
            value = float(_plain(value).__float__())  # which text has not, that float() would read
        if self.low <= value <= self.high:
            return value
        raise ValueError

    def __str__(self) -> str:
        low = f"above {self.above}" if self.above > -math.inf else f"of {self.least} or more"
        if (most := min(self.most, self.below)) < math.inf:
            start = f"from {self.least}" if self.above == -math.inf else low
            return f"a number {start} to {'below ' * (self.below < math.inf)}{most}"
        if self.least > -math.inf:
            return f"a number {low}"
        return "a number" if self.infinite else "a finite number"


class Scalar(Kind):
    """One number that becomes an element, so NaN and truth values too."""

    def __init__(self, kinds: str = "biuf"):
        self.kinds = kinds  # of dtypes: with "c" complex ones, too

    def take(self, value: Any) -> Any:
        if type(value) in (int, float, bool):
            return value
        dtype = np.dtype(type(value)) if isinstance(value, complex) else value.dtype
        if getattr(value, "ndim", 0) or value is np.ma.masked or dtype.kind not in self.kinds:
            raise TypeError
        return value

    def __str__(self) -> str:
        return "a number" if "c" in self.kinds else "a real number"


class Truth(Kind):
    """True or False, as a bool."""

    quick = "type({0}) is bool"

    def take(self, value: Any) -> bool:
        if value is True or value is False:
            return value
        if getattr(getattr(value, "dtype", None), "kind", "") == "b" and not value.ndim:
            return bool(value)
        raise TypeError

    def __str__(self) -> str:
        return "True or False"


class Word(Kind):
    """One of several words."""

    def __init__(self, *words: str):
        self.words = words

    def take(self, value: Any) -> str:
        if isinstance(value, str) and value in self.words:
            return value
        raise ValueError

    def __str__(self) -> str:
        return " or ".join(map(repr, self.words))

    def refused(self, value: Any) -> str:
        return f"={shown(value)} is unknown: {suggest(value, self.words)}"


class Of(Kind):
    """An object of a class."""

    def __init__(self, cls: type | tuple[type, ...], says: str = ""):
        self.cls, self.says = cls, says

    def take(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value
        raise TypeError

    def __str__(self) -> str:
        names = {str: "text", Callable: "a function", dict: "a dict", Iterable: "a list"}
        return self.says or names.get(self.cls) or f"a {getattr(self.cls, '__name__', self.cls)}"


_INT = {int}


class Several(Kind):
    """One, or several of them as a tuple. `count`: how many, where one stands for all; `always`:
    one alone is a tuple, too."""

    def __init__(self, one: Kind, count: int = 0, says: str = "", always: bool = False):
        self.one, self.count, self.says = one, count, says
        self.alone = 1 if always else count
        self.quick = "" if self.alone else one.quick

    def take(self, value: Any) -> Any:
        take, one = self.one.take, self.one
        fits = type(value) is tuple and len(value) == (self.count or len(value) or 1)
        if fits and type(one) is Whole and _INT.issuperset(map(type, value)) and one.hold(value):
            return value  # in its form already
        if type(value) is int or not listed(value) or isinstance(value, dict):
            return (take(value),) * self.alone if self.alone else take(value)
        parts = tuple([take(part) for part in value])
        if self.count in (0, len(parts)):
            return parts
        raise ValueError

    def __str__(self) -> str:
        return f"{self.one}, or {self.says or 'several of them'}"


class Either(Kind):
    """One of several kinds: the first that takes the value. None where `Nothing` is among them."""

    def __init__(self, *kinds: Kind):
        self.kinds = tuple([kind for kind in kinds if not isinstance(kind, Nothing)])
        *self.before, self.last = self.kinds
        self.optional = len(self.kinds) < len(kinds)
        self.own = any(kind.own for kind in kinds)
        self.quick = " or ".join(["{0} is None"] * self.optional + [self.kinds[0].quick or "False"])
        self.hint = next((kind.hint for kind in kinds if kind.hint), "")

    def take(self, value: Any) -> Any:
        if value is None and self.optional:
            return None
        for kind in self.before:
            try:
                return kind.take(value)
            except (TypeError, ValueError, AttributeError):
                pass
        return self.last.take(value)

    def __str__(self) -> str:
        return ", or ".join([*map(str, self.kinds), *["None"] * self.optional])

    def refused(self, value: Any) -> str:
        if isinstance(value, str) and any(isinstance(kind, Word) for kind in self.kinds):
            words = [w for kind in self.kinds if isinstance(kind, Word) for w in kind.words]
            return Word(*words).refused(value)
        return super().refused(value)


class Nothing(Kind):
    """None: the option is left out."""


class Own(Kind):
    """What the function itself checks, as it has more to say of it."""

    own = True

    def __init__(self, says: str):
        self.says = says

    def __str__(self) -> str:
        return self.says


class Arrays(Own):
    """An array. `make` checks it; the gate looks once a call has failed, as that costs nothing."""

    def take(self, value: Any) -> Any:
        strange = value is None or isinstance(value, (str, bytes, dict)) or callable(value)
        if strange or (
            not isinstance(value, (list, tuple)) and np.asarray(value).dtype.kind in "OSU"
        ):
            raise TypeError
        return value


class Dtype(Kind):
    """A dtype, by name or object."""

    def take(self, value: Any) -> Any:
        if isinstance(value, (int, Iterable)) and not isinstance(value, (str, np.dtype, type)):
            raise TypeError
        return dtype_of(value)

    def __str__(self) -> str:
        return "a dtype"


_OURS = ("self", "model")  # parameters that the user does not give as an argument
_TYPES: dict[Any, Kind] = {bool: Truth(), int: Whole(), float: Real(), type(None): Nothing()}


def kind_of(annotation: Any) -> Kind | None:
    """The kind that an annotation declares; None where it says nothing, such as `Any`."""
    if annotation in (None, *_TYPES):
        return _TYPES[annotation or type(None)]
    origin, given = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next((extra for extra in given[1:] if isinstance(extra, Kind)), None)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind_of(part) for part in given]
        known = [kind for kind in kinds if kind is not None]
        return Either(*known) if len(known) == len(kinds) else None
    if origin is Literal:
        return Word(*given) if all(isinstance(word, str) for word in given) else None
    if origin in (Sequence, tuple):
        one = _TYPES.get(given[0]) if given else None
        return Several(one, always=True) if one else Own("a list")
    cls = origin or annotation
    return Of(cls) if isinstance(cls, type) and cls not in (object, Any) else None


def kinds_of(function: Callable) -> dict[str, Kind | None]:
    """The kind of each named parameter of a function, but for `self` and `model`."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code, found = function.__code__, {}
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        if name not in _OURS:
            said = function.__annotations__.get(name, Any)
            try:
                said = eval(said, function.__globals__) if isinstance(said, str) else said
                found[name] = kind_of(said)
            except NameError:  # known to type checkers alone
                found[name] = None
    return found


def take(who: str, name: str, kind: Kind, value: Any) -> Any:
    """The value of an option in its plain form; ArgumentError where it is not of that kind."""
    try:
        return kind.take(value)
    except _REFUSALS as error:
        raise _error(who, name, kind, value, error) from None


_REFUSALS = (TypeError, ValueError, AttributeError, OverflowError, GraphError)


def _error(who: str, name: str, kind: Kind, value: Any, error: Exception) -> Exception:
    if isinstance(error, TensorgradError):
        what = f"{name} {error}" if isinstance(error, GraphError) else error
        return type(error)(f"{who}: {what}")
    told = ArgumentError(f"{who}: {name}{kind.refused(value)}")
    if not (type(value) in (int, float) and "number" in str(kind)):  # perhaps another's
        told.misplaced = name, kind.hint  # type: ignore[attr-defined]
    return told


def gate(function: F) -> F:
    """The function, whose options are checked against its annotations, and whose calls with wrong
    names end in an `ArgumentError` that says ours."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    order = [name for name in names if name not in _OURS]
    if code.co_kwonlyargcount:
        order += ["*", *code.co_varnames[len(names) : len(names) + code.co_kwonlyargcount]]
    checked: Any = None

    def told(error: Exception, args: tuple, kwargs: dict[str, Any]) -> Exception | None:
        """What is said instead of an error: which argument is at fault."""
        if isinstance(error, TensorgradError):
            name, hint = vars(error).pop("misplaced", ("", ""))
            if name in kwargs or not (hint or (name and len(order) > 2)):
                return None
            hint = hint or f"in this order: {function.__name__}({', '.join(order)})"
            return type(error)(
                f"{error}; {hint}".replace("__init__(", f"{type(args[0]).__name__}(")
            )
        if error.__traceback__ is None or error.__traceback__.tb_next is None:
            return explained(function, args, kwargs, error)
        arrays = {n: k for n, k in kinds_of(function).items() if k is not None and k.own}
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in arrays and not hasattr(value, "_data"):  # no tensor
                try:
                    arrays[name].take(value)
                except _REFUSALS as wrong:
                    return _error(function.__name__, name, arrays[name], value, wrong)
        return None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:  # at the first call: annotations name what is imported later
            checked = _checked(function)
        try:
            return checked(*args, **kwargs)
        except (TypeError, AttributeError, ValueError, IndexError) as error:
            if (later := getattr(error.__cause__, "symbolic", None)) is not None:
                return later(call, args, kwargs)  # of symbols of a functional model
            if (instead := told(error, args, kwargs)) is None:
                raise
        raise instead

    return call  # type: ignore[return-value]


def _checked(function: Callable) -> Callable:
    """The function, called with checked options: a function generated for its very signature, as
    the calls of ops are, for a loop over the arguments would cost more than many an op."""
    scope: dict[str, Any] = {"_function": function}  # which no option is called
    given, passed, checks = [], [], []
    kinds = kinds_of(function)
    made = function.__name__ == "__init__"
    star = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.append(f"**{name}")
            passed.append(f"**{name}")
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
            given.append(f"*{name}")
            passed.append(f"*{name}")
            continue
        only = parameter.kind is parameter.KEYWORD_ONLY
        if only and not star:
            star = True
            given.append("*")
        default = parameter.default is not parameter.empty
        scope[f"default_{name}"] = parameter.default
        given.append(f"{name}=default_{name}" if default else name)
        passed.append(f"{name}={name}" if only else name)
        if (kind := kinds.get(name)) is not None and not kind.own:
            scope[f"take_{name}"] = _taker(function, name, kind)
            easy = [f"{name} is default_{name}"] if default else []
            easy += [kind.quick.format(name)] if kind.quick else []
            of = ", self" if made else ""
            checks.append(f"    if not ({' or '.join(easy) or False}):")
            checks.append(f"        {name} = take_{name}({name}{of})")
    lines = [f"def checked({', '.join(given)}):", *checks]
    lines.append(f"    return _function({', '.join(passed)})")
    file = f"<gate {function.__qualname__}>"
    source = "\n".join(lines)
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    exec(compile(source, file, "exec"), scope)
    return scope["checked"]  # type: ignore[no-any-return]


def _taker(function: Callable, name: str, kind: Kind) -> Callable:
    """What takes one option; `owner`: the object that is made."""

    def taken(value: Any, owner: Any = None) -> Any:
        try:
            return kind.take(value)
        except _REFUSALS as error:
            who = function.__name__ if owner is None else type(owner).__name__
            raise _error(who, name, kind, value, error) from None

    return taken


def listed(value: Any) -> bool:
    """Whether this is several: a list, an array with an axis, a generator; text is not."""
    return (
        hasattr(value, "__iter__") and not isinstance(value, str) and getattr(value, "ndim", 1) > 0
    )


def shown(value: Any) -> str:
    """The value for a message, cut where it is long."""
    try:
        return _short.repr(value)
    except Exception:  # of somebody else's object, or a whole number too long for text
        return f"<{type(value).__name__}>"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
