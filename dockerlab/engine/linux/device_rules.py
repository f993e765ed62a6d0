"""Which devices a container may use: the rules, and the program that holds them on cgroup v2.

Knows:   Docker's default list, the grammar "T MAJ:MIN PERM", the kernel's way of merging rules,
         and eBPF's eight-byte instructions.
Refuses: the kernel; v1 writes the texts to `devices.*`, `device_filter.py` loads the program.
Source:  Linux cgroup-v1/devices; include/uapi/linux/bpf.h, `struct bpf_cgroup_dev_ctx`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dockerlab.engine.model.limits import Resources
from dockerlab.errors import InvalidRequest

DEFAULT_ALLOWED = (
    # Making any node is allowed, opening it is not.
    "c *:* m", "b *:* m",
    # null, zero, full, random, urandom
    "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",  # tty console ptmx pts
    "c 10:200 rwm",  # net/tun
)  # fmt: skip

_RULE = re.compile(r"([abc]) ([0-9]{1,9}|\*):([0-9]{1,9}|\*) ([rwm]{1,3})")


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """One rule; None as number is "any"."""

    kind: str
    major: int | None
    minor: int | None
    access: str

    def __str__(self) -> str:
        major, minor = ("*" if n is None else str(n) for n in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"


def parse_rule(text: str) -> DeviceRule:
    """Read a rule such as "c 1:3 rwm".

    Raises:
        InvalidRequest: the text is no rule.
    """
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise InvalidRequest(
            f"invalid device cgroup rule format: '{text}'",
            hint='Write TYPE MAJOR:MINOR ACCESS, for example "c 42:* rmw".',
        )
    kind, major, minor, access = match.groups()
    return DeviceRule(kind, _number(major), _number(minor), access)


def _number(text: str) -> int | None:
    return None if text == "*" else int(text)


def texts(resources: Resources) -> tuple[str, ...]:
    """The allow rules of a container in order, each as v1's `devices.allow` takes it."""
    if resources.privileged:
        return ("a *:* rwm",)
    return (*DEFAULT_ALLOWED, *(str(parse_rule(rule)) for rule in resources.device_rules))


def merged(rules: Iterable[DeviceRule]) -> list[DeviceRule] | None:
    """Unite rules as the v1 kernel does: one entry for each device; None means everything."""
    united: dict[tuple[str, int | None, int | None], set[str]] = {}
    for rule in rules:
        if rule.kind == "a":
            return None
        united.setdefault((rule.kind, rule.major, rule.minor), set()).update(rule.access)
    return [
        DeviceRule(kind, major, minor, "".join(c for c in "rwm" if c in access))
        for (kind, major, minor), access in united.items()
    ]


# Of bpf.h: BPF_DEVCG_DEV_BLOCK 1, CHAR 2; BPF_DEVCG_ACC_MKNOD 1, READ 2, WRITE 4.
_KINDS = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_LDX_W, _JNE_K = 0x61, 0x55
_AND32_K, _RSH32_K, _MOV32_X, _MOV_K, _EXIT = 0x54, 0x74, 0xBC, 0xB7, 0x95
_KIND, _WANTED, _MAJOR, _MINOR, _SCRATCH = 2, 3, 4, 5, 6


def _op(code: int, *, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, offset, value)


def _verdict(allowed: bool) -> list[bytes]:
    return [_op(_MOV_K, dst=0, value=int(allowed)), _op(_EXIT)]


def program(rules: Sequence[DeviceRule]) -> bytes:
    """Compile allow rules to an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.

    The kernel passes `access << 16 | kind`, major and minor, and lets go ahead on 1. A rule counts
    if it names every access wanted.
    """
    entries = merged(rules)
    if entries is None:
        return b"".join(_verdict(allowed=True))
    code = [
        _op(_LDX_W, dst=_KIND, src=1, offset=0),
        _op(_MOV32_X, dst=_WANTED, src=_KIND),
        _op(_RSH32_K, dst=_WANTED, value=16),
        _op(_AND32_K, dst=_KIND, value=0xFFFF),
        _op(_LDX_W, dst=_MAJOR, src=1, offset=4),
        _op(_LDX_W, dst=_MINOR, src=1, offset=8),
    ]
    for entry in entries:
        code += _entry(entry)
    return b"".join(code + _verdict(allowed=False))


def _entry(rule: DeviceRule) -> list[bytes]:
    """Instructions that end the program with "yes" if the rule covers the request."""
    granted = sum(_ACCESS[letter] for letter in rule.access)
    tests: list[list[bytes]] = [[_op(_JNE_K, dst=_KIND, value=_KINDS[rule.kind])]]
    if granted != 7:
        tests.append([
            _op(_MOV32_X, dst=_SCRATCH, src=_WANTED),
            _op(_AND32_K, dst=_SCRATCH, value=7 & ~granted),
            _op(_JNE_K, dst=_SCRATCH, value=0),
        ])  # fmt: skip
    if rule.major is not None:
        tests.append([_op(_JNE_K, dst=_MAJOR, value=rule.major)])
    if rule.minor is not None:
        tests.append([_op(_JNE_K, dst=_MINOR, value=rule.minor)])
    flat = [op for test in tests for op in test] + _verdict(allowed=True)
    # Every test jumps past this rule's verdict; offsets count from the instruction after the jump.
    return [
        op[:2] + struct.pack("<h", len(flat) - index - 1) + op[4:] if op[0] == _JNE_K else op
        for index, op in enumerate(flat)
    ]
