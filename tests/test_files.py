"""Files of tensors: what goes in comes out, they are whole or not there, and one from someone else
can do nothing but be refused."""

import errno
import json
import math
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.files import disk, tensors

ROOT = Path(__file__).parent.parent
DTYPES = [*tensors.DTYPES.values(), "complex128"]


def made(path, header, data=b"", raw=None):
    """A file with this header."""
    text = json.dumps(header).encode() if raw is None else raw
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


# --- trees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(tmp_path, dtype):
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    a = np.array([[0, 1, 2], [1, 0, 1]]).astype(dtype)
    tree = {"t": tg.asarray(a), "a": a.T, "n": a[0, 1], "z": a[:0], "s": a[0, 0, ...]}
    tg.save(tree, tmp_path / "x")
    back = tg.load(tmp_path / "x")
    assert isinstance(back["t"], tg.Tensor)
    assert type(back["n"]) is type(tree["n"])
    for name, value in tree.items():
        was = value.numpy() if isinstance(value, tg.Tensor) else value
        now = back[name].numpy() if isinstance(value, tg.Tensor) else back[name]
        assert now.dtype == was.dtype
        assert now.shape == was.shape
        np.testing.assert_array_equal(now, was)


def test_a_tree_comes_back_as_it_was(tmp_path):
    shared = tg.ones(2)
    tree = {
        "list": [1, -2.5, True, None, "text", (3, [], {}), 1e300, 10**30],
        7: {"a.b": shared, "a": {"b": shared}, "__metadata__": tg.zeros(1)},
        "numbers": [np.float32(0.1), np.int8(3), np.bool_(True), 1 + 2j, math.inf],
    }
    tg.save(tree, tmp_path / "x")
    back = tg.load(tmp_path / "x")
    assert repr(back) == repr(tree)
    assert back[7]["a.b"] is back[7]["a"]["b"]
    tg.save(math.nan, tmp_path / "x")
    assert math.isnan(tg.load(tmp_path / "x"))


def test_names_that_meet_stay_apart(tmp_path):
    tree = {"a": [tg.zeros(1), tg.ones(1)], "a.0": tg.full(1, 2.0), "": {"": tg.full(1, 3.0)}}
    tg.save(tree, tmp_path / "x")
    assert repr(tg.load(tmp_path / "x")) == repr(tree)


class Mine:
    pass


looped: list = []
looped.append(looped)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"a": [Mine()]}, r"a\[0\] is a Mine"),
        ({"a": {(1, 2): 3}}, r"a has the key \(1, 2\)"),
        ({"a": np.array(["x"])}, "a is <U1"),
        (looped, "in themselves"),
    ],
    ids=["object", "key", "text", "loop"],
)
def test_what_cannot_be_saved_is_named_and_nothing_written(tmp_path, tree, says):
    with pytest.raises(tg.TensorgradError, match=says):
        tg.save(tree, tmp_path / "x")
    assert not os.listdir(tmp_path)


def test_arguments_the_other_way_round(tmp_path):
    with pytest.raises(tg.ArgumentError, match=r"save\(tree, path\)|must be a path"):
        tg.save(str(tmp_path / "x"), {"a": tg.ones(1)})


def test_dtype_and_backend_are_changed_on_request(tmp_path, backend):
    x = tg.asarray(np.linspace(0, 1, 7, dtype="float32"), backend=backend)
    tg.save({"x": x, "i": tg.asarray([1, 2])}, tmp_path / "x", dtype="bfloat16")
    assert tg.load(tmp_path / "x")["x"].backend == backend
    back = tg.load(tmp_path / "x", dtype="float64", backend="numpy")
    assert (back["x"].dtype, back["x"].backend) == (np.float64, "numpy")
    assert back["i"].dtype == tg.asarray([1, 2]).dtype
    np.testing.assert_array_equal(back["x"].numpy(), x.astype("bfloat16").astype("float64").numpy())
    mapped = tg.load(tmp_path / "x", mapped=True)["x"]
    assert mapped.backend == backend
    with pytest.raises(tg.DTypeError, match="floating"):
        tg.load(tmp_path / "x", dtype="int32")


