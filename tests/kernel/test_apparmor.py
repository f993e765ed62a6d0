"""The default profile, where the kernel has AppArmor (`tests/machines` does) and its parser."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dockerlab.engine.linux import apparmor

needs_apparmor = pytest.mark.skipif(
    not apparmor.enabled() or not apparmor.parser() or os.geteuid() != 0,
    reason="no AppArmor in this kernel, or apparmor_parser is not installed",
)


def confined(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program under the default profile, the way init does it."""
    profile = apparmor.profile_for("", privileged=False)

    def ask() -> None:
        Path("/proc/self/attr/exec").write_text(f"exec {profile}")

    return subprocess.run(command, preexec_fn=ask, capture_output=True, text=True, check=False)


@needs_apparmor
def test_the_profile_confines():
    assert apparmor.default_profile() == "docker-default"
    assert apparmor.loaded("docker-default")
    current = confined("cat", "/proc/self/attr/current").stdout
    assert current == "docker-default (enforce)\n"


@needs_apparmor
@pytest.mark.parametrize(
    ("script", "works"),
    [
        ("echo 1 > /proc/sys/vm/drop_caches", False),
        ("head -c 1 /proc/kcore", False),
        ("mount -t tmpfs none /mnt", False),
        ("ls /sys/kernel/security/apparmor && cat /sys/kernel/security/apparmor/profiles", False),
        ("echo hello > /tmp/apparmor-$$ && rm /tmp/apparmor-$$", True),
        ("cat /proc/self/status /proc/meminfo", True),
        ("sleep 0.01 & kill -TERM $!", True),
    ],
)
def test_what_the_profile_allows(script, works):
    done = confined("sh", "-c", script)
    assert (done.returncode == 0) is works, done.stderr


@needs_apparmor
def test_whose_profile():
    assert apparmor.profile_for("mine", privileged=True) == "mine"
    assert apparmor.profile_for("unconfined", privileged=False) == "unconfined"
    assert apparmor.profile_for("", privileged=True) == "unconfined"


@pytest.mark.skipif(apparmor.enabled(), reason="this kernel has AppArmor")
def test_without_apparmor_nothing_is_asked_of_init():
    assert apparmor.default_profile() == ""
    assert apparmor.profile_for("mine", privileged=False) == ""
