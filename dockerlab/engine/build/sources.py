"""What COPY and ADD take: from a source as written to files below an open root, and their hash.

Knows:   wildcards, "a directory means its content", links in a context, close names for errors.
Refuses: paths out of the root, in every disguise; to write anything (`copy.py`).
Source:  docs.docker.com/reference/dockerfile, "COPY"; Go, filepath.Match.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dockerlab.dockerfile.globs import has_wildcards, name_regex
from dockerlab.dockerfile.ignore import Ignore
from dockerlab.dockerfile.suggest import closest
from dockerlab.engine.linux.inside import regular
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import InvalidRequest

LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Found:
    """A source that exists.

    Attributes:
        path: real path below the root, no leading slash; b"" is the root itself.
        name: the last part as it was written, which the copy gets.
        is_directory: its content is meant.
    """

    path: bytes
    name: bytes
    is_directory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where sources are looked up: an open root, and what is known about it.

    Attributes:
        digests: sha256 of files' content by path, where known already.
        is_context: paths may not leave it, and its owners and special bits do not count.
    """

    root: int
    is_context: bool
    digests: Mapping[bytes, str]
    ignore: Ignore = field(default_factory=Ignore)


def find(place: Place, source: str, keyword: str) -> list[Found]:
    """Find what one source means; several files when it has wildcards.

    Raises:
        InvalidRequest: nothing is there, or it is outside.
    """
    path = _inside(source, keyword, place)
    tree = Tree(place.root)
    try:
        if has_wildcards(path):
            found = _glob(tree, path, source)
            if not found:
                raise InvalidRequest(
                    f"{keyword} failed: no source files were specified",
                    hint=f"Nothing in the context matches {source}",
                )
            return found
        try:
            return [resolve(tree, os.fsencode(path))]
        except (FileNotFoundError, NotADirectoryError, InvalidRequest):
            raise _missing(place, tree, path, keyword) from None
    finally:
        tree.close()


def digest(place: Place, found: Found) -> str:
    """Hash what would be copied: names, kinds, modes, owners and content; never times."""
    total = hashlib.sha256()
    for line in _lines(place, found):
        total.update(line)
    return total.hexdigest()


def _inside(source: str, keyword: str, place: Place) -> str:
    normal = posixpath.normpath(source.lstrip("/")) if source.strip("/") else "."
    if "\0" in source or (place.is_context and (normal == ".." or normal.startswith("../"))):
        raise InvalidRequest(
            f"{keyword} failed: forbidden path outside the build context: {source} ()",
            hint="Only files below the folder that is sent can be copied.",
        )
    # In an image, `..` of the root is the root.
    while normal.startswith("../"):
        normal = normal[3:]
    return "" if normal in {".", ".."} else normal


def resolve(tree: Tree, path: bytes) -> Found:
    """Follow links, all inside the root, to a file or a directory."""
    name = path.rpartition(b"/")[2]
    for _ in range(_MAX_LINKS):
        folder, _, base = path.rpartition(b"/")
        if not base:
            return Found(b"", b"", True)
        parent, real = tree.directory(folder, create=False)
        status = os.lstat(base, dir_fd=parent)
        if not stat.S_ISLNK(status.st_mode):
            here = real + b"/" + base if real else base
            return Found(here, name, stat.S_ISDIR(status.st_mode))
        target = os.readlink(base, dir_fd=parent)
        joined = target if target.startswith(b"/") else b"/" + real + b"/" + target
        path = posixpath.normpath(joined).lstrip(b"/")
        path = b"" if path == b"." else path
    raise FileNotFoundError(path)


def _glob(tree: Tree, pattern: str, written: str) -> list[Found]:
    matches = [b""]
    for part in pattern.split("/"):
        try:
            regex = re.compile(os.fsencode(name_regex(part)), re.DOTALL)
        except ValueError:
            raise InvalidRequest(f"syntax error in pattern: {written}") from None
        matches = [
            folder + b"/" + name if folder else name
            for folder in matches
            for name in _names(tree, folder)
            if regex.fullmatch(name)
        ]
    found = []
    for match in matches:
        try:
            found.append(resolve(tree, match))
        except (FileNotFoundError, NotADirectoryError):
            continue  # a link to nowhere is no file to copy
    return found


