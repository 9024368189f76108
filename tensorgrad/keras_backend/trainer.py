"""fit, evaluate and predict of Keras's models on tensorgrad."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from keras.src import backend, optimizers, tree
from keras.src import callbacks as callbacks_module
from keras.src.backend import config
from keras.src.trainers import trainer as base
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.epoch_iterator import EpochIterator
from keras.src.utils import traceback_utils
from keras.src.utils.python_utils import pythonify_logs

import tensorgrad as tg
from tensorgrad.backend import BY_TYPE
from tensorgrad.hooks import gradients

from .ops.core import Tensor, convert_to_tensor

_STEPS = ("train_step", "test_step", "predict_step")
_DATA = {"x", "y", "sample_weight"}
unpack = data_adapter_utils.unpack_x_y_sample_weight


def _tensors(data: Any) -> Any:
    """A batch as Tensors; text stays as it is, for layers that look it up."""

    def one(x: Any) -> Any:
        if x is None or getattr(getattr(x, "dtype", None), "kind", "f") in "OSU":
            return x
        return convert_to_tensor(x)

    return tree.map_structure(one, data)


def _off_tape(value: Any) -> Any:
    return tree.map_structure(lambda x: x.detach() if isinstance(x, Tensor) else x, value)


def taken(loss: Tensor, variables: Iterable[Any]) -> list[Tensor | None]:
    """The gradients of a loss for variables; None for those that it does not depend on."""
    leaves = [v._value.node for v in variables]
    if loss.node is None:
        return [None] * len(leaves)
    wanted = [node for node in leaves if node is not None]
    ones = BY_TYPE[type(loss._data)].xp.ones_like(loss._data)
    found = iter(gradients([(loss.node, ones)], wanted, 0, False, False))
    made = [None if node is None else next(found) for node in leaves]
    return [None if g is None else Tensor(g) for g in made]


class Trainer(base.Trainer):
    """The loops of `fit`, `evaluate` and `predict`, a batch at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.train_function: Any = None
        self.test_function: Any = None
        self.predict_function: Any = None
        self.compiled_step: Any = None  # with jit_compile=True; its explain() says what is replayed

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """The variables, from a batch. A step of a subclass's own may call the model otherwise, or
        only its parts: what is left is built there."""
        try:
            super()._symbolic_build(iterator, data_batch)
        except Exception:
            if all(getattr(type(self), name) is getattr(Trainer, name) for name in _STEPS):
                raise

    # --- steps ---

    def _output_of(self, x: Any, training: bool) -> Any:
        return self(x, training=training) if self._call_has_training_arg else self(x)

    def _observe(self, x: Any, y: Any, y_pred: Any, weights: Any, loss: Any) -> Any:
        """The metrics after a batch; nothing of them is recorded."""
        with tg.no_grad():
            first = next(a for a in tree.flatten(x) if a is not None)
            self._loss_tracker.update_state(_off_tape(loss), sample_weight=first.shape[0])
            return self.compute_metrics(x, y, _off_tape(y_pred), sample_weight=weights)

    def train_step(self, data: Any) -> Any:
        """One update of the weights; a subclass may have another one."""
        x, y, weights = unpack(data)
        y_pred = self._output_of(x, True)
        loss = self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weights, training=True)
        variables = self.trainable_variables
        if variables:
            scaled = loss if self.optimizer is None else self.optimizer.scale_loss(loss)
            found = taken(scaled, variables)
            self.optimizer.apply_gradients(zip(found, variables, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return self._observe(x, y, y_pred, weights, loss)

    def test_step(self, data: Any) -> Any:
        """The metrics of a batch."""
        x, y, weights = unpack(data)
        y_pred = self._output_of(x, False)
        loss = self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weights, training=False)
        return self._observe(x, y, y_pred, weights, loss)

    def predict_step(self, data: Any) -> Any:
        """The outputs of a batch."""
        return self._output_of(unpack(data)[0], False)

    def _resolve_auto_jit_compile(self) -> bool:
        return False

    def make_train_function(self, force: bool = False) -> None:
        """`train_function`, which trains on a list of batches."""
        if self.train_function is None or force:
            from .compiling import compiled

            self.compiled_step = compiled(self) if self.jit_compile else None
            step = self.compiled_step or self.train_step

            def train(batches: Any) -> Any:
                for data in batches:
                    logs = step(_tensors(data))
                return logs

            self.train_function = train

    def make_test_function(self, force: bool = False) -> None:
        """`test_function`, which evaluates a list of batches."""
        if self.test_function is None or force:

            def test(batches: Any) -> Any:
                with tg.no_grad():
                    for data in batches:
                        logs = self.test_step(_tensors(data))
                return logs

            self.test_function = test

    def make_predict_function(self, force: bool = False) -> None:
        """`predict_function`, which gives the outputs of a list of batches together."""
        if self.predict_function is None or force:

            def predict(batches: Any) -> Any:
                with tg.no_grad():
                    made = [self.predict_step(_tensors(data)) for data in batches]
                if len(made) == 1:
                    return made[0]
                return tree.map_structure(lambda *ys: tg.concatenate(ys), *made)

            self.predict_function = predict

    # --- loops ---

    def _batches(self, **given: Any) -> EpochIterator:
        """Batches as arrays; tensors among the data may come from a model, and are off the tape."""
        given |= {name: _off_tape(given[name]) for name in _DATA & given.keys()}
        if inspect.isgenerator(made := given["x"]):
            given["x"] = (_off_tape(batch) for batch in made)
        return EpochIterator(steps_per_execution=self.steps_per_execution, **given)

    def _listeners(self, given: Any, batches: EpochIterator, verbose: Any, **how: Any) -> Any:
        """The callbacks of a loop: those of `fit` are handed on to its evaluation."""
        if isinstance(given, callbacks_module.CallbackList):
            return given
        return callbacks_module.CallbackList(
            given,
            add_progbar=verbose != 0,
            verbose=verbose,
            steps=batches.num_batches,
            model=self,
            **how,
        )

    @traceback_utils.filter_traceback
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: Any = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: Any = None,
        validation_steps: Any = None,
        validation_batch_size: Any = None,
        validation_freq: Any = 1,
    ) -> Any:
        """Train for some epochs; returns the History."""
        self._assert_compile_called("fit")
        most = config.max_epochs()
        if most and most < epochs:
            warnings.warn(f"Limiting epochs to {most}", stacklevel=2)
            epochs = most
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = array_slicing.train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        held: Any = None
        batches = self._batches(
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
        )
        self._symbolic_build(iterator=batches)
        batches.reset()
        told = self._listeners(callbacks, batches, verbose, add_history=True, epochs=epochs)
        self.stop_training = False
        self.make_train_function()
        told.on_train_begin()
        logs: dict[str, Any] = {}
        for epoch in range(self._initial_epoch or initial_epoch, epochs):
            self.reset_metrics()
            told.on_epoch_begin(epoch)
            step_logs: Any = {}
            for begin, end, data in batches:
                told.on_train_batch_begin(begin)
                step_logs = self.train_function(data)
                told.on_train_batch_end(end, step_logs)
                if self.stop_training:
                    break
            logs = dict(self._get_metrics_result_or_logs(step_logs))
            if validation_data is not None and self._should_eval(epoch, validation_freq):
                if held is None:
                    val_x, val_y, val_weights = unpack(validation_data)
                    held = self._batches(
                        x=val_x,
                        y=val_y,
                        sample_weight=val_weights,
                        batch_size=validation_batch_size or batch_size,
                        steps_per_epoch=validation_steps,
                        shuffle=False,
                    )
                found = self._evaluated(held, told)
                logs.update({f"val_{name}": value for name, value in found.items()})
            told.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        if isinstance(self.optimizer, optimizers.Optimizer) and epochs > 0:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        told.on_train_end(logs=logs)
        return self.history

    def _evaluated(self, batches: EpochIterator, told: Any) -> dict[str, Any]:
        """The metrics of all batches."""
        self._symbolic_build(iterator=batches)
        batches.reset()
        self.make_test_function()
        self.stop_evaluating = False
        told.on_test_begin()
        logs: Any = {}
        self.reset_metrics()
        for begin, end, data in batches:
            told.on_test_batch_begin(begin)
            logs = self.test_function(data)
            told.on_test_batch_end(end, logs)
            if self.stop_evaluating:
                break
        logs = pythonify_logs(self._get_metrics_result_or_logs(logs))
        told.on_test_end(logs)
        return logs

    @traceback_utils.filter_traceback
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: Any = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: Any = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The metrics of data: a list, or a dict by name."""
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        batches = self._batches(
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps,
            shuffle=False,
        )
        told = self._listeners(callbacks, batches, verbose, epochs=1)
        logs = self._evaluated(batches, told)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    @traceback_utils.filter_traceback
    def predict(
        self,
        x: Any,
        batch_size: Any = None,
        verbose: Any = "auto",
        steps: Any = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for data, as NumPy arrays."""
        batches = self._batches(x=x, batch_size=batch_size, steps_per_epoch=steps, shuffle=False)
        told = self._listeners(callbacks, batches, verbose, epochs=1)
        self.make_predict_function()
        self.stop_predicting = False
        told.on_predict_begin()
        made: list[Any] = []
        for begin, end, data in batches:
            told.on_predict_batch_begin(begin)
            made.append(self.predict_function(data))
            told.on_predict_batch_end(end, {"outputs": made[-1]})
            if self.stop_predicting:
                break
        told.on_predict_end()
        arrays = [tree.map_structure(backend.convert_to_numpy, outputs) for outputs in made]
        return tree.map_structure(lambda *ys: np.concatenate(ys), *arrays)

    # --- single batches ---

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch."""
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(
                    "Arguments `sample_weight` and `class_weight` cannot be specified at the same "
                    f"time. Received: sample_weight={sample_weight}, class_weight={class_weight}"
                )
            sample_weight = data_adapter_utils.class_weight_to_sample_weights(y, class_weight)
        self.make_train_function()
        return self._on_batch(self._train, (x, y, sample_weight), return_dict)

    def _train(self, batches: Any) -> Any:
        return self.train_function(batches)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The metrics of one batch."""
        self._assert_compile_called("test_on_batch")
        self.make_test_function()
        return self._on_batch(lambda b: self.test_function(b), (x, y, sample_weight), return_dict)

    def _on_batch(self, function: Callable, data: Any, return_dict: bool) -> Any:
        data = _tensors(data)
        self._symbolic_build(data_batch=data)
        self.reset_metrics()
        logs = pythonify_logs(function([data]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        self.make_predict_function()
        return tree.map_structure(backend.convert_to_numpy, self.predict_function([(x,)]))
