"""Creation decides without touching anything, so its rules are a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dockerlab.engine.model.image import Image
from dockerlab.engine.services import creation
from dockerlab.errors import Conflict, DockerlabError, InvalidRequest
from dockerlab.oci.documents import HealthConfig, ImageConfig, ImageRunConfig
from dockerlab.wire.documents import (
    ContainerConfig,
    CreateContainer,
    EndpointSettings,
    Healthcheck,
    HostConfig,
    LogConfig,
    NetworkingConfig,
    RestartPolicy,
)

ID = "ab" * 32
FACTS = creation.Facts(
    id=ID, name="web", now_ns=1, host_name="machine", cgroup_version=2, cpus=2,
    limits=frozenset({"blkio_weight"}),
)  # fmt: skip


def image(**config: object) -> Image:
    document = ImageConfig(architecture="amd64", config=ImageRunConfig(**config))
    return Image(
        id="sha256:" + "1" * 64, document=document, layers=(), parent="", created_ns=0,
        last_tagged_ns=0,
    )  # fmt: skip


def request(host: HostConfig | None = None, **config: object) -> CreateContainer:
    return CreateContainer(image="web", host_config=host or HostConfig(), **config)


@pytest.mark.parametrize(
    ("own", "inherited", "argv"),
    [
        ({}, {"cmd": ("sh",)}, ("sh",)),
        ({}, {"entrypoint": ("e",), "cmd": ("c",)}, ("e", "c")),
        ({"cmd": ("x",)}, {"entrypoint": ("e",), "cmd": ("c",)}, ("e", "x")),
        ({"entrypoint": ("o",)}, {"entrypoint": ("e",), "cmd": ("c",)}, ("o",)),
        ({"entrypoint": ("",), "cmd": ("x",)}, {"entrypoint": ("e",)}, ("x",)),
        ({"entrypoint": (), "cmd": ("x",)}, {"entrypoint": ("e",)}, ("x",)),
    ],
)
def test_entrypoint_and_command_merge_as_in_docker(own, inherited, argv):
    made = creation.decide(request(**own), image(**inherited), FACTS)
    assert (made.path, *made.args) == argv


def test_own_environment_comes_first_and_hides_the_images():
    made = creation.decide(
        request(cmd=("x",), env=("B=own", "C=3")), image(env=("A=1", "B=image")), FACTS
    )
    assert made.config.env == ("B=own", "C=3", "A=1")


def test_labels_ports_and_volumes_are_united():
    made = creation.decide(
        request(cmd=("x",), labels={"a": "own"}, exposed_ports={"80/tcp": {}}),
        image(labels={"a": "image", "b": "2"}, exposed_ports={"81/tcp": {}}, volumes={"/v": {}}),
        FACTS,
    )
    assert made.config.labels == {"a": "own", "b": "2"}
    assert set(made.config.exposed_ports) == {"80/tcp", "81/tcp"}
    assert set(made.config.volumes) == {"/v"}


def test_a_health_check_without_a_test_takes_the_images():
    base = image(cmd=("x",), healthcheck=HealthConfig(test=("CMD", "t"), interval=5 * 10**9))
    made = creation.decide(request(healthcheck=Healthcheck(retries=2)), base, FACTS)
    check = made.config.healthcheck
    assert check is not None
    assert (check.test, check.interval, check.retries) == (("CMD", "t"), 5 * 10**9, 2)


def test_docker_defaults_are_filled_in():
    made = creation.decide(request(HostConfig(memory=64 << 20), cmd=("x",)), image(), FACTS)
    host = made.host
    assert made.config.hostname == ID[:12]
    assert host.network_mode == "bridge"
    assert host.memory_swap == 128 << 20
    assert host.restart_policy.name == "no"
    assert (host.ipc_mode, host.cgroupns_mode) == ("private", "private")
    assert host.shm_size == 64 << 20
    assert "/proc/kcore" in host.masked_paths
    assert dict(made.networks) == {"bridge": EndpointSettings()}


def test_privileged_hides_nothing_and_host_network_has_the_hosts_name():
    host = HostConfig(privileged=True, network_mode="host")
    made = creation.decide(request(host, cmd=("x",)), image(), FACTS)
    assert (made.host.masked_paths, made.host.readonly_paths) == (None, None)
    assert made.host.security_opt == ("label=disable",)
    assert made.config.hostname == "machine"


def test_what_this_machine_can_not_limit_is_dropped_before_its_range_is_looked_at():
    facts = replace(FACTS, limits=frozenset(), cgroup_version=1)
    host = HostConfig(blkio_weight=5, pids_limit=-1)
    made = creation.decide(request(host, cmd=("x",)), image(), facts).host
    assert (made.blkio_weight, made.pids_limit, made.oom_kill_disable) == (0, None, False)
    assert creation.decide(request(cmd=("x",)), image(), FACTS).host.oom_kill_disable is None


def test_capabilities_are_kept_in_the_kernels_spelling():
    host = HostConfig(cap_add=("net_admin",), cap_drop=("all",))
    made = creation.decide(request(host, cmd=("x",)), image(), FACTS).host
    assert (made.cap_add, made.cap_drop) == (("CAP_NET_ADMIN",), ("ALL",))


def refused(words: str, **host: object) -> tuple[CreateContainer, type[DockerlabError], str]:
    return request(HostConfig(**host), cmd=("x",)), InvalidRequest, words


REFUSED = [
    refused('invalid CapAdd: unknown capability: "CAP_FOO"', cap_add=("foo",)),
    refused('invalid CapDrop: unknown capability: "CAP_BAR"', cap_drop=("BAR",)),
    refused('invalid --security-opt 1: "foo"', security_opt=("foo",)),
    refused('invalid --security-opt 2: "foo=bar"', security_opt=("foo=bar",)),
    refused('security-opt 2: "no-new-privileges=x"', security_opt=("no-new-privileges=x",)),
    refused("unknown or invalid runtime name: foo", runtime="foo"),
    refused("invalid isolation: \"foo\" - linux only supports 'default'", isolation="foo"),
    refused("--storage-opt is supported only for overlay over xfs", storage_opt={"size": "1g"}),
    refused(
        "unknown log opt 'foo' for json-file log driver", log_config=LogConfig(config={"foo": "b"})
    ),
    refused("invalid IPC mode: foo", ipc_mode="foo"),
    refused("invalid cgroup namespace mode: foo", cgroupns_mode="foo"),
    refused("Invalid value foo for cpuset cpus: invalid format: foo", cpuset_cpus="foo"),
    (request(cmd=("x",), stop_signal="FOO"), InvalidRequest, "invalid signal: FOO"),
    (request(), InvalidRequest, "no command specified"),
    (request(cmd=("x",), working_dir="a"), InvalidRequest, "needs to be an absolute path"),
    (request(cmd=("x",), env=("=v",)), InvalidRequest, "invalid environment variable: =v"),
    (request(HostConfig(memory=1), cmd=("x",)), InvalidRequest, "Minimum memory limit"),
    (request(HostConfig(memory_swap=9 << 20), cmd=("x",)), InvalidRequest, "always set the Memory"),
    (
        request(HostConfig(nano_cpus=10**9, cpu_quota=10_000), cmd=("x",)),
        InvalidRequest,
        "Nano CPUs and CPU Quota cannot both be set",
    ),
    (
        request(HostConfig(nano_cpus=9 * 10**9), cmd=("x",)),
        InvalidRequest,
        "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
    ),
    (
        request(HostConfig(cpuset_cpus="9"), cmd=("x",)),
        InvalidRequest,
        "Requested CPUs are not available - requested 9, available: 0-1",
    ),
    (request(HostConfig(cpuset_cpus="0-999999999"), cmd=("x",)), InvalidRequest, "Invalid value"),
    (request(HostConfig(blkio_weight=5), cmd=("x",)), InvalidRequest, "Range of blkio weight"),
    (request(HostConfig(pid_mode="nonsense"), cmd=("x",)), InvalidRequest, "invalid PID mode"),
    (
        request(
            HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")), cmd=("x",)
        ),
        InvalidRequest,
        "can't create 'AutoRemove' container with restart policy",
    ),
    (
        request(HostConfig(log_config=LogConfig(type="splunk")), cmd=("x",)),
        InvalidRequest,
        'error looking up logging plugin splunk: plugin "splunk" not found',
    ),
    (
        request(cmd=("x",), healthcheck=Healthcheck(test=("CMD", "t"), interval=1)),
        InvalidRequest,
        "Interval in Healthcheck cannot be less than 1ms",
    ),
    (
        request(
            HostConfig(network_mode="none"),
            cmd=("x",),
            networking_config=NetworkingConfig(endpoints_config={"lab": EndpointSettings()}),
        ),
        Conflict,
        "private (none) mode",
    ),
    (
        request(HostConfig(uts_mode="host"), cmd=("x",), hostname="a"),
        InvalidRequest,
        "conflicting options: hostname and the UTS mode",
    ),
]


@pytest.mark.parametrize(("body", "kind", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_refusals_have_dockers_words(body: CreateContainer, kind: type[DockerlabError], words: str):
    with pytest.raises(kind) as caught:
        creation.decide(body, image(), FACTS)
    assert words in caught.value.message


def test_the_kept_configuration_is_no_request():
    made = creation.decide(request(cmd=("x",)), image(), FACTS)
    assert type(made.config) is ContainerConfig
