"""The default filter in a real process: the kernel takes it and answers as the profile says."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

import pytest

from dockerlab.engine.linux import seccomp

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="no syscall table for this machine"
)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def under_filter(program: bytes, name: str, *arguments: int) -> int:
    """Errno (0: success) of one syscall in a child that installed `program`."""
    number = seccomp.numbers(platform.machine())[name] if isinstance(name, str) else name
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            filter_ = _Program(len(program) // 8, program)
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_)) == 0:
                result = libc.syscall(number, *map(ctypes.c_long, arguments))
                code = 0 if result >= 0 else ctypes.get_errno()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mount", (0, 0, 0, 0, 0), errno.EPERM),
        ("unshare", (0x10000000,), errno.EPERM),
        ("clone", (0x10000000 | 17, 0, 0, 0, 0), errno.EPERM),
        ("clone3", (0, 0), errno.ENOSYS),
        ("keyctl", (0, 0, 0, 0, 0), errno.EPERM),
        ("bpf", (0, 0, 0), errno.EPERM),
        ("socket", (40, 1, 0), errno.EPERM),
        ("socket", (1, 1, 0), 0),
        ("personality", (0xFFFFFFFF,), 0),
        ("personality", (0x0400000,), errno.EPERM),
        ("getpid", (), 0),
        ("chroot", (0,), errno.EFAULT),
        (900, (), errno.ENOSYS),
    ],
)
def test_default_filter(name, arguments, expected):
    program = seccomp.default_program(frozenset({"CAP_SYS_CHROOT"}))
    assert under_filter(program, name, *arguments) == expected


def test_a_filter_of_ones_own():
    text = """{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"""
    program = seccomp.compile_profile(text, frozenset())
    assert under_filter(program, "mkdirat", -1, 0, 0) == errno.ENOSPC
    assert under_filter(program, "getpid") == 0