@pytest.mark.host
def test_mapped_arrays_are_the_files_and_never_change_it(tmp_path):
    tg.save({"x": np.arange(4.0)}, tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    x = tg.load(tmp_path / "x", mapped=True)["x"]
    assert isinstance(x.base, np.memmap)
    x[0] = 9
    assert (tmp_path / "x").read_bytes() == before


@pytest.mark.host
def test_others_read_ours_and_we_read_theirs(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    ours = {"a": np.eye(2, dtype="float32"), "b": np.arange(3)}
    tg.save({n: tg.asarray(a) for n, a in ours.items()}, tmp_path / "x")
    theirs = safetensors.load_file(tmp_path / "x")
    assert all((theirs[n] == a).all() for n, a in ours.items())
    safetensors.save_file(ours, tmp_path / "y", metadata={"format": "pt"})
    back = tg.load(tmp_path / "y")
    assert all((back[n].numpy() == a).all() for n, a in ours.items())


@pytest.mark.host
def test_arrays_of_others_that_are_not_aligned(tmp_path):
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F64", "shape": [1], "data_offsets": [1, 9]},
    }
    made(tmp_path / "x", header, b"\7" + struct.pack("<d", 1.5))
    for mapped in (True, False):
        b = tg.load(tmp_path / "x", mapped=mapped)["b"]
        assert b.tolist() == [1.5]
        assert b.numpy().flags.aligned


def test_npz_in_and_out(tmp_path):
    tg.save_npz({"x": tg.ones(2), "y": np.arange(3)}, tmp_path / "x.npz")
    assert np.load(tmp_path / "x.npz")["x"].tolist() == [1, 1]
    assert tg.load(tmp_path / "x.npz")["y"].tolist() == [0, 1, 2]
    np.savez(tmp_path / "bad.npz", x=np.array([{}], object))
    for load in (tg.load, tg.load_npz):
        with pytest.raises(tg.FileError, match=r"bad\.npz"):
            load(tmp_path / "bad.npz")
    with pytest.raises(tg.DTypeError, match="bfloat16"):
        tg.save_npz({"x": tg.ones(2, dtype="bfloat16")}, tmp_path / "x.npz")


# --- modules --------------------------------------------------------------------------------------


def model():
    return nn.Sequential(nn.Dense(3, 2), nn.BatchNorm1d(3), nn.Dense(1, 3))


def test_weights_go_through_a_file(tmp_path, backend):
    one, two = model(), model()
    one.save(tmp_path / "m")
    assert two.load_weights(tmp_path / "m") == ([], [])
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert two[0].weight.backend == backend
    one.save(tmp_path / "half", dtype="float16")
    assert tg.load(tmp_path / "half")["layers[0].weight"].dtype == np.float16
    two.load_weights(tmp_path / "half")
    assert two[0].weight.dtype == np.float32


def test_loading_is_strict_or_says_what_it_left_out(tmp_path):
    tg.save({"layers[0].weight": tg.ones((2, 3)), "extra": tg.ones(1)}, tmp_path / "m")
    net = model()
    before = net.get_weights()
    with pytest.raises(tg.ShapeError, match=r"missing layers\[0\].bias.*unexpected extra"):
        net.load_weights(tmp_path / "m")
    assert all((a == b).all() for a, b in zip(before, net.get_weights(), strict=True))
    left = net.load_weights(tmp_path / "m", strict=False)
    assert "layers[0].bias" in left.missing
    assert left.unexpected == ["extra"]
    assert (net[0].weight.numpy() == 1).all()
    with pytest.raises(tg.ShapeError, match=r"has shape \(1,\)"):
        net.load_state_dict({"layers[0].weight": np.ones(1)}, strict=False)


def test_loaded_weights_do_not_share_memory(tmp_path):
    layer, w = nn.Dense(1, 2), tg.ones((2, 1))
    layer.load_state_dict({"weight": w, "bias": [0.0]})
    w._data[...] = 5
    assert layer.weight.tolist() == [[1], [1]]
    layer.save(tmp_path / "m")
    layer.load_weights(tmp_path / "m")
    assert not isinstance(getattr(layer.weight._data, "base", None), np.memmap)


def test_weights_of_no_model(tmp_path):
    tg.save([1, 2], tmp_path / "x")
    with pytest.raises(tg.FileError, match="no tensors by name"):
        model().load_weights(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        model().load_weights(tmp_path / "nothing")


# --- what is no file ------------------------------------------------------------------------------

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def entry(**change):
    return {"a": {**GOOD["a"], **change}}


TREES = [
    "{",
    "[]",
    *[
        f'{{"version":1,"tree":{tree}}}'
        for tree in (
            '{"os":1}',
            '{"tensor":"b"}',
            '{"tensor":["a"]}',
            "[1]",
            '{"dict":[[[],1]]}',
            '{"dict":{"a":1}}',
            '{"tensor":"a","as":"O"}',
            '{"float":"x"}',
            '{"complex":["1"]}',
            '{"list":"ab"}',
            "{}",
            '{"list":' * 5000 + "[]" + "}" * 5000,
        )
    ],
]
BAD = {
    "empty": (b"", None),
    "short": (b"\0\0\0", None),
    "no header": (struct.pack("<Q", 100) + b"{}", None),
    "huge header": (struct.pack("<Q", 2**63) + b"{}", None),
    "a pickle": (b"\x80\x05\x95\x0b\0\0\0\0\0\0\0\x8c\x04evil\x94.", None),
    "no JSON": (None, b"{nonsense"),
    "no text": (None, b"\xff\xfe{}"),
    "a list": (None, b"[]"),
    "deep": (None, b"[" * 200_000),
    "twice": (None, json.dumps(GOOD).encode()[:-1] + b"," + json.dumps(GOOD).encode()[1:]),
    "twice within": (None, b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "other dtype": (None, entry(dtype="F4")),
    "dtype no text": (None, entry(dtype=["F32"])),
    "long dtype": (None, entry(dtype="F" * 10**6)),
    "huge shape": (None, entry(shape=[2**40, 2**40])),
    "huge empty shape": (None, entry(shape=[2**62, 2**62, 0], data_offsets=[0, 0])),
    "many axes": (None, entry(shape=[1] * 100_000 + [2])),
    "huge numbers": (None, entry(shape=[10**4000])),
    "negative": (None, entry(shape=[-2])),
    "fraction": (None, entry(shape=[2.0])),
    "truth": (None, entry(shape=[True, 2])),
    "backwards": (None, entry(data_offsets=[8, 0])),
    "outside": (None, entry(shape=[4], data_offsets=[0, 16])),
    "three offsets": (None, entry(data_offsets=[0, 8, 8])),
    "no offsets": (None, {"a": {"dtype": "F32", "shape": [2]}}),
    "a gap": (None, entry(shape=[1], data_offsets=[4, 8])),
    "the rest": (None, entry(shape=[1], data_offsets=[0, 4])),
    "overlap": (None, {**GOOD, "b": GOOD["a"]}),
    "metadata": (None, {**GOOD, "__metadata__": {"a": 1}}),
    "metadata list": (None, {**GOOD, "__metadata__": ["a"]}),
    "truth values": (None, entry(dtype="BOOL", shape=[8])),
    **{f"tree {said}": (None, {**GOOD, "__metadata__": {"tensorgrad": said}}) for said in TREES},
}  # fmt: skip


@pytest.mark.host
@pytest.mark.parametrize("name", BAD, ids=lambda name: name[:40])
def test_what_is_no_file_is_refused(tmp_path, name):
    whole, header = BAD[name]
    path = tmp_path / "x"
    if whole is not None:
        path.write_bytes(whole)
    else:
        raw = header if isinstance(header, bytes) else None
        made(path, header, b"\3" + b"\0" * 7, raw)
    with pytest.raises(tg.FileError, match=r"no whole|x.*became") as caught:
        tg.load(path)
    assert len(str(caught.value)) < 600


@pytest.mark.host
def test_a_file_of_a_newer_version(tmp_path):
    text = {"tensorgrad": '{"version": 99, "tree": 1}'}
    with pytest.raises(tg.FileError, match=r"version 99.*update"):
        tg.load(made(tmp_path / "x", {"__metadata__": text}))


def mutated(data, rng):
    """One of many ways in which a file may be damaged or made up."""
    data = bytearray(data)
    length = struct.unpack("<Q", data[:8])[0]
    way = rng.randrange(7)
    if way == 0:  # bytes of the header
        for _ in range(rng.randrange(1, 4)):
            data[8 + rng.randrange(length)] = rng.randrange(256)
    elif way == 1:  # its digits
        places = [i for i in range(8, 8 + length) if chr(data[i]).isdigit()]
        for i in rng.sample(places, rng.randrange(1, 4)):
            data[i] = ord(rng.choice("0123456789"))
    elif way == 2:  # its length
        data[rng.randrange(8)] = rng.randrange(256)
    elif way == 3:  # cut short
        del data[rng.randrange(len(data)) :]
    elif way == 4:  # more than there was
        data += bytes(rng.randrange(1, 50))
    elif way == 5:  # a part of the header moved
        i, j = sorted(8 + rng.randrange(length) for _ in range(2))
        data[i:j] = data[i:j][::-1]
    else:  # a part of the header twice
        i, j = sorted(8 + rng.randrange(length) for _ in range(2))
        data[j:j] = data[i:j]
        data[:8] = struct.pack("<Q", length + j - i)
    return bytes(data)


def attack(path, count, seed):
    """How many of so many damaged files were refused; all that were not are whole."""
    from safetensors import safe_open

    tree = {"w": tg.ones((2, 3)), "list": [np.arange(3), 1.5, (True, "x")], "b": np.array([True])}
    tg.save(tree, path)
    good, rng, refused = path.read_bytes(), random.Random(seed), 0
    for _ in range(count):
        path.write_bytes(mutated(good, rng))
        try:
            tg.load(path)
        except tg.FileError:
            refused += 1
        else:
            safe_open(path, "np")  # what the format's own library refuses, we do
    return refused


@pytest.mark.host
def test_damaged_files_are_refused(tmp_path):
    tracemalloc.start()
    try:
        assert attack(tmp_path / "x", 300, 0) > 200
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.host
def test_ten_thousand_damaged_files_are_refused(tmp_path):
    assert attack(tmp_path / "x", 10_000, 1) > 7_000


@pytest.mark.host
def test_a_damaged_npz_is_refused(tmp_path):
    path, rng = tmp_path / "x.npz", random.Random(0)
    np.savez_compressed(path, x=np.arange(100), y=np.ones((3, 3)))
    good, refused = path.read_bytes(), 0
    for _ in range(200):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
        try:
            tg.load_npz(path)
        except tg.FileError:
            refused += 1
    assert refused > 50


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.host
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch, code):
    tg.save([1], tmp_path / "x")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(tg.FileError, match=r"x is not written: .*is as it was"):
        tg.save([2], tmp_path / "x")
    assert tg.load(tmp_path / "x") == [1]
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.host
def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(tg.FileError, match="no such folder"):
        tg.save([1], tmp_path / "a" / "x")
    with pytest.raises(tg.FileError, match="it is a folder"):
        tg.save([1], tmp_path)
    (tmp_path / "f").touch()
    with pytest.raises(tg.FileError, match="a file, not a folder"):
        tg.save([1], tmp_path / "f" / "x")


@pytest.mark.host
def test_a_full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")

    def fill():
        with disk.replacing(tmp_path / "x") as t:
            os.symlink("/dev/full", t)
            t.write_bytes(b"x")

    with pytest.raises(tg.FileError, match="disk is full"):
        fill()
    assert not os.listdir(tmp_path)


@pytest.mark.host
def test_a_link_is_kept_and_so_are_permissions(tmp_path):
    tg.save([1], tmp_path / "x")
    os.chmod(tmp_path / "x", 0o640)
    os.symlink(tmp_path / "x", tmp_path / "link")
    tg.save([2], tmp_path / "link")
    assert tg.load(tmp_path / "x") == [2]
    assert (tmp_path / "link").is_symlink()
    assert os.stat(tmp_path / "x").st_mode & 0o777 == 0o640


SAVES = """
import sys, numpy as np, tensorgrad as tg
i = 0
while True:
    i += 1
    tg.save({"i": i, "x": np.full(500_000, float(i))}, sys.argv[1])
    print(i, flush=True)
"""


@pytest.mark.slow
@pytest.mark.host
def test_killed_while_saving_leaves_a_whole_file(tmp_path):
    rng = random.Random(0)
    left = 0
    for _ in range(20):
        run = subprocess.Popen(
            [sys.executable, "-c", SAVES, str(tmp_path / "x")],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        run.stdout.readline()
        time.sleep(rng.random() * 0.05)
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        back = tg.load(tmp_path / "x")
        assert (back["x"] == back["i"]).all()
        left += len(os.listdir(tmp_path)) - 1
    assert left, "none was killed in the middle: the test shows nothing"
    tg.save({"i": 0}, tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.host
def test_the_document_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "files.md").read_text()
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "docs/files.md", "exec"), scope)
    assert (tmp_path / "mine").is_dir()
