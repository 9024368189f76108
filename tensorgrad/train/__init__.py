"""Training: compile, fit, evaluate, predict, their callbacks, history and metrics."""

from typing import TYPE_CHECKING, Any

from . import metrics
from .callbacks import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from .checkpoint import Checkpoint
from .command import experiment
from .dead_units import DeadUnits
from .history import History
from .loggers import CSVLogger, MLflow, TensorBoard, WandB
from .loop import evaluate, fit, predict, train_on_batch
from .sums import (
    AUC,
    F1,
    R2,
    AveragePrecision,
    CosineSimilarity,
    Gathered,
    Perplexity,
    Precision,
    Recall,
    RootMeanSquaredError,
    Summed,
    TopK,
)
from .trainer import Trainer

if TYPE_CHECKING:  # what `__getattr__` loads, which imports scikit-learn
    from .estimators import TensorgradClassifier, TensorgradRegressor

__all__ = [
    "AUC",
    "F1",
    "R2",
    "AveragePrecision",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "CosineSimilarity",
    "DeadUnits",
    "EarlyStopping",
    "Gathered",
    "History",
    "LearningRateScheduler",
    "MLflow",
    "ModelCheckpoint",
    "Perplexity",
    "Precision",
    "Recall",
    "ReduceLROnPlateau",
    "RootMeanSquaredError",
    "Summed",
    "TensorBoard",
    "TensorgradClassifier",
    "TensorgradRegressor",
    "TerminateOnNaN",
    "TopK",
    "Trainer",
    "WandB",
    "evaluate",
    "experiment",
    "fit",
    "metrics",
    "predict",
    "train_on_batch",
]

if not TYPE_CHECKING:  # else every name would be one for type checkers

    def __getattr__(name: str) -> Any:
        if name.startswith("Tensorgrad") and name in __all__:
            from . import estimators

            return getattr(estimators, name)
        raise AttributeError(f"module 'tensorgrad.train' has no attribute {name!r}")
