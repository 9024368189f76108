"""Real data that comes with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BackendError

Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def load_digits(test_size: float = 0.2, seed: int = 0) -> tuple[Split, Split]:
    """Handwritten digits of 8 x 8 pixels: ((x, y) to train on, (x, y) to test on).

    x is float32 (n, 64) in [0, 1], y int64 class numbers (n,). The split is stratified by class
    and fixed by `seed`. Needs scikit-learn (BackendError says how to install it).
    """
    try:
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise BackendError(
            'load_digits needs scikit-learn: pip install "tensorgrad-cupy[examples]"'
        ) from error
    digits = datasets.load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=test_size, stratify=y, random_state=seed
    )
    return (x_train, y_train), (x_test, y_test)
