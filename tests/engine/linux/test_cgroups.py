"""Limits as files and texts, and where trees are: pure, for both versions."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.linux import cgroups, cgroups_v1, cgroups_v2, device_rules
from dockerlab.engine.linux.cgroup_values import missing
from dockerlab.engine.model.limits import Resources, ThrottleDevice
from dockerlab.errors import InvalidRequest

EVERY = frozenset(cgroups.FEATURES)
V1 = {name: f"/{name}" for name in ("cpu", "cpuset", "memory", "pids", "blkio")}


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (10, 4), (128, 21), (256, 35), (512, 59), (1024, 100), (2048, 174),
     (4096, 303), (8192, 532), (65536, 3023), (262144, 10000), (300000, 10000)],
)  # fmt: skip
def test_shares_to_weight(shares, weight):
    assert cgroups_v2.cpu_weight(shares) == weight


@pytest.mark.parametrize(
    ("given", "weight"), [(10, 1), (100, 910), (300, 2930), (500, 4950), (1000, 10000)]
)
def test_block_weight(given, weight):
    assert cgroups_v2.io_weight(given) == weight


def v1(supports=EVERY | {"blkio.bfq.weight"}, **limits):
    writes = cgroups_v1.limit_writes(V1, Resources(**limits), supports)
    return {path.removeprefix("/"): text for path, text, _ in writes}


def v2(supports=EVERY, **limits):
    writes = cgroups_v2.limit_writes("", Resources(**limits), supports)
    return {path.removeprefix("/"): text for path, text, _ in writes}


@pytest.mark.parametrize(
    ("limits", "one", "two"),
    [
        ({}, {}, {}),
        ({"memory": 100}, {"memory/memory.limit_in_bytes": "100",
                           "memory/memory.memsw.limit_in_bytes": "200"},
         {"memory.max": "100", "memory.swap.max": "100"}),
        ({"memory": 100, "memory_swap": 100}, {"memory/memory.limit_in_bytes": "100",
                                               "memory/memory.memsw.limit_in_bytes": "100"},
         {"memory.max": "100", "memory.swap.max": "0"}),
        ({"memory": 100, "memory_swap": -1}, {"memory/memory.limit_in_bytes": "100",
                                              "memory/memory.memsw.limit_in_bytes": "-1"},
         {"memory.max": "100", "memory.swap.max": "max"}),
        ({"memory_reservation": 7}, {"memory/memory.soft_limit_in_bytes": "7"},
         {"memory.low": "7"}),
        ({"memory_swappiness": 0}, {"memory/memory.swappiness": "0"}, {}),
        ({"memory_swappiness": -1}, {}, {}),
        ({"cpu_shares": 512}, {"cpu/cpu.shares": "512"}, {"cpu.weight": "59"}),
        ({"nano_cpus": 1_500_000_000},
         {"cpu/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "150000"},
         {"cpu.max": "150000 100000"}),
        ({"cpu_quota": 50000}, {"cpu/cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"}),
        ({"cpu_quota": -1, "cpu_period": 5000},
         {"cpu/cpu.cfs_period_us": "5000", "cpu/cpu.cfs_quota_us": "-1"}, {"cpu.max": "max 5000"}),
        ({"cpuset_cpus": "0-1", "cpuset_mems": "0"},
         {"cpuset/cpuset.cpus": "0-1", "cpuset/cpuset.mems": "0"},
         {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        ({"pids_limit": 9}, {"pids/pids.max": "9"}, {"pids.max": "9"}),
        ({"pids_limit": -1}, {"pids/pids.max": "max"}, {"pids.max": "max"}),
        ({"blkio_weight": 500}, {"blkio/blkio.bfq.weight": "500"}, {"io.weight": "4950"}),
        ({"read_bps": (ThrottleDevice(major=8, minor=0, rate=99),)},
         {"blkio/blkio.throttle.read_bps_device": "8:0 99"}, {"io.max": "8:0 rbps=99"}),
        ({"write_iops": (ThrottleDevice(major=8, minor=0, rate=99),)},
         {"blkio/blkio.throttle.write_iops_device": "8:0 99"}, {"io.max": "8:0 wiops=99"}),
    ],
)  # fmt: skip
def test_limits_become_files(limits, one, two):
    assert v1(**limits) == one
    # Swappiness and the OOM switch are not there on version 2.
    assert v2(supports=EVERY - {"swappiness"}, **limits) == two


def test_bfq_takes_the_weight_as_it_is():
    assert v2(supports=EVERY | {"io.bfq.weight"}, blkio_weight=500) == {"io.bfq.weight": "500"}


def test_what_the_kernel_lacks_is_left_out_and_said():
    every = Resources(
        memory=1 << 24, memory_swappiness=5, oom_kill_disable=True, pids_limit=5, cpu_shares=3,
        nano_cpus=10**9, cpuset_cpus="0", blkio_weight=10, memory_reservation=1,
        read_bps=(ThrottleDevice(major=1, minor=1, rate=1),),
    )  # fmt: skip
    assert cgroups_v1.limit_writes(V1, every, frozenset()) == []
    texts = missing(every, frozenset())
    assert (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded." in texts
    )
    assert "Your kernel does not support OomKillDisable. OomKillDisable discarded." in texts
    assert all(text.endswith("discarded.") for text in texts)
    assert missing(every, EVERY) == []
    (text,) = missing(Resources(memory=5), EVERY - {"swap"})
    assert text.endswith("or the cgroup is not mounted. Memory limited without swap.")
    assert missing(Resources(oom_kill_disable=True), EVERY)[0].startswith("OOM killer is disabled")
    assert missing(Resources(), frozenset()) == []


MOUNTINFO = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory,clone_children
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
99 31 0:29 /docker/ab /again rw - cgroup cgroup rw,cpu,cpuacct
"""


