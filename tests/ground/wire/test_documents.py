"""Documents: Docker's names, Go's reading of JSON, what an answer leaves out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dockerlab.engine.api.decode import decode
from dockerlab.errors import InvalidRequest
from dockerlab.wire import documents
from dockerlab.wire.documents import (
    AuthConfig,
    ContainerConfig,
    CreateContainer,
    ExecConfig,
    Healthcheck,
    HostConfig,
    PortBinding,
    UpdateContainer,
    render,
)

KINDS = [
    kind
    for name in documents.__all__
    if isinstance(kind := getattr(documents, name), type) and issubclass(kind, msgspec.Struct)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_document_is_frozen_has_defaults_and_comes_back(kind: Any) -> None:
    blank = kind()
    with pytest.raises(AttributeError):
        setattr(blank, kind.__struct_fields__[0] if kind.__struct_fields__ else "x", 1)
    assert msgspec.json.decode(msgspec.json.encode(blank), type=kind) == blank
    render(blank)


def test_odd_names() -> None:
    names = set(HostConfig.__struct_encode_fields__)
    assert {
        *("UTSMode", "ContainerIDFile", "BlkioDeviceReadIOps", "IOMaximumIOps", "KernelMemoryTCP"),
        *("CpusetCpus", "OomKillDisable", "CgroupnsMode", "Dns", "PidsLimit", "ShmSize"),
    } <= names
    assert {"IPAMConfig", "IPAddress", "IPPrefixLen", "DNSNames", "GlobalIPv6PrefixLen"} <= set(
        documents.EndpointSettings.__struct_encode_fields__
    )


def test_create_reads_what_clients_send() -> None:
    body = {
        "image": "busybox",
        "Cmd": "true",
        "ENTRYPOINT": ["sh", None],
        "Env": None,
        "Labels": {"a": "b", "c": None},
        "ExposedPorts": {"80/tcp": None},
        "Unknown": {"x": 1},
        "HostConfig": {
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}], "81/tcp": None},
            "RestartPolicy": None,
            "ConsoleSize": [24],
            "Memory": 2**40,
        },
        "NetworkingConfig": {"EndpointsConfig": {"back": None}},
    }
    found = decode(json.dumps(body).encode(), CreateContainer)
    assert found.image == "busybox"
    assert found.cmd == ("true",)
    assert found.entrypoint == ("sh", "")
    assert found.env == ()
    assert found.labels == {"a": "b", "c": ""}
    assert found.exposed_ports == {"80/tcp": {}}
    host = found.host_config
    assert host.port_bindings == {"80/tcp": (PortBinding(host_port="8080"),), "81/tcp": ()}
    assert host.console_size == (24, 0)
    assert host.memory == 2**40
    assert found.networking_config.endpoints_config == {"back": documents.EndpointSettings()}
    assert isinstance(found.config(), ContainerConfig)
    assert found.config().image == "busybox"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b"{} {}", "unexpected content after JSON"),
        (b'{"Tty": "yes"}', ("invalid JSON: json: cannot unmarshal string into Go struct field "
         "ExecConfig.Tty of type bool")),
        (b'{"Cmd": 1}', ("invalid JSON: json: cannot unmarshal number into Go struct field "
         "ExecConfig.Cmd of type []string")),
        (b"[]", "invalid JSON: json: cannot unmarshal array into Go value of type map"),
        (b'"x"', "invalid JSON: json: cannot unmarshal string into Go value of type map"),
    ],
)  # fmt: skip
def test_refusals_in_gos_words(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(raw, ExecConfig)
    assert caught.value.message == message


def test_refusals_name_the_place() -> None:
    with pytest.raises(InvalidRequest, match=r"CreateContainer\.HostConfig\.Memory of type int64"):
        decode(b'{"HostConfig": {"memory": "much"}}', CreateContainer)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"Labels":' * 5000,
        b'{"Memory": 99999999999999999999}',
        b'{"Memory": -99999999999999999999}',
        b'{"Memory": 1e400}',
        b'{"Memory": 1.5}',
        b"\xff\xfe",
        b'{"\\ud800": 1, "CpusetCpus": "\\ud800"}',
        b"nul",
        b'{"Memory": true}',
    ],
)
def test_hostile_json_is_refused_or_read(raw: bytes) -> None:
    try:
        found = decode(raw, UpdateContainer)
    except InvalidRequest:
        return
    msgspec.json.encode(found)


def test_null_is_nothing_said() -> None:
    assert decode(b"null", ExecConfig) == ExecConfig()


def test_answers_leave_out_what_docker_leaves_out() -> None:
    tree = render(ContainerConfig(image="x", healthcheck=Healthcheck(test=("NONE",))))
    assert tree["Healthcheck"] == {"Test": ["NONE"]}
    assert "StopTimeout" not in tree
    assert "ExposedPorts" not in tree
    assert tree["Volumes"] is None
    assert tree["Cmd"] is None
    assert render(ContainerConfig(stop_timeout=0))["StopTimeout"] == 0
    host = render(HostConfig(init=False))
    assert host["Init"] is False
    assert host["CapAdd"] is None
    assert host["Dns"] == []
    assert "Sysctls" not in host


def test_secrets_stay_out_of_texts() -> None:
    secret = AuthConfig(username="me", password="hunter2", identitytoken="t0ken")
    assert "hunter2" not in repr(secret)
    assert "t0ken" not in repr(secret)
