"""A training function as a program: its options on the command line, runs over several seeds, and a
record of them."""

from __future__ import annotations

import argparse
import datetime
import inspect
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend, randomness
from ..distributed.ranks import world
from ..errors import ArgumentError
from ..settings import gate

__all__ = ["experiment"]


@gate
def experiment(
    run: Callable[..., Mapping[str, Any]],
    quick: Mapping[str, Any] | None = None,
    argv: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Make a program of a function that trains something and returns its figures by name:

        def run(epochs: int = 40, rate: float = 1e-3, picture: str | None = None):
            ...
            return {"accuracy": accuracy, "loss": loss}

        if __name__ == "__main__":
            train.experiment(run, quick={"epochs": 2})

    The keywords of `run` are options of the command line, `--epochs 40`, and these are beside them:

        --quick         the values of `quick` in the place of the defaults
        --seed 7        what `tg.seed` gets before the run, and `run` as its `seed` if it takes one
        --seeds 3       a run for each of so many seeds, from `seed` on
        --output FILE   a record of them as JSON: command, date, versions, and of each run its seed,
                        figures, seconds, and the processors' seconds

    A `picture` is drawn by the first run, to the program's name with .png unless said otherwise;
    without matplotlib it is None. The last line printed is `result: accuracy=0.975 loss=0.09`, the
    means over the seeds. Returns the runs, as they are in the record; `argv` is for tests.

    >>> def run(rounds: int = 100, seed: int = 0): return {"mean": tg.randn(rounds).mean().item()}
    >>> done = experiment(run, quick={"rounds": 4}, argv=["--quick", "--seeds", "2"])
    seed 0: mean=... (... s)
    seed 1: mean=... (... s)
    result: mean=...
    >>> [one["seed"] for one in done]
    [0, 1]
    """
    if argv is not None and not (isinstance(argv, list) and all(type(a) is str for a in argv)):
        raise ArgumentError(f"experiment: argv is a list of words, or None, not {argv!r:.80}")
    options = _parser(run, quick or {}).parse_args(argv)
    given = vars(options)
    seed, seeds, output = given.pop("seed"), given.pop("seeds"), given.pop("output")
    defaults = (quick or {}) if given.pop("quick") else {}
    taken = inspect.signature(run).parameters
    given = {n: defaults.get(n, taken[n].default) if v is None else v for n, v in given.items()}
    runs: list[dict[str, Any]] = []
    for each in range(seed, seed + seeds):
        randomness.seed(each)
        if "seed" in taken:
            given["seed"] = each
        start, busy = time.perf_counter(), time.process_time()
        figures = {name: _plain(value) for name, value in run(**given).items()}
        took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}
        runs.append({"seed": each, **figures, **{n: round(t, 1) for n, t in took.items()}})
        given.pop("picture", None)
        if world().rank:  # of several processes one speaks
            continue
        print(f"seed {each}: {_line(figures)} ({runs[-1]['seconds']} s)", flush=True)
        if output is not None:  # after each run: a stopped program has those before
            _record(Path(output), runs, argv)
    if world().rank:
        return runs
    means = {n: float(np.mean([r[n] for r in runs])) for n, v in figures.items() if _number(v)}
    print(f"result: {_line(means | {n: v for n, v in figures.items() if n not in means})}")
    return runs


def _parser(run: Any, quick: Mapping[str, Any]) -> argparse.ArgumentParser:
    text = (inspect.getdoc(sys.modules.get(run.__module__)) or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help=f"with {dict(quick)}")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from that one on (1)")
    parser.add_argument("--output", metavar="FILE", help="where a record is written, as JSON")
    parameters = inspect.signature(run).parameters
    if unknown := [name for name in quick if name not in parameters]:
        raise ArgumentError(f"experiment: {run.__name__} takes no {', '.join(unknown)}")
    for name, parameter in parameters.items():
        default = parameter.default
        if default is parameter.empty:
            raise ArgumentError(f"experiment: {name} of {run.__name__} has no default")
        flag, said = f"--{name.replace('_', '-')}", str(default)
        if name == "picture":
            found = Path(sys.argv[0]).stem + ".png" if find_spec("matplotlib") else None
            parser.add_argument(flag, metavar="FILE", default=found, help="where it is drawn")
        elif isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=said)
        elif isinstance(default, (int, float, str)) and name != "seed":
            parser.add_argument(flag, type=type(default), metavar=type(default).__name__, help=said)
    return parser


def _record(path: Path, runs: list[dict[str, Any]], argv: Sequence[str] | None) -> None:
    from .. import __version__

    words = [sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
    record = {
        "command": f"python {shlex.join(words)}",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "tensorgrad": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": version("numba"),
        },
        "backend": backend.default().name,
        "cores": os.cpu_count(),
        "runs": runs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A number or text for JSON; of a tensor or an array its one number."""
    return value if isinstance(value, (bool, int, float, str)) else float(value)


def _line(figures: Mapping[str, Any]) -> str:
    return " ".join(f"{n}={v:.4g}" if _number(v) else f"{n}={v}" for n, v in figures.items())