def test_trees_are_found_in_mountinfo():
    found = cgroups.trees(MOUNTINFO)
    assert [(tree.mountpoint, tree.root, tree.controllers, tree.version) for tree in found] == [
        ("/sys/fs/cgroup/cpu,cpuacct", "/", ("cpu", "cpuacct"), 1),
        ("/sys/fs/cgroup/with space", "/docker/ab", ("memory",), 1),
        ("/sys/fs/cgroup/systemd", "/", ("name=systemd",), 1),
        ("/sys/fs/cgroup/unified", "/", (), 2),
    ]


def test_own_places():
    text = "4:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n"
    assert cgroups.own_places(text) == {
        "cpu": "/a", "cpuacct": "/a", "name=systemd": "/b:c", "": "/d",
    }  # fmt: skip


def test_joined_controllers_are_one_directory_and_links(tmp_path):
    together = str(tmp_path)
    hierarchy = cgroups_v1.HierarchyV1(
        {"cpu": together, "cpuacct": together}, {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct"}
    )
    plan = hierarchy.plan("x", Resources())
    assert plan.tasks == (f"{together}/dockerlab/x/tasks",)
    assert plan.links == (
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu"),
        ("cpu,cpuacct", "/sys/fs/cgroup/cpuacct"),
    )
    assert [mount.kind for mount in plan.mounts] == ["tmpfs", "bind", "remount"]
    writable = hierarchy.plan("x", Resources(), writable=True)
    assert [mount.kind for mount in writable.mounts] == ["tmpfs", "bind"]
    assert "ro" not in writable.mounts[1].options


def test_without_groups_everything_is_a_warning():
    none = cgroups.NoCgroups()
    assert none.plan("x", Resources(memory=1)) == cgroups.CgroupPlan()
    assert none.warnings(Resources(pids_limit=1))
    group = none.group("x")
    group.kill()
    group.remove()
    assert group.pids() == []


@pytest.mark.parametrize(
    "text", ["", "d 1:3 r", "c 1 r", "c 1:3", "c 1:3 x", "c 1:3 rwmr", "c -1:3 r"]
)
def test_rules_that_are_none(text):
    with pytest.raises(InvalidRequest, match="invalid device cgroup rule format"):
        device_rules.parse_rule(text)


def ask(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Run a device program as the kernel would."""
    wanted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = struct.pack("<III", wanted << 16 | {"b": 1, "c": 2}[kind], major, minor)
    registers, at = [0] * 11, 0
    instructions = list(struct.iter_unpack("<BBhi", program))
    while True:
        code, pair, offset, value = instructions[at]
        at += 1
        target, source = pair & 15, pair >> 4
        match code:
            case 0x61:
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0xBC:
                registers[target] = registers[source]
            case 0x74:
                registers[target] >>= value
            case 0x54:
                registers[target] &= value
            case 0xB7:
                registers[target] = value
            case 0x55:
                at += offset if registers[target] != value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("device", "allowed"),
    [(("c", 1, 3, "rw"), True), (("c", 1, 1, "r"), False), (("c", 136, 77, "rw"), True),
     (("b", 8, 0, "r"), False), (("b", 8, 0, "m"), True), (("b", 8, 0, "mr"), False),
     (("c", 10, 229, "rw"), False), (("c", 10, 200, "rwm"), True), (("c", 5, 2, "w"), True)],
)  # fmt: skip
def test_default_devices(device, allowed):
    rules = [device_rules.parse_rule(text) for text in device_rules.texts(Resources())]
    assert ask(device_rules.program(rules), *device) is allowed


def test_privileged_may_use_everything():
    rules = [
        device_rules.parse_rule(text) for text in device_rules.texts(Resources(privileged=True))
    ]
    assert ask(device_rules.program(rules), "b", 8, 0, "rwm")


numbers = st.none() | st.integers(0, 3)
accesses = st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"])
rules = st.builds(device_rules.DeviceRule, st.sampled_from("bc"), numbers, numbers, accesses)


@given(
    st.lists(rules, max_size=8),
    st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), accesses,
)  # fmt: skip
def test_the_program_decides_as_version_1_does(given_rules, kind, major, minor, access):
    """The v1 kernel unites rules for one device, then wants one entry that covers all."""
    united: dict[tuple[str, int | None, int | None], set[str]] = {}
    for rule in given_rules:
        united.setdefault((rule.kind, rule.major, rule.minor), set()).update(rule.access)
    expected = any(
        key[0] == kind and key[1] in (None, major) and key[2] in (None, minor)
        and set(access) <= granted
        for key, granted in united.items()
    )  # fmt: skip
    assert ask(device_rules.program(given_rules), kind, major, minor, access) is expected
