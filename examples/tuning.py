"""Search for hyper-parameters, with pruning: Optuna trains classifiers and gives bad ones up.

Each trial draws a learning rate, a width, a dropout and a weight decay, by what earlier trials
showed (TPE, Bergstra et al. 2011), and trains. After each epoch a callback reports the accuracy on
images that are held out; where it is below the median of earlier trials at that epoch the trial
ends. The best is trained on all images but the test's, beside the defaults from which the search
started. The picture shows the curves of all trials.
"""

from typing import Any

import optuna

import tensorgrad as tg
from tensorgrad import data, nn, optim, train

DEFAULTS = {"lr": 1e-3, "width": 32, "dropout": 0.5, "weight_decay": 1e-2}


class Report(train.Callback):
    """Says the accuracy of each epoch to Optuna, which may end the trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def epoch_end(self, model: nn.Module, epoch: int, scores: dict[str, float]) -> None:
        self.trial.report(scores["val_accuracy"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def network(lr: float, width: int, dropout: float, weight_decay: float) -> nn.Sequential:
    model = nn.Sequential(nn.Dense(width, activation="relu"), nn.Dropout(dropout), nn.Dense(10))
    optimizer = optim.AdamW(lr=lr, weight_decay=weight_decay)
    return model.compile(optimizer, loss="cross_entropy", metrics=["accuracy"])


def drawn(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "width": trial.suggest_int("width", 16, 256, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
    }


def run(trials: int = 30, epochs: int = 12, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), test = data.load_digits(seed=seed)

    def objective(trial: optuna.Trial) -> float:
        tg.seed(seed)
        past = network(**drawn(trial)).fit(
            x, y, epochs=epochs, validation_split=0.25, callbacks=Report(trial)
        )
        return max(past.history["val_accuracy"])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    study.enqueue_trial(DEFAULTS)
    study.optimize(objective, n_trials=trials)

    accuracy = {}
    for name, chosen in (("default", DEFAULTS), ("best", study.best_params)):
        tg.seed(seed)
        model = network(**chosen)
        model.fit(x, y, epochs=epochs)
        accuracy[name] = model.evaluate(*test)["accuracy"]
    if picture:
        draw(picture, study)
    states = [trial.state for trial in study.trials]
    pruned = states.count(optuna.trial.TrialState.PRUNED)
    return accuracy | {"pruned": pruned, "trials": trials} | study.best_params


def draw(path: str, study: optuna.Study) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for trial in study.trials:
        ended = trial.state == optuna.trial.TrialState.PRUNED
        curve = list(trial.intermediate_values.values())
        left.plot(curve, color="lightgray" if ended else "C0", linewidth=1)
        right.plot(trial.params["lr"], max(curve), "o", color="lightgray" if ended else "C0")
    left.plot(list(study.trials[0].intermediate_values.values()), "k--", label="defaults")
    left.set(xlabel="epoch", ylabel="accuracy, held out", ylim=(0.8, 1))
    left.legend(frameon=False)
    right.set(xlabel="learning rate", xscale="log", ylim=(0.8, 1), title="grey: given up")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"trials": 8, "epochs": 4})
