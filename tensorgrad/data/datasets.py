"""Data sets that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np

from ..errors import BackendError
from ..settings import Real, Whole, gate

Share: TypeAlias = Annotated[float, Real(above=0, below=1)]
Seed: TypeAlias = Annotated[int, Whole(0, 2**32 - 1)]  # as scikit-learn's
Split = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@gate
def load_digits(test_size: Share = 0.2, seed: Seed = 0) -> tuple[Split, Split]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: ((x, y) for training, (x, y) for
    testing). x is float32 (n, 64) in [0, 1], y int64 class labels (n,). The split is stratified by
    class and determined by `seed`.

    Raises: BackendError where scikit-learn is not installed.

    >>> (x, y), (x_test, y_test) = load_digits()
    >>> x.shape, y.shape, x_test.shape
    ((1437, 64), (1437,), (360, 64))
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
