"""Kept machine code: found again, loaded only from where nobody else can write, and only intact.

Each attack is a run of a tiny kernel in a process of its own, beside an entry that would leave a
mark if it were loaded.
"""

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorgrad.kernels.cpu import cache, products

OTHER = 54321  # another user, and another group
PROGRAM = """
import numpy as np
from tensorgrad.kernels.cpu import cache, jit

@jit.jit
def double(x, y):
    for i in range(x.size):
        y[i] = 2 * x[i]

def run(*dtypes):
    for dtype in dtypes or ("float32", "float64"):
        x = np.arange(5, dtype=dtype)
        y = np.zeros_like(x)
        double._compiled.clear()
        double(x, y)
        assert (y == 2 * x).all()

"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="owners and modes are of POSIX systems"),
]
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


class Place:
    """A base folder for the cache, and the program that uses it."""

    def __init__(self, path):
        self.home, self.base, self.mark = path / "home", path / "base", path / "mark"
        self.program = path / "program.py"
        self.base.mkdir(mode=0o755)

    def run(self, code="run()", **env):
        """What a process prints, and its warnings."""
        self.program.write_text(PROGRAM + code + "\nprint(cache.folder())")
        env = {"NUMBA_CACHE_DIR": self.base, "XDG_CACHE_HOME": self.home, **env}
        done = subprocess.run(
            [sys.executable, str(self.program)],
            capture_output=True,
            text=True,
            env={**os.environ, **{k: str(v) for k, v in env.items()}},
            cwd="/",
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        warnings = re.findall(r"RuntimeWarning: tensorgrad: (.*)", done.stderr)
        return done.stdout.strip().splitlines()[-1], warnings

    @property
    def folder(self):
        return next(self.base.glob("tensorgrad-*"))

    @property
    def entries(self):
        return sorted(self.folder.glob("*.code"))

    def plant(self):
        """Have every entry, with the right digest, leave a mark when it is loaded."""
        for path in self.entries:
            code = pickle.dumps(Evil(str(self.mark)))
            path.write_bytes(cache._seal(path, code) + code)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("used"))
    place.run()
    return place.base


@pytest.fixture
def filled(place, used):
    """A place with the program's entries, which would leave a mark."""
    shutil.copytree(used, place.base, dirs_exist_ok=True)
    place.name = place.folder.name
    place.plant()
    return place


def test_machine_code_is_kept_and_only_read_again(place):
    printed, warnings = place.run()
    kept = {p: p.stat().st_mtime_ns for p in place.entries}
    assert (len(kept), printed, warnings) == (2, str(place.folder), [])
    assert {p.name.split(".")[1] for p in kept} == {"double-float32", "double-float64"}
    assert {p.stat().st_mode & 0o777 for p in place.entries} == {0o600}
    assert place.folder.stat().st_mode & 0o777 == 0o700
    place.run()
    assert {p: p.stat().st_mtime_ns for p in place.entries} == kept


def test_changed_source_is_compiled_again(place):
    place.run()
    place.run("run()  # another source")
    assert len(place.entries) == 4


def test_the_plant_works_where_it_is_ours(filled):
    """Else the tests below would show nothing."""
    filled.run()
    assert filled.mark.exists()


def others_folder(place):
    os.chown(place.folder, OTHER, OTHER)


def others_base(place):
    os.chown(place.base, OTHER, OTHER)


def group(path, mode):
    if os.geteuid() == 0:
        os.chown(path, 0, OTHER)
    elif cache._alone(path, path.stat().st_gid):
        pytest.skip("the group of this user's files is this user's alone")
    path.chmod(mode)


def link(place):
    real = place.folder.rename(place.base.parent / "elsewhere")
    (place.base / place.name).symlink_to(real)


