"""What people have their data in: data frames, lists of arrays, labels in all forms, uint8 images,
memory maps, arrays that are read-only, big-endian or in Fortran's order. And what is no data."""

import array
import collections
import datetime
import decimal

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn

from .rows import of_each

pytestmark = pytest.mark.host

rng = np.random.default_rng(0)
M = rng.normal(size=(6, 3)).astype(np.float32)
K = np.array([0, 2, 1, 1, 0, 2])
MAKERS = {"tensor": tg.tensor, "asarray": tg.asarray}


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


FORMS = {
    "list": (lambda tmp: M.tolist(), M),
    "list of arrays": (lambda tmp: list(M), M),
    "tuple of tuples": (lambda tmp: tuple(map(tuple, M.tolist())), M),
    "list of scalars": (lambda tmp: list(M[:, 0]), M[:, 0]),
    "list of tensors": (lambda tmp: [tg.tensor(row) for row in M], M),
    "list of lists of tensors": (lambda tmp: [[tg.tensor(v) for v in row] for row in M], M),
    "whole and broken numbers": (lambda tmp: [1, 2.5, True], np.float32([1, 2.5, 1])),
    "whole numbers": (lambda tmp: [1, 2, 3], np.array([1, 2, 3])),
    "truths": (lambda tmp: [True, False], np.array([True, False])),
    "nothing": (lambda tmp: [], np.zeros(0, np.float32)),
    "range": (lambda tmp: range(2, 5), np.array([2, 3, 4])),
    "array.array": (lambda tmp: array.array("f", [1, 2]), np.float32([1, 2])),
    "memoryview": (lambda tmp: memoryview(M), M),
    "deque": (lambda tmp: collections.deque([1.0, 2.0]), np.float32([1, 2])),
    "numpy scalar": (lambda tmp: np.float64(2.5), np.array(2.5)),
    "0-d array": (lambda tmp: np.array(2.5, np.float32), np.array(2.5, np.float32)),
    "read-only": (lambda tmp: read_only(M), M),
    "big-endian": (lambda tmp: M.astype(">f4"), M),
    "big-endian integers": (lambda tmp: K.astype(">i8"), K),
    "big-endian halves": (lambda tmp: M.astype(">f2"), M.astype(np.float16)),
    "Fortran order": (lambda tmp: np.asfortranarray(M), M),
    "negative strides": (lambda tmp: M[::-1, ::-2], M[::-1, ::-2].copy()),
    "a broadcast view": (lambda tmp: np.broadcast_to(M[0], (4, 3)), np.tile(M[0], (4, 1))),
    "memory map": (lambda tmp: mapped(tmp), M),
    "load(mmap_mode)": (lambda tmp: loaded(tmp), M),
    "matrix": (lambda tmp: M.view(np.matrix), M),
    "masked, with no mask": (lambda tmp: np.ma.array(M), M),
    "recarray's field": (lambda tmp: records()["x"], np.float64([1.5, 2.5])),
    "uint8": (lambda tmp: K.astype(np.uint8), K.astype(np.uint8)),
    "uint16": (lambda tmp: K.astype(np.uint16), K.astype(np.uint16)),
    "data frame": (lambda tmp: pandas().DataFrame(M, columns=list("abc")), M),
    "frame of mixed numbers": (
        lambda tmp: pandas().DataFrame({"a": [1, 2], "b": [0.5, 1.5]}),
        np.array([[1, 0.5], [2, 1.5]]),
    ),
    "series": (lambda tmp: pandas().Series(K, index=range(10, 16)), K),
    "series of floats": (lambda tmp: pandas().Series(M[:, 0], name="x"), M[:, 0]),
    "list of series": (lambda tmp: [pandas().Series(row) for row in M], M),
    "index": (lambda tmp: pandas().Index([3, 4]), np.array([3, 4])),
    "columns of a frame": (lambda tmp: pandas().DataFrame(M)[[0, 2]], M[:, ::2]),
    "nullable integers": (lambda tmp: pandas().Series([1, 2], dtype="Int64"), np.array([1, 2])),
    "nullable floats": (lambda tmp: pandas().Series([1.5], dtype="Float32"), np.float32([1.5])),
    "torch": (lambda tmp: pytest.importorskip("torch").from_numpy(M.copy()), M),
}  # fmt: skip


def pandas():
    return pytest.importorskip("pandas", reason="pandas is not installed")


