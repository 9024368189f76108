"""Every public function and constructor, called with each argument replaced by values that it does
not expect. Run as a program, `python -m tests.attack.settings_calls FILE SHARE`, it writes to the
file what came of each call, under a limit of memory and time; of the values every SHAREth, in
turn."""

import atexit
import inspect
import json
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad import data, distributed, losses, nn, optim
from tensorgrad.settings import kinds_of
from tensorgrad.train import callbacks, dead_units, loggers, loop, metrics, sums

from .. import loss_cases
from ..vocabulary import ROWS

SECONDS, MEMORY = 2, 2 * 2**30

VALUES = {
    "None": lambda: None,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "10**20": lambda: 10**20,
    "2**70": lambda: 2**70,
    "text": lambda: "abc",
    "complex": lambda: 1 + 2j,
    "[]": lambda: [],
    "{}": lambda: {},
    "object": object,
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
    "masked number": lambda: np.ma.masked,
    "function": lambda: lambda *args, **options: None,
    "long list": lambda: [0] * 70,
    "True": lambda: True,
    "object array": lambda: np.array([None, "a"], object),
    "np.int64": lambda: np.int64(1),
    "np.float32": lambda: np.float32(0.5),
    "np.complex64": lambda: np.complex64(1 + 2j),
    "0-d": lambda: np.array(1),
    "leaf": lambda: tg.tensor(1.0, requires_grad=True),
}

X = np.linspace(0.1, 0.9, 6).reshape(2, 3)
IMAGES = np.ones((1, 2, 4, 4))
LABELS = np.array([0, 1])
SEQUENCES = {"target": [[1]], "input_lengths": [3], "target_lengths": [1]}


class Sparse:
    """What of SciPy's sparse matrices `sparse_matmul` sees: the matrix [[1, 0, 2], [0, 3, 0]]."""

    shape, data = (2, 3), np.array([1.0, 2.0, 3.0])
    row, col = np.array([0, 0, 1]), np.array([0, 2, 1])

    def tocoo(self):
        return self


class Nothing(nn.Module):
    def forward(self):
        return None


def _model():
    return nn.Sequential(nn.Dense(1, 3)).compile("sgd", "mse")


def _symbols():
    x = nn.Input((3,))
    return {"inputs": x, "outputs": nn.Dense(1)(x)}


POOLS = ("MaxPool", "AvgPool", "MaxUnpool")
_SCHEDULES = ("cosine", "cosine_restarts", "polynomial", "one_cycle")


def _with_gradient():
    p = nn.Parameter(X)
    p.grad = X
    return p


@cache
def _folder():
    """A folder with an image and a table, for the life of the process."""
    from PIL import Image

    folder = Path(tempfile.mkdtemp())
    (folder / "images" / "a").mkdir(parents=True)
    Image.new("L", (2, 2)).save(folder / "images" / "a" / "1.png")
    (folder / "table.csv").write_text("x,y\n1,2\n")
    atexit.register(shutil.rmtree, folder)
    return folder


