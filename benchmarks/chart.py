"""Draws a result of cpu_training.py: tensorgrad's time over PyTorch's, a bar a case.

python benchmarks/chart.py benchmarks/results/cpu_training-<date>.json docs/cpu_training.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

INK = "#7d8590"  # grey that can be read on white and on GitHub's dark background
MET, MISSED = "#3d8fd1", "#d9822b"


def bars(result: dict[str, Any]) -> list[tuple[str, float, float]]:
    """(case, ratio to PyTorch, goal), of the cases that have both."""
    found = []
    for case in result["cases"]:
        rows = {row["framework"]: row for row in case["rows"]}
        if case.get("goal") is not None and "tensorgrad" in rows and case["baselines"]:
            ratio = rows["tensorgrad"]["ratios"][case["baselines"][-1]]
            found.append((case["name"], ratio, case["goal"]))
    return found


def draw(result: dict[str, Any], path: str) -> None:
    """Write the chart; the same result gives the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found, machine = bars(result), result["machine"]
    names, ratios, goals = zip(*found, strict=True)
    colors = [MET if ratio <= goal else MISSED for _, ratio, goal in found]
    style = {"svg.hashsalt": "tensorgrad", "font.family": "DejaVu Sans", "font.size": 10}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(8, 0.36 * len(found) + 1.5), layout="constrained")
        places = range(len(found))
        axes.barh(places, ratios, height=0.62, color=colors)
        for place, ratio, goal in zip(places, ratios, goals, strict=True):
            axes.plot([goal, goal], [place - 0.42, place + 0.42], color=INK, linewidth=3)
            inside = {"xy": (0, place), "color": "white", "fontweight": "bold"}
            outside = {"xy": (max(ratio, goal), place)}  # of a bar too short for a number
            where = inside if ratio > 0.12 else outside
            axes.annotate(f"{ratio:.2f}", xytext=(5, 0), textcoords="offset points",
                          va="center_baseline", **where)  # fmt: skip
        axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(*ratios, *goals))
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        torch = machine["versions"].get("torch", "").partition("+")[0]
        axes.set_title(f"Time relative to eager PyTorch {torch} (1.0): shorter is faster")
        axes.set_xlabel(
            f"{machine['threads']} CPU threads, float32, PyTorch with its fused optimizer\n"
            "grey mark: the goal, orange: missed"
        )
        metadata = {"Date": None, "Creator": None}
        figure.savefig(path, format="svg", transparent=True, metadata=metadata)
        plt.close(figure)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {__doc__.splitlines()[-1]}")
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
