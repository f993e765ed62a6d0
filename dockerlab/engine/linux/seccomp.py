"""Which syscalls a container may make: from a profile in Docker's format to a filter.

Knows:   the default profile and syscall numbers (data beside this file), when an item applies,
         ENOSYS for syscalls younger than the profile.
Refuses: to install the filter: init does, as its last step or before it drops privileges.
Source:  Docker's seccomp profile format; man 2 seccomp.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from dockerlab.engine.linux.seccomp_filter import X32_BIT, Comparison, Rule, Table, assemble
from dockerlab.errors import InvalidRequest, Unsupported

# Per machine: Docker's architecture names with their table and AUDIT_ARCH_*, native first.
_MACHINES = {
    "x86_64": {
        "SCMP_ARCH_X86_64": ("x86_64", 0xC000003E),
        "SCMP_ARCH_X86": ("i386", 0x40000003),
        "SCMP_ARCH_X32": ("x32", 0xC000003E),
    },
    "aarch64": {
        "SCMP_ARCH_AARCH64": ("aarch64", 0xC00000B7),
        "SCMP_ARCH_ARM": ("arm", 0x40000028),
    },
}
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_WIDE = ("x86_64", "aarch64")
# The private calls of 32-bit ARM (set_tls, ...) lie far above its table.
_ARM_PRIVATE = 0xF0000

_ERRNO, _TRACE, _KILL_PROCESS = 0x00050000, 0x7FF00000, 0x80000000
_ENOSYS, _EPERM = 38, 1
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    "SCMP_CMP_NE": "ne", "SCMP_CMP_LT": "lt", "SCMP_CMP_LE": "le", "SCMP_CMP_EQ": "eq",
    "SCMP_CMP_GE": "ge", "SCMP_CMP_GT": "gt", "SCMP_CMP_MASKED_EQ": "masked",
}  # fmt: skip

Profile = Mapping[str, Any]
"""A decoded profile; its shape is checked where it is used."""


@cache
def _data(name: str) -> Any:
    return json.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))


def numbers(architecture: str) -> Mapping[str, int]:
    """Syscall names to numbers of "x86_64", "i386", "x32", "aarch64" or "arm"."""
    table: Mapping[str, int] = _data("seccomp_numbers.json")[architecture]
    return table


def default_program(capabilities: frozenset[str]) -> bytes:
    """The filter every container gets, for its bounding set ("CAP_SYS_ADMIN", ...)."""
    return _default(capabilities, os.uname().machine, _kernel(os.uname().release))


@lru_cache(maxsize=64)
def _default(capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> bytes:
    return compile_tables(_data("seccomp_default.json"), capabilities, machine, kernel)


def compile_profile(json_text: str, capabilities: frozenset[str]) -> bytes:
    """The filter of a user's own profile.

    Raises:
        InvalidRequest: the text is no profile.
    """
    return _compile(json_text, capabilities, os.uname().machine, _kernel(os.uname().release))


@lru_cache(maxsize=16)
def _compile(
    json_text: str, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]
) -> bytes:
    try:
        profile = json.loads(json_text)
    except ValueError as problem:
        raise _undecodable(str(problem)) from None
    if not isinstance(profile, dict):
        raise _undecodable("a profile is a JSON object")
    try:
        return compile_tables(profile, capabilities, machine, kernel)
    except (AttributeError, TypeError, KeyError, ValueError) as problem:
        raise _undecodable(f"{type(problem).__name__}: {problem}") from None


def _undecodable(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"Decoding seccomp profile failed: {why}",
        hint="--security-opt seccomp=FILE takes a profile in Docker's JSON format; "
        "seccomp=unconfined takes none.",
    )


def _kernel(release: str) -> tuple[int, int]:
    """Major and minor of `uname -r` or of a profile's minKernel."""
    parts = release.split(".")
    digits = "".join(c for c in parts[1][:4] if c.isdigit()) if len(parts) > 1 else "0"
    return int(parts[0]), int(digits or 0)


def compile_tables(
    profile: Profile, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]
) -> bytes:
    """Resolve a decoded profile for one machine and compile it."""
    if machine not in _MACHINES:
        raise Unsupported(
            f"no seccomp filter for {machine}",
            hint="--security-opt seccomp=unconfined runs without one.",
        )
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    items = [
        item
        for item in profile.get("syscalls") or ()
        if _applies(item, capabilities, _GO_NAMES[machine], kernel)
    ]
    rules = _rules_by_name(items, default)
    known = {name for item in items for name in _names(item)}
    tables = [
        _table(architecture, audit, rules, known, default)
        for architecture, audit in _architectures(profile, machine)
    ]
    return assemble(tables, _KILL_PROCESS)


