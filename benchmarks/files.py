"""Saving and loading large files beside a plain copy of such a file, and beside safetensors' own
functions, interleaved: the ratio of their speeds to the copy's.

Saving is compared with a copy that ends, too, with the file on the disk (fsync).
`python files.py MEGABYTES ROUNDS`, by default 1024 and 5.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tensorgrad as tg


def synced(path: Path) -> None:
    """Wait until a file is on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def contenders(folder: Path, megabytes: int) -> dict[str, Callable[[], object]]:
    """{name: what is timed}: all write or read so many megabytes."""
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.random(megabytes * 2**20 // 32, "float32") for i in range(8)}
    tensors = {name: tg.asarray(a) for name, a in arrays.items()}
    source, copy = folder / "source", folder / "copy"
    tg.save(tensors, source)

    def copied() -> None:
        shutil.copyfile(source, copy)
        synced(copy)

    found: dict[str, Callable[[], object]] = {
        "copy": copied,
        "tg.save": lambda: tg.save(tensors, folder / "ours"),
        "copy, not flushed": lambda: shutil.copyfile(source, folder / "copy2"),
        "tg.load": lambda: tg.load(source),
        "tg.load, mapped and summed": lambda: [
            t.sum() for t in tg.load(source, mapped=True).values()
        ],
    }
    try:
        from safetensors.numpy import load_file, save_file
    except ImportError:
        return found

    def theirs() -> None:
        save_file(arrays, folder / "theirs")
        synced(folder / "theirs")

    return {**found, "safetensors save": theirs, "safetensors load": lambda: load_file(source)}


def main() -> None:
    """Print the table."""
    megabytes, rounds = [int(n) for n in [*sys.argv[1:3], *["1024", "5"][len(sys.argv) - 1 :]]]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        entries = contenders(Path(folder), megabytes)
        for turn in range(rounds + 1):
            for name, run in entries.items():
                start = time.perf_counter()
                run()
                if turn:  # the first is for the disk's and the memory's caches
                    times.setdefault(name, []).append(time.perf_counter() - start)
    flushed = ("copy", "tg.save", "safetensors save")
    plain = {name: times["copy" if name in flushed else "copy, not flushed"] for name in times}
    print(f"{megabytes} MB, medians of {rounds} rounds; speed beside a copy's, flushed for saving")
    for name, taken in times.items():
        ratio = statistics.median(b / a for a, b in zip(taken, plain[name], strict=True))
        print(f"{name:28} {statistics.median(taken):8.3f} s   {ratio:5.2f}")


if __name__ == "__main__":
    main()
