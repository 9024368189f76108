"""Where a GPU benchmark runs: clocks on the device, free memory, a description, and the time left.

`--tiny` runs the same scripts on NumPy and PyTorch's CPU tensors, with the wall clock.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Timed = Callable[[Callable[[], object], int], float]


class Place:
    """A GPU, or with `tiny` the processor. Frameworks are asked for what they know of it only
    when they are there already: what is not installed is not needed."""

    def __init__(self, tiny: bool):
        self.tiny = tiny
        self.backend, self.torch = ("numpy", "cpu") if tiny else ("cupy", "cuda")

    def clock(self, framework: str) -> Timed:
        """Seconds per call over some calls, all work done, by the device's own events."""
        if self.tiny:
            return by_wall
        return by_cupy_events if framework == "cupy" else by_torch_events

    def emptied(self, framework: str) -> float:
        """What `held` says once every pool has given back what it can."""
        gc.collect()
        if not self.tiny:
            import cupy

            cupy.cuda.runtime.deviceSynchronize()
            cupy.get_default_memory_pool().free_all_blocks()
            if torch := self._torch_on_the_gpu():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
        return self.held(framework)

    def held(self, framework: str) -> float:
        """MiB that the framework has taken from the device: a pool keeps what it has, so that is
        the most at a time. A graph of tensorgrad's has its own pool: there, all that is taken."""
        if self.tiny:
            return 0.0
        import cupy

        if framework.startswith("torch"):
            torch = self._torch_on_the_gpu()
            return torch.cuda.max_memory_reserved() / 2**20 if torch else 0.0
        if framework == "tensorgrad":
            return cupy.get_default_memory_pool().total_bytes() / 2**20
        free, total = cupy.cuda.runtime.memGetInfo()
        return (total - free) / 2**20

    def _torch_on_the_gpu(self) -> Any:
        """PyTorch where it is in use and not a build for the CPU."""
        torch = sys.modules.get("torch")
        return torch if torch and torch.cuda.is_available() else None

    def describe(self) -> dict[str, Any]:
        """The card, its limits and its driver."""
        if self.tiny:
            return {"gpu": "none (--tiny: NumPy and PyTorch's CPU tensors)"}
        import cupy

        facts = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        asked = "driver_version,power.limit,clocks.max.sm,clocks.max.mem,utilization.gpu"
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
        except (OSError, subprocess.TimeoutExpired):
            told = ""
        lines = told.splitlines()
        told = lines[0].split(", ") if lines else []
        return {
            "gpu": facts["name"].decode(),
            "compute_capability": f"{facts['major']}.{facts['minor']}",
            "multiprocessors": facts["multiProcessorCount"],
            "memory_mib": facts["totalGlobalMem"] >> 20,
            "cuda_driver": cupy.cuda.runtime.driverGetVersion(),
            "cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
            **dict(zip(asked.split(","), told, strict=False)),
        }


# --- clocks -------------------------------------------------------------------------------------


def by_wall(step: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - begin) / calls


def by_cupy_events(step: Callable[[], object], calls: int) -> float:
    """The last event is recorded once the device is idle: work on other streams counts."""
    from cupy import cuda

    begin, end = cuda.Event(), cuda.Event()
    cuda.runtime.deviceSynchronize()
    begin.record()
    for _ in range(calls):
        step()
    cuda.runtime.deviceSynchronize()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(begin, end) / 1e3 / calls


def by_torch_events(step: Callable[[], object], calls: int) -> float:
    """The same with PyTorch's events."""
    from torch import cuda

    begin, end = (cuda.Event(enable_timing=True) for _ in range(2))
    cuda.synchronize()
    begin.record()
    for _ in range(calls):
        step()
    cuda.synchronize()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / calls


def calls_to_fill(timed: Timed, step: Callable[[], object], seconds: float) -> tuple[int, float]:
    """How many calls last about so long, and how long one takes; the first is not counted."""
    timed(step, 1)
    each = timed(step, 1)
    calls = max(1, min(1000, round(seconds / each)))
    return calls, timed(step, calls) if calls > 1 else each


# --- time ---------------------------------------------------------------------------------------


class Budget:
    """The seconds that a whole run may take."""

    def __init__(self, seconds: float):
        self.seconds, self.begin = seconds, time.monotonic()

    def spent(self) -> float:
        return time.monotonic() - self.begin

    def left(self) -> float:
        return self.seconds - self.spent()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends the block with a TimeoutError when it lasts longer, where the system has alarms."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError(f"not ready after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