def _names(tree: Tree, folder: bytes) -> list[bytes]:
    try:
        parent, _ = tree.directory(folder, create=False)
        descriptor = os.open(".", LIST, dir_fd=parent)
    except (OSError, InvalidRequest):
        return []
    try:
        return sorted(os.fsencode(name) for name in os.listdir(descriptor))
    finally:
        os.close(descriptor)


def _missing(place: Place, tree: Tree, path: str, keyword: str) -> InvalidRequest:
    """The error for a source that is not there, and what was probably meant."""
    folder, _, name = path.rpartition("/")
    hint = ""
    rule = place.ignore.decided_by(path)
    if rule is not None and not rule.includes:
        hint = f"It is excluded by .dockerignore line {rule.line}: {rule.text}"
    elif meant := closest(name, [os.fsdecode(n) for n in _names(tree, os.fsencode(folder))]):
        hint = f"Did you mean {posixpath.join(folder, meant)}?"
    if place.is_context:
        return InvalidRequest(
            f"{keyword} failed: file not found in build context or excluded by .dockerignore: "
            f"stat {path}: file does not exist",
            hint=hint,
        )
    return InvalidRequest(f"{keyword} failed: stat {path}: file does not exist", hint=hint)


def _lines(place: Place, found: Found) -> Iterator[bytes]:
    tree = Tree(place.root)
    try:
        if found.is_directory:
            parent, _ = tree.directory(found.path, create=False)
            descriptor = os.open(".", LIST, dir_fd=parent)
            try:
                yield from _folder_lines(place, descriptor, found.path, b"")
            finally:
                os.close(descriptor)
        else:
            folder, _, base = found.path.rpartition(b"/")
            parent, _ = tree.directory(folder, create=False)
            yield _line(place, parent, base, found.path, b"")
    finally:
        tree.close()


def _folder_lines(place: Place, folder: int, path: bytes, shown: bytes) -> Iterator[bytes]:
    for name in sorted(os.fsencode(name) for name in os.listdir(folder)):
        here = path + b"/" + name if path else name
        line = _line(place, folder, name, here, shown + name)
        yield line
        if line.startswith(b"directory"):
            descriptor = os.open(name, LIST, dir_fd=folder)
            try:
                yield from _folder_lines(place, descriptor, here, shown + name + b"/")
            finally:
                os.close(descriptor)


def _line(place: Place, folder: int, base: bytes, path: bytes, shown: bytes) -> bytes:
    status = os.lstat(base, dir_fd=folder)
    mode = status.st_mode
    owner = (0, 0) if place.is_context else (status.st_uid, status.st_gid)
    if stat.S_ISDIR(mode):
        kind, content = "directory", b""
    elif stat.S_ISLNK(mode):
        kind, content = "link", os.readlink(base, dir_fd=folder)
    elif stat.S_ISREG(mode):
        kind = "file"
        known = place.digests.get(path)
        content = (known or _file_digest(folder, base)).encode()
    else:
        kind, content = f"special {stat.S_IFMT(mode):o}", str(status.st_rdev).encode()
    head = f"{kind}\0{stat.S_IMODE(mode):o}\0{owner[0]}:{owner[1]}\0".encode()
    return head + shown + b"\0" + content + b"\n"


def open_regular(folder: int, base: bytes) -> int:
    """Open a regular file by its name in an open directory.

    Raises:
        InvalidRequest: it is something else, which is not opened.
    """
    descriptor = regular(os.open(base, _LOOK, dir_fd=folder))
    if descriptor < 0:
        raise InvalidRequest(f"{os.fsdecode(base)} is not a regular file")
    return descriptor


def _file_digest(folder: int, base: bytes) -> str:
    with os.fdopen(open_regular(folder, base), "rb", buffering=0) as file:
        total = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            total.update(chunk)
        return total.hexdigest()
