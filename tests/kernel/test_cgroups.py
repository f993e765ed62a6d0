"""Control groups of this machine, whichever version: real processes under real limits.

`tests/machines` runs the same file on a kernel that has version 2 only.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dockerlab.engine.linux import cgroup_files, cgroups, device_filter
from dockerlab.engine.linux.syscalls import clone3
from dockerlab.engine.model.limits import Resources

HIERARCHY = cgroups.look()
pytestmark = [
    pytest.mark.skipif(
        not HIERARCHY.version or os.geteuid() != 0, reason="no control groups that we may write to"
    ),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def hierarchy():
    return cgroups.detect()


class Box:
    """A group made from its plan, as a shim would, and processes in it."""

    def __init__(self, hierarchy, name, resources):
        self.plan = hierarchy.plan(name, resources)
        self.group = hierarchy.group(name)
        self.children = []
        for directory in self.plan.directories:
            Path(directory).mkdir(exist_ok=True)
        for path, text, required in self.plan.writes:
            try:
                cgroup_files.write(path, text)
            except OSError:
                if required:
                    raise
        if self.plan.device_filter:
            device_filter.attach(self.plan.clone_into, self.plan.device_filter)

    def run(self, work):
        """A child in the group; `work` returns its exit code."""
        if self.plan.clone_into:
            folder = os.open(self.plan.clone_into, os.O_RDONLY | os.O_DIRECTORY)
            pid = clone_into(folder)
        else:
            folder, pid = -1, os.fork()
        if pid == 0:
            code = 99
            try:
                for tasks in self.plan.tasks:
                    cgroup_files.write(tasks, "0")
                code = work()
            finally:
                os._exit(code)
        if folder >= 0:
            os.close(folder)
        self.children.append(pid)
        return pid

    def end(self, pid):
        """Exit code, or minus the signal."""
        self.children.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self):
        self.group.kill()
        for pid in list(self.children):
            self.end(pid)
        self.group.remove()


def clone_into(folder):
    """Fork into a group; like fork, as long as the child only goes on to exit."""
    pid, pidfd = clone3(0, folder)
    if pid:
        os.close(pidfd)
    return pid


@pytest.fixture
def box(hierarchy, request):
    made = []

    def make(**limits):
        name = (
            f"test-{os.getpid()}-{len(made)}-{request.node.name[:20].translate({91: 45, 93: 45})}"
        )
        made.append(Box(hierarchy, name, Resources(**limits)))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert not any(
            Path(directory).exists() for directory in one.plan.directories if "test-" in directory
        )


def sleep_forever():
    while True:
        signal.pause()


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_process_is_inside_and_nothing_remains(box):
    one = box()
    pid = one.run(sleep_forever)
    wait_until(lambda: one.group.pids() == [pid])
    one.close()
    assert one.group.pids() == []


def test_removing_ends_what_is_left(box):
    one = box()
    pid = one.run(sleep_forever)
    wait_until(lambda: one.group.pids() == [pid])
    # The last process is reaped while the removal goes on.
    reaper = threading.Thread(target=one.end, args=(pid,))
    reaper.start()
    one.group.remove()
    reaper.join()
    assert not any(Path(d).exists() for d in one.plan.directories if "test-" in d)


def test_groups_made_inside_go_too(box):
    one = box()
    for directory in {Path(d) for d in one.plan.directories if "test-" in d}:
        (directory / "inner").mkdir()
    one.group.remove()


def use_memory(size):
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    data = mmap.mmap(-1, size)
    for offset in range(0, size, 4096):
        data[offset] = 1
    return 0


@pytest.mark.skipif(
    "memory" not in HIERARCHY.supports and HIERARCHY.version == 1, reason="no memory"
)
def test_memory_limit_ends_the_greedy(box):
    one = box(memory=24 << 20, memory_swap=24 << 20)
    assert one.end(one.run(lambda: use_memory(8 << 20))) == 0
    assert one.group.oom_kills() == 0
    assert one.end(one.run(lambda: use_memory(64 << 20))) == -signal.SIGKILL
    assert one.group.oom_kills() == 1
    assert "oom_kill 1" in cgroup_files.read(one.plan.oom_events)
    figures = one.group.stats()
    assert figures.memory_limit == 24 << 20
    # On version 1 the limit on memory and swap together was hit, which counts elsewhere.
    assert figures.memory_failures > 0 or figures.version == 1


def shell(script):
    """Work that becomes a shell: after clone3, forking is for programs that were exec'ed."""
    return lambda: os.execv("/bin/sh", ["sh", "-c", script])


def test_pids_limit(box):
    one = box(pids_limit=5)
    script = "for each in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null"
    assert one.end(one.run(shell(script))) == 2
    figures = one.group.stats()
    assert (figures.pids_limit, figures.pids) == (5, 4)
    assert len(one.group.pids()) == 4


def spin():
    while True:
        pass


def test_cpu_limit_and_its_figures(box):
    one = box(nano_cpus=100_000_000)
    one.run(spin)
    wait_until(lambda: one.group.stats().throttled_periods > 2)
    figures = one.group.stats()
    assert figures.cpu_total_ns > 0
    assert figures.throttled_ns > 0
    assert len(figures.cpu_each_ns) == (os.cpu_count() if figures.version == 1 else 0)