def mapped(folder):
    M.tofile(folder / "raw")
    return np.memmap(folder / "raw", np.float32, "r", shape=M.shape)


def loaded(folder):
    np.save(folder / "m.npy", M)
    return np.load(folder / "m.npy", mmap_mode="r")


def records():
    return np.array([(1.5, 2), (2.5, 3)], dtype=[("x", "f8"), ("k", "i4")])


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("form", FORMS)
def test_data_comes_in_every_form(form, maker, tmp_path):
    make, want = FORMS[form]
    t = MAKERS[maker](make(tmp_path))
    np.testing.assert_array_equal(t.numpy(), want)
    assert t.dtype == want.dtype or form == "frame of mixed numbers"
    assert t.dtype.isnative
    assert type(t.data) is np.ndarray
    if t.dtype.kind == "f" and t.size:  # it takes part in training
        w = tg.tensor(np.ones_like(want), requires_grad=True)
        (w * t).sum().backward()
        np.testing.assert_array_equal(w.grad.numpy(), want)


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("nothing", "torch")])
def test_functions_take_every_form_raw(form, tmp_path):
    make, want = FORMS[form]
    a = make(tmp_path)
    np.testing.assert_allclose(tg.sum(a).numpy(), want.sum(), rtol=1e-5)
    np.testing.assert_allclose(tg.square(a).numpy(), want * want, rtol=1e-3)
    w = tg.ones(want.shape)
    if not isinstance(a, (array.array, memoryview, range, collections.deque)):
        assert (w * a).dtype == np.float32  # the Tensor's, whatever came along
        assert (a * w if isinstance(a, np.ndarray) else tg.multiply(a, w)).dtype == np.float32


@pytest.mark.parametrize("form", ["read-only", "memory map", "load(mmap_mode)", "a broadcast view"])
def test_what_cannot_be_written_is_never_written(form, tmp_path):
    make, want = FORMS[form]
    a = make(tmp_path)
    owned, shared, p = tg.tensor(a), tg.asarray(a), nn.Parameter(a)
    owned[0] = 7.0
    shared = shared + 1.0
    (p * a).sum().backward()
    tg.optim.SGD([p], lr=1.0).step()
    np.testing.assert_allclose(shared.numpy(), want + 1)
    np.testing.assert_allclose(p.numpy(), 0, atol=1e-6)
    assert (owned.numpy()[0] == 7).all()
    np.testing.assert_array_equal(make(tmp_path), want)
    np.testing.assert_array_equal(a, want)


NO_DATA = {
    "structured": records,
    "a record": lambda: records()[0],
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "ragged arrays": lambda: [np.ones(2), np.ones(3)],
    "text": lambda: "1.5",
    "texts": lambda: ["cat", "dog"],
    "bytes": lambda: b"abc",
    "none": lambda: None,
    "a hole": lambda: [1.0, None],
    "objects": lambda: np.array([1.0, 2.0], dtype=object),
    "decimals": lambda: [decimal.Decimal("1.5")],
    "dates": lambda: np.array(["2024-01-01"], "M8[D]"),
    "time spans": lambda: np.array([5], "m8[s]"),
    "a date": lambda: datetime.date(2024, 1, 1),
    "masked": lambda: np.ma.masked_less(np.array([-1.0, 2.0]), 0),
    "a dict": lambda: {"a": 1.0},
    "a set": lambda: {1.0, 2.0},
    "a generator": lambda: (v for v in (1.0, 2.0)),
    "a map": lambda: map(float, "12"),
    "a function": lambda: np.sin,
    "a module": lambda: nn.Linear(1, 1),
    "a frame with text": lambda: pandas().DataFrame({"a": [1.0], "b": ["x"]}),
    "a series of text": lambda: pandas().Series(["x", "y"]),
    "categories of text": lambda: pandas().Series(["x", "y"], dtype="category"),
    "sparse": lambda: pytest.importorskip("scipy.sparse").eye(3),
}


@of_each("maker", [*MAKERS, "sum", "Parameter"])
@of_each("kind", NO_DATA)
def test_what_is_no_data_is_refused_with_a_word_on_it(kind, maker):
    make = {**MAKERS, "sum": tg.sum, "Parameter": nn.Parameter}[maker]
    with pytest.raises((tg.DTypeError, tg.ShapeError, tg.ArgumentError)) as caught:
        make(NO_DATA[kind]())
    assert len(str(caught.value)) > 20


# --- labels ---------------------------------------------------------------------------------------

