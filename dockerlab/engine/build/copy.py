"""Perform COPY and ADD: from an open source root into an open destination root.

Knows:   what goes where, owners and modes, what may replace what, archives for ADD.
Refuses: to follow a link out of either root; every step is by directory descriptor.
Source:  docs.docker.com/reference/dockerfile, "COPY", "ADD"; behaviour of the classic builder.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dockerlab.engine.build.owners import Owner, new_mode
from dockerlab.engine.build.sources import LIST, Found, open_regular, resolve
from dockerlab.engine.store.streams import ReadAhead, decompressed
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import InvalidRequest
from dockerlab.oci.layer_tar import Reader
from dockerlab.oci.tar_fields import BLOCK

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 1 << 30
_NEW_DIRECTORY = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """One COPY or ADD with everything decided.

    Attributes:
        files: here-documents by name, written like sources.
        destination: absolute; a trailing slash says "a directory".
        owner: who gets everything; None keeps owners.
        archive_owner: the same for what is unpacked; an archive's own owners count by default.
        keep_special_bits: files keep setuid and setgid (sources in images).
        unpack: local archives are unpacked (ADD).
    """

    keyword: str
    sources: tuple[Found, ...]
    destination: str
    owner: Owner | None
    archive_owner: Owner | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    chmod: str = ""
    keep_special_bits: bool = False
    unpack: bool = False

    @property
    def into_directory(self) -> bool:
        """The destination was written as a directory."""
        return self.destination.endswith(("/", "/."))


def check_destination(keyword: str, sources: Sequence[object], destination: str) -> None:
    """Refuse several sources for one file.

    Raises:
        InvalidRequest: the destination does not end with a slash.
    """
    if len(sources) > 1 and not destination.endswith("/"):
        raise InvalidRequest(
            f"When using {keyword} with more than one source file, the destination must be a "
            "directory and end with a /",
            hint=f"Write {destination}/",
        )


def perform(plan: CopyPlan, source_root: int, target_root: int) -> None:
    """Copy.

    Raises:
        InvalidRequest: a file stands where a directory is needed, or the reverse.
    """
    copier = _Copier(plan, Tree(source_root), Tree(target_root))
    try:
        for found in plan.sources:
            copier.copy(found)
        for name, content in plan.files.items():
            copier.write(os.fsencode(name), content)
        copier.settle()
    finally:
        copier.source.close()
        copier.target.close()


class _Spot(NamedTuple):
    """Where one thing goes: an open directory, a name in it, and the path of both."""

    folder: int
    name: bytes
    path: bytes


class _Copier:
    """One COPY in progress; hard links inside one source stay hard links."""

    def __init__(self, plan: CopyPlan, source: Tree, target: Tree) -> None:
        self.plan, self.source, self.target = plan, source, target
        self._links: dict[tuple[int, int], bytes] = {}
        self._destination = os.fsencode(
            posixpath.normpath("/" + plan.destination.lstrip("/"))
        ).lstrip(b"/")

    def copy(self, found: Found) -> None:
        self._links.clear()
        if found.is_directory:
            target, path = self._folder(self._destination)
            parent, _ = self.source.directory(found.path, create=False)
            with _listed(parent, b".") as below:
                self._content(below, target, path)
            return
        folder, _, base = found.path.rpartition(b"/")
        parent, _ = self.source.directory(folder, create=False)
        is_file = stat.S_ISREG(os.lstat(base, dir_fd=parent).st_mode)
        if self.plan.unpack and is_file and self._unpack(parent, base):
            return
        self._one(parent, base, self._place(found.name))

    def write(self, name: bytes, content: bytes) -> None:
        """Write a here-document."""
        spot = self._place(name)
        self._make_way(spot)
        descriptor = os.open(spot.name, _CREATE, 0o600, dir_fd=spot.folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            owner = self.plan.owner or Owner()
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, self._mode(0o644))

    def settle(self) -> None:
        """Give directories that were made on the way their owner and mode."""
        owner = self.plan.owner or Owner()
        for path in sorted(self.target.implied):
            folder, _, base = path.rpartition(b"/")
            parent, _ = self.target.directory(folder, create=False)
            os.chown(base, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)
            os.chmod(base, _NEW_DIRECTORY, dir_fd=parent)

    # Where to

    def _folder(self, path: bytes) -> tuple[int, bytes]:
        """Open the destination as a directory, made where it is missing."""
        try:
            return self.target.directory(path)
        except InvalidRequest:
            raise InvalidRequest(
                f"cannot copy to non-directory: /{_shown(path)}",
                hint="A file of the image stands there; remove it first.",
            ) from None

    def _place(self, name: bytes) -> _Spot:
        """Decide where a file's copy goes; links at the destination are followed."""
        path = self._destination
        if self.plan.into_directory:
            return self._in(path, name)
        try:
            found = resolve(self.target, path)
        except (FileNotFoundError, NotADirectoryError, InvalidRequest):
            folder, _, base = path.rpartition(b"/")
            return self._in(folder, base)
        if found.is_directory:
            return self._in(found.path, name)
        folder, _, base = found.path.rpartition(b"/")
        return self._in(folder, base)

    def _in(self, folder: bytes, name: bytes) -> _Spot:
        where, real = self._folder(folder)
        return _Spot(where, name, _join(real, name))

    # One thing at a time

    def _content(self, source: int, target: int, path: bytes) -> None:
        for name in _names(source):
            self._one(source, name, _Spot(target, name, _join(path, name)))

    def _one(self, source: int, base: bytes, spot: _Spot) -> None:
        status = os.lstat(base, dir_fd=source)
        if stat.S_ISDIR(status.st_mode):
            self._directory(source, base, spot, status)
        elif not stat.S_ISSOCK(status.st_mode):
            self._make_way(spot)
            if stat.S_ISREG(status.st_mode):
                self._file(source, base, spot, status)
            else:
                self._special(source, base, spot, status)

    def _make_way(self, spot: _Spot) -> None:
        with suppress(FileNotFoundError):
            status = os.lstat(spot.name, dir_fd=spot.folder)
            if stat.S_ISDIR(status.st_mode):
                raise InvalidRequest(
                    f"cannot overwrite directory {_shown(spot.path)} with non-directory",
                    hint="End the destination with / to copy into it.",
                )
            os.unlink(spot.name, dir_fd=spot.folder)

    def _directory(self, source: int, base: bytes, spot: _Spot, status: os.stat_result) -> None:
        try:
            os.mkdir(spot.name, 0o700, dir_fd=spot.folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(spot.name, dir_fd=spot.folder).st_mode):
                raise InvalidRequest(
                    f"cannot copy to non-directory: /{_shown(spot.path)}",
                    hint="A file of the image stands there; remove it first.",
                ) from None
        with _listed(source, base) as below, _listed(spot.folder, spot.name) as made:
            self._content(below, made, spot.path)
            self._dress(made, below, status)

    def _file(self, source: int, base: bytes, spot: _Spot, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            first = self._links[key]
            folder, _, name = first.rpartition(b"/")
            known, _ = self.target.directory(folder, create=False)
            os.link(
                name, spot.name, src_dir_fd=known, dst_dir_fd=spot.folder, follow_symlinks=False
            )
            return
        with _opened(source, base) as reading:
            writing = os.open(spot.name, _CREATE, 0o600, dir_fd=spot.folder)
            try:
                while os.sendfile(writing, reading, None, _AT_ONCE):
                    pass
                self._dress(writing, reading, status)
            finally:
                os.close(writing)
        if status.st_nlink > 1:
            self._links[key] = spot.path

    def _special(self, source: int, base: bytes, spot: _Spot, status: os.stat_result) -> None:
        folder, name = spot.folder, spot.name
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(base, dir_fd=source), name, dir_fd=folder)
        else:
            kind = stat.S_IFMT(status.st_mode)
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=folder)
        owner = self._owner(status)
        os.chown(name, owner.uid, owner.gid, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            # Nobody else is in this tree: the name is still what we made.
            os.chmod(name, self._mode(stat.S_IMODE(status.st_mode)), dir_fd=folder)
        times = (status.st_mtime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)

    # Metadata

    def _dress(self, made: int, original: int, status: os.stat_result) -> None:
        owner = self._owner(status)
        os.fchown(made, owner.uid, owner.gid)
        is_directory = stat.S_ISDIR(status.st_mode)
        os.fchmod(made, self._mode(stat.S_IMODE(status.st_mode), is_directory=is_directory))
        for attribute in os.listxattr(original):
            if attribute.startswith("user.") or attribute == "security.capability":
                with suppress(OSError):
                    os.setxattr(made, attribute, os.getxattr(original, attribute))
        os.utime(made, ns=(status.st_mtime_ns, status.st_mtime_ns))

    def _owner(self, status: os.stat_result) -> Owner:
        return self.plan.owner or Owner(status.st_uid, status.st_gid)

    def _mode(self, mode: int, *, is_directory: bool = False) -> int:
        if self.plan.chmod:
            return new_mode(mode, self.plan.chmod, is_directory=is_directory)
        # On directories these bits give nobody any rights.
        return mode if self.plan.keep_special_bits or is_directory else mode & 0o1777

    # ADD's archives

    def _unpack(self, folder: int, base: bytes) -> bool:
        """Unpack a file into the destination if it is an archive; say whether it was."""
        with _opened(folder, base) as descriptor:
            if not _is_archive(descriptor):
                return False
            os.lseek(descriptor, 0, os.SEEK_SET)
            where, _ = self._folder(self._destination)
            owner = self.plan.archive_owner
            tree = Tree(where, owner=(owner.uid, owner.gid) if owner else None)
            try:
                with (
                    os.fdopen(os.dup(descriptor), "rb") as file,
                    ReadAhead(file) as stream,
                ):
                    reader = Reader(stream.read)
                    while (entry := reader.next()) is not None:
                        tree.put(entry, stream)
                tree.finish()
            finally:
                tree.close()
        return True


def _is_archive(descriptor: int) -> bool:
    """Whether the file begins with a tar header, compressed or not."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            plain, _ = decompressed(file)
            block = plain.read(BLOCK)
        except Exception:  # noqa: BLE001 - whatever a decompressor thinks of it: no archive
            return False
    try:
        written = int(block[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    # A tar header's own sum, its field taken as blanks; most text fails it.
    return len(block) == BLOCK and written == sum(block) - sum(block[148:156]) + 8 * 32


@contextmanager
def _opened(folder: int, base: bytes) -> Iterator[int]:
    descriptor = open_regular(folder, base)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _listed(folder: int, base: bytes) -> Iterator[int]:
    descriptor = os.open(base, LIST, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _names(folder: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(folder)]


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "replace")


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
