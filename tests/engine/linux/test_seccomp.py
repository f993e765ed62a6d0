"""The filter's decisions, read by an interpreter of BPF: no kernel needed, any architecture."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.linux import seccomp
from dockerlab.engine.linux.capabilities import DEFAULT
from dockerlab.engine.linux.seccomp_filter import Comparison, Rule, Table, assemble
from dockerlab.errors import InvalidRequest, Unsupported

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
AUDIT = {
    "x86_64": 0xC000003E, "x32": 0xC000003E, "i386": 0x40000003,
    "aarch64": 0xC00000B7, "arm": 0x40000028,
}  # fmt: skip
KERNEL = (6, 1)
CAPABILITIES = frozenset(
    "CAP_" + name for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
        "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip


def interpret(program: bytes, audit: int, number: int, arguments=()) -> int:
    """Run a filter as the kernel would, checking what its verifier checks."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("<IIQ6Q", number, audit, 0, *(list(arguments) + [0] * 6)[:6])
    accumulator, at = 0, 0
    while True:
        code, yes, no, value = instructions[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            assert value % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
            }[code]
            at += yes if holds else no


def ask(program, architecture, name, *arguments):
    number = seccomp.numbers(architecture)[name] if isinstance(name, str) else name
    return interpret(program, AUDIT[architecture], number, arguments)


def default(machine="x86_64", capabilities=CAPABILITIES, kernel=KERNEL):
    text = seccomp._data("seccomp_default.json")
    return seccomp.compile_tables(text, frozenset(capabilities), machine, kernel)


def test_default_capabilities_are_those_of_the_table():
    assert len(CAPABILITIES) == len(DEFAULT)


@pytest.mark.parametrize("architecture", ["x86_64", "i386", "x32", "aarch64", "arm"])
def test_every_plain_name_of_the_profile_is_allowed_and_nothing_else(architecture):
    program = default("x86_64" if architecture in ("x86_64", "i386", "x32") else "aarch64")
    items = seccomp._data("seccomp_default.json")["syscalls"]
    plain = {name for item in items if not item.keys() & {"args", "includes"}
             and item["action"] == "SCMP_ACT_ALLOW" for name in item["names"]}  # fmt: skip
    table = seccomp.numbers(architecture)
    mentioned = {name for item in items for name in item["names"]}
    allowed_numbers = {table[name] for name in plain if name in table}
    for name, number in table.items():
        verdict = ask(program, architecture, number)
        if number in allowed_numbers:
            assert verdict == ALLOW, name
        elif name not in mentioned:
            assert verdict in (EPERM, ENOSYS), name


@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        ("mount", (), EPERM), ("umount2", (), EPERM), ("unshare", (), EPERM), ("setns", (), EPERM),
        ("bpf", (), EPERM), ("kexec_load", (), EPERM), ("keyctl", (), EPERM),
        ("init_module", (), EPERM), ("reboot", (), EPERM), ("settimeofday", (), EPERM),
        ("io_uring_setup", (), EPERM), ("perf_event_open", (), EPERM),
        ("userfaultfd", (), EPERM), ("open_by_handle_at", (), EPERM), ("get_mempolicy", (), EPERM),
        ("chroot", (), ALLOW), ("ptrace", (), ALLOW), ("arch_prctl", (), ALLOW),
        ("clone3", (), ENOSYS),
        ("clone", (0x11,), ALLOW), ("clone", (0x20000,), EPERM), ("clone", (0x10000000,), EPERM),
        ("clone", (0x3D0F00,), ALLOW), ("clone", (1 << 40,), ALLOW),
        ("socket", (2,), ALLOW), ("socket", (37,), ALLOW), ("socket", (38,), EPERM),
        ("socket", (39,), ALLOW), ("socket", (40,), EPERM), ("socket", (41,), ALLOW),
        ("socket", (1 << 32 | 38,), ALLOW),
        ("personality", (0,), ALLOW), ("personality", (8,), ALLOW), ("personality", (9,), EPERM),
        ("personality", (0x20008,), ALLOW), ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x1FFFFFFFF,), EPERM), ("personality", (0x0040000,), EPERM),
        (467, (), ENOSYS), (900, (), ENOSYS), (0x3FFFFFFF, (), ENOSYS),
    ],
)  # fmt: skip
def test_decisions_on_x86_64(name, arguments, verdict):
    assert ask(default(), "x86_64", name, *arguments) == verdict


