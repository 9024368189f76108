"""What mypy --strict says to a user: nothing on typical programs, on the examples and on README's
own, and the right lines on mistakes. One run of it for all files."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).parent.parent
TYPED = ROOT / "tests" / "typed"
LOOSE = ("[type-arg]", "[no-any-return]")  # for brevity, `-> dict` in the examples
WRONG = TYPED / "wrong_programs.py"


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """{file name: {line: what mypy says}} over everything that users read and write."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    folder = tmp_path_factory.mktemp("mypy")
    text = (ROOT / "README.md").read_text().partition("## How it works")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    (folder / "readme.py").write_text("\n".join(blocks))
    files = [*TYPED.glob("*.py"), *(ROOT / "examples").glob("*.py"), folder / "readme.py"]
    options = "--strict --follow-imports=silent --ignore-missing-imports --no-error-summary"
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *options.split(), "--no-pretty"]
        + [f"--cache-dir={folder / 'cache'}", "--scripts-are-modules", *map(str, files)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found = {}
    for path, line, what in re.findall(r"^(.*?\.py):(\d+): error: (.*)$", run.stdout, re.M):
        if what.endswith(LOOSE) and path.startswith("examples"):
            continue
        found.setdefault(Path(path).name, {}).setdefault(int(line), what)
    assert found or run.returncode == 0, run.stdout
    return found


FILES = [p.name for p in TYPED.glob("*.py") if p != WRONG]
FILES += [p.name for p in (ROOT / "examples").glob("*.py")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "readme.py"])
def test_what_users_write_is_typed(complaints, name):
    said = complaints.get(name, {})
    assert not said, "\n".join(f"{name}:{line}: {what}" for line, what in sorted(said.items()))


@pytest.mark.slow
def test_mistakes_are_seen_before_the_program_runs(complaints):
    lines = WRONG.read_text().splitlines()
    marked = {i for i, line in enumerate(lines, 1) if line.endswith("  # wrong")}
    said = complaints.get(WRONG.name, {})
    assert marked - set(said) == set(), "not seen: " + "; ".join(
        lines[i - 1].strip() for i in sorted(marked - set(said))
    )
    assert set(said) - marked == set(), {i: said[i] for i in set(said) - marked}


def test_the_typed_programs_run():
    runpy.run_path(str(TYPED / "user_programs.py"), run_name="__main__")
