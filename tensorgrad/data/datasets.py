"""Data sets that come with scikit-learn (nothing is downloaded), and data sets in parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..errors import ArgumentError, BackendError
from ..settings import Either, Nothing, Own, Real, Several, Whole, gate
from ..typing import ArrayLike
from .sampling import Stratified
from .sources import Arrays, source_of

Share: TypeAlias = Annotated[float, Real(above=0, below=1)]
Shares: TypeAlias = Annotated[
    "tuple[float, ...]", Several(Real(above=0, below=1), says="numbers that sum to 1")
]
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


@gate
def split(
    dataset: Annotated[Any, Own("arrays, or a data set")],
    shares: Shares = (0.8, 0.2),
    seed: Seed = 0,
    stratify: Annotated[ArrayLike | None, Either(Nothing(), Own("labels"))] = None,
) -> list[Any]:
    """A data set in parts at random, such as one to train with and one to test with: arrays, or
    tuples and dicts of them, as such; other data sets as views, which read their samples when they
    are asked for.

    Args:
        dataset: what `DataLoader` takes, with a length.
        shares: of each part, which sum to 1. Every part has an example.
        seed: which examples are in which part.
        stratify: a label for each example: each part has the labels in the same proportions.
    Raises: ArgumentError for shares that do not sum to 1, and for parts that would be empty.

    >>> (x, y), (x_test, y_test) = split((np.arange(10.0), np.arange(10) % 2), (0.8, 0.2))
    >>> x.shape, x_test.shape
    ((8,), (2,))
    """
    source = source_of(dataset)
    if not hasattr(source, "__len__"):
        raise ArgumentError("split: a stream has no length, and cannot be split")
    n = len(source)
    shares = shares if isinstance(shares, tuple) else (shares,)
    if len(shares) < 2 or abs(sum(shares) - 1) > 1e-6:
        raise ArgumentError(f"split: the shares {shares} are two or more that sum to 1")
    generator = np.random.default_rng(seed)
    if stratify is None:
        order = generator.permutation(n)
    else:
        labels = Stratified(stratify)
        if len(labels) != n:
            raise ArgumentError(f"split: stratify has {len(labels)} labels for {n} examples")
        order = labels(generator)  # in which every stretch has them in their proportions
    ends = np.rint(np.cumsum((0.0, *shares)) * n).astype(int)
    parts = [order[a:b] for a, b in pairwise(ends)]
    if not all(map(len, parts)):
        raise ArgumentError(f"split: {n} examples in shares of {shares} leave a part empty")
    if isinstance(source, Arrays):
        return [source[np.sort(part)] for part in parts]
    return [Part(dataset, np.sort(part)) for part in parts]


class Part:
    """Some of the samples of a data set, by their indices."""

    def __init__(self, dataset: Any, indices: np.ndarray[Any, Any]):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: Any) -> Any:
        return self.dataset[int(self.indices[i])]
