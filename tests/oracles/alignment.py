"""Losses over alignments and their gradients, by going through all alignments one by one."""

import itertools

import numpy as np


def _paths_of_ctc(log_probs, labels, steps, blank):
    """Each path of `steps` classes that spells the labels, and its logarithm."""
    for path in itertools.product(range(log_probs.shape[1]), repeat=steps):
        spelt = [c for c, _ in itertools.groupby(path) if c != blank]
        if spelt == list(labels):
            yield path, sum(log_probs[k, c] for k, c in enumerate(path))


def _ctc(log_probs, targets, input_lengths, target_lengths, blank):
    """The losses, and minus the probabilities of each class at each step."""
    losses, grad = np.full(len(targets), np.inf), np.zeros(log_probs.shape)
    for n, labels in enumerate(targets):
        labels = labels[: target_lengths[n]]
        paths = list(_paths_of_ctc(log_probs[:, n], labels, input_lengths[n], blank))
        if not paths:
            continue
        losses[n] = -np.log(sum(np.exp(logp) for _, logp in paths))
        for path, logp in paths:
            for k, c in enumerate(path):
                grad[k, n, c] -= np.exp(logp + losses[n])
    return losses, grad


def _transducer(logits, targets, input_lengths, target_lengths, blank):
    """The losses, and their gradients for the logarithms of the probabilities."""
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses, grad = np.zeros(len(targets)), np.zeros(logits.shape)
    for n in range(len(targets)):
        steps, size = input_lengths[n], target_lengths[n]
        paths = []
        for at in itertools.combinations(range(steps - 1 + size), size):  # where labels stand
            i = j = 0
            arcs = []
            for k in range(steps - 1 + size):
                label = k in at
                arcs.append((i, j, targets[n, j] if label else blank))
                i, j = (i, j + 1) if label else (i + 1, j)
            arcs.append((i, j, blank))
            paths.append((arcs, sum(log_p[n][arc] for arc in arcs)))
        losses[n] = -np.log(sum(np.exp(logp) for _, logp in paths))
        for arcs, logp in paths:
            for arc in arcs:
                grad[n][arc] -= np.exp(logp + losses[n])
    return losses, grad


def _ctc_grad(g, *args, blank):
    return g[:, None] * _ctc(*args, blank)[1]


def _transducer_grad(g, logits, *args, blank):
    grad = _transducer(logits, *args, blank)[1]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return g[:, None, None, None] * (grad - p * grad.sum(-1, keepdims=True))


ORACLES = {
    "ctc": lambda *args, blank: _ctc(*args, blank)[0],
    "ctc_grad": _ctc_grad,
    "transducer": lambda *args, blank: _transducer(*args, blank)[0],
    "transducer_grad": _transducer_grad,
}
