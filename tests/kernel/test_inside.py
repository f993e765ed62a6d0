"""Files of images, opened so that they can't do anything to us."""

from __future__ import annotations

import os

import pytest

from dockerlab.engine.linux.inside import regular, text_inside


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, descriptor
    os.close(descriptor)


def test_a_pipe_is_not_opened(root):
    folder, descriptor = root
    os.mkfifo(folder / "etc/passwd")
    # An open would wait for a writer, for ever.
    assert regular(os.open(folder / "etc/passwd", os.O_PATH)) == -1
    assert text_inside(descriptor, "etc/passwd", 100) == ""


def test_a_device_is_not_opened(root):
    folder, descriptor = root
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    try:
        os.mknod(folder / "etc/passwd", 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices can be made here")
    assert text_inside(descriptor, "etc/passwd", 100) == ""


def test_text_is_read_through_links_that_stay_inside(root, tmp_path):
    folder, descriptor = root
    (folder / "real").write_text("root:x:0:0")
    (folder / "etc/passwd").symlink_to("/real")
    assert text_inside(descriptor, "/etc/passwd", 4) == "root"
    (folder / "etc/out").symlink_to(__file__)
    assert text_inside(descriptor, "/etc/out", 4) == ""
