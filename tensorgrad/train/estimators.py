"""Networks as scikit-learn's estimators: for its pipelines, searches and scores."""

from __future__ import annotations

import copy
from typing import Annotated, Any, TypeAlias

import numpy as np

from .. import nn, optim
from ..errors import ArgumentError, BackendError, ShapeError
from ..randomness import Generator
from ..settings import Own, Several, Whole, gate
from ..typing import Count, Positive, Probability
from . import plan
from .history import History
from .loop import fit, predict

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as missing:
    raise BackendError(
        f'estimators need scikit-learn: pip install "scikit-learn>=1.6" ({missing})'
    ) from missing

__all__ = ["TensorgradClassifier", "TensorgradRegressor"]

Widths: TypeAlias = Annotated["int | tuple[int, ...]", Several(Whole(1), always=True)]


@gate
def _checked(
    hidden: Widths,
    lr: Positive | None,
    epochs: Count,
    batch_size: Count,
    validation_split: Probability,
    fit_options: Annotated[dict[str, Any], Own("a dict")],
) -> dict[str, Any]:
    """The settings in their plain form; they are checked when `fit` is called, as scikit-learn
    wants it."""
    return {"epochs": epochs, "batch_size": batch_size, "validation_split": validation_split,
            **fit_options, "hidden": hidden, "lr": lr}  # fmt: skip


class _Network(BaseEstimator):  # type: ignore[misc]
    """What both estimators have: a network that is made and trained when `fit` is called."""

    _loss = ""

    def __init__(
        self,
        model: Any = None,
        *,
        hidden: Any = (100,),
        activation: Any = "relu",
        optimizer: Any = "adam",
        lr: float | None = None,
        loss: Any = None,
        epochs: int = 100,
        batch_size: int = 32,
        validation_split: float = 0.0,
        callbacks: Any = None,
        fit_options: dict[str, Any] | None = None,
        model_options: dict[str, Any] | None = None,
        random_state: Any = None,
        verbose: Any = 0,
    ):
        self.model = model
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.lr = lr
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.callbacks = callbacks
        self.fit_options = fit_options
        self.model_options = model_options
        self.random_state = random_state
        self.verbose = verbose

    @property
    def n_iter_(self) -> int:
        """The epochs that it was trained for."""
        check_is_fitted(self, "model_")
        return self.history_.epochs

    def _data(self, x: Any, y: Any, anew: bool) -> tuple[Any, Any]:
        """Inputs and targets, as scikit-learn checks them."""
        anew = anew or not hasattr(self, "model_")
        x, y = validate_data(self, x, y, reset=anew, allow_nd=True, multi_output=True, y_numeric=
                             self._loss == "mse")  # fmt: skip
        return x, y

    def _train(
        self, x: Any, y: Any, outputs: int, weight: Any, anew: bool, epochs: int | None = None
    ) -> None:
        """Train a new network, or that of the last call, with random numbers of its own."""
        names = "hidden lr epochs batch_size validation_split".split()
        how = {name: getattr(self, name) for name in names}
        how = _checked(**how, fit_options=self.fit_options or {})
        hidden, lr = how.pop("hidden"), how.pop("lr")
        if weight is not None:
            weight = _check_sample_weight(weight, x, dtype=np.float32)
        if anew or not hasattr(self, "model_"):
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            self.history_, self._random = History(), Generator(int(seed))
            with self._random:
                model = self._made(x, outputs, hidden)
            optimizer = copy.deepcopy(optim.get(self.optimizer))
            if lr is not None:
                optimizer.lr = lr
            loss = self._loss if self.loss is None else self.loss
            self.model_ = plan.compile(model, optimizer, loss, (), "auto")
        how |= {"verbose": self.verbose, "callbacks": copy.deepcopy(self.callbacks) or ()}
        how |= {} if epochs is None else {"epochs": epochs}
        with self._random:
            past = fit(self.model_, self._inputs(x), y, sample_weight=weight, **how)
        for i in range(past.epochs):
            self.history_.add({name: values[i] for name, values in past.history.items()})

    def _made(self, x: Any, outputs: int, hidden: tuple[int, ...]) -> Any:
        """A network that is not trained yet."""
        if self.model is None:
            how: dict[str, Any] = {"dtype": x.dtype if x.dtype.kind == "f" else "float32"}
            sizes = (int(np.prod(x.shape[1:])), *hidden)
            layers = [
                nn.Dense(n, before, activation=self.activation, **how)
                for before, n in zip(sizes, hidden, strict=False)
            ]
            return nn.Sequential([nn.Flatten(), *layers, nn.Dense(outputs, sizes[-1], **how)])
        made = copy.deepcopy(self.model)
        if not isinstance(made, nn.Module) and callable(made):
            made = made(x.shape[1], outputs, **(self.model_options or {}))
        if not isinstance(made, nn.Module):
            raise ArgumentError(
                f"{type(self).__name__}: model must be a module, or a function of (inputs, "
                f"outputs) that makes one; got {self.model!r:.80}"
                + (f", which made {made!r:.80}" if callable(self.model) else "")
            )
        return made

    def _inputs(self, x: Any) -> Any:
        """Whole numbers as floating ones, unless the model has an Embedding, whose rows they are
        the indices of."""
        rows = any(isinstance(m, nn.Embedding) for m in self.model_.modules())
        return x if rows or x.dtype.kind == "f" else x.astype(np.float32)

    def _outputs(self, x: Any, columns: int) -> Any:
        """What the model gives for inputs, (n, columns)."""
        check_is_fitted(self, "model_")
        made = predict(
            self.model_, self._inputs(validate_data(self, x, reset=False, allow_nd=True))
        )
        if getattr(made, "shape", ())[1:] != (columns,):
            raise ShapeError(
                f"{type(self).__name__}: the model gives {getattr(made, 'shape', type(made))}, "
                f"and is to give (n, {columns})"
            )
        return made