ATTACKS = {
    "another user's folder": (others_folder, "belongs to another user"),
    "another user's parent": (others_base, "belongs to another user"),
    "a folder for the world": (lambda p: p.folder.chmod(0o777), "can be written by other"),
    "a sticky folder": (lambda p: p.folder.chmod(0o1777), "can be written by other"),
    "a parent for the world": (lambda p: p.base.chmod(0o777), "can be written by other"),
    "a folder for a group": (lambda p: group(p.folder, 0o770), "can be written by other"),
    "a parent for a group": (lambda p: group(p.base, 0o775), "can be written by other"),
    "a link": (link, "is not a folder"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_folder_that_others_can_write_is_not_used(attack, filled):
    do, reason = ATTACKS[attack]
    if do in (others_folder, others_base) and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    do(filled)
    printed, warnings = filled.run()
    assert not filled.mark.exists(), "the planted entry ran"
    assert printed.startswith(str(filled.home)), "a private folder instead"
    assert len(warnings) == 1
    assert reason in warnings[0]
    assert str(filled.home) in warnings[0]


@as_root
def test_a_link_of_another_user_leads_nowhere(filled):
    path = filled.base.parent / "link"
    path.symlink_to(filled.base)
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    _, warnings = filled.run(NUMBA_CACHE_DIR=path)
    assert not filled.mark.exists()
    assert len(warnings) == 1
    os.chown(path, 0, 0, follow_symlinks=False)
    _, warnings = filled.run(NUMBA_CACHE_DIR=path)
    assert filled.mark.exists(), "a link of our own is taken"
    assert warnings == []


def test_sticky_parents_are_taken(place):
    place.base.chmod(0o1777)
    assert place.run() == (str(place.folder), [])


@as_root
@pytest.mark.parametrize("fault", ["owner", "mode", "link"])
def test_a_file_that_someone_else_wrote_is_not_loaded(fault, filled):
    for path in filled.entries:
        if fault == "owner":
            os.chown(path, OTHER, OTHER)
        elif fault == "mode":
            path.chmod(0o666)
        else:
            path.rename(filled.base.parent / path.name)
            path.symlink_to(filled.base.parent / path.name)
    filled.run()
    assert not filled.mark.exists()
    assert {p.stat().st_uid for p in filled.entries} == {0}
    assert not any(p.is_symlink() for p in filled.entries)


def test_a_private_group_is_nobody_else(monkeypatch, tmp_path):
    """On most Linux systems each user has a group, and folders that it can write."""
    import grp
    import pwd

    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_gid=7, pw_name="ada"))
    for members, name, gid, alone in (
        ([], "ada", 7, True),
        (["ada"], "ada", 7, True),
        (["ada", "eve"], "ada", 7, False),
        ([], "users", 7, False),
        ([], "ada", 8, False),
        ([], "ada", 0, False),
    ):
        found = SimpleNamespace(gr_name=name, gr_mem=members)
        monkeypatch.setattr(grp, "getgrgid", lambda gid, found=found: found)
        assert cache._alone(tmp_path, gid) is alone
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name="ada", gr_mem=[]))
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"])
    assert not cache._alone(tmp_path, 7)


# --- damage -------------------------------------------------------------------------------------

DAMAGED = """
import hashlib, pathlib, random
run()
folder = cache.folder()
whole = {p: p.read_bytes() for p in folder.glob("*.code")}
assert len(whole) == 2
draw = random.Random(SEED)

def flipped(content):
    content = bytearray(content)
    for _ in range(3):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)

def cut(content):
    return content[:draw.randrange(len(content))]

def others(content):
    return next(c for c in whole.values() if c != content)

for path, content in whole.items():
    for damage in (flipped, flipped, flipped, cut, cut, others, lambda c: b"", lambda c: c + b"0"):
        path.write_bytes(damage(content))
        assert path.read_bytes() != content
        run()
        again = path.read_bytes()
        assert again[:32] == cache._seal(path, again[32:]) and len(again) > 1000, path
        path.write_bytes(content)
assert {p: p.read_bytes() for p in folder.glob("*.code")} == whole
"""


def test_a_damaged_entry_is_compiled_again(place):
    """Bits flipped, files cut, emptied, exchanged and made longer. With Numba's own cache three
    flipped bytes end in a segmentation fault or, worse, in wrong numbers."""
    seed = random.randrange(10**6)
    print("seed", seed)
    assert place.run(DAMAGED.replace("SEED", str(seed)))[1] == []


def test_an_entry_of_no_use_is_compiled_again(place):
    place.run()
    for path in place.entries:
        code = pickle.dumps(("of", "another", "Numba"))
        path.write_bytes(cache._seal(path, code) + code)
    place.run()
    assert all(p.stat().st_size > 1000 for p in place.entries)


@pytest.mark.skipif(not products.preferred(), reason="products are the library's here")
def test_a_damaged_product_is_compiled_again(place):
    """What is called by its address has its own way into the cache."""
    product = "from tensorgrad.kernels.cpu import blas; blas.single(np.dtype('float64'))"
    place.run(product)
    (path,) = place.entries
    content = path.read_bytes()
    path.write_bytes(content[:1000] + b"\0\1\2" + content[1003:])
    place.run(product)
    assert path.read_bytes()[:32] == cache._seal(path, path.read_bytes()[32:])
    kept = path.stat().st_mtime_ns
    place.run(product)
    assert path.stat().st_mtime_ns == kept


def test_folders_of_other_versions_are_removed_in_time(place):
    old, recent, foreign = (place.base / n for n in ("tensorgrad-old", "tensorgrad-new", "other"))
    for folder in (old, recent, foreign):
        folder.mkdir()
    for folder in (old, foreign):
        os.utime(folder, (0, 0))
    place.run()
    assert not old.exists()
    assert recent.exists()
    assert foreign.exists()


def test_without_a_place_to_write_kernels_still_run(place):
    """Root may write anywhere, so the folders here cannot exist: a file stands in their way."""
    blocked = place.base / "file"
    blocked.touch()
    printed, warnings = place.run(NUMBA_CACHE_DIR=blocked / "a")
    assert printed.startswith(str(place.home))
    assert warnings == [], "a place that cannot be written is no attack"
    printed, warnings = place.run(NUMBA_CACHE_DIR=blocked, XDG_CACHE_HOME=blocked)
    assert "tensorgrad-" in Path(printed).name
    assert not printed.startswith(str(blocked))
    assert not Path(printed).exists(), "a temporary folder outlived its process"
    assert len(warnings) == 1
    assert "compiled anew by each process" in warnings[0]
