"""Commands: python -m tensorgrad train | launch | doctor | warmup | bench | gpu-check."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

from .errors import TensorgradError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tensorgrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="show backends, versions, devices, and why there is no GPU")
    train = commands.add_parser("train", help="train a classifier of handwritten digits")
    train.add_argument("--epochs", type=int, default=30)
    train.add_argument("--batch-size", type=int, default=64)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--picture", default="digits.png", help="where the PNG goes")
    warm = commands.add_parser("warmup", help="compile the CPU kernels ahead of time")
    warm.add_argument("--float64", action="store_true", help="those for float64, too")
    bench = commands.add_parser("bench", help="training and kernels on a GPU, beside its peers")
    where = bench.add_mutually_exclusive_group(required=True)
    where.add_argument("--gpu", action="store_true", help="on the GPU, in at most 8 minutes")
    where.add_argument("--tiny", action="store_true", help="on the CPU, that everything runs")
    bench.add_argument("--seconds", type=float, help="for the whole run (420)")
    bench.add_argument("--only", help="the cases whose name contains this")
    bench.add_argument("--output", help="JSON file (./gpu_training-<date>.json)")
    several = commands.add_parser("launch", help="run a program as several processes, by MPI")
    several.add_argument("-n", type=int, required=True, help="how many processes")
    several.add_argument("program", nargs=argparse.REMAINDER, help="a program and its arguments")
    check = commands.add_parser(
        "gpu-check", help="all that a new card should be asked, in a report"
    )
    check.add_argument("--minutes", type=float, default=8, help="for all of it (8)")
    check.add_argument("--out", help="folder of the results (./gpu-check-<date>); goes on there")
    options = vars(parser.parse_args(argv))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack the letters of a path
            stream.reconfigure(errors="backslashreplace")
    try:
        command = options.pop("command")
        if command == "doctor":
            from .doctor import report

            print(report())
            return 0
        if command == "launch":
            if not options["program"] or options["n"] < 1:
                parser.error("launch takes a number of processes and a program: -n 4 train.py")
            from .distributed.launch import launch

            return launch(**options)
        if command == "warmup":
            from .warmup import warmup

            print(warmup(("float32", "float64") if options["float64"] else ("float32",)))
            return 0
        if command == "gpu-check":
            from .gpu_check import main as gpu_check

            return gpu_check(**options)
        if command == "bench":
            return _bench(**options)
        from .train.digits import train_digits

        return 0 if train_digits(**options)["accuracy"] >= 0.97 else 1
    except TensorgradError as error:
        print(f"tensorgrad: {error}", file=sys.stderr)
        return 2


def _bench(gpu: bool, tiny: bool, **options: Any) -> int:
    """Run the benchmark script, which is in the package if installed, beside it in a checkout."""
    here = Path(__file__).parent
    folder = next(p for p in (here / "benchmarks", here.parent / "benchmarks") if p.is_dir())
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    run = [sys.executable, str(folder / "gpu_training.py"), *given, *["--tiny"] * tiny]
    return subprocess.run(run).returncode


if __name__ == "__main__":
    sys.exit(main())
