"""Decoding the output of a CTC model, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _likeliest(beams: dict[tuple, list[float]], n: int) -> list[tuple[tuple, list[float]]]:
    """The n most probable of labels -> log p of ending in a blank, and in the last label."""
    return sorted(beams.items(), key=lambda kv: -np.logaddexp(kv[1][0], kv[1][1]))[:n]


def greedy(
    x: np.ndarray, lengths: np.ndarray, merge: bool, blank: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The best label of each step: labels (1, n, t), -1 after their end, and (n, 1), the sum of
    the best scores, negative."""
    n, steps, classes = x.shape
    blank = classes - 1 if blank is None else blank
    within = np.arange(steps) < lengths[:, None]
    best, labels = x.max(-1), np.where(within, x.argmax(-1), blank)
    keep = labels != blank
    if merge:
        keep[:, 1:] &= labels[:, 1:] != labels[:, :-1]
    made = np.full((n, steps), -1)
    for row, found, chosen in zip(made, labels, keep, strict=True):
        row[: chosen.sum()] = found[chosen]
    return made[None], -np.where(within, best, 0).sum(1, keepdims=True)


def beam_search(
    x: np.ndarray, lengths: np.ndarray, width: int, paths: int, blank: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable labels, summed over alignments (Hannun et al. 2014): (paths, n, t) and
    the logarithms of their probabilities, (n, paths)."""
    n, steps, classes = x.shape
    blank = classes - 1 if blank is None else blank
    logs = _log_softmax(x)
    made, scores = np.full((paths, n, steps), -1), np.full((n, paths), -np.inf, x.dtype)
    for i in range(n):
        beams: dict[tuple, list[float]] = {(): [0.0, -np.inf]}
        for row in logs[i, : lengths[i]]:
            new: dict[tuple, list[float]] = {}

            def add(key: tuple, at: int, p: float, new: dict = new) -> None:
                pair = new.setdefault(key, [-np.inf, -np.inf])
                pair[at] = np.logaddexp(pair[at], p)

            for key, (ended, open_) in beams.items():
                total = np.logaddexp(ended, open_)
                add(key, 0, total + row[blank])
                for label in range(classes):
                    if label == blank:
                        continue
                    if key and key[-1] == label:
                        add(key, 1, open_ + row[label])
                        add((*key, label), 1, ended + row[label])
                    else:
                        add((*key, label), 1, total + row[label])
            beams = dict(_likeliest(new, width))
        for j, (key, (ended, open_)) in enumerate(_likeliest(beams, paths)):
            made[j, i, : len(key)] = key
            scores[i, j] = np.logaddexp(ended, open_)
    return made, scores
