"""AppArmor: the profile containers get where the kernel has it and its parser is installed.

Knows:   the rules of Docker's `docker-default`, which profiles are loaded, how to load ours.
Refuses: to confine a process: init asks for the profile with its exec.
Source:  man 5 apparmor.d; Docker's documentation of the docker-default profile.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

DEFAULT = "docker-default"
UNCONFINED = "unconfined"
_ENABLED = Path("/sys/module/apparmor/parameters/enabled")
_PROFILES = Path("/sys/kernel/security/apparmor/profiles")

# Everything is allowed that namespaces, capabilities and mounts allow, but to reach the host by
# the files of proc and sys. The odd patterns say "anything but", which the language lacks.
_RULES = """\
profile docker-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send,receive) peer=docker-default,
  ptrace (trace,read,tracedby,readby) peer=docker-default,

  # /proc: only one's own processes, and of sys only kernel/shm*.
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  deny mount,

  # /sys: only fs/cgroup.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
"""


def enabled() -> bool:
    """Tell whether the kernel confines by AppArmor."""
    return _text(_ENABLED).strip() == "Y"


def loaded(profile: str) -> bool:
    """Tell whether the kernel knows a profile; the list is for root only."""
    return any(line.rsplit(" ", 1)[0] == profile for line in _text(_PROFILES).splitlines())


def parser() -> str:
    """Path of the program that compiles and loads profiles; "" where it is not installed."""
    return shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin") or (
        shutil.which("apparmor_parser") or ""
    )


@cache
def default_profile() -> str:
    """The profile for containers that ask for none, loaded if it was not; "" to run without.

    Takes some 50 ms the first time on a machine: call it where waiting is fine.
    """
    if not enabled():
        return ""
    if not loaded(DEFAULT):
        program = parser()
        if not program:
            return ""
        done = subprocess.run(
            [program, "--skip-cache", "--replace"],
            input=_RULES, text=True, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not loaded(DEFAULT):
            return ""
    return DEFAULT


def profile_for(option: str, *, privileged: bool) -> str:
    """The profile of one container; "" leaves it in the engine's own confinement.

    Args:
        option: of `--security-opt apparmor=`; "" if there was none.
        privileged: runs without, unless one is asked for by name.
    """
    if not enabled():
        return ""
    if option:
        return option
    return UNCONFINED if privileged else default_profile()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
