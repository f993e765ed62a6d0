"""Try what this machine lets an engine do: each fact for real, in a child that is thrown away.

Knows:   what the engine needs, what is lost without it, what gives it.
Refuses: to leave anything behind, and to judge or print: `findings.py`, `doctor.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from dockerlab.engine.linux import (
    apparmor,
    cgroups,
    device_filter,
    device_rules,
    mounts,
    probe_network,
    seccomp,
    syscalls,
)
from dockerlab.engine.linux.findings import PRIVILEGED, Finding, Report, State, judge
from dockerlab.engine.linux.throwaway import alone, become_root_inside, refused

_MS_PRIVATE_REC = 0x44000
_SPACES = {
    "mount": syscalls.CLONE_NEWNS, "uts": syscalls.CLONE_NEWUTS, "ipc": syscalls.CLONE_NEWIPC,
    "pid": syscalls.CLONE_NEWPID, "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}  # fmt: skip
_CAP_SYS_RESOURCE = 24
_LOW_SPACE_BYTES = 2 << 30
# statfs has no name for these in Python; the mount table has.
_UNFIT = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "overlay"}


def examine(root: Path) -> Report:
    """Try everything; `root` is where the engine keeps, or would keep, its state."""
    findings = (
        _namespaces(),
        _user_namespaces(),
        _proc(),
        _overlay(root),
        _state_folder(root),
        _space(root),
        _control_groups(),
        _seccomp(),
        probe_network.network(),
        probe_network.firewall(),
        _limits(),
        _apparmor(),
    )
    return judge(findings, root=os.geteuid() == 0)


def _namespaces() -> Finding:
    # One at a time for the name of the culprit: 0.3 ms each.
    lacking = [name for name, flag in _SPACES.items() if refused(partial(alone, flag))]
    if not lacking:
        return Finding(
            name="namespaces", state=State.OK,
            meaning="containers get processes, network and files of their own",
        )  # fmt: skip
    vital = [name for name in lacking if name != "cgroup"]
    return Finding(
        name="namespaces", state=State.MISSING if vital else State.LIMITED,
        meaning=f"no new {', '.join(lacking)} namespace is allowed here",
        remedy=PRIVILEGED,
    )  # fmt: skip


def _user_namespaces() -> Finding:
    why = refused(become_root_inside)
    if why:
        return Finding(
            name="user namespaces", state=State.MISSING,
            meaning=f"an engine without root is not possible here ({why})",
            remedy="sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000; "
            "on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0",
        )  # fmt: skip
    if os.geteuid() == 0 or _has_subordinate_ids():
        return Finding(
            name="user namespaces", state=State.OK, meaning="an engine without root is possible"
        )
    return Finding(
        name="user namespaces", state=State.LIMITED,
        meaning="one user id only: images with files of several owners will not unpack",
        remedy="Install newuidmap (package uidmap) and give the user a range in /etc/subuid and "
        "/etc/subgid.",
    )  # fmt: skip


def _has_subordinate_ids() -> bool:
    name = os.environ.get("USER", "")
    ranges = ""
    with contextlib.suppress(OSError):
        ranges = Path("/etc/subuid").read_text("utf-8")
    mine = (f"{name}:", f"{os.getuid()}:")
    return bool(shutil.which("newuidmap")) and any(
        line.startswith(mine) for line in ranges.splitlines()
    )


def _proc() -> Finding:
    def mount_proc() -> None:
        alone(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
        mounts.mount("", "/", "", _MS_PRIVATE_REC)
        why = refused(lambda: mounts.mount("proc", "/proc", "proc", 0))
        if why:
            raise OSError(why)

    why = refused(mount_proc)
    if not why:
        return Finding(name="proc", state=State.OK, meaning="containers see only their processes")
    return Finding(
        name="proc", state=State.MISSING,
        meaning=f"/proc cannot be mounted for a container ({why})",
        remedy="In a pod or container, some paths of its /proc are masked: " + PRIVILEGED,
    )  # fmt: skip


def _overlay(root: Path) -> Finding:
    why = ""
    try:
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=_existing(root)) as folder:
            why = refused(lambda: _try_overlay(Path(folder)))
    except OSError as problem:
        why = str(problem)
    if not why:
        return Finding(
            name="overlay", state=State.OK, meaning="containers start on layers without a copy"
        )
    return Finding(
        name="overlay", state=State.LIMITED,
        meaning=f"layers have to be copied for each container ({why})",
        remedy="Keep the data on ext4, xfs or btrfs: DOCKERLAB_ROOT=/path names another place.",
    )  # fmt: skip


def _try_overlay(folder: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir()
    (folder / "lower" / "file").write_bytes(b"")
    alone(syscalls.CLONE_NEWNS)
    mounts.mount("", "/", "", _MS_PRIVATE_REC)
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    if os.geteuid() != 0 or _inside_user_namespace():
        options += ",userxattr"
    mounts.mount("overlay", f"{folder}/merged", "overlay", 0, options)
    # Removing makes a whiteout, which is where unfit upper directories fail.
    (folder / "merged" / "file").unlink()
    mounts.umount2(f"{folder}/merged", 0)
    # What the kernel left in work/ has mode 0, so that its owner cannot clean up without root.
    for left in (folder / "work").iterdir():
        left.chmod(0o700)


def _inside_user_namespace() -> bool:
    return Path("/proc/self/uid_map").read_text("utf-8").split() != ["0", "0", "4294967295"]


def _existing(path: Path) -> Path:
    """The nearest folder on the way to `path` that is there, as far as this user may see."""
    for one in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            if one.is_dir():
                return one
    return Path("/")


def _state_folder(root: Path) -> Finding:
    place = _existing(root)
    kind = _file_system(place)
    problem = f"{kind} carries no locks and shared memory to rely on" if kind in _UNFIT else ""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as refusal:
        problem = str(refusal)
    if not problem:
        return Finding(
            name="data folder", state=State.OK, meaning=f"{root} is on {kind or 'a local disk'}"
        )
    return Finding(
        name="data folder", state=State.LIMITED, meaning=f"{root}: {problem}",
        remedy="DOCKERLAB_ROOT=/path names a folder on a local disk.",
    )  # fmt: skip


def _file_system(place: Path) -> str:
    """The type of the file system below a folder, of the mount table."""
    device = place.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        left, _, right = line.partition(" - ")
        if left.split(" ")[2] == wanted:
            return right.split(" ")[0]
    return ""


def _space(root: Path) -> Finding:
    status = os.statvfs(_existing(root))
    free = status.f_bavail * status.f_frsize
    text = f"{free / 1e9:.1f} GB are free below {root}"
    if free >= _LOW_SPACE_BYTES:
        return Finding(name="space", state=State.OK, meaning=text)
    return Finding(
        name="space", state=State.LIMITED, meaning=f"only {text}",
        remedy="dockerlab system prune removes what no container uses.",
    )  # fmt: skip


_LIMITS_WORDS = {
    "memory": "memory", "pids": "processes", "cpu_cfs": "CPU time", "cpuset": "chosen CPUs",
    "freezer": "pausing", "devices": "devices",
}  # fmt: skip


def _control_groups() -> Finding:
    hierarchy = cgroups.look()
    if not hierarchy.version:
        return Finding(
            name="control groups", state=State.LIMITED,
            meaning="limits on memory, CPU and processes are dropped with a warning",
            remedy="As a user: systemd-run --user --scope -p Delegate=yes dockerlab engine start. "
            "In a container: mount /sys/fs/cgroup writable.",
        )  # fmt: skip
    supports = set(hierarchy.supports)
    if hierarchy.version == 2:
        # Seen only in a group of our own, which looking must not make.
        supports.add("freezer")
        program = device_rules.program([])
        if not refused(lambda: os.close(device_filter.load(program))):
            supports.add("devices")
    lacking = [word for feature, word in _LIMITS_WORDS.items() if feature not in supports]
    meaning = f"version {hierarchy.version}, containers live below {hierarchy.place}"
    if not lacking:
        return Finding(name="control groups", state=State.OK, meaning=meaning)
    return Finding(
        name="control groups", state=State.LIMITED,
        meaning=f"{meaning}; not to be had: {', '.join(lacking)}",
        remedy="Boot a kernel with these controllers, or have them delegated to this group.",
    )  # fmt: skip


def _seccomp() -> Finding:
    def install() -> None:
        program = seccomp.default_program(frozenset())
        syscalls.set_no_new_privileges()
        syscalls.install_seccomp(program)

    why = refused(install)
    if not why:
        return Finding(
            name="seccomp", state=State.OK, meaning="dangerous system calls are filtered"
        )
    return Finding(
        name="seccomp", state=State.MISSING,
        meaning=f"system calls of containers cannot be filtered ({why})",
        remedy="Use a kernel with CONFIG_SECCOMP_FILTER, or --security-opt seccomp=unconfined.",
    )  # fmt: skip


def _limits() -> Finding:
    held = 0
    for line in Path("/proc/self/status").read_text("utf-8", "replace").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
    if held >> _CAP_SYS_RESOURCE & 1:
        return Finding(name="ulimits", state=State.OK, meaning="--ulimit can raise any limit")
    return Finding(
        name="ulimits", state=State.LIMITED,
        meaning="without CAP_SYS_RESOURCE, --ulimit beyond the engine's own limits is lowered",
        remedy="Give the engine that capability (docker run --cap-add SYS_RESOURCE, or root).",
    )  # fmt: skip


def _apparmor() -> Finding:
    if not apparmor.enabled():
        return Finding(
            name="AppArmor", state=State.OK,
            meaning="not on; namespaces, capabilities and seccomp hold containers",
        )  # fmt: skip
    if apparmor.loaded(apparmor.DEFAULT) or apparmor.parser():
        return Finding(
            name="AppArmor", state=State.OK,
            meaning=f"on; containers run under {apparmor.DEFAULT}",
        )  # fmt: skip
    return Finding(
        name="AppArmor", state=State.LIMITED,
        meaning="on, but its parser is missing, so containers run without a profile",
        remedy="Install it: apt-get install apparmor",
    )  # fmt: skip
