"""Documents of containers: what depends on the state and on the client's version."""

from __future__ import annotations

import pytest

from dockerlab.engine.api.container_documents import inspect_document, summary_document
from dockerlab.engine.model.container import Container, State
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.rootfs import Directory, Overlay, drawn
from dockerlab.engine.model.seen import Seen
from dockerlab.wire.documents import ContainerConfig, EndpointSettings, HostConfig, LogConfig

ID = "ab" * 32
NEVER_STARTED = State()
SEEN = Seen(endpoints={"lab": EndpointSettings(aliases=("a",))}, directory="/d", links=("/w:/c/w",))


def container(state: State = NEVER_STARTED) -> Container:
    return Container(
        id=ID, name="c", created_ns=1, image="i", image_id="i", path="x", args=(),
        config=ContainerConfig(), state=state,
        host=HostConfig(annotations={"k": "v"}, log_config=LogConfig(type="json-file")),
    )  # fmt: skip


RUNNING = container(State(status=Status.RUNNING, pid=7, started_ns=5))


@pytest.mark.parametrize(
    ("version", "absent", "aliases"),
    [
        ((1, 43), {"DNSNames", "GwPriority"}, ["a", ID[:12]]),
        ((1, 44), {"GwPriority"}, ["a", ID[:12]]),
        ((1, 47), {"GwPriority"}, ["a"]),
        ((1, 50), set(), ["a"]),
    ],
)
def test_endpoints_are_drawn_for_the_clients_version(version, absent, aliases):
    inspected = inspect_document(RUNNING, SEEN, version=version)["NetworkSettings"]["Networks"]
    listed = summary_document(RUNNING, SEEN, 9, version=version)["NetworkSettings"]["Networks"]
    assert inspected == listed
    assert {"DNSNames", "GwPriority"} - inspected["lab"].keys() == absent
    assert inspected["lab"]["Aliases"] == aliases


def test_paths_of_the_engines_files_come_with_the_first_start():
    paths = ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath")
    fresh = inspect_document(container(), SEEN)
    assert {fresh[path] for path in paths} == {""}
    started = inspect_document(RUNNING, SEEN)
    assert all(started[path].startswith("/d/") for path in paths)
    assert started["HostConfig"]["Links"] == ["/w:/c/w"]


def test_a_list_leaves_out_what_is_zero():
    document = summary_document(RUNNING, SEEN, 9, (0, 12))
    assert "SizeRw" not in document
    assert document["SizeRootFs"] == 12
    inspected = inspect_document(RUNNING, SEEN, (0, 12))
    assert (inspected["SizeRw"], inspected["SizeRootFs"]) == (0, 12)


def test_annotations_are_listed_for_those_who_know_them():
    old = summary_document(RUNNING, SEEN, 9, version=(1, 45))
    assert "Annotations" not in old["HostConfig"]
    assert summary_document(RUNNING, SEEN, 9)["HostConfig"]["Annotations"] == {"k": "v"}


def test_the_overlay_has_dockers_names():
    overlay = Overlay(layers_dir="/l", lowers=("2/fs", "1/fs"), upper="/c/upper", work="/c/work")
    assert drawn(overlay) == {
        "LowerDir": "/l/2/fs:/l/1/fs",
        "MergedDir": "/c/merged",
        "UpperDir": "/c/upper",
        "WorkDir": "/c/work",
    }
    assert drawn(Directory(path="/c/upper")) == {"dir": "/c/upper"}
