"""Things done for trial, in a child process that ends right after.

Knows:   how to learn why the kernel refuses something, and how to be alone in new namespaces.
Refuses: to know what is tried. The caller has no threads: a fork copies only one.
Source:  man 2 fork, man 7 user_namespaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dockerlab.engine.linux import syscalls
from dockerlab.errors import DockerlabError

_CLONE_NEWUSER = 0x10000000


def refused(work: Callable[[], None]) -> str:
    """Do something in a child that ends right after; "" or why it failed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except (OSError, DockerlabError, ValueError) as problem:
            os.write(writer, (str(problem) or type(problem).__name__).encode()[:4000])
            os._exit(1)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read().decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return text or (f"ended by signal {-code}" if code < 0 else "")


def alone(flags: int) -> None:
    """Enter new namespaces; as a user, within a user namespace."""
    if os.geteuid() != 0:
        become_root_inside()
    syscalls.unshare(flags)


def become_root_inside() -> None:
    """Enter a new user namespace, in which this user is root."""
    user, group = os.getuid(), os.getgid()
    syscalls.unshare(_CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)
