"""Paths inside a root that is not ours: opened and made without ever leaving it.

Knows:   openat2(RESOLVE_IN_ROOT) for opening; how missing directories and files are made below.
Refuses: to follow a link, "..", or a magic link of /proc out of the root; anything heavy.
Source:  man 2 openat2. Images are hostile: /etc may be a link to /etc of the host.
"""

from __future__ import annotations

import errno
import os
import stat

from dockerlab.engine.linux.syscalls import RESOLVE_IN_ROOT, openat2

_MAX_LINKS = 40
_RETRIES = 64


def open_inside(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as a process whose root is the descriptor `root` would."""
    for _ in range(_RETRIES):
        try:
            return openat2(root, path, flags, RESOLVE_IN_ROOT, mode)
        except OSError as error:
            # Somebody moved a directory while ".." was being resolved.
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, f"open {path}: {os.strerror(errno.EAGAIN)}")


def regular(node: int) -> int:
    """Open for reading what an O_PATH descriptor names, and close that one.

    Returns:
        A descriptor, or -1 for whatever is no regular file: to open a device or a pipe that an
        image brings would do more than to look at it.
    """
    try:
        if not stat.S_ISREG(os.fstat(node).st_mode):
            return -1
        return os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(node)


def text_inside(root: int, path: str, limit_bytes: int) -> str:
    """Read the beginning of a regular file below the root; "" where there is none."""
    try:
        descriptor = regular(open_inside(root, path, os.O_PATH))
    except OSError:
        return ""
    if descriptor < 0:
        return ""
    with open(descriptor, "rb") as file:
        return file.read(limit_bytes).decode(errors="surrogateescape")


def directory_inside(root: int, path: str, mode: int = 0o755) -> int:
    """Open a directory below the root by an O_PATH descriptor; what is missing is made."""
    return _directory(root, path, mode, _MAX_LINKS)


def _directory(root: int, path: str, mode: int, links: int) -> int:
    try:
        return open_inside(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        if links == 0:
            raise OSError(errno.ELOOP, f"mkdir {path}: {os.strerror(errno.ELOOP)}") from None
    parent_path, name = _split(path)
    if not name:
        raise FileNotFoundError(errno.ENOENT, f"open {path}: {os.strerror(errno.ENOENT)}")
    parent = _directory(root, parent_path, mode, links)
    try:
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            # A link to nowhere: the directory is made where it leads.
            target = os.readlink(name, dir_fd=parent)
            joined = target if target.startswith("/") else f"{parent_path}/{target}"
            return _directory(root, joined, mode, links - 1)
    finally:
        os.close(parent)
    return open_inside(root, path, os.O_PATH | os.O_DIRECTORY)


def file_inside(root: int, path: str) -> int:
    """Open anything below the root by an O_PATH descriptor; an empty file is made if missing."""
    try:
        return open_inside(root, path, os.O_PATH)
    except FileNotFoundError:
        parent_path, name = _split(path)
    parent = directory_inside(root, parent_path)
    try:
        made = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent)
        os.close(made)
    finally:
        os.close(parent)
    return open_inside(root, path, os.O_PATH)


def parent_inside(root: int, path: str) -> tuple[int, str]:
    """Open the directory that holds `path` (made if missing), and give the last name."""
    parent_path, name = _split(path)
    if name in {"", ".", ".."}:
        raise OSError(errno.EINVAL, f"{path}: {os.strerror(errno.EINVAL)}")
    return directory_inside(root, parent_path), name


def real_path(root: int, path: str) -> str:
    """Say where a path leads, links followed; what does not exist stays as it is written.

    Good for names in messages and answers, never for access: it may change at any moment.
    """
    done: list[str] = []
    rest = path.split("/")[::-1]
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            del done[-1:]
        elif part not in {"", "."}:
            done.append(part)
            target = _link_inside(root, "/".join(done)) if links < _MAX_LINKS else ""
            if target:
                links += 1
                done = [] if target.startswith("/") else done[:-1]
                rest += target.split("/")[::-1]
    return "/" + "/".join(done)


def _link_inside(root: int, path: str) -> str:
    """Read a symbolic link; "" for whatever is none."""
    try:
        descriptor = open_inside(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        return os.readlink("", dir_fd=descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name