# What a call is made of where neither the vocabulary nor the table of ops says it. A function makes
# them anew for each call.
CALLS = {
    **{f"schedules.{n}": {"lr": 0.1} for n in ("constant", "step_decay", "exponential", "cosine")},
    "schedules.step_decay": {"lr": 0.1, "every": 2},
    "schedules.exponential": {"lr": 0.1, "factor": 0.5},
    **{f"schedules.{n}": {"lr": 0.1, "steps": 2} for n in _SCHEDULES},
    "schedules.inverse_sqrt": {"lr": 0.1},
    "schedules.multi_step": {"lr": 0.1, "milestones": [2]},
    "schedules.cyclic": {"low": 0.1, "high": 0.2},
    "schedules.Plateau": {"lr": 0.1},
    "schedules.sequence": {
        "schedules": [optim.schedules.constant(0.1)] * 2,
        "milestones": [2],
    },
    "schedules.warmup": {"steps": 2, "after": optim.schedules.constant(0.1)},
    "data.DataLoader": {"dataset": X},
    "data.Pad": {},
    "data.Weighted": {"weights": X[:, 0]},
    "data.Stratified": {"labels": LABELS},
    "data.ByLength": {"lengths": LABELS, "batch_size": 2},
    "data.Shard": {"of": 4, "rank": 0, "world": 2},
    "data.rng": {},
    "data.encode": {"texts": "ab"},
    "data.ImageFolder": lambda: {"path": _folder() / "images"},
    "data.Table": lambda: {"path": _folder() / "table.csv"},
    "transforms.Compose": {},
    "transforms.OnInput": {"transform": abs},
    "transforms.ToFloat": {},
    "transforms.Normalize": {"mean": 0.0, "std": 1.0},
    "transforms.Flip": {},
    "transforms.Crop": {"size": 2},
    "transforms.Rotate": {"degrees": 10.0},
    "transforms.Colour": {},
    "transforms.Cutout": {"size": 2},
    "transforms.Noise": {"std": 0.1},
    "transforms.Mixup": {"alpha": 1.0, "classes": 2},
    "transforms.windows": {"series": X[:, 0], "length": 1},
    "data.collate": {"samples": [1, 2]},
    "callbacks.EarlyStopping": {},
    "callbacks.ModelCheckpoint": {"path": "best.safetensors"},
    "callbacks.ReduceLROnPlateau": {},
    "callbacks.LearningRateScheduler": {"schedule": max},
    "loggers.CSVLogger": {"path": "log.csv"},
    "loggers.TensorBoard": {"folder": "run"},
    "dead_units.DeadUnits": {},
    "sums.Precision": {},
    "sums.Recall": {},
    "sums.F1": {},
    "sums.TopK": {},
    "metrics.confusion_matrix": lambda: {
        "prediction": tg.tensor(X),
        "target": tg.tensor(LABELS),
    },
    "metrics.edit_distance": {"a": "ab", "b": "b"},
    "metrics.accuracy": lambda: {"prediction": tg.tensor(X), "target": tg.tensor(LABELS)},
    "metrics.accuracy_from_logits": lambda: {
        "prediction": tg.tensor(X),
        "target": tg.tensor(LABELS),
    },
    "tg.compile": lambda: {"step": lambda x: x},
    "distributed.average": lambda: {"optimizer": optim.SGD([nn.Parameter([1.0])])},
    "distributed.broadcast": lambda: {"model": nn.Dense(1, 2)},
    "distributed.init": {},
    "distributed.shard": lambda: {"loader": [tg.tensor(X)]},
    "loop.fit": lambda: {"model": _model(), "x": X, "y": X[:, :1], "verbose": 0},
    "data.split": lambda: {"dataset": X, "shares": (0.5, 0.5)},
    "loop.train_on_batch": lambda: {"model": _model(), "x": X, "y": X[:, :1]},
    "loop.evaluate": lambda: {"model": _model(), "x": X, "y": X[:, :1]},
    "loop.predict": lambda: {"model": _model(), "x": X},
    "loop.compile": lambda: {
        "model": _model(),
        "optimizer": "sgd",
        "loss": "mse",
        "metrics": (),
        "graphed": "auto",
    },
    **{
        f"losses.{n}": dict(zip(("prediction", "target"), loss_cases.case(n), strict=True))
        for n in loss_cases.NAMES
    },
    **{f"tg.{n}": {"prediction": X, "target": X} for n in loss_cases.NAMES if hasattr(tg, n)},
    "tg.cross_entropy": {"prediction": X, "target": LABELS},
    "losses.ctc": {"prediction": np.ones((3, 1, 2)), **SEQUENCES},
    "losses.transducer": {"prediction": np.ones((1, 3, 2, 2)), **SEQUENCES},
    "losses.gaussian_nll": {"prediction": X, "target": X, "var": X},
    "losses.kl_normal": {"mean": X, "log_var": X},
    "losses.margin_ranking": {"x1": X[0], "x2": X[1], "target": [1, -1, 1]},
    **{
        f"losses.{n}": {"x1": X, "x2": X, "target": [1, -1]}
        for n in ("contrastive", "cosine_embedding")
    },
    "losses.info_nce": {"x1": X, "x2": X},
    "losses.triplet_margin": {"anchor": X, "positive": X, "negative": X},
    **{f"optim.{cls.__name__}": {} for cls in optim.OPTIMIZERS.values()},
    "optim.LBFGS": {},
    "optim.LossScale": {},
    "optim.Optimizer": {},
    "optim.EMA": lambda: {"params": [nn.Parameter(X)]},
    "optim.Lookahead": lambda: {"optimizer": optim.SGD()},
    "optim.clip_grad_norm_": lambda: {"parameters": [_with_gradient()], "max_norm": 1.0},
    "optim.clip_grad_value_": lambda: {"parameters": [_with_gradient()], "clip_value": 1.0},
    "nn.Dense": {"units": 2, "in_features": 3},
    "nn.Linear": {"in_features": 3, "out_features": 2},
    "nn.Conv": {"filters": 2, "kernel_size": 3},
    **{
        f"nn.Conv{kind}{n}d": {"in_channels": 2, "out_channels": 2, "kernel_size": 3}
        for kind in ("", "Transpose")
        for n in (1, 2, 3)
    },
    **{f"nn.{kind}{n}d": {"kernel_size": 2} for kind in POOLS for n in (1, 2, 3)},
    **{
        f"nn.FractionalMaxPool{n}d": {"kernel_size": 2, "output_size": 2, "output_ratio": None}
        for n in (2, 3)
    },
    **{f"nn.LPPool{n}d": {"norm_type": 2.0, "kernel_size": 2} for n in (1, 2, 3)},
    **{
        f"nn.Adaptive{kind}Pool{n}d": {"output_size": 2}
        for kind in ("Avg", "Max")
        for n in (1, 2, 3)
    },
    **{
        f"nn.{kind}Norm{n}d": {"num_features": 3}
        for kind in ("Batch", "Instance")
        for n in (1, 2, 3)
    },
    "nn.LocalResponseNorm": {"size": 2},
    **{
        f"nn.{kind}Pad{n}d": {"padding": 1}
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    **{f"nn.ConstantPad{n}d": {"padding": 1, "value": 2.0} for n in (1, 2, 3)},
    "nn.functional_call": lambda: {"module": Nothing(), "parameters": {}},
    "nn.EmbeddingBag": {"num_embeddings": 3, "embedding_dim": 2},
    "nn.Bilinear": {"in1_features": 3, "in2_features": 2, "out_features": 2},
    "nn.Threshold": {"threshold": 0.5, "value": 1.0},
    "nn.Lambda": {"function": abs},
    "nn.Unflatten": {"dim": 1, "unflattened_size": (3, 1)},
    "nn.Reshape": {"target_shape": (3, 1)},
    "nn.Permute": {"dims": (1, 2)},
    "nn.Fold": {"output_size": 3, "kernel_size": 2},
    "nn.Unfold": {"kernel_size": 2},
    "nn.PixelShuffle": {"upscale_factor": 2},
    "nn.PixelUnshuffle": {"downscale_factor": 2},
    "nn.ChannelShuffle": {"groups": 2},
    "nn.Embedding": {"num_embeddings": 3, "embedding_dim": 2},
    "nn.GroupNorm": {"num_groups": 1, "num_channels": 2},
    "nn.LayerNorm": {"normalized_shape": 3},
    "nn.RMSNorm": {"normalized_shape": 3},
    "nn.MultiHeadAttention": {"heads": 2, "width": 4},
    "nn.TransformerBlock": {"heads": 2, "width": 4},
    "nn.PositionalEmbedding": {"length": 4, "width": 2},
    "nn.SinusoidalPositions": {},
    "nn.KeyValueCache": {"length": 4},
    "nn.Last": {},
    "nn.generate": lambda: {
        "model": nn.Sequential(nn.Embedding(3, 2), nn.Dense(3, 2)),
        "ids": LABELS,
        "steps": 1,
    },
    "nn.MultiheadAttention": {"embed_dim": 4, "num_heads": 2},
    "nn.TransformerEncoderLayer": {"d_model": 4, "nhead": 2, "dim_feedforward": 4},
    "nn.TransformerDecoderLayer": {"d_model": 4, "nhead": 2, "dim_feedforward": 4},
    "nn.TransformerEncoder": lambda: {"encoder_layer": nn.Dense(2, 2), "num_layers": 2},
    "nn.TransformerDecoder": lambda: {"decoder_layer": nn.Dense(2, 2), "num_layers": 2},
    "nn.Transformer": {
        "d_model": 4,
        "nhead": 2,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "dim_feedforward": 4,
    },
    **{
        f"nn.{kind}{cell}": {"input_size": 3, "hidden_size": 2}
        for kind in ("RNN", "LSTM", "GRU")
        for cell in ("", "Cell")
    },
    "nn.SimpleLSTM": {"units": 2, "in_features": 3},
    "nn.SimpleGRU": {"units": 2, "in_features": 3},
    "nn.SimpleRNN": {"units": 2, "in_features": 3},
    "nn.Model": _symbols,
    "nn.Parameter": {"data": X},
    "nn.Buffer": {"data": X},
    **{
        f"nn.{n}": {"in_channels": 3, "out_channels": 2}
        for n in ("GATConv", "GATv2Conv", "GCNConv", "SAGEConv")
    },
    "nn.GINConv": lambda: {"nn": nn.Dense(2, 3)},
    "nn.propagate": {"x": X, "edge_index": [[0], [1]]},
    **{f"nn.global_{n}_pool": {"x": X, "batch": LABELS} for n in ("add", "max", "mean")},
    "nn.join_graphs": {"graphs": [(X, [[0], [1]])]},
    "nn.Input": {"shape": (3,)},
    "nn.concatenate": {"symbols": [X, X]},
    "tg.zeta": {"s": 2.0},
    "tg.polygamma": {"n": 1, "x": X},
    "tg.multigammaln": {"x": X + 3, "p": 2},
    "tg.polar": {"abs": X, "angle": X},
    "tg.complex": {"real": X, "imag": X},
    "tg.one_hot": {"x": LABELS},
    "fft.fftfreq": {"n": 4},
    "fft.rfftfreq": {"n": 4},
    "optim.get": {"optimizer": "sgd"},
    **{f"tg.bitwise_{n}": {"a": LABELS, "b": LABELS} for n in ("and", "or", "xor")},
    **{f"tg.{n}_shift": {"a": LABELS, "b": LABELS} for n in ("left", "right")},
    **{f"tg.bitwise_{n}_shift": {"a": LABELS, "b": LABELS} for n in ("left", "right")},
    **{f"tg.{n}": {"x": LABELS} for n in ("invert", "bitwise_invert", "bitwise_not")},
    "linalg.vecdot": {"x1": X, "x2": X},
    "tg.lcm": {"a": LABELS, "b": LABELS},
    "tg.gcd": {"a": LABELS, "b": LABELS},
    **{f"linalg.{n}": {"a": np.eye(2)} for n in ("cholesky", "eig", "eigh", "eigvals", "eigvalsh")},
    "random.randint": {"low": 3},
    "random.categorical": {"logits": X},
    "random.binomial": {"n": 3, "p": 0.5},
    "random.multinomial": {"n": 3, "p": X[0] / X[0].sum()},
    "random.gamma": {"shape": X},
    "random.dirichlet": {"alpha": X},
    "random.seed": {"value": 1},
    "random.get_state": {},
    "random.set_state": lambda: {"state": tg.random.get_state()},
    "tg.seed": {"value": 1},
    "tg.tensor": {"value": X},
    "tg.asarray": {"value": X},
    "tg.zeros": {"shape": 2},
    "tg.ones": {"shape": 2},
    "tg.empty": {"shape": 2},
    "tg.full": {"shape": 2, "fill_value": 1.0},
    "tg.full_like": {"x": X, "fill_value": 1.0},
    "tg.arange": {"start": 3},
    "tg.linspace": {"start": 0.0, "stop": 1.0},
    "tg.geomspace": {"start": X, "stop": 2.0},
    "tg.logspace": {"start": X, "stop": 1.0},
    "tg.eye": {"n_rows": 2},
    "tg.rand": {},
    "tg.randn": {},
    "tg.grad": {"f": abs},
    "tg.vmap": {"f": abs},
    "tg.dropout": {"x": X},
    "tg.reshape": {"x": X, "shape": (3, 2)},
    "tg.sparse_matmul": {"a": Sparse(), "x": np.ones((3, 2))},
    "tg.transpose": {"x": X},
    "tg.moveaxis": {"x": X, "source": 0, "destination": 1},
    "tg.swapaxes": {"x": X, "axis1": 0, "axis2": 1},
    "tg.expand_dims": {"x": X, "axis": 0},
    "tg.broadcast_to": {"x": X, "shape": (2, 3)},
    "tg.concatenate": {"arrays": [X, X]},
    "tg.stack": {"arrays": [X, X]},
    "tg.split": {"x": X, "indices_or_sections": 3, "axis": 1},
    "tg.array_split": {"x": X, "indices_or_sections": 3, "axis": 1},
    "tg.pad": {"x": X, "pad_width": 1},
    "tg.conv2d": {"x": IMAGES, "w": np.ones((2, 2, 3, 3))},
    "tg.max_pool2d": {"x": IMAGES, "size": 2},
    "tg.avg_pool2d": {"x": IMAGES, "size": 2},
    "tg.batch_norm": {"x": X},
    "tg.group_norm": {"x": X, "groups": 1},
    "tg.layer_norm": {"x": X},
    "tg.rms_norm": {"x": X},
    "tg.channel_affine": {"x": X, "scale": X[0], "shift": X[0]},
    "tg.dense": {"x": X, "w": X.T},
    "tg.matmul": {"a": X, "b": X.T},
    "tg.embedding": {"weight": X, "ids": LABELS},
    "tg.scaled_dot_product_attention": {"q": X, "k": X, "v": X},
    "tg.where": {"condition": X > 0.5, "a": X, "b": X},
    "tg.lstm": {
        "x": np.ones((1, 2, 3)),
        "h0": None,
        "c0": None,
        "w": np.ones((3, 8)),
        "u": np.ones((2, 8)),
    },
    "tg.gru": {"x": np.ones((1, 2, 3)), "h0": None, "w": np.ones((3, 6)), "u": np.ones((2, 6))},
    "tg.rnn": {"x": np.ones((1, 2, 3)), "h0": None, "w": np.ones((3, 2)), "u": np.ones((2, 2))},
}
ELSEWHERE = tuple(  # what takes functions, trees, or dtypes alone
    f"tensorgrad.{name}"
    for name in ("autograd", "jacobians", "drawing", "testing", "errors", "dtypes")
)

FORMS = {  # whose arguments are not replaced one by one
    "load_digits": "takes seconds",
    "einsum": "*operands",
    "meshgrid": "*arrays",
    "Tensor": "made by tg.tensor",
    "checkpoint": "a function and what it takes",
    "from_dlpack": "a protocol",
    "use_kernels": "a mode of the process, checked when it is entered",
    "set_tf32": "a mode of the process",
    "set_backend": "a mode of the process",
    "concat": "concatenate",
    **dict.fromkeys(("save", "load", "save_npz", "load_npz"), "of files: tests/test_files.py"),
    **dict.fromkeys(("from_config", "load_model"), "of descriptions: tests/test_config.py"),
    "Checkpoint": "of runs: tests/test_resume.py",
    "register": "of layers: tests/test_config.py",
    "Parameter": "nn.Parameter",
}


def targets():
    """{name: function or class} of all that has settings."""
    found = {}

    def add(where, module, names):
        for name in names:
            made = getattr(module, name)
            home = getattr(made, "__module__", "")
            plain = inspect.isfunction(made) or inspect.isfunction(getattr(made, "__init__", None))
            if (
                plain
                and home.startswith("tensorgrad")
                and home not in ELSEWHERE
                and name not in FORMS
            ):
                found[f"{where}.{name}"] = made

    add("tg", tg, tg.__all__)
    for name in ("nn", "optim", "fft", "linalg", "random"):
        add(name, getattr(tg, name), getattr(tg, name).__all__)
    more = "constant step_decay multi_step exponential inverse_sqrt cyclic warmup sequence Plateau"
    add("schedules", optim.schedules, (*_SCHEDULES, *more.split()))
    left = {"transforms"} if find_spec("pandas") else {"transforms", "Table"}
    add("data", data, [name for name in data.__all__ if name not in left])
    add("transforms", data.transforms, data.transforms.__all__)
    add("callbacks", callbacks, ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"])
    add("callbacks", callbacks, ["LearningRateScheduler"])
    add("loggers", loggers, ["CSVLogger", "TensorBoard"])
    add("dead_units", dead_units, ["DeadUnits"])
    add(
        "metrics",
        metrics,
        ["accuracy", "accuracy_from_logits", "confusion_matrix", "edit_distance"],
    )
    add("sums", sums, ["Precision", "Recall", "F1", "TopK"])
    add("loop", loop, ["fit", "evaluate", "predict", "compile", "train_on_batch"])
    add("distributed", distributed, ["average", "broadcast", "init", "shard"])
    add("losses", losses, [n for n in losses.__all__ if n != "get"])
    return found


def kinds(target):
    """{parameter: kind} of a function or a constructor."""
    return kinds_of(target.__init__ if inspect.isclass(target) else target)


def arguments():
    """{name: () -> the arguments of a good call}."""
    found = {}
    functions = targets()
    for name, target in functions.items():
        names = list(kinds(target)) if not inspect.isclass(target) else []
        short = name.removeprefix("tg.")
        rows = [r for r in ROWS if r.name == short]
        row = next((r for r in rows if r.call is None), None)
        if name in CALLS:
            made = CALLS[name]
            found[name] = made if callable(made) else lambda made=made: dict(made)
        elif row is not None and len(row.arrays) <= len(names):
            given = dict(zip(names, row.arrays, strict=False)) | row.options
            found[name] = lambda given=given: dict(given)
        elif names and set(names) <= {"x", "a", "b"} | {n for n in names if _optional(target, n)}:
            given = {n: X for n in names if not _optional(target, n)}
            found[name] = lambda given=given: dict(given)
        elif inspect.isclass(target) and not _required(target):
            found[name] = dict
        elif rows:
            found[name] = None  # a call form with a *, or that of another entry
    return found


def _optional(target, name):
    return inspect.signature(target).parameters[name].default is not inspect.Parameter.empty


def _required(target):
    parameters = inspect.signature(target.__init__).parameters.values()
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for p in plain if p.default is p.empty and p.name != "self"]


def out_of_time(*_):
    raise TimeoutError(f"more than {SECONDS} s of the processor")


def outcome(target, given):
    """What came of a call: `accepted`, the name of an error of ours and its text, or `foreign`."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target(**given)
        return "accepted", ""
    except tg.TensorgradError as error:
        return type(error).__name__, str(error)
    except BaseException as error:
        return "foreign", f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main():
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, out_of_time)
    functions, calls = targets(), arguments()
    results: dict = {"bases": {}, "calls": [], "none": sorted(set(functions) - set(calls))}
    calls = {name: make for name, make in calls.items() if make is not None}
    for name, make in calls.items():
        results["bases"][name] = outcome(functions[name], make())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    share, values, turn = int(sys.argv[2]), list(VALUES.items()), 0
    for name, make in calls.items():
        for parameter in kinds(functions[name]):
            turn += 1
            for value, build in values[turn % share :: share]:
                if (name, parameter, value) == ("random.multinomial", "p", "long list"):
                    continue  # a rejection for each chance, which takes seconds for 0 / 0
                print(name, parameter, value, file=sys.stderr, flush=True)
                given = make() | {parameter: build()}
                results["calls"].append([name, parameter, value, *outcome(functions[name], given)])
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
