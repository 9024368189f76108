"""The array-API standard 2024.12: every name, and every parameter of every function, with its kind.

array-api-strict has the standard's signatures. The standard's own test suite, which checks what the
functions do, is run by `tests/array_api/run`.
"""

import inspect
import warnings

import pytest

import tensorgrad as tg

strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")

# Functions that depart from the standard, and why. The list may only get shorter.
DEPARTURES: dict[str, str] = {}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    strict.set_array_api_strict_flags(api_version="2024.12")


def standard():
    """{name: function} of the main namespace and of both extensions."""
    found = {}
    for space in ("", "linalg", "fft"):
        module = getattr(strict, space) if space else strict
        for name in module.__all__:
            f = getattr(module, name)
            if inspect.isfunction(f) and not name.startswith(("set_", "get_", "reset_")):
                found[f"{space}.{name}" if space else name] = f
    return found


STANDARD = standard()
CONSTANTS = """e inf nan newaxis pi bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32
float64 complex64 complex128 __array_api_version__ __array_namespace_info__""".split()


def ours(name):
    space, _, name = name.rpartition(".")
    return getattr(getattr(tg, space) if space else tg, name)


def lacking(name):
    """What of a function's parameters ours does not take as the standard has it."""
    theirs = inspect.signature(STANDARD[name]).parameters.values()
    mine = list(inspect.signature(ours(name)).parameters.values())
    by_name = {p.name: p for p in mine}
    places = [p for p in mine if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    starred = any(p.kind == p.VAR_POSITIONAL for p in mine)
    missing = []
    for i, p in enumerate(theirs):
        if p.kind == p.VAR_POSITIONAL and not starred:
            missing.append(f"*{p.name}")
        if p.kind == p.POSITIONAL_OR_KEYWORD and (len(places) <= i or places[i].name != p.name):
            missing.append(f"{p.name} at {i}")
        if p.kind == p.POSITIONAL_ONLY and len(places) <= i and not starred:
            missing.append(f"{p.name} by position")
        if p.kind == p.KEYWORD_ONLY and p.name not in by_name:
            missing.append(f"{p.name}=")
    return missing


def test_names_and_parameters_of_the_standard():
    wrong = {}
    for name in STANDARD:
        try:
            if parts := lacking(name):
                wrong[name] = parts
        except AttributeError:
            wrong[name] = ["the name"]
    unknown = {name: parts for name, parts in wrong.items() if name not in DEPARTURES}
    assert not unknown
    assert set(DEPARTURES) <= set(wrong), "no longer departures: take them off the list"


def test_constants_and_dtypes():
    for name in CONSTANTS:
        assert hasattr(tg, name), name
    for name, dtype in tg.__array_namespace_info__().dtypes().items():
        assert getattr(tg, name) == dtype
    x = tg.ones(2)
    assert x.__array_namespace__() is tg
    assert x.__array_namespace__(api_version="2024.12") is tg
    assert x.to_device(x.device) is x
    with pytest.raises(tg.ArgumentError, match=r"2024\.12"):
        x.__array_namespace__(api_version="1999.12")


def test_methods_and_attributes():
    kind = type(strict.ones(1))
    lost = [n for n in vars(kind) if n.startswith("__") and not hasattr(tg.Tensor, n)]
    assert not [n for n in lost if n not in ("__buffer__", "__module__", "__annotations__")]
    for name in "dtype device mT ndim shape size T to_device".split():
        assert hasattr(tg.Tensor, name)
