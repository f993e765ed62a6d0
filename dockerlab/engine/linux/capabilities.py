"""Capabilities: their names and numbers, Docker's default set, and the call that applies them.

Knows:   what add, drop and "ALL" mean together, and the errors in Docker's words.
Refuses: anything heavy: this file runs in the zygote.
Source:  man 7 capabilities; moby daemon/pkg/oci/caps.
"""

from __future__ import annotations

import ctypes
import struct

from dockerlab.engine.linux.syscalls import SYS_CAPGET, SYS_CAPSET, failed, syscall
from dockerlab.errors import InvalidRequest

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Without "CAP_"; the place in the list is the kernel's number."""

NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}

DEFAULT = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""What Docker leaves a container: a80425fb."""

_VERSION_3 = 0x20080522


def normalise(name: str) -> str:
    """Spell a capability (or "ALL") as inspect shows it: upper case, with CAP_."""
    upper = name.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def canonical(names: tuple[str, ...], field: str) -> tuple[str, ...]:
    """Spell the names of a request as inspect shows them.

    Raises:
        InvalidRequest: one that no kernel knows.
    """
    return tuple(_check(names, field))


def name_of(number: int) -> str:
    """The kernel's name of a capability."""
    return f"CAP_{NAMES[number]}" if number < len(NAMES) else f"CAP_{number}"


def held() -> tuple[int, ...]:
    """What this process could pass on: its own bounding set."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("CapBnd:"):
                mask = int(line.split()[1], 16)
                return tuple(bit for bit in range(64) if mask >> bit & 1)
    return ()


def resolve(
    add: tuple[str, ...] | list[str], drop: tuple[str, ...] | list[str], privileged: bool
) -> tuple[int, ...]:
    """Decide a container's bounding set.

    "All" means what this engine holds itself: more cannot be given.

    Raises:
        InvalidRequest: a name that no kernel knows, in Docker's words.
    """
    adds, drops = _check(add, "CapAdd"), _check(drop, "CapDrop")
    if privileged:
        return held()
    numbers = {NUMBERS[name] for name in adds if name != "ALL"}
    dropped = {NUMBERS[name] for name in drops if name != "ALL"}
    if "ALL" in adds:
        return tuple(number for number in held() if number not in dropped)
    if "ALL" not in drops:
        numbers |= set(DEFAULT) - dropped
    return tuple(sorted(numbers & set(held())))


def _check(names: tuple[str, ...] | list[str], field: str) -> list[str]:
    result = [normalise(name) for name in names]
    for name in result:
        if name != "ALL" and name not in NUMBERS:
            raise InvalidRequest(
                f'invalid {field}: unknown capability: "{name}"',
                hint="man 7 capabilities lists the names; with or without CAP_.",
            )
    return result


def capget() -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable sets of this process as masks."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    if syscall(SYS_CAPGET, header, data) < 0:
        raise failed("capget", "own sets")
    words = struct.unpack("6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the effective, permitted and inheritable sets of this process."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0), 8)
    low, masks = 0xFFFFFFFF, (effective, permitted, inheritable)
    words = (*(mask & low for mask in masks), *(mask >> 32 for mask in masks))
    if syscall(SYS_CAPSET, header, ctypes.create_string_buffer(struct.pack("6I", *words), 24)) < 0:
        raise failed("capset", f"{effective:#x}")
