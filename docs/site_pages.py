"""Pages of the site that are made of other files: the documents in the repository's root, the
programs of examples/ with their figures, the results of benchmarks/ with their charts."""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import harness

ROOT = {  # document elsewhere in the repository -> the page that it is
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "THIRD_PARTY.md": "project/third_party.md",
    "benchmarks/README.md": "project/how_measured.md",
    "benchmarks/results": "benchmarks.md",
    "docs/README.md": "index.md",
    "examples/README.md": "gallery/index.md",
    "examples": "gallery/index.md",
}
BENCHMARKS = {  # result -> title, what a bar is
    "cpu_training": ("Training on a CPU", "Time of a training step, or of a pass."),
    "overhead": ("What an operation costs", "Chains of 1002 small ops, and small training steps."),
    "cpu_scaling": ("Growing sizes", "A pass beside the same by hand in NumPy."),
    "threads": ("Threads beside other libraries", "A step for each order of imports."),
}
COLORS = {"tensorgrad": "#3d8fd1"}  # all others are grey


def pages(docs: Path) -> dict[str, str]:
    """{file below docs: Markdown}."""
    root = docs.parent
    readme = root / "README.md"
    front = relinked(readme.read_text(), root, readme, docs / "index.md")  # which includes it
    found = {"project/readme.txt": front}
    for name, page in ROOT.items():
        if page.startswith("project/"):
            found[page] = relinked((root / name).read_text(), root, root / name, docs / page)
    return found | {"benchmarks.md": benchmarks(root)} | gallery(root, docs)


def relinked(text: str, root: Path, source: Path, page: Path) -> str:
    """A document's text as a page elsewhere: links follow, those to what is no page become text."""

    def link(match: re.Match[str]) -> str:
        mark, words, target, place = match.groups(default="")
        if "://" in target or not target:
            return match[0]
        name = os.path.relpath(source.parent / target, root)
        if name in ROOT:
            path = root / "docs" / ROOT[name]
        elif name.startswith("docs/"):
            path = root / name
        elif name.startswith("examples/") and name.endswith(".py"):
            path = root / "docs/gallery" / f"{Path(name).stem}.md"
        else:  # a file's name, or words about it
            return f"`{words}`" if words.strip("/") == Path(target).name else words
        return f"{mark}[{words}]({os.path.relpath(path, page.parent)}{place})"

    pattern = r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)]*)?\)"
    return re.sub(pattern, link, text)


def benchmarks(root: Path) -> str:
    """The committed results as charts and tables."""
    parts = [
        "# Benchmarks\n\nCharts and tables are drawn from the files in `benchmarks/results/`, "
        "which hold all samples; all contenders took turns in one run. "
        "[How it is measured](project/how_measured.md) says how to repeat it, and which goals are "
        "missed. Shorter is faster."
    ]
    for name, (title, what) in BENCHMARKS.items():
        path = sorted((root / "benchmarks/results").glob(f"{name}-*.json"))[-1]
        result = json.loads(path.read_text())
        m = result["machine"]
        where = f"{m['cpu']}, {m['cores']} cores, threads: {m['threads']}; {m['date']}"
        table = re.sub(r"^### ", "**", harness.table(result).partition("\n")[2], flags=re.M)
        table = re.sub(r"^(\*\*[^\n]*)$", r"\1**", table, flags=re.M)
        parts.append(
            f"## {title}\n\n{what} {where}. `python {result['script']}` writes "
            f"`benchmarks/results/{path.name}`.\n\n"
            f"<div class='chart'>\n{chart(result)}\n</div>\n\n"
            f"<details><summary>All figures</summary>\n\n{table}\n\n</details>"
        )
    return "\n\n".join(parts) + "\n"


def chart(result: dict[str, Any]) -> str:
    """A group of bars a case, each case to its own scale, as SVG in the text's colour."""
    y, lines = 0, []
    for case in result["cases"]:
        rows = case["rows"]
        longest = max(row["median"] for row in rows)
        lines.append(text(0, y + 12, f"{case['name']}, {case['unit']}", "bold"))
        y += 18
        for row in rows:
            width = max(1.0, 360 * row["median"] / longest)
            color = COLORS.get(row["framework"].rpartition(", ")[2], "#9aa4af")
            color = color if case.get("rows are") is None else "#3d8fd1"
            lines.append(text(0, y + 11, row["framework"]))
            lines.append(
                f'<rect x="230" y="{y + 1}" width="{width:.1f}" height="11" fill="{color}"/>'
            )
            lines.append(text(236 + width, y + 11, f"{row['median']:.3g}"))
            y += 15
        y += 8
    label = f"chart of {html.escape(result['script'])}"
    head = f'<svg viewBox="0 0 660 {y}" role="img" aria-label="{label}" font-size="11">'
    return "\n".join([head, *lines, "</svg>"])


def text(x: float, y: float, words: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="currentColor" font-weight="{weight}">'
        f"{html.escape(words)}</text>"
    )


def gallery(root: Path, docs: Path) -> dict[str, str]:
    """A page for each program of examples/, and the index with thumbnails."""
    found, links = {}, []
    (docs / "gallery").mkdir(exist_ok=True)
    programs = sorted((root / "examples").glob("*.py"))
    readme = root / "examples/README.md"
    words = readme.read_text()
    figures = dict(re.findall(r"^\| \[(\w+)\.py\].*\| (.*) \|$", words, re.M))  # the last column
    for path in programs:
        source = path.read_text()
        module = ast.parse(source)
        doc = ast.get_docstring(module) or path.stem
        code = source.split('"""', 2)[2].strip() if source.startswith('"""') else source
        title, _, rest = doc.partition("\n\n")
        title = " ".join(title.split()).rstrip(".")
        picture = root / f"examples/pictures/{path.stem}.png"
        shown = image = ""
        if picture.exists():
            shutil.copyfile(picture, docs / "gallery" / picture.name)
            shown = f"![]({picture.name})"
            image = f"![What it draws]({picture.name})\n\n"
        command = record(root / "examples/results" / f"{path.stem}.json")
        found[f"gallery/{path.stem}.md"] = (
            f"# {title}\n\n`examples/{path.name}`\n\n{rest}\n\n{image}{command}"
            f"```python\n{code}\n```\n"
        )
        links.append(f"[{shown} **{title}** *{figures[path.stem]}*]({path.stem}.md)")
    page = docs / "gallery/index.md"
    words = relinked(words, root, readme, page)
    cards = "\n\n".join(links)
    names = "\n".join(path.stem for path in programs)
    head, blank, rest = words.partition("\n\n")
    found["gallery/index.md"] = (
        f"{head}\n\n:::{{container}} cards\n{cards}\n:::{blank}{rest}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    return found


def record(path: Path) -> str:
    """The command and a table of all runs of a program's committed result."""
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    runs = result["runs"]
    keys = [k for k, v in runs[0].items() if isinstance(v, int | float) and k != "seed"]
    rows = [f"| {' | '.join(['seed', *keys])} |", "|" + " --- |" * (len(keys) + 1)]
    rows += ["| " + " | ".join(f"{r.get(k, ''):.4g}" for k in ["seed", *keys]) + " |" for r in runs]
    command = re.sub(r" --(output|picture) \S+", "", result["command"])
    table = "\n".join(rows)
    return f"`{command}`, {result['date']}, {result['backend']}:\n\n{table}\n\n"
