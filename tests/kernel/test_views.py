"""Views of a process's tree: they see it, and nothing of them stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dockerlab.engine.linux import views
from dockerlab.engine.linux.inside import text_inside


@pytest.fixture
def child():
    if os.geteuid() != 0:
        pytest.skip("mount namespaces of others need root")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)  # ends with the parent
        os._exit(0)
    os.close(reader)
    descriptor = os.pidfd_open(pid)
    yield descriptor
    os.close(writer)
    os.close(descriptor)
    os.waitpid(pid, 0)


def test_no_descriptor_stays(child, tmp_path):
    (tmp_path / "place").mkdir()
    before = sorted(str(one.readlink()) for one in _descriptors())
    with views.of_process(child, [], str(tmp_path / "place")) as view:
        assert text_inside(view.root, "/etc/hostname", 256) == Path("/etc/hostname").read_text()
    assert sorted(str(one.readlink()) for one in _descriptors()) == before


def _descriptors():
    # The list's own descriptor is gone by the time it is looked at.
    return [one for one in Path("/proc/self/fd").iterdir() if os.path.lexists(one)]