def test_freezing_stands_still_and_thawing_goes_on(box):
    one = box()
    one.run(spin)
    wait_until(lambda: one.group.stats().cpu_total_ns > 0)
    one.group.freeze()
    assert one.group.frozen()
    before = one.group.stats().cpu_total_ns
    time.sleep(0.05)
    assert one.group.stats().cpu_total_ns == before
    one.group.thaw()
    assert not one.group.frozen()
    wait_until(lambda: one.group.stats().cpu_total_ns > before)


def test_the_frozen_can_be_killed(box):
    one = box()
    pid = one.run(sleep_forever)
    wait_until(lambda: one.group.pids() == [pid])
    one.group.freeze()
    one.group.kill()
    assert one.end(pid) == -signal.SIGKILL


def test_a_signal_reaches_everybody(box):
    one = box()
    pid = one.run(shell("sleep 1000 & exec sleep 1000"))
    wait_until(lambda: len(one.group.pids()) == 2)
    one.group.kill(signal.SIGTERM)
    assert one.end(pid) == -signal.SIGTERM
    wait_until(lambda: not one.group.pids())


def test_limits_change_while_it_runs(box):
    one = box(memory=64 << 20, memory_swap=64 << 20, cpu_quota=50_000)
    one.run(sleep_forever)
    for size in (256 << 20, 32 << 20):
        one.group.update(Resources(memory=size, memory_swap=size))
        assert one.group.stats().memory_limit == size
    one.group.update(Resources(pids_limit=7, cpu_period=10_000, cpu_quota=5_000, cpu_shares=99))
    assert one.group.stats().pids_limit == 7
    assert one.group.stats().memory_limit == 32 << 20
    one.group.update(Resources(pids_limit=-1))
    assert one.group.stats().pids_limit == 0


def test_cpus_are_inherited_or_chosen(box):
    inherited, chosen = box(), box(cpuset_cpus="0")
    if "cpuset" not in HIERARCHY.supports:
        pytest.skip("no cpuset controller")
    first = min(os.sched_getaffinity(0))
    assert first == 0
    count = len(os.sched_getaffinity(0))
    assert inherited.end(inherited.run(lambda: len(os.sched_getaffinity(0)))) == count
    assert chosen.end(chosen.run(lambda: len(os.sched_getaffinity(0)))) == 1


def device_code(device, flags):
    """Errno of opening a device node made by the process itself."""
    path = f"/tmp/node-{os.getpid()}"
    os.mknod(path, 0o600 | 0o020000, device)
    try:
        os.close(os.open(path, flags))
    except OSError as problem:
        return problem.errno
    finally:
        Path(path).unlink()
    return 0


NULL, KMSG = os.makedev(1, 3), os.makedev(1, 11)


@pytest.mark.parametrize(
    ("device", "rules", "expected"),
    [(NULL, (), 0), (KMSG, (), errno.EPERM), (KMSG, ("c 1:11 r",), 0),
     (KMSG, ("c 1:11 w",), errno.EPERM), (KMSG, ("c 1:* rwm",), 0)],
)  # fmt: skip
def test_devices_not_on_the_list_cannot_be_opened(box, hierarchy, device, rules, expected):
    if "devices" not in hierarchy.supports:
        pytest.skip("this kernel lets us filter no devices")
    one = box(device_rules=rules)
    assert one.end(one.run(lambda: device_code(device, os.O_RDONLY))) == expected


def test_privileged_opens_everything(box, hierarchy):
    one = box(privileged=True)
    assert one.end(one.run(lambda: device_code(KMSG, os.O_RDONLY))) == 0


def test_figures_survive_the_group(box):
    one = box()
    pid = one.run(sleep_forever)
    assert one.group.stats().version == HIERARCHY.version
    os.kill(pid, signal.SIGKILL)
    one.end(pid)
    one.group.remove()
    assert one.group.stats().pids == 0
    one.group.close()


def test_looking_changes_nothing(hierarchy):
    assert cgroups.look().version == hierarchy.version
    assert Path(hierarchy.place).is_dir()
    assert hierarchy.supports >= {"memory", "pids", "cpu_cfs", "freezer"}


def test_the_next_engine_finds_the_groups_of_the_last(hierarchy, tmp_path):
    memory = tmp_path / "cgroups"
    first = cgroups.detect(memory)
    elsewhere = {name: f"{parent}/gone" for name, parent in first.parents.items()}
    assert cgroups.look(elsewhere).parents == hierarchy.parents
    assert cgroups.detect(memory).parents == first.parents == hierarchy.parents
    memory.write_text("[half")
    assert cgroups.detect(memory).parents == hierarchy.parents


def test_groups_elsewhere_are_used_while_they_are_there(hierarchy):
    made = [Path(parent, f"session-{os.getpid()}") for parent in set(hierarchy.parents.values())]
    try:
        for folder in made:
            (folder / "dockerlab").mkdir(parents=True)
        before = {
            name: f"{parent}/session-{os.getpid()}" for name, parent in hierarchy.parents.items()
        }
        assert cgroups.look(before).parents == before
    finally:
        for folder in made:
            cgroup_files.remove_tree(str(folder))
    assert cgroups.look(before).parents == hierarchy.parents
