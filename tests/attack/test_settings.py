"""Every argument of every public function, layer, optimizer, loss, schedule and loader has a kind,
which its annotation declares; what is no such value ends in an error of ours that names it, within
2 s and 2 GiB. The calls are made from the signatures, in a process of their own
(settings_calls.py)."""

import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import typing as kinds_by_name
from tensorgrad.settings import Either, Kind, kind_of, kinds_of, take

from ..rows import of_each
from . import settings_calls as calls

pytestmark = pytest.mark.host

ROOT = Path(__file__).parent.parent.parent
TARGETS = calls.targets()
# Functions whose options are not checked by the gate, but further down.
UNGATED = {
    "tg.asarray": "what all others call: `dtype_of` and `backend.get` check its options",
    "tg.autocast": "a block: checked where it is entered",
    "optim.get": "it has more to say of a class in the place of an optimizer",
}
NO_ARRAYS = ("None", "text", "{}", "object", "function", "masked", "masked number", "object array")
# What an argument that the function checks itself takes, of values that are nearly always mistakes.
ACCEPTED = {
    ("tg.pad.pad_width", "{}"): "no axis is padded",
    ("nn.functional_call.parameters", "{}"): "all parameters are the module's",
    ("tg.pad.stat_length", "None"): "the statistics are those of the whole axis",
    ("tg.index_put.indices", "None"): "x[None] is a new axis",
    ("nn.Activation.name", "function"): "a function of one tensor is an activation",
    ("data.DataLoader.dataset", "function"): "what it returns are the samples",
    ("data.DataLoader.sampler", "function"): "what it returns are the indices",
    ("data.collate.samples", "object array"): "a list of samples as well",
    ("loop.fit.callbacks", "{}"): "there are none",
    ("loop.fit.callbacks", "function"): "a callback may be a function of epoch and scores",
    ("loop.compile.loss", "function"): "a loss is a function of prediction and target",
    ("metrics.edit_distance.a", "text"): "of letters",
    ("metrics.edit_distance.b", "text"): "of letters",
    ("data.encode.texts", "text"): "a text is one of several",
    ("transforms.OnInput.transform", "function"): "a transform is a function of an image",
    ("tg.vmap.out_axes", "{}"): "f may return an empty dict",
    ("loop.compile.metrics", "{}"): "there are none",
    ("loop.compile.metrics", "None"): "there are none",
    ("loop.compile.metrics", "function"): "a metric is a function of prediction and target",
}


# --- the kinds ----------------------------------------------------------------------------------

TAKES = {
    bool: ([True, np.True_, np.array(False)], [0, 1, None, "yes", np.array([True]), 1.0, []]),
    int: ([0, -3, np.int8(2), np.array(5), tg.asarray(5)], [True, 1.0, "1", None, 2**63, [1], 1j]),
    float: ([0, -1.5, np.float16(0.5), np.array(2)], [True, "1", 1j, np.complex64(1), math.inf]),
    "Count": ([1, np.uint8(9)], [0, -1, 1.5, np.ma.masked, np.array([1])]),
    "Natural": ([0, 7], [-1]),
    "Positive": ([1e-300, 3], [0, -1.0, math.nan, math.inf]),
    "NonNegative": ([0, 2.5], [-1e-300, math.nan, math.inf]),
    "Fraction": ([0, 1, 0.5], [-0.1, 1.1, math.nan]),
    "Probability": ([0, 0.999], [1, -0.1, math.nan, "half"]),
    "AboveOne": ([1.5], [1, math.inf]),
    "Axis": ([None, -1], [(0, 1), 1.0]),
    "Axes": ([None, 0, [0, -1], np.array([1, 0])], ["rows", 0.0, [0.0], {0: 1}]),
    "Shape": ([3, (2, 3), []], [None, "ab", 2.0, (2, None)]),
    "Size": ([3, (2, 3), np.array([1, 2])], [0, (1, 2, 3), (1, 0), "3", None]),
    "Border": ([0, (0, 1)], [-1, (1,)]),
    "Number": ([1, 0.5, True, math.nan, np.float32(2)], ["1", 1j, None, [1], np.ma.masked]),
    "Element": ([1j, np.complex64(1), True], ["1", None, [1]]),
    "DType": ([None, "float32", np.int8, np.dtype("bool")], ["flaot32", 3, True, {}, [], 1j]),
}