LOGITS = rng.normal(size=(6, 3)).astype(np.float32)
ROWS = np.arange(6)
WANT = -np.mean((LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True)))[ROWS, K])
LABELS = {
    "int64": lambda: K,
    **{d: lambda d=d: K.astype(d) for d in "int8 int16 int32 uint8 uint16 uint32 uint64".split()},
    "list": lambda: K.tolist(),
    "tuple": lambda: tuple(K.tolist()),
    "list of scalars": lambda: list(K),
    "Tensor": lambda: tg.tensor(K),
    "Tensor of int32": lambda: tg.tensor(K.astype("int32")),
    "column": lambda: K[:, None],
    "column as a Tensor": lambda: tg.tensor(K[:, None]),
    "big-endian": lambda: K.astype(">i4"),
    "read-only": lambda: read_only(K),
    "strided": lambda: np.repeat(K, 2)[::2],
    "one-hot": lambda: np.eye(3, dtype=np.float32)[K],
    "one-hot float64": lambda: np.eye(3)[K],
    "one-hot integers": lambda: np.eye(3, dtype=int)[K],
    "one-hot uint8": lambda: np.eye(3, dtype=np.uint8)[K],
    "one-hot truths": lambda: np.eye(3, dtype=bool)[K],
    "one-hot lists": lambda: np.eye(3)[K].tolist(),
    "series": lambda: pandas().Series(K, index=range(5, 11)),
    "frame of one column": lambda: pandas().DataFrame({"label": K}),
    "codes of categories": lambda: pandas().Series(list("acbbac"), dtype="category").cat.codes,
    "dummies": lambda: pandas().get_dummies(pandas().Series(K)),
}


@of_each("form", LABELS)
def test_cross_entropy_takes_labels_in_every_form(form):
    x = tg.tensor(LOGITS, requires_grad=True)
    loss = losses.cross_entropy(x, LABELS[form]())
    loss.backward()
    assert (loss.shape, loss.dtype) == ((), np.float32)
    np.testing.assert_allclose(loss.item(), WANT, rtol=1e-5)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    np.testing.assert_allclose(x.grad.numpy(), (p - np.eye(3)[K]) / 6, rtol=1e-4, atol=1e-7)


@of_each("form", LABELS)
def test_fit_and_evaluate_take_labels_in_every_form(form):
    tg.seed(0)
    model = nn.Sequential([nn.Dense(3, 3)])
    model.compile(tg.optim.SGD(lr=0.5), "cross_entropy", metrics=["accuracy"])
    history = model.fit(M, LABELS[form](), epochs=2, batch_size=4, shuffle=False, verbose=0)
    scores = model.evaluate(M, LABELS[form]())
    tg.seed(0)
    twin = nn.Sequential([nn.Dense(3, 3)])
    twin.compile(tg.optim.SGD(lr=0.5), "cross_entropy", metrics=["accuracy"])
    want = twin.fit(M, K, epochs=2, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], want.history["loss"], rtol=1e-5)
    assert scores["accuracy"] == twin.evaluate(M, K)["accuracy"]


BAD_LABELS = {
    "text": lambda: list("acbbac"),
    "broken numbers": lambda: K + 0.5,
    "a class too many": lambda: K + 1,
    "a negative class": lambda: K - 1,
    "one too few": lambda: K[:5],
    "of another width": lambda: np.eye(4)[K],
    "a hole": lambda: [0, 1, None, 1, 0, 2],
}


@of_each("form", BAD_LABELS)
def test_labels_that_cannot_be_meant_are_errors(form):
    with pytest.raises(tg.TensorgradError) as caught:
        losses.cross_entropy(tg.tensor(LOGITS), BAD_LABELS[form]())
    assert len(str(caught.value)) > 20


YES = np.array([1, 0, 0, 1, 1, 0])
BINARY = {
    "float32": lambda: YES.astype("float32"),
    "float64": lambda: YES.astype("float64"),
    "int64": lambda: YES,
    "uint8": lambda: YES.astype("uint8"),
    "bool": lambda: YES == 1,
    "list": lambda: YES.tolist(),
    "list of truths": lambda: (YES == 1).tolist(),
    "Tensor": lambda: tg.tensor(YES),
    "Tensor of truths": lambda: tg.tensor(YES == 1),
    "series": lambda: pandas().Series(YES == 1, index=range(3, 9)),
}


