"""The probe on this machine: it tries for real, leaves nothing, and is quick."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dockerlab.engine.linux import cgroups, doctor, probe, syscalls
from dockerlab.engine.linux.findings import State
from dockerlab.engine.model.machine import Mode


def everything_named():
    """What a probe could leave behind on the machine."""
    return (
        sorted(str(link.readlink()) for link in Path("/proc/self/ns").iterdir()),
        Path("/proc/self/mountinfo").read_text(),
        Path("/proc/net/dev").read_text().count("probe"),
        Path(cgroups.look().place or "/").exists(),
        len(list(Path("/proc/self/fd").iterdir())),
    )


def test_the_probe_leaves_nothing(tmp_path):
    root = tmp_path / "not" / "there" / "yet"
    before = everything_named()
    report = probe.examine(root)
    assert everything_named() == before
    assert list(tmp_path.iterdir()) == []
    assert len({finding.name for finding in report.findings}) == len(report.findings)
    for finding in report.findings:
        assert finding.meaning
        assert finding.remedy or finding.state is State.OK
    assert doctor.render(report).startswith(f"{report.mode}: ")


def test_the_probe_agrees_with_what_root_can_do(tmp_path):
    began = time.perf_counter()
    report = probe.examine(tmp_path)
    took = time.perf_counter() - began
    if os.geteuid() == 0 and not report.because:
        assert report.mode is Mode.FULL
    # 0.3 s on a quiet machine; this one may be shared, or translated by qemu.
    assert took < 6


def test_another_user_gets_another_answer(tmp_path):
    """As nobody, in a child: a mode without root, and words for it."""
    if os.geteuid() != 0:
        return
    # Once as root: Python loads some of itself late, from where another user may not read.
    probe.examine(tmp_path)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            # As after a login: a process that changed its user may not map it otherwise.
            syscalls.set_dumpable(True)
            report = probe.examine(tmp_path)
            os.write(writer, doctor.headline(report).encode())
        finally:
            os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    assert text.startswith(("rootless: ", "images only: "))
    assert "--privileged" in text or "sysctl" in text
