"""The progress of an epoch: a bar by tqdm on a terminal or in a notebook, else a line."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from .feed import Feed
from .running import Running

EVERY = 0.5  # seconds between two readings of the loss, which wait for the device


class Progress:
    """A block that shows how far an epoch is. `options.verbose`: 0 nothing, 1 a bar (a line for
    each epoch where there is no terminal), 2 lines, "auto" a bar on a terminal and nothing
    elsewhere."""

    def __init__(self, feed: Feed, options: Any, title: str, running: Running):
        self.title, self.running, self.bar = title, running, None
        terminal = sys.stderr.isatty() or "ipykernel" in sys.modules
        terminal = terminal or "TENSORGRAD_TERMINAL" in os.environ  # behind a launcher's pipe
        self.lines = options.verbose == 2 or (options.verbose == 1 and not terminal)
        self.begun = self.read = time.monotonic()
        if options.verbose in (0, 2) or not terminal:
            return
        from tqdm.auto import tqdm

        if feed.examples is not None:
            self.bar = tqdm(
                total=feed.examples, desc=title, unit=" examples", unit_scale=True, leave=True
            )
            self.by_batch = False
        else:
            self.bar = tqdm(total=feed.batches, desc=title, unit=" batches", leave=True)
            self.by_batch = True

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, size: int) -> None:
        """A batch of this many examples is done."""
        bar = self.bar
        if bar is None:
            return
        n = 1 if self.by_batch else size
        if not bar.n and n != bar.total:
            bar.unpause()  # the first step may have compiled: the rate leaves it out
            bar.initial = n
        bar.update(n)
        now = time.monotonic()
        if now - self.read > EVERY:
            self.read = now
            bar.set_postfix_str(_said(self.running.read(("loss",))), refresh=False)

    def close(self, scores: dict[str, float]) -> None:
        """The epoch is done, with these scores."""
        if self.bar is not None:
            self.bar.set_postfix_str(_said(scores))
        elif self.lines:
            took = time.monotonic() - self.begun
            print(f"{self.title}: {_said(scores)} ({took:.1f} s)", file=sys.stderr, flush=True)


def _said(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
