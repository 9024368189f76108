"""Oracles of linear algebra: NumPy's own, where references call it for what it can, and the
definitions."""

import numpy as np


def _triangle(a, lower, unit):
    a = np.tril(a) if lower else np.triu(a)
    return a * (1 - np.eye(a.shape[-1])) + np.eye(a.shape[-1]) if unit else a


def _exp(a):
    """By eigenvalues, which are complex."""
    w, v = np.linalg.eig(a)
    y = v * np.exp(w)[..., None, :] @ np.linalg.inv(v)
    return y if np.iscomplexobj(a) else y.real


def _cofactor(a):
    """(-1)^(i + j) times the determinant without row i and column j."""
    n, y = a.shape[-1], np.zeros_like(a)
    for i in range(n):
        for j in range(n):
            rest = np.delete(np.delete(a, i, -2), j, -1)
            y[..., i, j] = (-1) ** (i + j) * np.linalg.det(rest)
    return y


def _eig(a):
    """Of the matrices one by one, as complex numbers from the start."""
    w, v = np.zeros(a.shape[:-1], complex), np.zeros(a.shape, complex)
    for i in np.ndindex(a.shape[:-2]):
        w[i], v[i] = np.linalg.eig(a[i])
    return w, v


def _phase(vectors, axis):
    """The phase of each vector along an axis: that of its largest component."""
    at = np.abs(vectors).argmax(axis, keepdims=True)
    large = np.take_along_axis(vectors, at, axis)
    return large / np.abs(large)


def gauged(name, parts):
    """What `eigh` and `svd` return, as NumPy arrays, with vectors whose largest component is
    positive: they are unique up to a phase, and LAPACK and cuSOLVER choose another one. Results of
    other functions as they are."""
    name = name.removeprefix("linalg.")
    if name not in ("eigh", "svd") or not isinstance(parts, (tuple, list)) or len(parts) == 1:
        return parts
    parts = [a.numpy() if hasattr(a, "numpy") else np.asarray(a) for a in parts]
    if not parts[1].size:
        return tuple(parts)
    if name == "eigh":
        return parts[0], parts[1] / _phase(parts[1], -2)
    u, s, vh = parts
    k, phase = s.shape[-1], _phase(u, -2)
    vh = vh.copy()
    vh[..., :k, :] *= np.swapaxes(phase[..., :k], -1, -2)
    vh[..., k:, :] /= _phase(vh[..., k:, :], -1)
    return u / phase, s, vh


def _lu_factor(a):
    """A step at a time on each matrix, in the definition's order."""
    y, pivots = a.copy(), np.zeros((*a.shape[:-2], min(a.shape[-2:])), "int32")
    for at in np.ndindex(a.shape[:-2]):
        for i in range(pivots.shape[-1]):
            j = i + np.argmax(np.abs(y[at][i:, i]))
            pivots[(*at, i)] = j + 1
            y[at][[i, j]] = y[at][[j, i]]
            y[at][i + 1 :, i] /= y[at][i, i]
            y[at][i + 1 :, i + 1 :] -= np.outer(y[at][i + 1 :, i], y[at][i, i + 1 :])
    return y, pivots


ORACLES = {
    **{n: getattr(np.linalg, n) for n in "solve inv pinv det cholesky".split()},
    "pinv": lambda a, rtol=None: np.linalg.pinv(a, rtol=rtol) if a.size else a.swapaxes(-1, -2),
    "slogdet": lambda a: tuple(np.linalg.slogdet(a)),
    "eigh": lambda a, uplo="L": tuple(np.linalg.eigh(a, uplo)),
    "eigvalsh": lambda a, uplo="L": np.linalg.eigh(a, uplo)[0],
    "eig": _eig,
    "eigvals": lambda a: _eig(a)[0],
    "svd": lambda a: tuple(np.linalg.svd(a, full_matrices=False)),
    "svdvals": lambda a: np.linalg.svd(a, full_matrices=False)[1],
    "lu_factor": _lu_factor,
    "qr": lambda a: tuple(np.linalg.qr(a)),
    "solve_triangular": lambda a, b, lower=False, unit=False: np.linalg.solve(
        _triangle(a, lower, unit), b
    ),
    "matrix_exp": _exp,
    "cofactor": _cofactor,
}