class TensorgradClassifier(ClassifierMixin, _Network):  # type: ignore[misc]
    """A network as a classifier of scikit-learn: for its pipelines, `cross_val_score`,
    `GridSearchCV` (with processes, too), joblib. Needs scikit-learn 1.6.

    Args:
        model: a module with an output for each class, (n, classes), before softmax; or a function
            of (inputs, outputs) that makes one, which `fit` calls with the numbers of features and
            of classes; None: dense layers in the dtype of X. `fit` trains a copy of it, `model_`.
        hidden: the widths of the hidden layers where model is None, and their activation.
        optimizer, lr: an optimizer or its name, and its learning rate; None: its own.
        loss: of logits (n, classes) and labels (n,) from 0; None: cross_entropy.
        epochs, batch_size, validation_split, callbacks: of `train.fit`; what else it takes stands
            in `fit_options`.
        model_options: keywords for `model`, where it is a function.
        random_state: None, a number, or NumPy's RandomState: of weights, shuffles and dropout.
        verbose: of `train.fit`.
    Raises: ValueError and NotFittedError of scikit-learn, and the errors of `train.fit`.

    After `fit`: `model_`, `classes_`, `history_`, `n_iter_`. Labels are numbers or strings;
    `sample_weight` weighs the examples in the mean of each batch. `partial_fit` trains an epoch
    more. Whole numbers are taken as floating ones, unless the model has an Embedding.

    >>> x, y = np.random.default_rng(0).normal(size=(60, 2)), np.array(["low", "high"] * 30)
    >>> x[y == "high"] += 3
    >>> net = tg.train.TensorgradClassifier(hidden=8, lr=0.05, epochs=20, random_state=0).fit(x, y)
    >>> net.predict([[0.0, 0.0], [3.0, 3.0]]).tolist()
    ['low', 'high']
    >>> net.score(x, y) > 0.9, net.predict_proba(x).shape
    (True, (60, 2))
    """

    _loss = "cross_entropy"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TensorgradClassifier:
        """Train a new network on X (n, features) or (n, ...) and labels y (n,)."""
        return self._fit(X, y, sample_weight, None, anew=True)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> TensorgradClassifier:
        """Train an epoch more. `classes` are all labels that there are, where the first call has
        not all of them."""
        return self._fit(X, y, sample_weight, classes, anew=False)

    def _fit(self, X: Any, y: Any, weight: Any, classes: Any, anew: bool) -> Any:
        x, y = self._data(X, y, anew)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if anew or not hasattr(self, "model_"):
            self.classes_ = np.unique(y if classes is None else classes)
        labels = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if len(unknown := np.unique(y[self.classes_[labels] != y])):
            raise ArgumentError(
                f"{type(self).__name__}: the labels {unknown.tolist()} are not among the classes "
                f"{self.classes_.tolist()}: give all in `classes` at the first partial_fit"
            )
        self._train(x, labels, len(self.classes_), weight, anew, None if anew else 1)
        return self

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, (n, classes), in the order of `classes_`."""
        check_is_fitted(self, "model_")
        logits = self._outputs(X, len(self.classes_))
        e = np.exp(logits - logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def predict(self, X: Any) -> Any:
        """The most probable label of each example, (n,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]


class TensorgradRegressor(MultiOutputMixin, RegressorMixin, _Network):  # type: ignore[misc]
    """A network as a regressor of scikit-learn, of one target (n,) or several (n, targets). Its
    arguments are those of `TensorgradClassifier`; the model gives (n, targets), (n, 1) for one, and
    the loss is by default the mean squared error. Networks learn targets of size 1:
    `sklearn.compose.TransformedTargetRegressor` scales them.

    >>> x = np.random.default_rng(0).normal(size=(80, 2))
    >>> net = tg.train.TensorgradRegressor(lr=0.02, epochs=40, random_state=0)
    >>> net.fit(x, x[:, 0] * x[:, 1]).score(x, x[:, 0] * x[:, 1]) > 0.8  # R2
    True
    """

    _loss = "mse"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TensorgradRegressor:
        """Train a new network on X (n, features) or (n, ...) and targets y (n,) or (n, targets)."""
        return self._fit(X, y, sample_weight, anew=True)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> TensorgradRegressor:
        """Train an epoch more."""
        return self._fit(X, y, sample_weight, anew=False)

    def _fit(self, X: Any, y: Any, weight: Any, anew: bool) -> Any:
        x, y = self._data(X, y, anew)
        if anew or not hasattr(self, "model_"):
            self._shape = y.shape[1:]
        elif y.shape[1:] != self._shape:
            raise ShapeError(
                f"{type(self).__name__}: targets {y.shape} after others of (n, *{self._shape})"
            )
        columns = y.reshape(len(y), -1).astype(np.float64)  # `fit` casts them to the model's
        self._train(x, columns, columns.shape[1], weight, anew, None if anew else 1)
        return self

    def predict(self, X: Any) -> Any:
        """The targets of each example, (n,) or (n, targets) as they were given."""
        check_is_fitted(self, "model_")
        made = self._outputs(X, int(np.prod(self._shape)))
        return made.reshape(len(made), *self._shape)