@pytest.mark.parametrize("name", TAKES, ids=str)
def test_what_a_kind_takes(name):
    kind = kind_of(getattr(kinds_by_name, name) if isinstance(name, str) else name)
    for value in TAKES[name][0]:
        made = take("f", "x", kind, value)
        assert made is None or not isinstance(made, (np.generic, tg.Tensor)) or name in _ELEMENTS
    for value in TAKES[name][1]:
        with pytest.raises(tg.TensorgradError, match=r"f: "):
            take("f", "x", kind, value)


_ELEMENTS = ("Number", "Element", "DType")


def test_numbers_come_in_pythons_types_and_one_form():
    assert type(take("f", "x", kind_of(int), np.int8(2))) is int
    assert type(take("f", "x", kind_of(float), np.float32(2))) is float
    assert type(take("f", "x", kind_of(bool), np.False_)) is bool
    assert take("f", "x", kind_of(kinds_by_name.Size), 3) == (3, 3)
    assert take("f", "x", kind_of(kinds_by_name.Axes), np.array([1, 0])) == (1, 0)
    with pytest.raises(tg.GraphError, match=r"slope takes a plain number.*\.item"):
        tg.leaky_relu([1.0], tg.tensor(0.1, requires_grad=True))


def test_a_message_is_short_and_names_the_order_of_arguments():
    with pytest.raises(tg.ArgumentError) as caught:
        tg.nn.Dense([0] * 10**6)
    assert len(str(caught.value)) < 300
    assert "in this order: Dense(units, in_features" in str(caught.value)


# --- every parameter ----------------------------------------------------------------------------


@of_each("name", TARGETS)
def test_every_parameter_has_a_kind(name):
    target = TARGETS[name]
    function = target.__init__ if inspect.isclass(target) else target
    kinds = kinds_of(function)
    without = [parameter for parameter, kind in kinds.items() if kind is None]
    assert not without, f"{name}: annotate {without} with what is taken (see CONTRIBUTING.md)"
    checked = [parameter for parameter, kind in kinds.items() if not kind.own]
    gated = function.__code__.co_filename.endswith("settings.py")
    assert gated or not checked or name in UNGATED, f"{name} needs @gate, to check {checked}"


def test_every_target_is_called():
    missing = set(TARGETS) - set(calls.arguments())
    assert not missing, f"give settings_calls.py arguments for {sorted(missing)}"


# --- what is no such value ------------------------------------------------------------------------


def outcomes(tmp_path, share):
    """What came of every SHAREth call."""
    file = tmp_path / "outcomes.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.attack.settings_calls", str(file), str(share)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TENSORGRAD_KERNELS": "reference"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, "the last calls were\n" + "\n".join(run.stderr.splitlines()[-8:])
    return json.loads(file.read_text())


def optional(kind: Kind) -> bool:
    return isinstance(kind, Either) and kind.optional


def complaint(name, parameter, value, outcome, text):
    """What is wrong with the outcome of a call, or None."""
    kind, place = calls.kinds(TARGETS[name])[parameter], f"{name}.{parameter}"
    if outcome == "foreign":
        return f"{place} = {value}: {text}"
    if kind.own:
        taken = (value == "None" and optional(kind)) or (place, value) in ACCEPTED
        if outcome == "accepted" and value in NO_ARRAYS and not taken:
            return f"{place} = {value} was accepted"
        return None
    try:
        take("f", parameter, kind, calls.VALUES[value]())
    except tg.TensorgradError:
        if name in UNGATED:
            return None
        if outcome == "accepted":
            return f"{place} = {value} was accepted, and is not {kind}"
        if parameter not in text and "dtype" not in text:
            return f"{place} = {value}: the error does not name it: {text}"
    return None


def held(found):
    assert not [name for name, (outcome, _) in found["bases"].items() if outcome != "accepted"]
    wrong = [said for call in found["calls"] if (said := complaint(*call))]
    assert not wrong, f"{len(wrong)} of {len(found['calls'])}:\n" + "\n".join(wrong[:60])


def test_what_no_argument_takes_is_our_error(tmp_path):
    found = outcomes(tmp_path, 4)
    assert len(found["calls"]) > 5_000
    held(found)


@pytest.mark.slow
def test_what_no_argument_takes_is_our_error_for_every_value(tmp_path):
    held(outcomes(tmp_path, 1))
