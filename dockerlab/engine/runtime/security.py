"""Read `--security-opt`: which seccomp profile, which AppArmor profile, new privileges or not.

Knows:   the words Docker takes, with `=` and with the older `:`.
Refuses: to compile or to load; `linux/seccomp.py` compiles, `runtime/init.py` installs.
Source:  moby daemon/daemon_unix.go, parseSecurityOpt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dockerlab.engine.linux import capabilities, seccomp
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import HostConfig

_MKNOD = capabilities.NUMBERS["CAP_MKNOD"]
UNCONFINED = "unconfined"
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What `--security-opt` asked for; "" leaves the engine's default."""

    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool = False


def security_options(words: Iterable[str]) -> SecurityOptions:
    """Read the options of one container.

    Raises:
        InvalidRequest: an option Docker does not have.
    """
    profile = apparmor = ""
    no_new = False
    for word in words:
        if word == "no-new-privileges":
            no_new = True
            continue
        key, separator, value = word.partition("=")
        if not separator:
            key, separator, value = word.partition(":")
        match key:
            case "no-new-privileges":
                if value.lower() not in _TRUE | _FALSE:
                    raise InvalidRequest(f'invalid --security-opt 2: "{word}"')
                no_new = value.lower() in _TRUE
            case "seccomp":
                profile = "" if value == "builtin" else value
            case "apparmor":
                apparmor = value
            case "label" | "systempaths" | "writable-cgroups":
                continue
            case _:
                raise InvalidRequest(
                    f'invalid --security-opt {2 if separator else 1}: "{word}"',
                    hint="seccomp, apparmor, no-new-privileges, label or systempaths.",
                )
    return SecurityOptions(seccomp=profile, apparmor=apparmor, no_new_privileges=no_new)


def bounding_set(
    host: HostConfig, *, devices_limited: bool, privileged: bool = False
) -> tuple[int, ...]:
    """Decide the capabilities of a container's process.

    Args:
        host: what was added and dropped.
        devices_limited: whether the kernel holds it back from devices. Where it can't (no BPF, no
            cgroups), whoever may make a node could read the host's disk: MKNOD goes.
        privileged: of an exec that is more so than its container.

    Raises:
        InvalidRequest: a name that no kernel knows.
    """
    everything = privileged or host.privileged
    found = capabilities.resolve(host.cap_add, host.cap_drop, privileged=everything)
    if everything or devices_limited:
        return found
    return tuple(number for number in found if number != _MKNOD)


def seccomp_program(profile: str, bounding: Sequence[int], *, privileged: bool) -> bytes | None:
    """Compile the filter a process gets; None leaves it unconfined.

    Args:
        profile: "" for the built-in one, "unconfined", or the JSON text of a profile.
        bounding: capability numbers, which decide what the profile includes.
        privileged: privileged containers have no filter unless they bring one.

    Raises:
        InvalidRequest: the profile can't be read.
    """
    if profile == UNCONFINED or (privileged and not profile):
        return None
    names = frozenset(capabilities.name_of(number) for number in bounding)
    return seccomp.compile_profile(profile, names) if profile else seccomp.default_program(names)
