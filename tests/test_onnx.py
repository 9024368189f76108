"""Models as ONNX: checked by its own checker, and run by onnxruntime, to the same outputs."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.trees import leaves

from .layer_cases import CASES

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
ROW, SEQ, IMG, VOL = (3, 4), (3, 5, 4), (3, 4, 6, 6), (3, 4, 4, 4, 4)
LAYERS = {  # a layer, and the shape of its input
    "Linear": (lambda: nn.Linear(4, 3), SEQ),
    **{
        f"Dense {a}": (lambda a=a: nn.Dense(3, activation=a), ROW)
        for a in (
            "relu",
            "sigmoid",
            "tanh",
            "gelu",
            "silu",
            "elu",
            "softplus",
            "leaky_relu",
            "softmax",
        )
    },
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, groups=2, padding=1), (3, 4, 9)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, 2, 1, dilation=1, activation="relu"), IMG),
    "Conv2d same": (lambda: nn.Conv2d(4, 2, 2, padding="same"), IMG),
    "Conv3d": (lambda: nn.Conv3d(4, 2, 2), VOL),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 2, 3, 2), (3, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), IMG),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMG),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), (3, 4, 8)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), IMG),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), (3, 4, 8)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(3), IMG),
    "AdaptiveAvgPool2d uneven": (lambda: nn.AdaptiveAvgPool2d((4, 5)), IMG),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMG),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), IMG),
    "GlobalAvgPool": (lambda: nn.GlobalAvgPool(), IMG),
    "GlobalMaxPool": (lambda: nn.GlobalMaxPool(), IMG),
    "BatchNorm": (lambda: nn.BatchNorm(), IMG),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), ROW),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), IMG),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMG),
    "LayerNorm": (lambda: nn.LayerNorm(4), SEQ),
    "RMSNorm": (lambda: nn.RMSNorm(4), SEQ),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), IMG),
    "Dropout": (lambda: nn.Dropout(0.5), ROW),
    "Flatten": (lambda: nn.Flatten(), IMG),
    "Embedding": (lambda: nn.Embedding(9, 4), None),
    "LSTM": (lambda: nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True), SEQ),
    "GRU": (lambda: nn.GRU(4, 3, batch_first=True), SEQ),
    "RNN": (lambda: nn.RNN(4, 3, batch_first=True), SEQ),
    "SimpleLSTM": (lambda: nn.SimpleLSTM(3), SEQ),
    "SimpleGRU": (lambda: nn.SimpleGRU(3, return_sequences=True), SEQ),
    "SimpleRNN": (lambda: nn.SimpleRNN(3, activation="relu"), SEQ),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), ROW),
    "GRUCell": (lambda: nn.GRUCell(4, 3), ROW),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, causal=True), SEQ),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), SEQ),
    "Parallel": (lambda: nn.Parallel(nn.Dense(2), nn.Residual(nn.Dense(4))), ROW),
    "RNNCell": (lambda: nn.RNNCell(4, 3), ROW),
    "TransformerBlock": (lambda: nn.TransformerBlock(2), SEQ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        SEQ,
    ),
    "PositionalEmbedding": (lambda: nn.PositionalEmbedding(5, 4), SEQ),
    "SinusoidalPositions": (lambda: nn.SinusoidalPositions(), SEQ),
    "Sequential": (
        lambda: nn.Sequential(
            nn.Conv(4, 3, activation="relu"), nn.MaxPool2d(2), nn.Flatten(), nn.Dense(5)
        ),
        IMG,
    ),
}


def ran(path, *inputs):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def given(shape, batch=None):
    if shape is None:
        return RNG.integers(0, 9, (batch or 3, 5))
    shape = shape if batch is None else (batch, *shape[1:])
    return RNG.normal(size=shape).astype("float32")


def outputs(model, x):
    model.eval()
    with tg.no_grad():
        return [t.numpy() for t in leaves(model(x)) if isinstance(t, tg.Tensor)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_runs_elsewhere(tmp_path, name):
    make, shape = LAYERS[name]
    tg.seed(0)
    model = make()
    if shape is not None:
        model(given(shape))  # running statistics, too
    tg.onnx.export(model, tmp_path / "m.onnx", given(shape))
    for batch in (3, 7):
        x = given(shape, batch)
        expected = outputs(model, x)
        for a, b in zip(ran(tmp_path / "m.onnx", x), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    back = tg.onnx.load(tmp_path / "m.onnx")
    for a, b in zip(leaves(back(x)), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-5, atol=1e-5)


FIXED = {"EmbeddingBag"}  # of which bag a row is, is computed outside of ops, from the batch
NO_GRAPH = {"EmbeddingBag 3", "EmbeddingBag 4", "EmbeddingBag 5", "MaxUnpool1d 0",
            "MaxUnpool2d 0", "MaxUnpool3d 0"}  # fmt: skip  # or from the data


SAMPLED = {"FractionalMaxPool2d", "FractionalMaxPool3d"}  # with samples for each example


def arguments(name, shapes):
    if shapes[0] == "pooled":
        x = given(shapes[1])
        return leaves(getattr(nn, name.replace("Unp", "P"))(2, return_indices=True)(x))
    return [np.arange(12).reshape(4, 3) % 5 if shape == "ids" else given(shape) for shape in shapes]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_layer_runs_elsewhere_or_is_refused(tmp_path, name):
    for i, (args, options, shapes) in enumerate(CASES[name]):
        if "flat ids" in shapes:
            continue  # offsets
        tg.seed(0)
        model, inputs = getattr(nn, name)(*args, **options), arguments(name, shapes)
        model(*inputs)
        if name in FIXED or f"{name} {i}" in NO_GRAPH:
            with pytest.raises(tg.GraphError, match=r"outside of ops.*dynamic_batch=False"):
                tg.onnx.export(model, tmp_path / "m", tuple(inputs))
        if f"{name} {i}" in NO_GRAPH:
            with pytest.raises(tg.GraphError, match="outside of ops"):
                tg.onnx.export(model, tmp_path / "m", tuple(inputs), dynamic_batch=False)
            continue
        tg.onnx.export(
            model, tmp_path / "m", tuple(inputs), dynamic_batch=name not in FIXED | SAMPLED
        )
        model.eval()
        inputs = [np.flip(x, 0).copy() for x in inputs]
        expected = [t.numpy() for t in leaves(model(*inputs))]
        back = leaves(tg.onnx.load(tmp_path / "m")(*inputs))
        for a, b, c in zip(ran(tmp_path / "m", *inputs), back, expected, strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(b.numpy(), c, rtol=1e-5, atol=1e-5)


GRAPHS = {"GCNConv": nn.GCNConv, "GATConv": nn.GATConv, "GATv2Conv": nn.GATv2Conv,
          "GINConv": lambda m, n: nn.GINConv(nn.Dense(n, m)), "SAGEConv": nn.SAGEConv}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_layers_for_a_number_of_edges(tmp_path, name):
    """The edges are an input: those of the example are not held as constants."""
    layer, x = GRAPHS[name](4, 3), given(ROW)
    layer(x, np.array([[0, 1], [1, 2]]))
    how = {"example": (x, np.array([[0, 1, 2, 2], [1, 2, 0, 1]])), "dynamic_batch": False}
    if name == "SAGEConv":
        with pytest.raises(tg.GraphError, match="divide was computed from the data outside"):
            tg.onnx.export(layer, tmp_path / "m", **how)
        return
    tg.onnx.export(layer, tmp_path / "m", **how)
    x, edges = given(ROW), np.array([[1, 1, 1, 0], [0, 2, 0, 0]])
    (found,) = ran(tmp_path / "m", x, edges)
    np.testing.assert_allclose(found, layer(x, edges).numpy(), rtol=1e-5, atol=1e-5)


def test_several_inputs_of_a_transformer(tmp_path):
    layer, x, y = nn.Transformer(4, 2, 1, 1, 8, batch_first=True), given(SEQ), given((3, 6, 4))
    tg.onnx.export(layer, tmp_path / "m", (x, y))
    x, y = given(SEQ, 2), given((3, 6, 4), 2)
    layer.eval()
    expected = layer(x, y).numpy()
    np.testing.assert_allclose(ran(tmp_path / "m", x, y)[0], expected, rtol=1e-5, atol=1e-5)


class Strange(nn.Module):
    def __init__(self, way):
        self.way = way

    def forward(self, x):
        if self.way == "outside":
            return x * float(x.numpy().sum())
        if self.way == "other steps":
            return x if len(x) % 2 else x + 1
        if self.way == "by data":
            return x if x.numpy()[0, 0] > 0 else x + 1
        if self.way == "a slice":
            return x[: len(x) - 1]
        return tg.linalg.inv(x.T @ x)


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("outside", "outside of ops"),
        ("other steps", "other steps"),
        ("a slice", "follows the batch"),
        ("inverse", "the op inv has no counterpart"),
    ],
)
def test_what_no_graph_can_hold_is_an_error_and_no_file(tmp_path, way, says):
    with pytest.raises(tg.GraphError, match=says):
        tg.onnx.export(Strange(way), tmp_path / "m.onnx", given(ROW))
    assert not list(tmp_path.iterdir())


def test_several_inputs_and_outputs_and_a_fixed_batch(tmp_path):
    a, b = nn.Input((4,)), nn.Input((4,))
    model = nn.Model([a, b], [nn.Dense(2)(a * b), a - b])
    x, y = given(ROW), given(ROW)
    tg.onnx.export(model, tmp_path / "m", (x, y))
    x, y = given(ROW, 5), given(ROW, 5)
    for got, expected in zip(ran(tmp_path / "m", x, y), model(x, y), strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-6)
    tg.onnx.export(Strange("other steps"), tmp_path / "s", given(ROW), dynamic_batch=False)
    x = given(ROW)
    np.testing.assert_array_equal(ran(tmp_path / "s", x)[0], x)


@pytest.mark.parametrize(
    ("way", "says"), [("outside", "outside of ops"), ("by data", "depends on the data")]
)
def test_a_fixed_batch_holds_nothing_of_the_example_either(tmp_path, way, says):
    x = np.array([[1, 2], [-1, 3], [0, -1]], "float32")
    with pytest.raises(tg.GraphError, match=says):
        tg.onnx.export(Strange(way), tmp_path / "m", x, dynamic_batch=False)


def test_what_is_no_onnx_file(tmp_path):
    (tmp_path / "x").write_bytes(b"nonsense")
    with pytest.raises(tg.FileError, match="no ONNX file"):
        tg.onnx.load(tmp_path / "x")


def outcome(case):
    """What comes of one of ONNX's own node tests: passed, failed, or None: of a node, a form or a
    type that there is none for here."""
    try:
        if not all(
            isinstance(a, np.ndarray) for pair in case.data_sets for some in pair for a in some
        ):
            return None
        model = tg.onnx.read.Graph(case.model)
        for inputs, outputs in case.data_sets:
            got = model(*inputs)
            got = got if isinstance(got, tuple) else (got,)
            for a, b in zip(got, outputs, strict=True):
                if a.dtype != b.dtype or a.shape != b.shape:
                    return f"{a.dtype} {a.shape} for {b.dtype} {b.shape}"
                wide = "float64" if a.dtype.kind in "fV" else a.dtype
                half = a.dtype.kind in "fV" and a.dtype.itemsize == 2  # rounded after each node
                bounds = (2e-2, 2e-2) if half else (case.rtol, max(case.atol, 1e-6))
                np.testing.assert_allclose(a.numpy().astype(wide), b.astype(wide), *bounds)
    except tg.TensorgradError as error:
        others = ("not known", "do not have", "got dtype object")  # the last: text
        return None if any(what in str(error) for what in others) else repr(error)
    except Exception as error:
        return repr(error)[:100]
    return "passed"


@pytest.mark.slow
def test_onnx_own_node_tests():
    from onnx.backend.test.case.node import collect_testcases

    cases = collect_testcases(None)
    found = {case.name: outcome(case) for case in cases}
    failed = {name: what for name, what in found.items() if what not in ("passed", None)}
    passed = sum(what == "passed" for what in found.values())
    print(f"{passed} passed, {len(failed)} failed, {len(found) - passed - len(failed)} others")
    print("\n".join(f"{name}: {what[:150]}" for name, what in failed.items()))
    assert passed > 950
    nothing = [name for name in failed if "empty_set" in name]  # whose largest is an error
    assert len(failed) == len(nothing) == 3
