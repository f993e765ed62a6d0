"""Hang a device program onto a cgroup v2 directory; light, as the shim does it.

Knows:   bpf(2): load a program, attach it to a directory.
Refuses: which devices; `device_rules.program` decides.
Source:  man 2 bpf; include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

_BPF_PROG_LOAD, _BPF_PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
_NUMBERS = {"x86_64": 321, "aarch64": 280}

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    number = _NUMBERS.get(os.uname().machine, 0)
    # Every integer through syscall(2) as a long: it is variadic.
    result: int = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_long(command),
        ctypes.create_string_buffer(attributes),
        ctypes.c_long(len(attributes)),
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf({command}): {os.strerror(code)}")
    return result


def load(program: bytes) -> int:
    """Load a device program; returns its descriptor, close-on-exec as all of bpf's are."""
    instructions = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQII", _PROG_TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(instructions),
        ctypes.addressof(licence), 0, 0, 0, 0, 0,
    )  # fmt: skip
    return _bpf(_BPF_PROG_LOAD, attributes)


def attach(directory: str, program: bytes) -> None:
    """Let `program` decide about devices for everything in the cgroup `directory`.

    It ends with the directory. More of them on one path all have to agree (ALLOW_MULTI), so a
    container in a container can only be narrower.
    """
    loaded = load(program)
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(
                _BPF_PROG_ATTACH,
                struct.pack("=IIII", folder, loaded, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI),
            )
        finally:
            os.close(folder)
    finally:
        os.close(loaded)
