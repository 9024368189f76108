"""The seed programs keep their promises, from several seeds."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_every_example_is_tested():
    tested = Path(__file__).read_text() + Path(__file__).with_name("test_gallery.py").read_text()
    for path in FOLDER.glob("*.py"):
        assert f'"{path.stem}"' in tested, f"{path.name} has no test"


@pytest.mark.parametrize("seed", range(5))
def test_functional_regression(example, seed):
    loss, shapes = example("seed_functional_regression").run(seed)
    assert loss <= 0.03
    assert shapes == [[], [(2, 8), (8,)], [(8, 1), (1,)]]


def test_xor_sequential(example):
    runs = [example("seed_xor_sequential").run(seed) for seed in range(10)]
    solved = [loss < 0.01 and p.round().tolist() == [0, 1, 1, 0] for loss, p in runs]
    assert solved[0]
    assert sum(solved) >= 9  # about one starting point in 25 leads to a local minimum


@pytest.mark.parametrize("seed", range(5))
def test_manual_xor(example, seed):
    program = example("seed_manual_xor")
    assert program.largest_difference(seed) < 1e-15
    assert program.train(seed) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_gradient_tape(example, seed):
    pytest.importorskip("sklearn")
    loss, accuracy = example("seed_gradient_tape").run(seed)
    assert loss <= 0.02
    assert accuracy == 1.0


def test_xor_without_bias(example):
    run = example("seed_xor_without_bias").run
    stuck = [run(seed, steps=4000) > 0.01 for seed in range(4)]
    assert np.mean(stuck) >= 0.5  # most starting points do not solve it
    for seed in range(2):
        assert run(seed, hidden=4, bias=True, steps=4000) < 1e-3


def test_examples_print_something(example, capsys, monkeypatch):
    import runpy

    monkeypatch.setattr(sys, "argv", ["seed_manual_xor.py"])
    runpy.run_path(str(FOLDER / "seed_manual_xor.py"), run_name="__main__")
    assert "they agree when one is transposed" in capsys.readouterr().out
