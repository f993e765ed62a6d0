"""What naming another container means: namespaces by id, links as variables and names."""

from __future__ import annotations

import pytest

from dockerlab.engine.model.container import Container, State
from dockerlab.engine.services import partners
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, NotFound
from dockerlab.wire.documents import ContainerConfig, HostConfig

WEB, APP = "ab" * 32, "cd" * 32


def container(name: str, container_id: str, *, pid: int = 7, **host: object) -> Container:
    return Container(
        id=container_id, name=name, created_ns=1, image="i", image_id="i", path="x", args=(),
        config=ContainerConfig(
            hostname=container_id[:12], env=("FOO=bar", "HOME=/x", "PATH=/bin", "UNSET"),
            exposed_ports={"80/tcp": {}, "53/udp": {}},
        ),
        host=HostConfig(network_mode="bridge", **host), state=State(pid=pid),
    )  # fmt: skip


def finder(*present: Container):
    def find(name: str) -> Container:
        for one in present:
            if name in {one.name, one.id}:
                return one
        raise NotFound(f"No such container: {name}")

    return find


def test_modes_keep_the_full_id():
    find = finder(container("web", WEB, ipc_mode="shareable"))
    host = HostConfig(
        ipc_mode="container:web", pid_mode="container:web", network_mode="container:web"
    )
    made = partners.resolved(host, find)
    assert {made.ipc_mode, made.pid_mode, made.network_mode} == {f"container:{WEB}"}
    absent = HostConfig(network_mode="container:nobody")
    assert partners.resolved(absent, find) == absent


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (HostConfig(ipc_mode="container:no"), "No such container: no"),
        (HostConfig(pid_mode="container:no"), "No such container: no"),
        (HostConfig(volumes_from=("no:ro",)), "No such container: no"),
        (HostConfig(links=("no:a",)), "could not get container for no: No such container: no"),
        (HostConfig(links=(":a",)), "bad format for links: :a"),
        (HostConfig(ipc_mode="container:web"), f"can't join IPC of container {WEB}: non-shareable"),
        (HostConfig(links=("web",), network_mode="host"), "host type networking can't be used"),
        (HostConfig(links=("web",), network_mode="container:web"), "container type network can't"),
    ],
)
def test_refusals_are_no_404_which_would_make_a_client_pull(host, words):
    with pytest.raises(InvalidRequest) as caught:
        partners.resolved(host, finder(container("web", WEB, ipc_mode="private")))
    assert words in caught.value.message


@pytest.mark.parametrize("text", ["web", "web:we-b", "/web:/app/we-b"])
def test_links_survive_a_renaming(text):
    alias = "we-b" if ":" in text else "web"
    made = partners.resolved(HostConfig(links=(text,)), finder(container("web", WEB)))
    assert made.links == (f"{WEB}:{alias}",)
    linker = container("app", APP, links=made.links)
    assert partners.shown(linker, finder(container("new", WEB))) == (f"/new:/app/{alias}",)
    assert partners.shown(linker, finder()) == ()


def test_a_link_is_variables_and_a_line_of_hosts():
    app = container("app", APP, links=(f"{WEB}:we-b",))
    links = partners.linked(app, finder(container("web", WEB)), lambda _: "172.17.0.2")
    assert partners.variables(app, links) == (
        "WE_B_PORT=udp://172.17.0.2:53",
        "WE_B_PORT_53_UDP=udp://172.17.0.2:53",
        "WE_B_PORT_53_UDP_ADDR=172.17.0.2",
        "WE_B_PORT_53_UDP_PORT=53",
        "WE_B_PORT_53_UDP_PROTO=udp",
        "WE_B_PORT_80_TCP=tcp://172.17.0.2:80",
        "WE_B_PORT_80_TCP_ADDR=172.17.0.2",
        "WE_B_PORT_80_TCP_PORT=80",
        "WE_B_PORT_80_TCP_PROTO=tcp",
        "WE_B_NAME=/app/we-b",
        "WE_B_ENV_FOO=bar",
    )
    assert partners.host_entries(links) == [f"we-b {WEB[:12]} web=172.17.0.2"]


def test_a_link_to_what_does_not_run_is_refused():
    app = container("app", APP, links=(f"{WEB}:web",))
    with pytest.raises(DockerlabError) as caught:
        partners.linked(app, finder(container("web", WEB, pid=0)), lambda _: "")
    assert isinstance(caught.value, Failed)
    assert caught.value.message == "Cannot link to a non running container: /web AS /app/web"
