"""System calls that Python lacks: one function per call, under the kernel's own name.

Knows:   numbers for x86-64 and arm64, argument types, and how errno becomes an `OSError`.
Refuses: policy, and anything heavy: this file runs in the zygote. Mount calls: `mounts.py`.
Source:  man 2 of each call; Linux arch/x86/entry/syscalls and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

ARM64 = os.uname().machine == "aarch64"

SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_PIVOT_ROOT = 41 if ARM64 else 155
SYS_KEYCTL = 219 if ARM64 else 250
SYS_CAPGET = 90 if ARM64 else 125
SYS_CAPSET = 91 if ARM64 else 126
SYS_SETNS = 268 if ARM64 else 308

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_PIDFD = 0x00001000
_CLONE_INTO_CGROUP = 0x200000000
_SIGCHLD = 17

RESOLVE_IN_ROOT = 0x10

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_KEYCTL_JOIN_SESSION_KEYRING = 1

# PyDLL keeps the GIL: these calls are short, and after clone3 the child must still own it.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_unshare = _libc.unshare
_unshare.argtypes = (ctypes.c_int,)
_prctl = _libc.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_sethostname = _libc.sethostname
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = _libc.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def failed(call: str, subject: str) -> OSError:
    """Make the error of the call that just failed: errno, and what it was about."""
    number = ctypes.get_errno()
    return OSError(number, f"{call} {subject}: {os.strerror(number)}")


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a raw system call; integers travel as whole registers. -1 means errno is set."""
    return int(
        _syscall(
            ctypes.c_long(number),
            *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments),
        )
    )


def clone3(flags: int, cgroup: int = -1) -> tuple[int, int]:
    """Fork into new namespaces, and into a cgroup v2 directory where a descriptor is given.

    Behaves like fork for a process with one thread; the child skips Python's and libc's fork
    handlers and shall soon exec. Returns (0, -1) in the child, (pid, pidfd) in the parent.
    """
    pidfd = ctypes.c_int(-1)
    flags |= _CLONE_PIDFD | (_CLONE_INTO_CGROUP if cgroup >= 0 else 0)
    words = (flags, ctypes.addressof(pidfd), 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, max(cgroup, 0))
    arguments = ctypes.create_string_buffer(struct.pack("11Q", *words), 88)
    pid = syscall(SYS_CLONE3, arguments, 88)
    if pid < 0:
        raise failed("clone3", f"flags {flags:#x}")
    return pid, pidfd.value if pid else -1


def close_range(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`, both included."""
    # os.closerange closes one by one where Python was built for an older libc.
    if syscall(SYS_CLOSE_RANGE, first, last, 0) < 0:
        raise failed("close_range", f"{first}-{last}")


def unshare(namespaces: int) -> None:
    """Give this process its own copy of each namespace named."""
    if _unshare(namespaces) < 0:
        raise failed("unshare", f"flags {namespaces:#x}")


def setns(descriptor: int, namespaces: int) -> None:
    """Join a namespace by its file, or several of a process by its pidfd."""
    if syscall(SYS_SETNS, descriptor, namespaces) < 0:
        raise failed("setns", f"flags {namespaces:#x}")


def openat2(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Open a path with rules for how it may be resolved; the descriptor is close-on-exec."""
    how = ctypes.create_string_buffer(struct.pack("3Q", flags | os.O_CLOEXEC, mode, resolve), 24)
    descriptor = syscall(SYS_OPENAT2, directory, os.fsencode(path), how, 24)
    if descriptor < 0:
        raise failed("open", path)
    return descriptor


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and put the old one at `old`."""
    if syscall(SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)) < 0:
        raise failed("pivot_root", new)


def sethostname(name: str) -> None:
    """Name this UTS namespace."""
    text = os.fsencode(name)
    if _sethostname(text, len(text)) < 0:
        raise failed("sethostname", name)


def setdomainname(name: str) -> None:
    """Set the NIS domain of this UTS namespace."""
    text = os.fsencode(name)
    if _setdomainname(text, len(text)) < 0:
        raise failed("setdomainname", name)


def set_parent_death_signal(number: int) -> None:
    """Ask for a signal when the parent ends. A change of ids clears it."""
    if _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) < 0:
        raise failed("prctl", "PR_SET_PDEATHSIG")


def set_dumpable(dumpable: bool) -> None:
    """Decide whether processes of the same user may look into this one's /proc files."""
    if _prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0) < 0:
        raise failed("prctl", "PR_SET_DUMPABLE")


def set_name(name: str) -> None:
    """Name this process as `ps` shows it; 15 bytes count."""
    text = ctypes.create_string_buffer(os.fsencode(name)[:15], 16)
    if _prctl(_PR_SET_NAME, ctypes.addressof(text), 0, 0, 0) < 0:
        raise failed("prctl", "PR_SET_NAME")


def set_no_new_privileges() -> None:
    """Promise that no exec from here on gains privileges."""
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise failed("prctl", "PR_SET_NO_NEW_PRIVS")


def drop_bounding_capability(number: int) -> None:
    """Take one capability from the bounding set."""
    if _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
        raise failed("prctl", f"PR_CAPBSET_DROP {number}")


def clear_ambient_capabilities() -> None:
    """Empty the ambient set."""
    if _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0:
        raise failed("prctl", "PR_CAP_AMBIENT_CLEAR_ALL")


def install_seccomp(program: bytes) -> None:
    """Filter this process's system calls from now on; `program` is a sock_filter array."""
    filters = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: u16 count, padding, pointer.
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(filters)), 16
    )
    if _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0) < 0:
        raise failed("prctl", "PR_SET_SECCOMP")


def join_session_keyring(name: str) -> None:
    """Leave the inherited session keyring for a new one."""
    if syscall(SYS_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, os.fsencode(name)) < 0:
        raise failed("keyctl", name)
