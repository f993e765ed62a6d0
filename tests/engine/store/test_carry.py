"""`docker cp` on trees that do their best to lead out of themselves."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dockerlab.engine.linux import views
from dockerlab.engine.linux.inside import real_path
from dockerlab.engine.linux.views import Part
from dockerlab.engine.store import carry
from dockerlab.errors import Failed, InvalidRequest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("inside")
    return root


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def _tar(**files: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def _names(root: int, path: str) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(carry.tar(root, path)))) as archive:
        return archive.getnames()


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("/etc", "/etc"),
        ("etc", "/etc"),
        ("//etc//x/..", "/etc"),
        ("/etc/", "/etc/"),
        ("/etc/.", "/etc/."),
        ("/etc/./", "/etc/"),
        ("../../etc", "/etc"),
        ("/", "/"),
        (".", "/."),
        ("/.", "/."),
    ],
)
def test_paths_are_cleaned_but_their_ends_count(path, cleaned):
    assert carry.absolute(path) == cleaned


def test_links_lead_to_places_inside(tree, root):
    (tree / "up").symlink_to("../../../etc")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "loop").symlink_to("loop")
    assert _names(root, "/up/passwd") == ["passwd"]
    assert carry.look(root, "/absolute").link_target == "/etc/passwd"
    assert real_path(root, "/up/../up/new") == "/etc/new"
    with pytest.raises(OSError, match="symbolic links"):
        carry.look(root, "/loop/x")
    with pytest.raises(Failed, match="not a directory"):
        carry.look(root, "/etc/passwd/x")


def test_an_archive_goes_through_a_link_but_stays_inside(tree, root, tmp_path):
    (tree / "var").mkdir()
    (tree / "var" / "run").symlink_to("/run")
    (tree / "run").mkdir()
    (tree / "var" / "out").symlink_to(tmp_path)
    landing = carry.check_landing(root, "/var")
    carry.untar(root, landing, _tar(**{"run/x": b"1", f"out{tmp_path}/y": b"2"}))
    assert (tree / "run" / "x").read_bytes() == b"1"
    assert not (tmp_path / "y").exists()
    assert (tree / str(tmp_path).lstrip("/") / str(tmp_path).lstrip("/") / "y").exists()


def test_the_landing_place_is_a_directory(tree, root):
    (tree / "link").symlink_to("etc")
    assert carry.check_landing(root, "/link") == "/etc"
    with pytest.raises(InvalidRequest, match="extraction point is not a directory"):
        carry.check_landing(root, "/etc/passwd")
    with pytest.raises(FileNotFoundError):
        carry.check_landing(root, "/nope")


def test_a_pipe_is_not_opened(tree, root):
    os.mkfifo(tree / "pipe")
    with tarfile.open(fileobj=io.BytesIO(b"".join(carry.tar(root, "/pipe")))) as archive:
        assert archive.getmember("pipe").isfifo()


def test_names_that_change_meanwhile_lead_nowhere_else(tree, root, tmp_path):
    """A program that swaps a directory for a link to the host's, as fast as it can."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tree / "d").mkdir()
    over = threading.Event()

    def swap() -> None:
        there, hidden = tree / "d", tree / "hidden"
        while not over.is_set():
            with suppress(OSError):  # somebody made the directory anew
                there.rename(hidden)
                there.symlink_to(outside)
                there.unlink()
                hidden.rename(there)
            if there.is_dir() and not there.is_symlink():
                shutil.rmtree(hidden, ignore_errors=True)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(300):
            with suppress(InvalidRequest, Failed, OSError):
                carry.untar(root, "/d", _tar(**{f"f{number}": b"1"}))
            with suppress(Failed, OSError):
                assert b"secret" not in b"".join(carry.tar(root, "/d/."))
    finally:
        over.set()
        swapping.join()
    assert [one.name for one in outside.iterdir()] == ["secret"]


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@needs_mounts
def test_a_view_shows_parts_and_goes_without_a_trace(tree, tmp_path):
    volume, place = tmp_path / "volume", tmp_path / "place"
    for folder in (volume / "sub", place):
        folder.mkdir(parents=True)
    (volume / "sub" / "f").write_text("in the volume")
    before = Path("/proc/self/mountinfo").read_text()
    parts = [
        Part(target="/etc/vol", source=str(volume)),
        Part(target="/ro", source=str(volume), read_only=True),
        Part(target="/etc/passwd", source=str(volume / "sub" / "f")),
        Part(target="/gone", source=str(tmp_path / "nothing")),
    ]
    with views.of_directory(str(tree), parts, str(place)) as view:
        assert "etc/vol/sub/f" in _names(view.root, "/etc")
        carry.untar(view.root, "/etc/vol", _tar(new=b"1"))
        with pytest.raises(Failed, match="ead-only"):
            carry.untar(view.root, "/ro", _tar(new=b"1"))
        assert carry.look(view.root, "/etc/passwd").size == len("in the volume")
        assert Path("/proc/self/mountinfo").read_text() == before
    assert (volume / "new").read_bytes() == b"1"
    assert stat.S_ISREG((tree / "etc" / "passwd").stat().st_mode)
    assert not list((tree / "etc" / "vol").iterdir())
    assert Path("/proc/self/mountinfo").read_text() == before
    shutil.rmtree(tree)