def _architectures(profile: Profile, machine: str) -> list[tuple[str, int]]:
    """The tables the profile covers here: the native one always, others if it names them."""
    named: Iterable[str] = profile.get("architectures") or ()
    mapped = profile.get("archMap") or ()
    if named and mapped:
        raise InvalidRequest(
            "'architectures' and 'archMap' were specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'",
            hint="Delete one of the two from the profile.",
        )
    here = _MACHINES[machine]
    native = next(iter(here))
    for entry in mapped:
        if entry["architecture"] == native:
            named = entry.get("subArchitectures") or ()
    wanted = {native, *named}
    return [where for name, where in here.items() if name in wanted]


def _applies(
    item: Profile, capabilities: frozenset[str], architecture: str, kernel: tuple[int, int]
) -> bool:
    includes, excludes = item.get("includes") or {}, item.get("excludes") or {}
    unwanted = excludes.get("caps") or ()
    if architecture in (excludes.get("arches") or ()) or capabilities.intersection(unwanted):
        return False
    if excludes.get("minKernel") and _kernel(excludes["minKernel"]) <= kernel:
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if not capabilities.issuperset(includes.get("caps") or ()):
        return False
    return not includes.get("minKernel") or _kernel(includes["minKernel"]) <= kernel


def _names(item: Profile) -> list[str]:
    names: list[str] = item.get("names") or []
    single: str = item.get("name") or ""
    if names and single:
        raise InvalidRequest(
            "'name' and 'names' were specified in the seccomp profile, "
            "use either 'name' or 'names'",
            hint="Delete one of the two from the profile.",
        )
    return [single] if single else names


def _action(name: str, errno_return: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidRequest(
            f"string {name} is not a valid action for seccomp",
            hint=f"Known here: {', '.join(_ACTIONS)}.",
        )
    action = _ACTIONS[name]
    if action in (_ERRNO, _TRACE):
        return action | (_EPERM if errno_return is None else errno_return) & 0xFFFF
    return action


def _rules_by_name(items: Iterable[Profile], default: int) -> dict[str, tuple[Rule, ...]]:
    """Rules of each syscall in order: items OR together, the tests inside one AND."""
    rules: dict[str, tuple[Rule, ...]] = {}
    for item in items:
        action = _action(item["action"], item.get("errnoRet"))
        if action == default:
            continue
        tests = tuple(map(_test, item.get("args") or ()))
        if len({test.argument for test in tests}) < len(tests):
            # Two tests of one argument can hardly mean "and"; each becomes a rule of its own.
            made = tuple(Rule((test,), action) for test in tests)
        else:
            made = (Rule(tests, action),)
        for name in _names(item):
            rules[name] = rules.get(name, ()) + made
    return rules


def _test(argument: Profile) -> Comparison:
    index, operator = argument["index"], argument["op"]
    if operator not in _OPERATORS:
        raise InvalidRequest(
            f"string {operator} is not a valid operator for seccomp",
            hint=f"Known are {', '.join(_OPERATORS)}.",
        )
    if not 0 <= index <= 5:
        raise InvalidRequest(
            f"seccomp argument index {index} is out of range",
            hint="Syscalls have six arguments, 0 to 5.",
        )
    return Comparison(index, _OPERATORS[operator], argument["value"], argument.get("valueTwo") or 0)


def _table(
    architecture: str, audit: int, rules: Mapping[str, tuple[Rule, ...]],
    known: Iterable[str], default: int,
) -> Table:  # fmt: skip
    table = numbers(architecture)
    first = X32_BIT if architecture == "x32" else 0
    last = X32_BIT - 1 if architecture == "x86_64" else 0xFFFFFFFF
    private = _ARM_PRIVATE if architecture == "arm" else last + 1
    named = [table[name] for name in known if name in table and table[name] < private]
    return Table(
        audit_arch=audit,
        first=first,
        last=last,
        wide=architecture in _WIDE,
        calls={table[name]: found for name, found in rules.items() if name in table},
        default=default,
        # What a profile could not know must look absent, not forbidden: libcs then fall back.
        newer=max(named, default=last) + 1,
        private=private,
        newer_action=default if default == _ACTIONS["SCMP_ACT_ALLOW"] else _ERRNO | _ENOSYS,
    )