@pytest.mark.parametrize(
    ("architecture", "name", "arguments", "verdict"),
    [
        ("x32", "read", (), ALLOW), ("x32", "mount", (), EPERM),
        ("x32", 0x40000000 | 600, (), ENOSYS),
        # On 32 bits the upper half of an argument is noise.
        ("x32", "socket", (1 << 32 | 38,), EPERM),
        ("i386", "socketcall", (), ALLOW), ("i386", "socket", (40,), EPERM),
        ("i386", "socket", (1 << 32 | 40,), EPERM), ("i386", 467, (), ENOSYS),
        ("i386", "mount", (), EPERM), ("i386", "clone", (0x20000,), EPERM),
        ("i386", "mmap2", (), ALLOW),
    ],
)  # fmt: skip
def test_decisions_on_the_other_languages_of_an_x86_64_kernel(
    architecture, name, arguments, verdict
):
    assert ask(default(), architecture, name, *arguments) == verdict


@pytest.mark.parametrize(
    ("architecture", "name", "verdict"),
    [("aarch64", "openat", ALLOW), ("aarch64", "mount", EPERM), ("aarch64", "clone3", ENOSYS),
     ("arm", "set_tls", ALLOW), ("arm", "cacheflush", ALLOW), ("arm", "usr26", EPERM),
     ("arm", 467, ENOSYS), ("arm", "arm_fadvise64_64", ALLOW), ("aarch64", 600, ENOSYS)],
)  # fmt: skip
def test_decisions_on_arm(architecture, name, verdict):
    assert ask(default("aarch64"), architecture, name) == verdict


def test_foreign_architectures_are_killed():
    assert interpret(default(), AUDIT["aarch64"], 0) == KILL
    native_only = seccomp.compile_tables(
        {"defaultAction": "SCMP_ACT_ALLOW"}, frozenset(), "x86_64", KERNEL
    )
    assert ask(native_only, "i386", "read") == KILL
    assert ask(native_only, "x32", "read") == KILL
    assert ask(native_only, "x86_64", "read") == ALLOW
    assert ask(native_only, "x86_64", 5000) == ALLOW


def test_capabilities_open_their_calls():
    admin = default(capabilities=CAPABILITIES | {"CAP_SYS_ADMIN"})
    for name in ("mount", "unshare", "setns", "clone3", "bpf"):
        assert ask(admin, "x86_64", name) == ALLOW
    assert ask(admin, "x86_64", "clone", 0x10000000) == ALLOW
    assert ask(admin, "x86_64", "reboot") == EPERM
    assert ask(default(capabilities=()), "x86_64", "chroot") == EPERM


def test_old_kernels_keep_ptrace_closed():
    assert ask(default(kernel=(4, 7)), "x86_64", "ptrace") == EPERM
    assert ask(default(kernel=(4, 8)), "x86_64", "ptrace") == ALLOW


def profile(**parts):
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **parts})


def own(capabilities=frozenset(), **parts):
    return seccomp.compile_profile(profile(**parts), capabilities)


def item(*names, action="SCMP_ACT_ALLOW", **more):
    return {"names": names, "action": action, **more}


