"""Writes archive entries below a root directory, and never outside of it.

Knows:   walking by directory descriptors with O_NOFOLLOW; links resolved by us, inside the root;
         replacing what is there; owner, mode, attributes, times in the order the kernel wants.
Refuses: archives' syntax (`oci/layer_tar.py`) and layers' meaning (`unpack.py`).
Source:  man 2 openat, man 7 symlink; go-archive archive.go for what replaces what.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from dockerlab.engine.linux.capabilities import NUMBERS, capget
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.oci import layer_tar
from dockerlab.oci.layer_tar import Entry
from dockerlab.oci.tar_fields import bad, shown

_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CAP_CHOWN = NUMBERS["CAP_CHOWN"]
_OPEN_DIRECTORIES = 128
_MAX_LINKS = 40
_RESERVE_BYTES = 64 << 20
_CHECK_SPACE_BYTES = 16 << 20


class Content(Protocol):
    """Where payloads come from."""

    def pieces(self, size: int) -> Iterable[memoryview]: ...


def join(folder: bytes, base: bytes) -> bytes:
    """Join two cleaned names."""
    return folder + b"/" + base if folder else base


class Tree:
    """A directory tree being written. `finish()` once after the last entry, `close()` always.

    Attributes:
        implied: directories (by real path) that were made for what is below them.
        directories: metadata of directories, given to them in `finish()`.
    """

    def __init__(self, root: int, *, owner: tuple[int, int] | None = None) -> None:
        """Take a descriptor of the root; it stays the caller's.

        Args:
            root: descriptor of a directory, opened with O_RDONLY or O_PATH.
            owner: give everything to this user and group, whatever the archive says.
        """
        self.root = root
        self.implied: set[bytes] = set()
        self.directories: dict[bytes, Entry] = {}
        self._owner = owner
        self._open: dict[bytes, tuple[int, bytes]] = {b"": (os.dup(root), b"")}
        self._own_ids = (os.geteuid(), os.getegid())
        # Without it everything is ours and open to us; the index has the archive's own words.
        self._may_give = bool(capget()[0] >> _CAP_CHOWN & 1)
        self._dead: list[int] = []
        self._links = 0
        self._unchecked = _CHECK_SPACE_BYTES

    def close(self) -> None:
        """Let go of every descriptor."""
        self._dead += [descriptor for descriptor, _ in self._open.values()]
        self._open.clear()
        self._trim()

    # Walking

    def directory(self, path: bytes, *, create: bool = True) -> tuple[int, bytes]:
        """Open a directory named by an archive; links on the way lead inside the root.

        Returns:
            An O_PATH descriptor, ours to close, and the real path of the directory.
        """
        found = self._open.get(path)
        if found is not None:
            return found
        self._links = 0
        return self._walk(path, create=create)

    def _walk(self, path: bytes, *, create: bool) -> tuple[int, bytes]:
        head, rest = path, []
        while head not in self._open:
            head, _, last = head.rpartition(b"/")
            rest.append(last)
        descriptor, real = self._open[head]
        for part in reversed(rest):
            head = join(head, part)
            descriptor, real = self._step(descriptor, real, part, create=create)
            self._open[head] = (descriptor, real)
        return descriptor, real

    def _trim(self) -> None:
        """Close descriptors; only between entries, as one entry's parent must stay what it is."""
        for descriptor in self._dead:
            os.close(descriptor)
        self._dead.clear()
        while len(self._open) > _OPEN_DIRECTORIES:
            oldest = next(path for path in self._open if path)
            os.close(self._open.pop(oldest)[0])

    def _step(
        self, descriptor: int, real: bytes, part: bytes, *, create: bool
    ) -> tuple[int, bytes]:
        path = join(real, part)
        if len(path) > layer_tar.MAX_NAME or path.count(b"/") >= layer_tar.MAX_DEPTH:
            raise bad("file name too long", path)
        try:
            return os.open(part, _WALK, dir_fd=descriptor), path
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            status = os.lstat(part, dir_fd=descriptor)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(part, dir_fd=descriptor)
                followed, where = self._follow(real, target, path, create=create)
                return os.dup(followed), where
            if not create or not self.gives_way(path, status):
                raise bad("its parent is not a directory", path) from error
            self.clear(descriptor, part, path)
        os.mkdir(part, 0o755, dir_fd=descriptor)
        self.implied.add(path)
        return os.open(part, _WALK, dir_fd=descriptor), path

    def _follow(
        self, real: bytes, target: bytes, path: bytes, *, create: bool
    ) -> tuple[int, bytes]:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise bad("too many levels of symbolic links", path)
        where = b"" if target.startswith(b"/") else real
        for part in target.split(b"/"):
            if part in (b"", b"."):
                continue
            if part == b"..":
                where = where.rpartition(b"/")[0]
            else:
                where = self._walk(join(where, part), create=create)[1]
        return self._walk(where, create=create)

    def gives_way(self, path: bytes, status: os.stat_result) -> bool:
        """Tell whether something that is no directory may become one to hold an entry."""
        del path, status
        return False

    # Writing

    def put(self, entry: Entry, content: Content) -> bytes:
        """Write one entry, whatever was there before; return its real path.

        Raises:
            InvalidRequest: the archive asks for what cannot or may not be.
            Failed: the disk is full, or broken.
        """
        self._trim()
        try:
            return self._put(entry, content)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
                raise Failed(f"{reason} at {shown(entry.name)}") from error
            raise bad(reason.lower(), entry.name) from error

    def _put(self, entry: Entry, content: Content) -> bytes:
        if not entry.name:
            if entry.kind != layer_tar.DIRECTORY:
                raise bad("the root must be a directory", entry.name)
            self.directories[b""] = entry
            return b""
        folder, _, base = entry.name.rpartition(b"/")
        parent, real = self.directory(folder)
        path = join(real, base)
        if entry.kind == layer_tar.FILE:
            self._file(parent, base, path, entry, content)
        elif entry.kind == layer_tar.DIRECTORY:
            self._directory(parent, base, path, entry)
        elif entry.kind == layer_tar.HARDLINK:
            self.hard_link(parent, base, path, entry)
        else:
            self._special(parent, base, path, entry)
        return path

    def _file(self, parent: int, base: bytes, path: bytes, entry: Entry, content: Content) -> None:
        try:
            descriptor = os.open(base, _CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self.clear(parent, base, path)
            descriptor = os.open(base, _CREATE, 0o600, dir_fd=parent)
        try:
            if entry.pieces is None:
                self._copy(descriptor, entry.payload, content, entry)
            else:
                os.ftruncate(descriptor, entry.size)
                for offset, length in entry.pieces:
                    os.lseek(descriptor, offset, os.SEEK_SET)
                    self._copy(descriptor, length, content, entry)
            self.dress(descriptor, entry)
        finally:
            os.close(descriptor)

    def _copy(self, descriptor: int, size: int, content: Content, entry: Entry) -> None:
        left = size
        for piece in content.pieces(size):
            left -= len(piece)
            self._unchecked -= len(piece)
            if self._unchecked < 0:
                self._unchecked = _CHECK_SPACE_BYTES
                space = os.fstatvfs(descriptor)
                # A bomb shall not take the last bytes from everybody else.
                if space.f_bavail * space.f_frsize < _RESERVE_BYTES:
                    raise OSError(errno.ENOSPC, "no space left on device")
            written = os.write(descriptor, piece)
            while written < len(piece):
                written += os.write(descriptor, piece[written:])
        if left:
            raise bad("unexpected EOF", entry.name)

    def _directory(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                self.clear(parent, base, path)
                os.mkdir(base, 0o700, dir_fd=parent)
        self.implied.discard(path)
        self.directories[path] = entry

    def hard_link(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        """Give an existing file one more name."""
        folder, _, name = entry.target.rpartition(b"/")
        try:
            source, real = self.directory(folder, create=False)
            status = os.lstat(name, dir_fd=source)
        except (FileNotFoundError, InvalidRequest) as error:
            raise InvalidRequest(
                f"invalid hardlink target {shown(entry.target)} of {shown(entry.name)}"
            ) from error
        if join(real, name) == path:
            return
        if stat.S_ISDIR(status.st_mode):
            raise InvalidRequest(
                f"invalid hardlink target {shown(entry.target)} of {shown(entry.name)}"
            )
        try:
            os.link(name, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            self.clear(parent, base, path)
            os.link(name, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _special(self, parent: int, base: bytes, path: bytes, entry: Entry) -> None:
        try:
            self._make_special(parent, base, entry)
        except FileExistsError:
            self.clear(parent, base, path)
            self._make_special(parent, base, entry)
        except PermissionError:
            if entry.kind not in (layer_tar.CHARACTER, layer_tar.BLOCK_DEVICE):
                raise
            # Device nodes need the real root; a user namespace does without them.
            return
        self._dress_by_name(parent, base, entry)

    def _make_special(self, parent: int, base: bytes, entry: Entry) -> None:
        if entry.kind == layer_tar.SYMLINK:
            os.symlink(entry.target, base, dir_fd=parent)
        elif entry.kind == layer_tar.FIFO:
            os.mkfifo(base, 0o600, dir_fd=parent)
        else:
            kind = stat.S_IFCHR if entry.kind == layer_tar.CHARACTER else stat.S_IFBLK
            os.mknod(base, kind | 0o600, os.makedev(*entry.device), dir_fd=parent)

    # Replacing

    def clear(self, parent: int, base: bytes, path: bytes) -> None:
        """Remove what stands at a path, directories with all they hold."""
        if stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
            self.forget(path)
            descriptor = os.open(base, _LIST, dir_fd=parent)
            try:
                for child in os.listdir(descriptor):
                    name = os.fsencode(child)
                    self.clear(descriptor, name, join(path, name))
            finally:
                os.close(descriptor)
            os.rmdir(base, dir_fd=parent)
            self.implied.discard(path)
            self.directories.pop(path, None)
        else:
            self.forget(path)
            self.unlink(parent, base, path)

    def unlink(self, parent: int, base: bytes, path: bytes) -> None:
        """Remove one name that is no directory."""
        del path
        os.unlink(base, dir_fd=parent)

    def forget(self, path: bytes) -> None:
        """Close what is open at or below a path, by the name it was opened by or its real one."""
        below = path + b"/"
        for name, (descriptor, real) in list(self._open.items()):
            if path in (name, real) or name.startswith(below) or real.startswith(below):
                del self._open[name]
                self._dead.append(descriptor)

    # Metadata: owner before mode (chown clears setuid), attributes before times.

    def dress(self, descriptor: int, entry: Entry) -> None:
        """Give an open file or directory what its entry says."""
        ids = self._owner or (entry.uid, entry.gid)
        if self._may_give and (ids != self._own_ids or entry.kind == layer_tar.DIRECTORY):
            os.fchown(descriptor, *ids)
        os.fchmod(descriptor, self._mode(entry))
        for attribute, value in entry.xattrs.items():
            with suppress(OSError):
                # A file system or a user namespace without them is no reason to stop.
                os.setxattr(descriptor, attribute, value)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def _dress_by_name(self, parent: int, base: bytes, entry: Entry) -> None:
        ids = self._owner or (entry.uid, entry.gid)
        if self._may_give and ids != self._own_ids:
            os.chown(base, *ids, dir_fd=parent, follow_symlinks=False)
        if entry.kind != layer_tar.SYMLINK:
            # By descriptor: a running container may swap the name for a link meanwhile.
            node = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                if not stat.S_ISLNK(os.fstat(node).st_mode):
                    os.chmod(f"/proc/self/fd/{node}", self._mode(entry))
            finally:
                os.close(node)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _mode(self, entry: Entry) -> int:
        if self._may_give:
            return entry.mode
        return entry.mode | (0o700 if entry.kind == layer_tar.DIRECTORY else 0o600)

    def finish(self) -> None:
        """Dress directories, now that nothing changes in them any more."""
        for path, entry in self.directories.items():
            try:
                descriptor = self.open_listable(path)
                try:
                    self.dress(descriptor, entry)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise bad((error.strerror or str(error)).lower(), entry.name) from error

    def open_listable(self, path: bytes) -> int:
        """Open a directory by its real path so that it can be read and changed."""
        folder, _, base = path.rpartition(b"/")
        if not path:
            return os.open(".", _LIST, dir_fd=self.root)
        return os.open(base, _LIST, dir_fd=self.directory(folder, create=False)[0])
