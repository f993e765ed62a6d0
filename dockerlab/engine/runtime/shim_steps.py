"""The steps of a plan that the shim itself performs: cgroups, and whose pids init will have.

Knows:   how each is done, before init is cloned.
Refuses: order and policy (`plan.py`), anything heavy.
Source:  Linux admin-guide/cgroup-v1, cgroup-v2; man 2 setns.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

from dockerlab.engine.linux import syscalls


def perform(steps: list[list[Any]], joined: int) -> None:
    """Perform encoded steps in order.

    Args:
        steps: as `Plan.encode` gives them.
        joined: exec: pidfd of the container's init, else -1.
    """
    for name, *facts in steps:
        if name == "MakeCgroup":
            with suppress(FileExistsError):
                os.mkdir(facts[0], 0o755)
        elif name == "WriteCgroup":
            _write_cgroup(*facts)
        elif name == "FilterDevices":
            _filter_devices(*facts)
        else:
            _join_pid(facts[0], joined)


def _join_pid(path: str, joined: int) -> None:
    if not path:
        syscalls.setns(joined, syscalls.CLONE_NEWPID)
        return
    descriptor = os.open(path, os.O_RDONLY)
    syscalls.setns(descriptor, syscalls.CLONE_NEWPID)
    os.close(descriptor)


def _write_cgroup(path: str, text: str, required: bool) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        if required:
            reason = os.strerror(error.errno or errno.EIO)
            raise OSError(error.errno, f"write {text} to {path}: {reason}") from None


def _filter_devices(directory: str, program: str) -> None:
    import binascii  # noqa: PLC0415 - cgroup v2 only

    from dockerlab.engine.linux.device_filter import attach  # noqa: PLC0415

    attach(directory, binascii.a2b_base64(program))
