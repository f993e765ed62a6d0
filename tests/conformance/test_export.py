"""`docker export` and `docker diff`: places of mounts are there, what is mounted is not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import close_all, wait_for_output

docker = pytest.importorskip("docker")

_SCRIPT = """
echo v > /anon/v; mkdir /d; echo x > /d/f; ln /d/f /d/h; ln -s f /d/l; mkfifo /d/p
rm /etc/group; chmod 4755 /d/f; echo t > /scratch/t; : > /empty; echo done; sleep 60
"""


@pytest.fixture(scope="module")
def api(host: str, starter: str) -> Iterator[Any]:
    client = docker.APIClient(base_url=host, timeout=60)
    if starter not in [tag for one in client.images() for tag in one["RepoTags"] or ()]:
        client.pull(starter)
    yield client
    client.close()


@pytest.fixture(params=["running", "exited"])
def box(request: pytest.FixtureRequest, api: Any, host: str, starter: str, name: str) -> Any:
    options = api.create_host_config(tmpfs={"/scratch": ""})
    made = api.create_container(
        starter, ["sh", "-c", _SCRIPT], name=name, volumes=["/anon"], host_config=options
    )
    try:
        api.start(made["Id"])
        wait_for_output(host, made["Id"])
        if request.param == "exited":
            api.stop(made["Id"], timeout=0)
        yield name
    finally:
        close_all()
        api.remove_container(name, force=True, v=True)


def _exported(api: Any, name: str) -> dict[str, tarfile.TarInfo]:
    data = b"".join(api.export(name))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: one for one in archive}


def test_the_whole_tree_and_nothing_mounted(api, box):
    entries = _exported(api, box)
    assert entries["d/f"].mode & 0o7777 == 0o4755
    assert (entries["d/h"].islnk(), entries["d/h"].linkname) == (True, "d/f")
    assert (entries["d/l"].issym(), entries["d/l"].linkname) == (True, "f")
    assert entries["d/p"].isfifo()
    assert entries["empty"].size == 0
    assert "etc/group" not in entries
    assert "etc/passwd" in entries
    for place in ("anon", "scratch", "proc", "sys", "dev/pts", "dev/shm"):
        assert entries[place].isdir()
        assert not [name for name in entries if name.startswith(f"{place}/")]


def test_what_was_exported_can_be_imported(api, box, name):
    image = f"{name}-imported"
    said = api.import_image_from_data(b"".join(api.export(box)), repository=image)
    try:
        assert "sha256:" in said
        layers = api.inspect_image(image)["RootFS"]["Layers"]
        assert len(layers) == 1
    finally:
        api.remove_image(image)


def test_a_diff_has_places_but_nothing_mounted(api, box):
    found = {(one["Path"], one["Kind"]) for one in api.diff(box)}
    assert found == {
        ("/anon", 1),
        ("/d", 1),
        ("/d/f", 1),
        ("/d/h", 1),
        ("/d/l", 1),
        ("/d/p", 1),
        ("/empty", 1),
        ("/etc", 0),
        ("/etc/group", 2),
        ("/scratch", 1),
    }
