"""The tape as text and picture, and where the time goes."""

import json
import time

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.drawing import Drawing


def test_the_tape_as_text():
    w = tg.tensor(np.ones((2, 3), "float32"), requires_grad=True)
    y = tg.exp(w)  # saves its output, which is saved by the product, too
    low, _ = tg.split(y * y, [1], axis=1)
    loss = low.sum()
    text = str(tg.draw({"loss": loss}, {"w": w, "low": low}))
    assert text.splitlines() == [
        "%1  leaf      w    (2, 3)     float32",
        "%2  exp            (2, 3)     float32  %1  saves 24 B",
        "%3  square         (2, 3)     float32  %2  saves 24 B",
        "%4  split          2 outputs           %3",
        "%5  output 0  low  (2, 1)     float32  %4",
        "%6  sum            ()         float32  %5",
        "ops: 4, leaves: 1, saved: 24 B",
    ]
    loss.backward()
    assert "float32  %1  freed" in str(tg.draw(loss))
    with pytest.raises(tg.GraphError, match="was not recorded"):
        tg.draw(tg.ones(2))
    with pytest.raises(tg.ArgumentError, match="names"):
        tg.draw(loss, [w])


def test_parameters_have_the_names_of_their_module_and_all_outputs_their_rows():
    net = nn.Sequential(nn.Dense(4), nn.LayerNorm())
    loss = net(tg.ones((2, 3))).sum()
    drawing = tg.draw(loss, net)
    rows = [line.split() for line in str(drawing).splitlines()[:-1]]
    assert {r[2] for r in rows if r[1] == "leaf"} == {k for k, _ in net.named_parameters()}
    dot = drawing.dot()
    assert dot.count(" -> ") == sum(word[0] == "%" for row in rows for word in row[1:])
    assert dot.count("[label=") == len(rows)
    deep = tg.tensor(1.0, requires_grad=True)
    for _ in range(3000):
        deep = deep + 1
    assert len(str(tg.draw(deep)).splitlines()) == 3002


def test_pictures_are_graphvizs(tmp_path, monkeypatch):
    w = tg.tensor(1.0, requires_grad=True)
    drawing = tg.draw(w * 2, {'a "name"': w})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert drawing._repr_svg_() is None
    with pytest.raises(tg.BackendError, match="apt install graphviz"):
        drawing.save(tmp_path / "tape.svg")
    program = tmp_path / "dot"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -Tbad ] && { echo no >&2; exit 1; }\necho "$1"\nexec /bin/cat\n'
    )
    program.chmod(0o755)
    drawing.save(tmp_path / "tape.svg")
    assert (tmp_path / "tape.svg").read_text() == "-Tsvg\n" + drawing.dot() == drawing._repr_svg_()
    drawing.save(tmp_path / "tape.dot")
    assert r"leaf\na \"name\"\n()" in (tmp_path / "tape.dot").read_text()
    drawing.save(tmp_path / "tape.txt")
    assert (tmp_path / "tape.txt").read_text() == f"{drawing}\n"
    with pytest.raises(tg.ArgumentError, match="no ending"):
        drawing.save(tmp_path / "tape")
    with pytest.raises(tg.ArgumentError, match="failed: no"):
        drawing.save(tmp_path / "tape.bad")
    assert isinstance(drawing, Drawing)


def test_a_profile_names_ops_and_layers_forward_and_backward(tmp_path):
    net = nn.Sequential(nn.Dense(4, activation="tanh"), nn.LayerNorm(), nn.Dense(1))
    x = tg.ones((8, 3))
    net(x)
    with tg.profile() as p:
        loss = (net(x) ** 2).mean()
        time.sleep(0.05)  # is nobody's time
        loss.backward()
        loss = (net(x) ** 2).mean()
    with p:  # goes on
        net(x)
    outside = len(p.events)
    net(x).sum().backward()
    assert len(p.events) == outside
    rows = {row.name: row for row in p.rows()}
    assert {"dense", "layer_norm", "square", "mean"} <= {*rows}
    assert rows["dense"].calls == 6
    assert rows["backward of dense"].calls == 2
    assert rows["square"].calls == 2
    assert rows["square"].bytes == 2 * 8 * 4
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    assert all(row.seconds >= 0 for row in rows.values())
    assert sum(row.seconds for row in rows.values()) + 0.05 <= p.seconds + 1e-9
    layers = {row.name: row for row in p.rows("layer")}
    assert {*layers} == {
        "layers[0] (Dense of Sequential)",
        "layers[1] (LayerNorm of Sequential)",
        "layers[2] (Dense of Sequential)",
        "(no layer)",
    }
    assert layers["layers[1] (LayerNorm of Sequential)"].calls == 4
    lines = str(p).splitlines()
    assert lines[0].split() == ["op", "calls", "ms", "share", "bytes"]
    assert lines[2].split()[-4] == str(p.rows()[0].calls)
    assert p.table("layer") != str(p)
    p.save(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    ops = [e for e in trace if "args" in e]
    assert [e["name"] for e in ops] == [e.name for e in p.events]
    assert all(e["ph"] == "X" and e["dur"] >= 0 for e in trace)
    inside = next(e for e in trace if e["cat"] == "layer, backward" and "[2]" in e["name"])
    first = next(e for e in ops if e["name"] == "backward of dense")
    assert inside["ts"] <= first["ts"]
    assert first["ts"] + first["dur"] <= inside["ts"] + inside["dur"] + 1e-6


def test_a_profile_leaves_everything_as_it_was():
    w = tg.tensor([0.5], requires_grad=True)
    p = tg.profile()
    with pytest.raises(tg.ShapeError), p:
        tg.matmul(tg.sin(w), tg.ones(3))
    tg.cos(w).backward()
    assert [e.name for e in p.events] == ["sin"]
    with tg.profile(), pytest.raises(tg.GraphError, match="one of them"), tg.profile():
        pass
    with tg.detect_anomaly():
        with pytest.raises(tg.GraphError, match="one of them"):
            tg.profile().__enter__()
        with pytest.raises(tg.AnomalyError):
            tg.log(w - 1)
    with tg.profile() as p, tg.GradientTape() as tape:
        g = tg.grad(lambda x: tg.sin(x).sum())(w)
        y = (g * g).sum()
    assert tape.gradient(y, w).item() == pytest.approx(-2 * np.cos(0.5) * np.sin(0.5), rel=1e-6)
    assert "backward of sin" in {row.name for row in p.rows()}
