"""Data sets in parts."""

import numpy as np
import pytest

import tensorgrad as tg

pytestmark = pytest.mark.host
X = np.arange(50)


class Samples:
    def __len__(self):
        return 50

    def __getitem__(self, i):
        return np.array([i]), i % 2


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.5, 0.3, 0.2), (0.98, 0.02)])
def test_each_example_is_in_one_part(shares):
    for data in (X, (X, -X), {"x": X}, Samples()):
        parts = tg.data.split(data, shares, seed=3)
        whole = []
        for part, share in zip(parts, shares, strict=True):
            first = (
                part["x"] if isinstance(data, dict) else part[0] if type(part) is tuple else part
            )
            rows = list(first)
            whole += [int(np.ravel(r[0])[0]) if isinstance(r, tuple) else int(r) for r in rows]
            assert len(rows) == round(50 * share)
        assert sorted(whole) == list(range(50))
    assert (
        tg.data.split(X, (0.8, 0.2), seed=3)[0] == tg.data.split(X, (0.8, 0.2), seed=3)[0]
    ).all()
    assert (
        tg.data.split(X, (0.8, 0.2), seed=3)[1] != tg.data.split(X, (0.8, 0.2), seed=4)[1]
    ).any()


def test_stratified():
    labels = np.array(["rare"] * 10 + ["other"] * 40)
    for part in tg.data.split(labels == "rare", (0.5, 0.3, 0.2), stratify=labels == "rare"):
        assert abs(part.mean() - 0.2) <= 1 / len(part)


def test_what_cannot_be_split():
    for call, says in (
        (lambda: tg.data.split(X, (0.8, 0.1)), "sum to 1"),
        (lambda: tg.data.split(X[:3], (0.9, 0.1)), "leave a part empty"),
        (lambda: tg.data.split(iter(X), (0.9, 0.1)), "no length"),
        (lambda: tg.data.split(X, (0.9, 0.1), stratify=[1, 2]), "2 labels for 50"),
    ):
        with pytest.raises(tg.ArgumentError, match=says):
            call()
