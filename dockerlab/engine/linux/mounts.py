"""Mount calls, and the words of mount(8) as the kernel's numbers.

Knows:   mount, umount2, open_tree, move_mount, mount_setattr; which option word means which flag.
Refuses: policy, and anything heavy: this file runs in the zygote.
Source:  man 2 mount, mount_setattr; util-linux' mount(8) for the words.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from dockerlab.engine.linux.syscalls import failed, syscall

SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_MOUNT_SETATTR = 442

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
OPEN_TREE_CLONE = 0x1
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

# word -> (bits set, bits cleared)
FLAGS = {
    "ro": (MS_RDONLY, 0), "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0), "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0), "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0), "exec": (0, MS_NOEXEC),
    "sync": (0x10, 0), "async": (0, 0x10),
    "dirsync": (0x80, 0), "mand": (0x40, 0), "nomand": (0, 0x40),
    "noatime": (0x400, 0), "atime": (0, 0x400),
    "nodiratime": (0x800, 0), "diratime": (0, 0x800),
    "relatime": (MS_RELATIME, 0), "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, 0), "nostrictatime": (0, MS_STRICTATIME),
    "silent": (0x8000, 0), "loud": (0, 0x8000),
    "bind": (MS_BIND, 0), "rbind": (MS_BIND | MS_REC, 0),
    "remount": (MS_REMOUNT, 0), "defaults": (0, 0),
}  # fmt: skip
PROPAGATION = {
    "private": MS_PRIVATE, "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE, "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED, "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE, "runbindable": MS_UNBINDABLE | MS_REC,
}  # fmt: skip
# Words that are about the whole tree below a bind: mount_setattr attributes.
RECURSIVE = {"rro": MOUNT_ATTR_RDONLY}

_libc = ctypes.PyDLL(None, use_errno=True)
_mount = _libc.mount
_mount.argtypes = (
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
)  # fmt: skip
_umount2 = _libc.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def parse_options(words: tuple[str, ...]) -> tuple[int, int, int, str]:
    """Split option words into mount flags, propagation, recursive attributes and data."""
    flags = propagation = recursive = 0
    data = []
    for word in words:
        if word in FLAGS:
            on, off = FLAGS[word]
            flags = flags & ~off | on
        elif word in PROPAGATION:
            propagation = PROPAGATION[word]
        elif word in RECURSIVE:
            recursive |= RECURSIVE[word]
        elif word != "newinstance":  # what every devpts has been since Linux 4.7
            data.append(word)
    return flags, propagation, recursive, ",".join(data)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Attach a file system, or change how one is attached."""
    if (
        _mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(data))
        < 0
    ):
        raise failed("mount", f"{source} at {target}" if source else target)


def umount2(target: str, flags: int) -> None:
    """Detach a file system."""
    if _umount2(os.fsencode(target), flags) < 0:
        raise failed("umount", target)


def open_tree(directory: int, path: str, flags: int) -> int:
    """Get a descriptor of a mount, or with OPEN_TREE_CLONE of a detached copy of it."""
    descriptor = syscall(SYS_OPEN_TREE, directory, os.fsencode(path), flags | os.O_CLOEXEC)
    if descriptor < 0:
        raise failed("open_tree", path)
    return descriptor


def move_mount(source: int, target: int) -> None:
    """Attach the detached mount `source` at the place that the descriptor `target` names."""
    # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    if syscall(SYS_MOVE_MOUNT, source, b"", target, b"", 0x04 | 0x40) < 0:
        raise failed("move_mount", f"descriptor {target}")


def mount_setattr(descriptor: int, attributes: int, *, recursive: bool = False) -> None:
    """Set attributes on a mount, and with `recursive` on every mount below it."""
    words = ctypes.create_string_buffer(struct.pack("4Q", attributes, 0, 0, 0), 32)
    at = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    if syscall(SYS_MOUNT_SETATTR, descriptor, b"", at, words, 32) < 0:
        raise failed("mount_setattr", f"attributes {attributes:#x}")


def detached_overlay(lowers: Iterable[str], *, upper: str = "", work: str = "") -> int:
    """Mount an overlay that has no place in any mount table; it goes with its descriptor.

    Paths are absolute, lower ones topmost first; without an upper one it is read-only.
    """
    context = syscall(SYS_FSOPEN, b"overlay", _FSOPEN_CLOEXEC)
    if context < 0:
        raise failed("fsopen", "overlay")
    try:
        _set_lowers(context, list(lowers))
        for key, value in _overlay_options(upper, work):
            _set_option(context, key, value)
        if syscall(SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            raise failed("fsconfig", "create overlay")
        mounted = syscall(SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
        if mounted < 0:
            raise failed("fsmount", "overlay")
        return mounted
    finally:
        os.close(context)


def _set_option(context: int, key: str, value: str) -> None:
    command = _FSCONFIG_SET_STRING if value else _FSCONFIG_SET_FLAG
    text = os.fsencode(value) if value else None
    if syscall(SYS_FSCONFIG, context, command, key.encode(), text, 0) < 0:
        raise failed("fsconfig", f"{key} {value}")


def _set_lowers(context: int, lowers: list[str]) -> None:
    """Name the lower directories, one by one: a string of fsconfig ends at 255 bytes."""
    for number, lower in enumerate(lowers):
        try:
            _set_option(context, "lowerdir+", lower)
        except OSError as error:
            if number or error.errno != errno.EINVAL:
                raise
            # Before Linux 6.8 there is only the list; as descriptors its paths are short.
            _set_lower_list(context, lowers)
            return


def _set_lower_list(context: int, lowers: list[str]) -> None:
    opened = [os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for lower in lowers]
    try:
        _set_option(context, "lowerdir", ":".join(f"/proc/self/fd/{fd}" for fd in opened))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _overlay_options(upper: str, work: str) -> list[tuple[str, str]]:
    options: list[tuple[str, str]] = []
    if upper:
        options += [("upperdir", upper), ("workdir", work)]
        # Renamed and partly copied files could not become layers of their own.
        options += [("redirect_dir", "off"), ("metacopy", "off")]
    return options
