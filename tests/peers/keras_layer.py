"""A pytest plugin: Keras's own tests on this backend. It is loaded before Keras is."""

import collections
import os
import re
import sys
import types
import zlib
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "tensorgrad"

from tensorgrad.keras_backend import hook

hook.install()

# What Keras's tests import of a file that its wheel does not hold.
conftest = types.ModuleType("conftest")
conftest.skip_if_backend = lambda name, reason: pytest.mark.skipif(name == hook.NAME, reason=reason)
sys.modules["conftest"] = conftest


def pytest_configure(config):
    for name in ("requires_trainable_backend", "multi_device"):
        config.addinivalue_line("markers", name)


def _name(item):
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"


def _checksum(item):
    """By which a sample is chosen: it stays the same where other tests come and go."""
    return zlib.crc32(_name(item).encode())


def _short(item):
    """Whether a test is for a sample: it runs, and builds none of the large networks."""
    skipped = any(mark.name == "skip" or mark.args[0] is True
                  for name in ("skip", "skipif") for mark in item.iter_markers(name))  # fmt: skip
    return not skipped and item.path.parent.name != "applications"


def pytest_collection_modifyitems(items):
    """Known failures are expected, those of keras_skips.txt: `file::Class::test`, a prefix of it,
    below a line with the reason."""
    reason, known = "", {}
    for line in Path(os.environ["PEERS_SKIPS"]).read_text().splitlines():
        if line.startswith("#"):
            reason = line.strip("# ")
        elif line:
            known[line] = reason
    unused = {*known}
    for item in items:
        name = _name(item)
        for key in (name, name.partition("[")[0], name.partition("::")[0]):
            if key in known:
                item.add_marker(pytest.mark.skip(reason=known[key]))
                unused.discard(key)
    if size := int(os.environ.get("PEERS_SAMPLE", 0)):
        kept = {*sorted(filter(_short, items), key=_checksum)[:size]}
        items[:] = [item for item in items if item in kept]
    if unused and os.environ.get("PEERS_WHOLE"):
        raise pytest.UsageError(f"skips of tests that are not there: {sorted(unused)}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that imports a package that is not installed is skipped, and says which."""
    report = (yield).get_result()
    folder, suite = item.path.parent, item.config.rootpath
    report.area = str(folder.relative_to(suite)) if folder.is_relative_to(suite) else folder.name
    error = call.excinfo and call.excinfo.value
    missing = isinstance(error, ModuleNotFoundError) and error.name
    if not missing and isinstance(error, ImportError):
        missing = next(iter(re.findall(r"(?:pip install|requires the) ([\w-]+)", str(error))), None)
    if missing:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: {missing} is not installed")


def pytest_terminal_summary(terminalreporter):
    """How many passed, failed and were skipped in each folder of keras/src."""
    areas = collections.defaultdict(collections.Counter)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            areas[getattr(report, "area", "not collected")][outcome] += 1
    for area, counts in sorted(areas.items()):
        ran = counts["passed"] + counts["failed"] + counts["error"]
        share = f"{counts['passed'] / ran:.2%}" if ran else ""
        said = " ".join(f"{k} {n}" for k, n in counts.items())
        terminalreporter.write_line(f"{area}: {share} {said}")
