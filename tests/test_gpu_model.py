"""What a step costs on paper (benchmarks/gpu_model.py): counts beside sums made by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .conftest import _missing

ROOT = Path(__file__).parent.parent


@pytest.fixture
def model(monkeypatch):
    pytest.importorskip("torch")
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_model

    return gpu_model


@pytest.fixture
def mlp(model):
    return model.MLP("adam", 1e-3, (64, 32), sizes=(32, 48, 16, 10))


PARAMETERS = 32 * 48 + 48 + 48 * 16 + 16 + 16 * 10 + 10


def test_the_products_of_a_step_are_those_of_the_formula(model, mlp):
    assert model.ours(mlp, False).products == model.operations(mlp)
    net = model.Transformer("adamw", 3e-4, (2, 64, 32), classes=8, blocks=2, heads=4, hidden=64)
    attention = 2 * 7 * 2 * 2 * 64 * 64 * 32
    for half in (False, True):
        assert model.ours(net, half).products == model.operations(net) - attention


def test_the_launches_and_bytes_of_an_mlp(model, mlp):
    """Every array of a product, and of the update, that is p, m and v read and written, g read."""
    count = model.ours(mlp, False)
    assert count.kinds["cuBLASLt"] == 3 + 3 + 2  # forward; weights; inputs, but not the data
    assert count.kinds["update.cu step"] == 1
    products = 4 * sum(
        (64 * n + n * m + 64 * m) * (3 if i else 2)
        for i, (n, m) in enumerate(((32, 48), (48, 16), (16, 10)))
    )
    least = products + 7 * 4 * PARAMETERS
    assert least < count.bytes < 1.5 * least
    assert count.launches == sum(count.kinds.values())


def test_those_of_pytorch(model, mlp):
    count = model.theirs(mlp, False)
    assert (count.kinds["addmm"], count.kinds["mm"], count.kinds["_fused_adam_"]) == (3, 5, 1)
    assert not {"t", "view", "detach", "device"} & set(count.kinds)
    assert count.bytes > 7 * 4 * PARAMETERS


def test_halves_move_less_and_are_cast(model):
    net = model.MLP("adam", 1e-3, (512, 64), sizes=(64, 64, 64, 10))
    for count in (model.ours, model.theirs):
        whole, half = count(net, False), count(net, True)
        assert half.launches > whole.launches


def test_nothing_of_it_stays_behind(model, mlp):
    import tensorgrad as tg

    before = tg.ones(1).backend
    model.ours(mlp, False)
    x = tg.tensor([1.0, 2.0], backend="cudasim")
    assert (x + x).tolist() == [2.0, 4.0]
    assert tg.ones(1).backend == before


def test_the_script_prints_and_writes_its_table(model, tmp_path, monkeypatch, capsys):
    document, measured = tmp_path / "page.md", tmp_path / "run.json"
    begin, end = model.MARKS
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    rows = [{"framework": name, "median": 2.0} for name in ("tensorgrad graphed", "torch", "jax")]
    measured.write_text(json.dumps({"cases": [{"name": "MLP 128 float32", "rows": rows}]}))
    options = ["--tiny", "--only", "MLP", "--write", str(document), "--beside", str(measured)]
    monkeypatch.setattr(sys, "argv", ["gpu_model.py", *options])
    assert model.main() == 0
    table = document.read_text()
    assert table.startswith(f"before\n{begin}\n\n| a step of")
    assert table.endswith(f"{end}\nafter\n")
    assert "old" not in table
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if "MLP" in line] == [
        "| MLP 128 float32", "| MLP 128 bfloat16", *["| MLP 128 float32"] * 2
    ]  # fmt: skip
    document.write_text("no marks")
    with pytest.raises(SystemExit, match="has no lines"):
        model.main()


def test_the_document_has_the_tables_place():
    text = (ROOT / "docs" / "gpu.md").read_text()
    table = text.partition("<!-- counted by benchmarks/gpu_model.py -->")[2].partition("<!-- end")[
        0
    ]
    assert all(f"| {name} " in table for name in ("MLP 128", "MLP 8192", "CNN", "Transformer"))
