"""A pytest plugin: Keras's own tests on this backend. It is loaded before Keras is."""

import os
import sys
import types
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


def pytest_collection_modifyitems(items):
    """Known failures are expected, those of keras_skips.txt: `file::Class::test`, a prefix of it,
    below a line with the reason. A sample is every so many-th test."""
    reason, known = "", {}
    for line in Path(os.environ["PEERS_SKIPS"]).read_text().splitlines():
        if line.startswith("#"):
            reason = line.strip("# ")
        elif line:
            known[line] = reason
    if step := int(os.environ.get("PEERS_SAMPLE", 0)):
        items[:] = items[::step]
    unused = {*known}
    for item in items:
        name = item.nodeid.rpartition("/")[2]
        for key in (name, name.partition("[")[0], name.partition("::")[0]):
            if key in known:
                item.add_marker(pytest.mark.skip(reason=known[key]))
                unused.discard(key)
    if unused and os.environ.get("PEERS_WHOLE"):
        raise pytest.UsageError(f"skips of tests that are not there: {sorted(unused)}")
