"""What a new user does, in that order: draws pictures into a folder, trains on the files with
workers, stops by Ctrl-C in mid-epoch, goes on, and takes the result elsewhere."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

ROOT = Path(__file__).parent.parent

PROGRAM = '''
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import tensorgrad as tg
from tensorgrad import data, nn, train
from tensorgrad.data import transforms as T


class Photos:
    """PNG files whose folder is their class."""

    def __init__(self, folder, transform):
        self.files = sorted(Path(folder).glob("*/*.png"))
        self.classes = sorted({f.parent.name for f in self.files})
        self.transform = transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        pixels = np.moveaxis(np.asarray(Image.open(self.files[i])), -1, 0)
        return self.transform(pixels), self.classes.index(self.files[i].parent.name)


photos, run, epochs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
tg.seed(0)
augment = T.Compose(T.ToFloat(), T.Flip(), T.Crop(16, padding=2), T.Normalize([0.4] * 3, [0.3] * 3))
training, test = data.split(Photos(photos, augment), (0.8, 0.2))
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.2), nn.Linear(None, 2),
)
model.compile(tg.optim.Adam(lr=3e-3), "cross_entropy", metrics=["accuracy"])
past = model.fit(
    data.DataLoader(training, batch_size=16, shuffle=True, workers=2),
    epochs=epochs,
    validation_data=data.DataLoader(test, batch_size=16, workers=1),
    callbacks=[train.Checkpoint(run, every=3), train.CSVLogger(run / "log.csv")],
    resume="auto",
)
print(past.history["val_accuracy"][-1])
model.save(run / "model.safetensors")
tg.onnx.export(model, run / "model.onnx", training[0][0][None])
'''


def draw(folder, n=200):
    """Discs and frames of random colours and places on noise."""
    images, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    for i in range(n):
        pixels = rng.integers(0, 90, (16, 16, 3))
        at, colour = rng.integers(5, 11, 2), rng.integers(120, 256, 3)
        if i % 2:
            where = np.hypot(rows - at[0], columns - at[1]) < 4.5
        else:
            away = np.maximum(abs(rows - at[0]), abs(columns - at[1]))
            where = (away == 4) | (away == 3)
        pixels[where] = colour
        path = folder / ("disc" if i % 2 else "frame") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.mark.slow
@pytest.mark.host
def test_train_on_files_stop_go_on_and_take_it_elsewhere(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    draw(tmp_path / "photos")
    (tmp_path / "program.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(run, epochs):
        photos = str(tmp_path / "photos")
        command = [sys.executable, "program.py", photos, run, str(epochs)]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def left():  # of its processes
        named = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        return [line for line in named.splitlines() if str(tmp_path / "photos") in line]

    stopped = start("run", 4)
    while len(list((tmp_path / "run").glob("checkpoint-*"))) < 2:  # in the first epoch
        assert stopped.poll() is None, stopped.communicate()
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not left()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    found = {}
    for run in ("run", "whole"):
        out, said = start(run, 4).communicate()
        assert "Error" not in said, said
        found[run] = (out, *[(tmp_path / run / f"{n}").read_bytes() for n in ("log.csv",)])
    assert found["run"] == found["whole"]
    assert float(found["run"][0]) > 0.7
    a, b = (tg.load(tmp_path / run / "model.safetensors") for run in ("run", "whole"))
    assert all((a[name] == b[name]).all() for name in a)
    model = tg.nn.load_model(tmp_path / "run" / "model.safetensors")
    x = np.random.default_rng(1).normal(size=(7, 3, 16, 16)).astype("float32")
    session = runtime.InferenceSession(str(tmp_path / "run" / "model.onnx"))
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(theirs, model.predict(x), rtol=1e-5, atol=1e-5)
