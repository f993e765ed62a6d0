"""Plans as people read them: golden texts, and the order that security hangs on.

A new case is a function here and `DOCKERLAB_GOLDEN=write pytest` once; read what it wrote.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dockerlab.engine.linux import capabilities
from dockerlab.engine.linux.cgroup_values import CgroupPlan
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Directory, Overlay
from dockerlab.engine.runtime import defaults, init, steps
from dockerlab.engine.runtime.plan import plan
from dockerlab.engine.runtime.spec import Namespaces, ProcessKind, Rlimit, Spec
from dockerlab.errors import InvalidRequest

GOLDEN = Path(__file__).parents[2] / "golden/plans"
V1 = CgroupPlan(
    directories=("/cg/cpu/dockerlab", "/cg/cpu/dockerlab/web", "/cg/pids/dockerlab/web"),
    writes=(("/cg/pids/dockerlab/web/pids.max", "100", True),),
    tasks=("/cg/cpu/dockerlab/web/tasks", "/cg/pids/dockerlab/web/tasks"),
    mounts=(
        Mount(kind="tmpfs", source="tmpfs", target="/sys/fs/cgroup", options=("mode=755",)),
        Mount(kind="bind", source="/cg/cpu/dockerlab/web", target="/sys/fs/cgroup/cpu"),
        Mount(kind="remount", source="", target="/sys/fs/cgroup", options=("ro",)),
    ),
    links=(("cpu", "/sys/fs/cgroup/cpuacct"),),
)
V2 = CgroupPlan(
    directories=("/cg/dockerlab/web",),
    clone_into="/cg/dockerlab/web",
    device_filter=b"\0" * 16,
    mounts=(Mount(kind="cgroup2", source="cgroup", target="/sys/fs/cgroup", options=("ro",)),),
)
WEB = Spec(
    id="ab" * 32,
    cgroup="web",
    rootfs=Overlay(
        layers_dir="/store/layers",
        lowers=("7/fs", "3/fs"),
        upper="/c/a,b/upper",
        work="/c/a,b/work",
    ),
    args=("nginx", "-g", "daemon off;"),
    env=("PATH=/bin",),
    hostname="web",
    capabilities=capabilities.DEFAULT,
    seccomp=b"\0" * 80,
    mounts=(
        defaults.PROC, defaults.DEV, defaults.SYS, defaults.PTS, defaults.MQUEUE,
        defaults.shm(1 << 26),
    ),
    masked_paths=defaults.MASKED_PATHS,
    readonly_paths=defaults.READONLY_PATHS,
    sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
)  # fmt: skip


def changed(**facts):
    from dataclasses import replace

    return replace(WEB, **facts)


CASES = {
    "default": lambda: plan(WEB, V1),
    "terminal": lambda: plan(
        changed(
            tty=True, console_size=(24, 80), user="alice", groups_add=("video",), use_init=True,
        ),
        V1,
        docker_init="/usr/bin/docker-init",
    ),
    "exec": lambda: plan(
        Spec(
            id="ef" * 32, kind=ProcessKind.EXEC, cgroup="web", args=("sh",), join_pid=77, tty=True,
            capabilities=capabilities.DEFAULT, seccomp=b"\0" * 80, cwd="/srv",
        ),
        CgroupPlan(tasks=V1.tasks),
    ),
    "binds": lambda: plan(
        changed(
            mounts=(
                *WEB.mounts,
                Mount(kind="bind", source="/data", target="/data", options=("rbind", "ro", "rro")),
                Mount(kind="tmpfs", source="tmpfs", target="/data/scratch", options=("nosuid",)),
                Mount(
                    kind="bind", source="/shared", target="/proc/x", options=("rbind", "rshared"),
                ),
                Mount(kind="bind", source="/c/hosts", target="/etc/hosts", options=("bind",)),
            )
        ),
        V1,
    ),
    "read-only": lambda: plan(
        changed(readonly_rootfs=True, no_new_privileges=True, cwd="/srv"), V1
    ),
    "host-network": lambda: plan(
        changed(
            namespaces=Namespaces(net="host", ipc="/proc/9/ns/ipc", pid="/proc/9/ns/pid"),
            rootfs=Directory(path="/copy"),
            rlimits=(Rlimit(name="nofile", soft=10, hard=20),),
            apparmor_profile="docker-default",
            oom_score_adj=-500,
        ),
        V1,
    ),
    "version-2": lambda: plan(WEB, V2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_golden(case):
    text = "\n".join(CASES[case]().describe()) + "\n"
    file = GOLDEN / case / "plan.txt"
    if os.environ.get("DOCKERLAB_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_every_golden_folder_has_its_case():
    assert sorted(one.name for one in GOLDEN.iterdir()) == sorted(CASES)


@pytest.mark.parametrize("case", CASES)
def test_plans_are_json_that_init_understands(case):
    encoded = json.loads(json.dumps(CASES[case]().encode()))
    words = [name for name, *_ in encoded["enter"] + encoded["start"]]
    assert set(words) <= set(init._PERFORM)
    assert words[-1] == "Execute"


def test_every_step_of_init_can_be_performed():
    shims = {"MakeCgroup", "WriteCgroup", "FilterDevices", "JoinPidNamespace"}
    known = {
        one.__name__ for one in steps.Step.__subclasses__() if one.__module__ == steps.__name__
    }
    assert known - shims == set(init._PERFORM)


def order(made, *names):
    words = [type(one).__name__ for one in (*made.enter, *made.start)]
    places = [words.index(one) for one in names]
    assert places == sorted(places), words


def test_the_order_that_security_hangs_on():
    made = plan(WEB, V1)
    order(
        made, "EnterCgroup", "Unshare", "Propagate", "MountOverlay", "MountAt", "Mask", "PivotRoot"
    )
    order(made, "PivotRoot", "DropBounding", "Seccomp", "BecomeUser", "SetCapabilities", "Execute")
    quiet = plan(changed(no_new_privileges=True), V1)
    order(quiet, "BecomeUser", "SetCapabilities", "NoNewPrivileges", "Seccomp", "Execute")


def test_masks_come_after_what_the_user_mounts_there():
    made = CASES["binds"]()
    words = [one.describe() for one in (*made.enter, *made.start)]
    assert words.index("hide /proc/kcore") > next(
        place for place, word in enumerate(words) if "at /proc/x" in word
    )


def test_nothing_of_the_users_is_mounted_before_go():
    early = [one for one in CASES["binds"]().enter if isinstance(one, steps.MountAt)]
    assert not [one for one in early if one.source in {"/data", "/shared", "/c/hosts"}]
    assert not [one for one in early if one.target.startswith("/data")]


def test_refusals():
    with pytest.raises(InvalidRequest, match="invalid ulimit type: nofiles"):
        plan(changed(rlimits=(Rlimit(name="nofiles", soft=1, hard=1),)), V1)
    with pytest.raises(InvalidRequest, match="no root file system"):
        plan(changed(rootfs=None), V1)
