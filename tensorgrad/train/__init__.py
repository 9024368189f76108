"""Training: compile, fit, evaluate, predict, their callbacks, history and metrics."""

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

__all__ = [
    "AUC",
    "F1",
    "R2",
    "AveragePrecision",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "CosineSimilarity",
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
