"""Transforms, windows, folders of images, tables and texts."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data
from tensorgrad.data import DataLoader
from tensorgrad.data import transforms as tf

IMAGE = np.random.default_rng(0).random((3, 8, 9)).astype(np.float32)
TRANSFORMS = {
    "flip": (tf.Flip(1), (3, 8, 9)),
    "flip rows": (tf.Flip(1, vertical=True), (3, 8, 9)),
    "crop": (tf.Crop((4, 5), padding=(1, 0)), (3, 4, 5)),
    "center": (tf.Crop(4, center=True), (3, 4, 4)),
    "rotate": (tf.Rotate(30, zoom=0.2), (3, 8, 9)),
    "colour": (tf.Colour(0.4, 0.4, 0.4), (3, 8, 9)),
    "cutout": (tf.Cutout(3), (3, 8, 9)),
    "noise": (tf.Noise(0.1), (3, 8, 9)),
    "normalize": (tf.Normalize([0.1, 0.2, 0.3], 0.5), (3, 8, 9)),
    "all": (tf.Compose(tf.Flip(), tf.Crop(8, 2), tf.Rotate(5)), (3, 8, 8)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_keep_dtype_and_are_seeded(name):
    transform, shape = TRANSFORMS[name]
    before = IMAGE.copy()
    made = {}
    for seed in (0, 0, 1):
        tg.seed(seed)
        made.setdefault(seed, []).append(transform(IMAGE))
    assert all(m.shape == shape and m.dtype == np.float32 for ms in made.values() for m in ms)
    assert np.array_equal(*made[0])
    assert np.array_equal(IMAGE, before)
    drawn = name in ("crop", "rotate", "colour", "cutout", "noise", "all")
    assert drawn != np.array_equal(made[0][0], made[1][0])


def test_what_they_compute():
    assert np.array_equal(tf.Flip(1)(IMAGE), IMAGE[:, :, ::-1])
    assert np.array_equal(tf.Flip(0)(IMAGE), IMAGE)
    assert np.array_equal(tf.Crop(4, center=True)(IMAGE), IMAGE[:, 2:6, 2:6])
    np.testing.assert_allclose(tf.Rotate(0)(IMAGE), IMAGE, rtol=1e-6)
    np.testing.assert_allclose(tf.Colour()(IMAGE), IMAGE, rtol=1e-5)
    assert (tf.Cutout(3)(IMAGE) == 0).any(axis=0).sum() <= 9
    pixels = (IMAGE * 255).astype(np.uint8)
    assert tf.ToFloat()(pixels).max() <= 1


def test_a_quarter_turn():
    square = np.arange(9.0).reshape(1, 3, 3)

    class Quarter(tf.Rotate):
        pass

    turned = Quarter(90)
    angles = []
    for seed in range(20):  # every angle keeps the pixel in the middle
        tg.seed(seed)
        angles.append(turned(square)[0, 1, 1])
    np.testing.assert_allclose(angles, 4.0)


def test_augmented_images_train(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 100, (10, 12, 3)) + 150 * label
            image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dark" / "notes.txt").write_text("no image")
    folder = data.ImageFolder(tmp_path, size=(8, 6))
    assert folder.classes == ["dark", "light"]
    assert len(folder) == 12
    x, y = folder[7]
    assert (x.shape, x.dtype, y) == ((3, 8, 6), np.uint8, 1)
    assert data.ImageFolder(tmp_path, mode="L")[0][0].shape == (1, 10, 12)
    augment = tf.OnInput(tf.Compose(tf.ToFloat(), tf.Flip(), tf.Crop((8, 6), padding=1)))
    order = data.Stratified(folder.labels)
    loader = DataLoader(folder, 4, sampler=order, transform=augment, seed=0)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Dense(2))
    for _ in range(20):
        for xb, yb in loader:
            if not model.layers[1].built:
                model(xb)
                optimizer = tg.optim.Adam(model.parameters(), lr=0.05)
            loss = tg.losses.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.5
    (tmp_path / "dark" / "0.png").write_bytes(b"not an image")
    with pytest.raises(tg.ArgumentError, match=r"0\.png cannot be read"):
        data.ImageFolder(tmp_path)[0]


def test_mixup():
    samples = [(np.full(2, float(i)), i) for i in range(4)]
    tg.seed(0)
    x, y = tf.Mixup(1.0, classes=4)(samples)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(x[:, 0], y @ np.arange(4.0), rtol=1e-6)  # the same share of each
    assert y.dtype == np.float32


def test_windows_are_views():
    series = np.arange(20.0).reshape(10, 2)
    x, y = tf.windows(series, 4, horizon=2, step=2)
    assert (x.shape, y.shape) == ((3, 4, 2), (3, 2, 2))
    assert np.array_equal(x[1], series[2:6])
    assert np.array_equal(y[1], series[6:8])
    assert np.shares_memory(x, series)
    assert next(iter(DataLoader((x, y), batch_size=2)))[0].shape == (2, 4, 2)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables(kind, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "y": [0, 1, 0], "s": list("uvw")}
    )
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    table = data.Table(path, inputs=["b", "a"], target="y", rows=2)
    batches = [(x.tolist(), y.tolist()) for x, y in DataLoader(table, batch_size=2)]
    assert batches == [([[0.5, 1], [1.5, 2]], [0, 1]), ([[2.5, 3]], [0])]
    assert [x.tolist() for x in DataLoader(data.Table(path, inputs="a"))] == [[[1], [2], [3]]]
    with pytest.raises(tg.DTypeError, match="column 's' of t"):
        next(iter(data.Table(path)))
    with pytest.raises(tg.ArgumentError, match="no column 'z'; it has 'a', 'b', 'y', 's'"):
        data.Table(path, target="z")


def test_texts():
    ids, lengths = data.encode(["hé", "abc"], length=2, pad=9)
    assert (ids.tolist(), lengths.tolist()) == ([[104, 195], [97, 98]], [2, 2])
    ids, lengths = data.encode("ab", tokenizer=lambda t: [len(t)])
    assert (ids.tolist(), lengths.tolist()) == ([[2]], [1])


def test_a_tokenizer_of_the_package():
    tokenizers = pytest.importorskip("tokenizers")
    given = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0, "a": 3, "b": 5}, "?"))
    given.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ids, lengths = data.encode(["a b a", "b c"], tokenizer=given, pad=9)
    assert (ids.tolist(), lengths.tolist()) == ([[3, 5, 3], [5, 0, 9]], [3, 2])


REFUSED = {
    "no folder": (lambda path: data.ImageFolder(path / "none"), "there is no "),
    "no images": (lambda path: data.ImageFolder(path), "no images in subfolders"),
    "a table of another kind": (lambda path: data.Table(__file__), "neither .csv, .tsv"),
    "a batch of images": (lambda path: tf.Flip()(IMAGE[None]), "Flip takes one image"),
    "integers": (lambda path: tf.Rotate(3)(np.zeros((1, 2, 2), np.uint8)), r"begin with ToFloat"),
    "a crop too large": (lambda path: tf.Crop(20)(IMAGE), "Crop.20, 20.: the image .* .8, 9."),
    "channels": (lambda path: tf.Normalize([0, 0], 1)(IMAGE), "2 channels, the image 3"),
    "a short series": (lambda path: tf.windows(np.zeros(3), 3), "shorter than length"),
    "labels": (lambda path: tf.Mixup(1, 2)([(np.zeros(2), 5)]), "labels from 5 to 5"),
    "no sample": (lambda path: tf.OnInput(tf.Flip())(IMAGE), "takes samples"),
    "no texts": (lambda path: data.encode([1]), "a list of texts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    call, says = REFUSED[case]
    with pytest.raises(tg.TensorgradError, match=says):
        call(tmp_path)
