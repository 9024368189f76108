"""`python -m tensorgrad launch -n 4 train.py`: a program as several processes of this machine.

It takes the launcher that belongs to the MPI library which mpi4py loads, gives each process its
part of the cores, and says which of them was killed, where that ended the others.
"""

from __future__ import annotations

import os
import runpy
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..errors import BackendError
from .mpi import library
from .ranks import init, threads


def launch(n: int, program: list[str]) -> int:
    """Run a program, a path and its arguments, as n processes; returns the exit code."""
    if not Path(program[0]).is_file():
        raise BackendError(f"launch: there is no program {program[0]}")
    command = [*launcher(), "-n", str(n), sys.executable, "-m", __name__, *program]
    with tempfile.TemporaryDirectory(prefix="tensorgrad-launch-") as folder:
        environment = {**threads(n), **os.environ, "TENSORGRAD_LAUNCH": folder}
        if sys.stderr.isatty():
            environment["TENSORGRAD_TERMINAL"] = "1"
        process = subprocess.Popen(command, env=environment)
        lost = _watched(process, Path(folder))
        code = process.returncode
        if lost and not any(Path(folder).glob("*.said")):
            print(
                f"tensorgrad: rank {lost[0]} of {n} (process {lost[1]}) ended without a word: "
                "killed, by the system where memory runs out, or crashed; all ranks stop (the "
                f"launcher's exit code is {code})",
                file=sys.stderr,
            )
    return 128 - code if code < 0 else code or int(lost is not None)


def launcher() -> list[str]:
    """The command of the launcher that belongs to mpi4py's MPI, with what it needs here."""
    path, kind = found()
    if kind != "Open MPI":
        return [path]
    # ranks of a test or of a machine with few cores may be more than these; threads are set apart
    root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [path, *root, "--oversubscribe", "--bind-to", "none"]


def found() -> tuple[str, str]:
    """The path of the launcher, and of which MPI it is; BackendError where there is none."""
    done = _run([sys.executable, "-m", "mpi4py", "--mpi-library"])
    if done.returncode:
        library()  # says what is missing
    shared = Path(done.stdout.strip())
    beside = [p / "bin" / "mpiexec" for p in shared.parents] if shared.is_absolute() else []
    path = next((str(p) for p in beside if p.is_file()), None) or shutil.which("mpiexec")
    if path is None:
        raise BackendError(
            f"MPI's library is {shared}, and there is no mpiexec beside it nor in PATH: "
            'pip install mpich, or "tensorgrad-cupy[mpi]"'
        )
    said = _run([path, "--version"]).stdout
    kind = next((k for k in ("Open MPI", "OpenRTE", "HYDRA", "Intel") if k in said), "MPI")
    return path, {"OpenRTE": "Open MPI", "HYDRA": "MPICH"}.get(kind, kind)


def library_version() -> str:
    """Name and version of the MPI library that mpi4py loads, or why it does not."""
    done = _run([sys.executable, "-m", "mpi4py", "--mpi-lib-version"])
    said = (done.stdout or done.stderr).strip().splitlines() or [""]
    return " ".join((said[0] if not done.returncode else "NOT usable: " + said[-1]).split())[:100]


def _run(command: list[str]) -> Any:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _watched(process: Any, folder: Path) -> tuple[int, int] | None:
    """Wait for the launcher; returns rank and process of the first that ended without a word."""
    open_: dict[int, tuple[int, int]] = {}  # descriptors of processes
    known: set[str] = set()
    lost: tuple[int, int] | None = None
    while process.poll() is None:
        try:
            ready = select.select(list(open_), [], [], 0.02)[0]
            for path in [p for p in folder.glob("*.pid") if p.name not in known]:
                known.add(path.name)
                rank, pid = int(path.stem), int(path.read_text())
                if hasattr(os, "pidfd_open"):  # Linux
                    open_[os.pidfd_open(pid)] = rank, pid
        except KeyboardInterrupt:  # the launcher has got it, too
            continue
        except ProcessLookupError:
            continue
        for descriptor in ready:
            gone = open_.pop(descriptor)
            os.close(descriptor)
            said = any((folder / f"{gone[0]}.{what}").exists() for what in ("ended", "said"))
            lost = lost or (None if said else gone)
    for descriptor in open_:
        os.close(descriptor)
    return lost


def _rank(program: list[str]) -> None:
    """One of the processes: join the others, and run the program as if it had been started."""
    init()
    sys.argv[:] = program
    sys.path[0] = str(Path(program[0]).resolve().parent)
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    _rank(sys.argv[1:])
