"""A pytest plugin: what a file of skips names is not run. A line of it is the end of a test's id,
or of a file's path; the comment above is the reason."""

import os
import sys
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    reason, skips, above = "", {}, ""
    for line in Path(os.environ["PEERS_SKIPS"]).read_text().splitlines():
        if line.startswith("#"):
            reason = f"{reason if above.startswith('#') else ''} {line.strip('# ')}".strip()
        elif line:
            skips[line] = reason
        above = line
    unused = {*skips}
    for item in items:
        name = item.nodeid.rpartition("/")[2]  # file::test
        for key in (name, name.partition("[")[0], name.partition("::")[0]):
            if key in skips:
                item.add_marker(pytest.mark.skip(reason=skips[key]))
                unused.discard(key)
    if unused and not any(o.startswith("-k") for o in sys.argv):
        raise pytest.UsageError(f"skips of tests that are not there: {sorted(unused)}")
