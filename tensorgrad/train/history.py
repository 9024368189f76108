"""What `fit` returns: the scores of each epoch."""

from __future__ import annotations

from typing import Any


class History:
    """The scores of `fit`: `history` maps each name to a list with one value per epoch.

    >>> past = History(); past.add({"loss": 0.5}); past.add({"loss": 0.25})
    >>> past.history, past.epochs
    ({'loss': [0.5, 0.25]}, 2)
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.places: dict[str, list[int]] = {}  # the epochs in which a score was computed

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return self.history.get("loss", [])

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return max(map(len, self.history.values()), default=0)

    def add(self, scores: dict[str, float], epoch: int | None = None) -> None:
        """Append one epoch's scores."""
        at = self.epochs if epoch is None else epoch
        for name, value in scores.items():
            self.history.setdefault(name, []).append(value)
            self.places.setdefault(name, []).append(at)

    def to_pandas(self) -> Any:
        """A data frame with a row for each epoch, from 1, and a column for each score; NaN where
        one was not computed. Needs pandas."""
        import pandas

        columns = {
            name: pandas.Series(values, index=[e + 1 for e in self._at(name)])
            for name, values in self.history.items()
        }
        return pandas.DataFrame(columns).rename_axis("epoch")

    def _at(self, name: str) -> list[int]:
        values, places = self.history[name], self.places.get(name, [])
        return places if len(places) == len(values) else list(range(len(values)))

    def plot(self, path: str | None = None) -> Any:
        """The scores over the epochs, those of validation dashed, by matplotlib: one picture for
        the losses and one for the other scores. Saved to `path` where that is given; returns the
        figure."""
        from matplotlib.figure import Figure

        names = [name for name in self.history if not name.startswith("val_")]
        groups = [
            [n for n in names if n.endswith("loss")],
            [n for n in names if not n.endswith("loss")],
        ]
        groups = [group for group in groups if group]
        figure = Figure(figsize=(5 * max(1, len(groups)), 3.5), layout="constrained")
        for axes, group in zip(
            figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True
        ):
            for i, name in enumerate(group):
                for column, style in ((name, "-"), (f"val_{name}", "--")):
                    if column in self.history:
                        at = [e + 1 for e in self._at(column)]
                        axes.plot(at, self.history[column], style, color=f"C{i}", label=column)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v[-1]:.4g}" for k, v in self.history.items())
        return f"History({self.epochs} epochs, last: {last})"
