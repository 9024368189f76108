"""The words of Keras, PyTorch and NumPy for what is called otherwise here: one table, for the
arguments of functions, layers, optimizers and training, and for names that are missing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from .errors import ArgumentError, suggest

# An argument of another framework -> ours, the first that the function has.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    # functions
    "dim": ("axis",),
    "dims": ("axes", "axis"),
    "array": ("x",),
    "ary": ("x",),
    "tensors": ("arrays",),
    "sections": ("indices_or_sections",),
    "value": ("constant_values", "fill_value", "v"),
    "query": ("q",),
    "key": ("k",),
    "attn_mask": ("mask",),
    "is_causal": ("causal",),
    "kernel_size": ("size",),
    "pool_size": ("kernel_size", "size"),
    "output_size": ("size",),
    "strides": ("stride",),
    "num_groups": ("groups",),
    "epsilon": ("eps",),
    "rate": ("p",),
    "keepdim": ("keepdims",),
    "input": ("x", "prediction"),
    "inputs": ("x",),
    "unbiased": ("ddof", "correction"),
    "a": ("x",),
    "a_min": ("min",),
    "a_max": ("max",),
    "mask": ("where",),
    "dim1": ("axis1",),
    "dim2": ("axis2",),
    "interpolation": ("method",),
    "boundaries": ("bins",),
    "obj": ("at",),
    "negative_slope": ("slope",),
    "slope": ("negative_slope",),
    "axis": ("dim",),
    "other": ("b", "y"),
    "gradient": ("cotangent",),
    "grad_tensors": ("cotangent",),
    # losses
    "y_true": ("target",),
    "y_pred": ("prediction",),
    "labels": ("target",),
    "targets": ("target",),
    "shape": ("size",),
    "min_val": ("min",),
    "max_val": ("max",),
    "logits": ("prediction",),
    "size_average": ("reduction",),
    "beta": ("delta",),
    "class_weight": ("weight",),
    "log_predictions": ("log_input",),
    "temp": ("temperature",),
    # layers
    "units": ("out_features", "filters", "out_channels", "embedding_dim", "hidden_size"),
    "out_features": ("units",),
    "output_dim": ("units", "embedding_dim"),
    "hidden_size": ("units",),
    "input_dim": ("in_features", "num_embeddings"),
    "input_size": ("in_features",),
    "in_units": ("in_features",),
    "use_bias": ("bias",),
    "kernel_initializer": ("weight_init",),
    "embeddings_initializer": ("weight_init",),
    "bias_initializer": ("bias_init",),
    "recurrent_initializer": ("recurrent_init",),
    "out_channels": ("filters",),
    "filters": ("out_channels",),
    "size": ("kernel_size",),
    "kernel": ("kernel_size", "size"),
    "dilation_rate": ("dilation",),
    "features": ("num_features", "normalized_shape", "embedding_dim"),
    "channels": ("num_channels",),
    "groups": ("num_groups",),
    "num_heads": ("heads",),
    "nhead": ("heads",),
    "n_heads": ("heads",),
    "embed_dim": ("width",),
    "key_dim": ("width",),
    "d_model": ("width",),
    "dim_feedforward": ("hidden",),
    "attention_mask": ("mask",),
    "count": ("num_embeddings",),
    "vocab_size": ("num_embeddings",),
    "drop": ("p",),
    "nonlinearity": ("activation",),
    "act": ("activation",),
    # optimizers and schedules
    "learning_rate": ("lr",),
    "initial_learning_rate": ("lr",),
    "base_lr": ("lr",),
    "parameters": ("params",),
    **dict.fromkeys(("beta_1", "beta_2", "b1", "b2", "beta1", "beta2"), ("betas",)),
    "rho": ("alpha",),
    "initial_accumulator": ("initial_accumulator_value",),
    "decay": ("weight_decay", "factor"),
    "decay_steps": ("steps", "every"),
    "decay_rate": ("factor",),
    "gamma": ("factor",),
    "step_size": ("every",),
    "T_max": ("steps",),
    "eta_min": ("end",),
    "warmup_steps": ("steps",),
    "clip_norm": ("max_norm", "most"),
    "init_scale": ("start",),
    "growth_interval": ("interval",),
    "growth_factor": ("factor",),
    # training and data
    "n_epochs": ("epochs",),
    "num_epochs": ("epochs",),
    "nb_epoch": ("epochs",),
    "batch": ("batch_size",),
    "validation": ("validation_data",),
    "val_data": ("validation_data",),
    "callback": ("callbacks",),
    "optimiser": ("optimizer",),
    "criterion": ("loss",),
    "loss_fn": ("loss",),
    "metric": ("metrics",),
    "jit_compile": ("graphed",),
    "data": ("dataset",),
    "num_workers": ("workers",),
    "collate_fn": ("collate",),
    "prefetch_factor": ("prefetch",),
    "restore_best_weights": ("restore_best",),
    "tolerance": ("min_delta",),
}
_LOADER = "it is the first argument: fit(loader), fit(generator, steps_per_epoch=...)"
_WEIGHTS = """losses take sample_weight=, and weight= where there are classes: in a loop of your
own, or by compile(loss=nn.CrossEntropyLoss(weight=...))""".replace("\n", " ")
_SIZED = """a layer learns its input's size at the first call; to have its weights before, say
in_features or in_channels, or begin the Sequential with nn.Input(shape)""".replace("\n", " ")
# ... or why there is none, and what to do.
REFUSED: dict[str, str] = {
    "stable": "sorting is always stable: equal elements keep their order",
    "sorted": "the largest, or smallest, always comes first",
    "out": "ops write into no array, which the tape would not see: use the result",
    "inplace": "ops write into no array, which the tape would not see: use the result",
    "from_logits": "a loss takes one of them: binary_cross_entropy probabilities, cross_entropy "
    "and binary_cross_entropy_with_logits logits",
    "label_smoothing": "give smoothed probabilities as the target: y * (1 - s) + s / classes",
    "ignore_index": "there is none: give sample_weight=, with 0 for what is to be ignored",
    "weight": _WEIGHTS,
    "pos_weight": _WEIGHTS,
    "sample_weight": _WEIGHTS,
    "class_weight": _WEIGHTS,
    "input_shape": _SIZED,
    "batch_input_shape": _SIZED,
    "name": "a layer is called by its path in the model: `encoder.layers[2]`",
    "trainable": "it is set after: layer.trainable = False",
    "device": 'new tensors and weights are made where tg.set_backend("cupy") says; .to() moves',
    "batch_first": "the batch is always first: (n, t, features)",
    "num_layers": "nn.LSTM and nn.GRU have it; SimpleLSTM and SimpleGRU are one layer each",
    "bidirectional": "run one layer over x, another over x[:, ::-1], and concatenate",
    "data_format": "the channels are always first: (n, channels, height, width)",
    "kernel_regularizer": "there is none: add it to the loss, or take the optimizer's weight_decay",
    "kernel_constraint": "there is none: write weight.data after the step",
    **dict.fromkeys(("foreach", "fused"), "a step is always one call for all parameters"),
    "capturable": "every step can be captured: tg.cuda.graphed",
    "differentiable": "steps are in place; for a gradient through one write p - lr * g",
    "set_to_none": "gradients are always forgotten, which is None",
    "clipnorm": "fit(..., clip_norm=1.0), or optimizer.clip_grad_norm(1.0) before its step()",
    "global_clipnorm": "fit(..., clip_norm=1.0), or optimizer.clip_grad_norm(1.0)",
    "clipvalue": "fit(..., clip_value=0.5), or optimizer.clip_grad_value(0.5) before its step()",
    "workers": "give them to the loader, DataLoader(data, workers=2), and fit the loader",
    "loader": _LOADER,
    "dataloader": _LOADER,
    "train_loader": _LOADER,
    "generator": _LOADER,
    "pin_memory": "copies to a GPU are made from pinned memory, and ahead, without being asked",
    "non_blocking": "a DataLoader copies its batches ahead, beside the step, unasked",
    "batch_sampler": "there is none: a sampler gives the order, and batches are cut from it",
    "persistent_workers": "workers live for one epoch, so that they see the data set as it is",
    "worker_init_fn": "there is none: a data set opens its files at the first sample",
    "weighted_metrics": "there is none: give metrics as functions of (prediction, target)",
    "run_eagerly": "every step is eager with compile(..., graphed=False)",
}

# A name that a module of ours, or its objects, do not have -> ours.
NAMES: dict[str, dict[str, str]] = {
    "tensorgrad": {
        "cat": "tg.concat(list, axis)",
        "from_numpy": "tg.asarray(array), which shares memory, or tg.tensor(array), which copies",
        "as_tensor": "tg.asarray(value)",
        "convert_to_tensor": "tg.asarray(value)",
        "array": "tg.tensor(value), which copies, or tg.asarray(value)",
        "Variable": "tg.tensor(value, requires_grad=True), or tg.Parameter(value)",
        "manual_seed": "tg.seed(number)",
        "set_seed": "tg.seed(number)",
        "mm": "tg.matmul(a, b)",
        "bmm": "tg.matmul(a, b)",
        "copy": "x.copy()",
        "unsqueeze": "tg.expand_dims(x, axis)",
        "clamp": "tg.clip(x, min, max)",
        "unbind": "tg.unstack(x, axis)",
        "repeat_interleave": "tg.repeat(x, repeats, axis)",
        "scatter_add": "tg.scatter_reduce(x, axis, index, src, 'sum')",
        "take_along_dim": "tg.take_along_axis(x, indices, axis)",
        "masked_scatter": "tg.place(x, mask, values)",
        "bucketize": "tg.digitize(x, bins)",
        "histc": "tg.histogram(x, bins, range)",
        "im2col": "tg.unfold(x, size)",
        "upsample": "tg.interpolate(x, size, scale_factor, mode)",
        "movedim": "tg.moveaxis(x, source, destination)",
        "row_stack": "tg.vstack(list)",
        "tri": "tg.tril(tg.ones((n, m)), k)",
        **dict.fromkeys(("put", "putmask", "copyto"), "tg.place, tg.index_put or x[i] = v"),
        **dict.fromkeys(("ndim", "shape", "size"), "an attribute of each tensor"),
        "tensor_split": "tg.array_split(x, sections, axis)",
        "trapz": "tg.trapezoid(y, x)",
        **dict.fromkeys(("jacrev", "jacfwd"), "tg.jacobian(f, argnums)"),
        "vhp": "tg.hvp(f, primals, tangents)",
        "reduce_sum": "tg.sum(x, axis)",
        "reduce_mean": "tg.mean(x, axis)",
        "device": "tg.set_backend('numpy' or 'cupy')",
        "Module": "tg.nn.Module",
        "Sequential": "tg.nn.Sequential",
        "keras": "tg.nn, with compile and fit",
        "layers": "tg.nn",
        "softmax_cross_entropy": "tg.cross_entropy(logits, labels)",
    },
    "Tensor": {
        **dict.fromkeys(("view",), ".reshape(...)"),
        **dict.fromkeys(("t",), ".transpose(...)"),
        **dict.fromkeys(("cpu", "cuda", "device", "is_cuda"), ".to('numpy'), .to('cupy')"),
        "pin_memory": "a DataLoader, which copies its batches from pinned memory",
        **dict.fromkeys(("float", "float32"), ".astype('float32')"),
        **dict.fromkeys(("double", "float64"), ".astype('float64')"),
        **dict.fromkeys(("half", "float16"), ".astype('float16')"),
        **dict.fromkeys(("long", "int", "int64"), ".astype('int64')"),
        **dict.fromkeys(("bool",), ".astype('bool')"),
        **dict.fromkeys(("type", "type_as"), ".astype(dtype)"),
        **dict.fromkeys(("mm", "bmm", "matmul"), "a @ b"),
        **dict.fromkeys(("add_", "sub_", "mul_", "div_"), "x += u, x -= u, ... under tg.no_grad()"),
        **dict.fromkeys(("zero_", "fill_", "fill", "copy_"), "x[...] = values under tg.no_grad()"),
        "numel": ".size",
        "dim": ".ndim",
        "clone": "+x, which keeps gradients, or .detach().copy()",
        "unsqueeze": ".expand_dims(axis)",
        "clamp": ".clip(min, max)",
        "pow": "x ** y",
        "add": "x + y",
        "sub": "x - y",
        "mul": "x * y",
        "div": "x / y",
        "eq": "x == y",
        "expand": ".broadcast_to(shape)",
        "chunk": ".split(n)",
        "requires_grad_": ".requires_grad = True",
        "retain_grad": "tg.grad, or GradientTape, which give the gradient of any tensor",
        "is_leaf": "type(x.node) is Leaf",
        "assign": ".data = values",
        "assign_sub": "x -= u under tg.no_grad()",
        "get": ".numpy()",
    },
    "losses": {
        **dict.fromkeys(("MSELoss", "mse_loss", "MeanSquaredError"), "mean_squared_error"),
        **dict.fromkeys(("L1Loss", "l1_loss", "MeanAbsoluteError"), "mean_absolute_error"),
        **dict.fromkeys(("HuberLoss", "huber_loss", "Huber"), "huber"),
        **dict.fromkeys(("SmoothL1Loss", "smooth_l1_loss"), "smooth_l1"),
        **dict.fromkeys(("LogCosh", "logcosh"), "log_cosh"),
        **dict.fromkeys(("NLLLoss", "nll_loss"), "nll, which takes log-probabilities"),
        **dict.fromkeys(("KLDivLoss", "kl_div", "KLDivergence"), "kl_divergence"),
        **dict.fromkeys(("Hinge", "CategoricalHinge"), "hinge, or multi_margin"),
        **dict.fromkeys(("BCELoss", "BinaryCrossentropy"), "binary_cross_entropy"),
        "binary_crossentropy": "binary_cross_entropy",
        "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
        **dict.fromkeys(
            (
                "CrossEntropyLoss",
                "CategoricalCrossentropy",
                "SparseCategoricalCrossentropy",
                "categorical_crossentropy",
                "sparse_categorical_crossentropy",
            ),
            "cross_entropy, which takes logits: leave out a final softmax",
        ),
    },
    "nn": {
        "BatchNormalization": "BatchNorm",
        "LayerNormalization": "LayerNorm",
        "GroupNormalization": "GroupNorm",
        **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), "Conv(16, 3)"),
        **dict.fromkeys(("MaxPooling2D", "MaxPool2D"), "MaxPool2d"),
        **dict.fromkeys(("AveragePooling2D", "AvgPool2D"), "AvgPool2d"),
        **dict.fromkeys(("GlobalAveragePooling2D", "GlobalAvgPool2d"), "GlobalAvgPool()"),
        **dict.fromkeys(("GlobalMaxPooling2D", "GlobalMaxPool2d"), "GlobalMaxPool()"),
        "functional": "tg: tg.relu, tg.softmax, tg.losses.cross_entropy",
    },
    "optim": {
        "RMSProp": "RMSprop",
        "Nadam": "NAdam",
        "Lamb": "LAMB",
        **dict.fromkeys(("AveragedModel", "ExponentialMovingAverage", "swa_utils"), "EMA"),
        "lr_scheduler": "schedules: Adam(lr=schedules.cosine(1e-3, steps=1000))",
        "GradScaler": "LossScale",
        **dict.fromkeys(("Optimiser", "optimizers"), "Optimizer"),
    },
    "Module": {
        "trainable_weights": "trainable_variables",
        "trainable_parameters": "trainable_variables",
        "weights": "parameters(), or get_weights() for arrays",
        "variables": "parameters()",
        "non_trainable_weights": "[p for p in parameters() if not p.requires_grad]",
        "requires_grad": "trainable = False, or True",
        "requires_grad_": "trainable = False, or True",
        "freeze": "trainable = False",
        "unfreeze": "trainable = True",
        "buffers": "named_state()",
        "named_buffers": "named_state()",
        "named_children": "children()",
        "register_parameter": "an assignment: self.name = nn.Parameter(...)",
        "register_buffer": "an assignment: self.name = nn.Buffer(...)",
        "register_backward_hook": "register_full_backward_hook(hook)",
        "add_module": "an assignment: self.name = layer",
        "register_module": "an assignment: self.name = layer",
        "cuda": '.to("cupy")',
        "cpu": '.to("numpy")',
        "half": '.astype("float16")',
        "bfloat16": '.astype("bfloat16")',
        "double": '.astype("float64")',
        "float": '.astype("float32")',
        "count_params": "summary()",
        "save_weights": "save(path)",
        "train_on_batch": "a loop of your own, with loss.backward()",
        "fit_generator": "fit(x, y)",
        "inputs": "Model(inputs, outputs), which is given them",
    },
    "metrics": {"acc": "accuracy", "f1_score": "f1", "roc_auc": "auc", "r2_score": "r2"},
    "callback": {
        "on_train_begin": "train_begin(self, model, names)",
        "on_epoch_begin": "epoch_begin(self, model, epoch)",
        "on_batch_end": "batch_end(self, model, batch, loss)",
        "on_train_batch_end": "batch_end(self, model, batch, loss)",
        "on_epoch_end": "epoch_end(self, model, epoch, scores)",
        "on_train_end": "train_end(self, model)",
    },
}


def explained(function: Callable, args: tuple, kwargs: dict, error: Exception) -> ArgumentError:
    """The call that Python refused, and what the function takes."""
    given = inspect.signature(function).parameters
    known = [n for n, p in given.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    known = [n for n in known if n not in ("self", "model")]
    takes_more = any(p.kind is p.VAR_KEYWORD for p in given.values())
    made = function.__name__ == "__init__"
    name = type(args[0]).__name__ if made else function.__name__
    forms = getattr(args[0], "forms", "") if made else ""
    forms = f". {forms}" if forms else ""
    for word in kwargs:
        ours = any(w in known for w in ARGUMENTS.get(word, ()))
        if word not in known and (ours or not takes_more):
            return ArgumentError(f"{name}: argument {word!r}: {instead(word, known)}{forms}")
    text = str(error).partition("() ")[2] or str(error)
    if known[:1] == ["arrays"]:
        text += f"; the arrays are one sequence: {name}([a, b])"
    return ArgumentError(f"{name}({', '.join(known)}): {text}{forms}")


def instead(word: str, known: list[str]) -> str:
    """What to write for an argument that there is not."""
    if ours := next((w for w in ARGUMENTS.get(word, ()) if w in known), None):
        return f"here it is {ours}="
    if word in REFUSED:
        return REFUSED[word]
    return suggest(word, known)


def missing(where: str, name: str, known: Iterable[str]) -> str:
    """What to write for a name that `where`, a part of the package or a kind of object, has not."""
    if name in (others := NAMES.get(where, {})):
        return f"here it is {others[name]}"
    for part in ("losses", "optim") if where in ("tensorgrad", "nn") else ():
        if name in NAMES[part]:
            return f"here it is tg.{part}.{NAMES[part][name]}"
    known = set(known)
    if len(known) < 40:
        return suggest(name, known)
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "see dir()"


def no_other_names(part: str, known: Iterable[str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module (PEP 562): an error that says what to write instead."""

    def __getattr__(name: str) -> Any:
        more = "" if name[0] == "_" else f": {missing(part, name, known)}"
        raise AttributeError(f"module 'tensorgrad.{part}' has no attribute {name!r}{more}")

    return __getattr__