@of_each("form", BINARY)
@of_each("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "mean_squared_error"])
def test_yes_and_no_come_in_every_form(loss, form):
    x = tg.tensor(np.linspace(0.1, 0.9, 6, dtype=np.float32), requires_grad=True)
    f = getattr(losses, loss)
    value = f(x, BINARY[form]())
    value.backward()
    assert value.dtype == x.grad.dtype == np.float32
    assert value.item() == f(x, YES.astype("float32")).item()


# --- images ---------------------------------------------------------------------------------------

IMAGES = rng.integers(0, 256, (4, 1, 6, 6)).astype(np.uint8)
LAYERS = {
    "Conv2d": lambda: nn.Conv(2, 3),
    "Dense": lambda: nn.Sequential([nn.Flatten(), nn.Dense(3)]),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "BatchNorm": lambda: nn.BatchNorm(),
    "LayerNorm": lambda: nn.LayerNorm(),
    "ReLU": lambda: nn.ReLU(),
    "Sigmoid": lambda: nn.Sigmoid(),
    "Dropout": lambda: nn.Dropout(0.5).eval(),
    "GlobalAvgPool": lambda: nn.GlobalAvgPool(),
}


@of_each("layer", LAYERS)
def test_layers_take_images_of_bytes(layer):
    made = LAYERS[layer]()
    if isinstance(made, nn.Module) and layer == "BatchNorm":
        made.eval()
    y, want = made(IMAGES), made(IMAGES.astype(np.float32))
    assert y.dtype == np.float32 or layer in ("MaxPool2d", "ReLU", "Dropout")
    np.testing.assert_allclose(y.numpy(), want.numpy(), rtol=1e-5)


ARITHMETIC = {
    "t / 255": IMAGES / 255,
    "t / 255.0 - 0.5": IMAGES / 255 - 0.5,
    "(t - 127.5) / 127.5": (IMAGES - 127.5) / 127.5,
    "t * 2.0": IMAGES * 2.0,
    "t.mean()": IMAGES.mean(),
    "t.mean((0, 2, 3))": IMAGES.mean((0, 2, 3)),
    "t.std()": IMAGES.std(),
    "t.var()": IMAGES.var(),
    "(t - t.mean()) / t.std()": (IMAGES - IMAGES.mean()) / IMAGES.std(),
    "t.astype('float32') - 128": IMAGES.astype(int) - 128,
    "np.sqrt(t)": np.sqrt(IMAGES.astype(float)),
    "tg.softmax(t)": np.exp(IMAGES * 1.0) / np.exp(IMAGES * 1.0).sum(-1, keepdims=True),
    "t @ tg.ones((6, 1))": IMAGES @ np.ones((6, 1)),
}


@of_each("program", ARITHMETIC)
def test_images_of_bytes_become_float32_in_arithmetic(program):
    y = eval(program, {"t": tg.tensor(IMAGES), "np": np, "tg": tg})
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), ARITHMETIC[program], rtol=2e-5, atol=1e-6)


def test_sums_of_bytes_do_not_wrap():
    t = tg.tensor(IMAGES)
    assert t.sum().item() == IMAGES.sum()
    assert t.sum().dtype.itemsize == 8
    assert (IMAGES.sum((2, 3)) == t.sum((2, 3)).numpy()).all()


# --- whole programs on such data ------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["data frame", "memory map", "big-endian", "Fortran order", "list"]
)
def test_a_model_is_trained_on_data_as_it_is_kept(form, tmp_path):
    def train(x, y):
        tg.seed(0)
        model = nn.Sequential([nn.Dense(4, 3, activation="tanh"), nn.Dense(1, 4)])
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, batch_size=4, verbose=0, validation_data=(x, y))
        return model.predict(x), model.evaluate(x, y)

    got, loss = train(FORMS[form][0](tmp_path), M[:, :1].astype(">f8"))
    want, wanted = train(M, M[:, :1])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float32
    np.testing.assert_allclose(loss["loss"], wanted["loss"], rtol=1e-5)


@pytest.mark.parametrize("form", ["data frame", "memory map", "big-endian", "read-only"])
def test_a_loader_gives_tensors_of_data_as_it_is_kept(form, tmp_path):
    rows = []
    for x, y in tg.data.DataLoader((FORMS[form][0](tmp_path), LABELS["series"]()), batch_size=4):
        assert isinstance(x, tg.Tensor)
        assert isinstance(y, tg.Tensor)
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        rows += x.tolist()
    np.testing.assert_allclose(rows, M)