def test_a_profile_of_the_users_own():
    program = own(
        defaultErrnoRet=13,
        syscalls=[
            item("read", "no_such_call_anywhere"),
            {"name": "write", "action": "SCMP_ACT_LOG"},
            item("close", action="SCMP_ACT_KILL_PROCESS"),
            item("openat", action="SCMP_ACT_ERRNO", errnoRet=2),
            item("kill", args=[
                {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
                {"index": 1, "value": 9, "op": "SCMP_CMP_NE"},
            ]),
            item("dup2", args=[
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
            ]),
            item("execve", includes={"caps": ["CAP_A", "CAP_B"]}),
        ],
        capabilities=frozenset({"CAP_A"}),
    )  # fmt: skip
    answers = {
        ("read",): ALLOW, ("write",): 0x7FFC0000, ("close",): KILL, ("openat",): 0x50002,
        ("kill", 5, 1): ALLOW, ("kill", 5, 9): 0x5000D, ("kill", 6, 1): 0x5000D,
        ("dup2", 1): ALLOW, ("dup2", 2): ALLOW, ("dup2", 3): 0x5000D, ("execve",): ENOSYS - 38 + 13,
    }  # fmt: skip
    for call, verdict in answers.items():
        number = seccomp.numbers("x86_64")[call[0]]
        found = interpret(program, AUDIT["x86_64"], number, call[1:])
        # Numbers beyond everything the profile names look absent.
        newest = seccomp.numbers("x86_64")["openat"]
        assert found == (ENOSYS if number > newest else verdict), call


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Decoding seccomp profile failed: Expecting property name"),
        ("[]", "Decoding seccomp profile failed: a profile is a JSON object"),
        ("{}", "Decoding seccomp profile failed: KeyError"),
        ('{"defaultAction": "SCMP_ACT_SING"}', "string SCMP_ACT_SING is not a valid action"),
        (profile(syscalls=7), "Decoding seccomp profile failed"),
        (profile(architectures=["x"], archMap=[{}]),
         "'architectures' and 'archMap' were specified"),
        (profile(syscalls=[item("b", name="a")]), "'name' and 'names' were specified"),
        (profile(syscalls=[item("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])]),
         "seccomp argument index 6 is out of range"),
        (profile(syscalls=[item("read", args=[{"index": 0, "value": 1, "op": "=="}])]),
         "string == is not a valid operator"),
    ],
)  # fmt: skip
def test_errors_of_profiles(text, message):
    with pytest.raises(InvalidRequest, match=f"^{message}") as caught:
        seccomp.compile_profile(text, frozenset())
    assert caught.value.hint


def test_an_unknown_machine_is_said():
    with pytest.raises(Unsupported):
        seccomp.compile_tables({"defaultAction": "SCMP_ACT_ALLOW"}, frozenset(), "vax", KERNEL)


OPERATORS = {
    "eq": lambda a, v, _: a == v, "ne": lambda a, v, _: a != v, "lt": lambda a, v, _: a < v,
    "le": lambda a, v, _: a <= v, "gt": lambda a, v, _: a > v, "ge": lambda a, v, _: a >= v,
    "masked": lambda a, v, second: a & v == second,
}  # fmt: skip
words = st.sampled_from([0, 1, 2, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 64) - 1])
tests = st.builds(
    Comparison, st.integers(0, 5), st.sampled_from(sorted(OPERATORS)),
    words | st.integers(0, 2**64 - 1), words,
)  # fmt: skip
rules = st.builds(
    Rule, st.lists(tests, max_size=3).map(tuple), st.sampled_from([ALLOW, EPERM, KILL])
)
calls = st.dictionaries(st.integers(0, 400), st.lists(rules, min_size=1, max_size=3).map(tuple))


@given(calls, st.booleans(), st.lists(words, min_size=6, max_size=6), st.data())
def test_the_compiled_filter_decides_as_the_rules_read(calls, wide, arguments, data):
    table = Table(0x1234, 0, 0xFFFFFFFF, wide, calls, 0x50007, 450, 1 << 32, ENOSYS)
    program = assemble([table], KILL)
    number = data.draw(st.sampled_from([*calls, 0, 401, 449, 450, 0xFFFFFFFF]))

    def holds(test):
        cut = (1 << 64 if wide else 1 << 32) - 1
        value, second = test.value & cut, test.second & cut
        return OPERATORS[test.op](arguments[test.argument] & cut, value, second)

    found = calls.get(number)
    if found is None:
        expected = ENOSYS if number >= 450 else 0x50007
    else:
        plain = [rule for rule in found if not rule.tests]
        order = plain or [rule for rule in found if all(map(holds, rule.tests))]
        expected = order[0].action if order else 0x50007
    assert interpret(program, 0x1234, number, arguments) == expected
    assert interpret(program, 0x4321, number, arguments) == KILL


def test_filters_beyond_one_jump_still_decide_rightly():
    # Every second number allowed, each third by argument: far more than 255 instructions.
    calls = {
        n: (Rule((Comparison(0, "eq", n),) if n % 3 else (), ALLOW if n % 2 else EPERM),)
        for n in range(0, 1200, 1)
    }
    table = Table(7, 0, 0xFFFFFFFF, True, calls, 0x50007, 1200, 1 << 32, ENOSYS)
    small = {n: rules for n, rules in calls.items() if n < 300}
    program = assemble([Table(7, 0, 0xFFFFFFFF, True, small, 0x50007, 1200, 1 << 32, ENOSYS)], KILL)
    assert len(program) // 8 > 512
    for n in range(300):
        for argument in (n, n + 1):
            rule = calls[n][0]
            expected = rule.action if not rule.tests or argument == n else 0x50007
            assert interpret(program, 7, n, [argument]) == expected
    with pytest.raises(ValueError, match="4096 are allowed"):
        assemble([table], KILL)
