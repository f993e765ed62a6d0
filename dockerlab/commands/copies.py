"""`cp`: files between this machine and a container, by docker's rules.

Knows:   which names a copy gets, and that `DIR/.` means what is in it.
Refuses: to let an archive write outside the destination, wherever its names and links lead.
Source:  docs.docker.com/reference/cli/docker/container/cp.
"""

from __future__ import annotations

import os
import posixpath
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb, switch
from dockerlab.commands.results import Done
from dockerlab.commands.session import Session
from dockerlab.commands.words import size
from dockerlab.errors import Failed, InvalidRequest, NotFound

_ARCHIVE = "/containers/{0}/archive"
_SPOOL_BYTES = 16 * 1024 * 1024
# Go's file modes, as the API writes them.
_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27


@dataclass(frozen=True, slots=True)
class _Place:
    """One end of a copy; `container` is "" on this machine."""

    container: str
    path: str


def place(typed: str) -> tuple[str, str]:
    """Split CONTAINER:PATH; a path that begins with / or . is one of this machine."""
    if typed.startswith(("/", ".", "~")) or ":" not in typed:
        return "", typed
    container, _, path = typed.partition(":")
    return container, path


def copy(session: Session, args: Arguments) -> Done:
    """Copy out of a container, or into one."""
    source, target = (_Place(*place(word)) for word in args.words)
    if bool(source.container) == bool(target.container):
        if source.container:
            raise InvalidRequest(
                "copying between containers is not supported", hint="Copy by way of this machine"
            )
        raise InvalidRequest(
            "must specify at least one container source", hint="Write CONTAINER:PATH"
        )
    if source.container:
        moved = _out(session, source, target.path, args)
        where = target.path
    else:
        moved = _into(session, source.path, target, args)
        where = f"{target.container}:{target.path}"
    if not args.on("quiet") and where != "-":
        session.feedback.note(f"Successfully copied {size(moved)} to {where}")
    return Done(action="cp", names=())


# Out of a container


def _out(session: Session, source: _Place, target: str, args: Arguments) -> int:
    path = _rooted(source.path)
    if args.on("follow-link"):
        path = _followed(session, source.container, path)
    found = session.streams.path_stat(source.container, path)
    wanted: dict[str, Any] = {"params": {"path": path}}
    if found is None or target == "-":
        # Where there is nothing, the host says so in its own words.
        chunks = session.streams.content(_ARCHIVE, source.container, **wanted)
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        return 0
    folder, name = _local_target(
        os.path.expanduser(target),  # noqa: PTH111 - a trailing slash means something
        is_folder=_is(found, _DIRECTORY),
        contents=_means_contents(source.path),
        name=str(found.get("name") or posixpath.basename(path)),
    )
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        for chunk in session.streams.content(_ARCHIVE, source.container, **wanted):
            spool.write(chunk)
        spool.seek(0)
        return _extract(spool, folder, name, keep_owner=args.on("archive"))


def _local_target(target: str, *, is_folder: bool, contents: bool, name: str) -> tuple[Path, str]:
    """Where it goes: a folder that is there, and the name it gets; "" puts contents into it."""
    path = Path(target)
    if path.is_dir():
        return path, "" if is_folder and contents else name
    if path.exists() or path.is_symlink():
        if is_folder or target.endswith("/"):
            raise InvalidRequest("cannot copy directory" if is_folder else "not a directory")
        return path.parent, path.name
    if target.endswith("/") and not is_folder:
        raise InvalidRequest("no such directory", hint=f"Make it first: mkdir -p {target}")
    if not path.parent.is_dir():
        raise NotFound(
            f"invalid output path: directory {path.parent.resolve()} does not exist",
            hint="Make that folder first",
        )
    return path.parent, path.name


def _extract(archive: Any, folder: Path, name: str, *, keep_owner: bool) -> int:
    """Unpack an archive whose first name becomes `name`; returns the bytes of its files."""
    moved = 0

    def renamed(path: str) -> str:
        rest = path.strip("/").partition("/")[2]
        return "/".join(part for part in (name, rest) if part) or "."

    def judged(member: tarfile.TarInfo, root: str) -> tarfile.TarInfo | None:
        nonlocal moved
        changed = member.replace(name=renamed(member.name), deep=False)
        if member.islnk():
            changed.linkname = renamed(member.linkname)
        if not keep_owner:
            changed.uid, changed.gid = os.getuid(), os.getgid()
            changed.uname = changed.gname = ""
        moved += changed.size
        _clear_the_way(folder, changed)
        return tarfile.tar_filter(changed, root)

    try:
        with tarfile.open(fileobj=archive, mode="r:") as opened:
            opened.extractall(folder, filter=judged)  # noqa: S202 - `judged` ends in tar_filter
    except (tarfile.TarError, OSError) as error:
        raise Failed(f"the copy stopped: {error}", hint="What came before it is there") from error
    return moved


def _clear_the_way(folder: Path, member: tarfile.TarInfo) -> None:
    """Let no link of the archive lead what comes after it out of the folder.

    The filters of `tarfile` ask where a path really leads, and Pythons before 3.11.13 can be
    talked out of the answer by links to very long paths (CVE-2025-4517). An honest archive puts
    nothing below a link, nor writes through one.

    Raises:
        Failed: this one does.
    """
    for name in (member.name, member.linkname) if member.islnk() else (member.name,):
        parts = PurePosixPath(name.lstrip("/")).parts
        above = [folder.joinpath(*parts[:count]) for count in range(1, len(parts))]
        if ".." in parts or any(place.is_symlink() for place in above):
            raise Failed(
                f"the copy stopped: {member.name} leads out of {folder}",
                hint="The container, or its host, sent a hostile archive.",
            )
    target = folder / member.name.lstrip("/")
    if target != folder and target.is_symlink():
        target.unlink()


# Into a container


def _into(session: Session, source: str, target: _Place, args: Arguments) -> int:
    path = _rooted(target.path)
    if source == "-":
        if session.patient_stdin is None:
            raise InvalidRequest("there is no archive on standard input")
        _put(session, target.container, path, session.patient_stdin)
        return 0
    source = os.path.expanduser(source)  # noqa: PTH111 - a trailing slash means something
    if not os.path.lexists(source):
        raise NotFound(f"lstat {source}: no such file or directory", hint="Is the path right?")
    here = Path(source)
    follow = args.on("follow-link") or source.endswith("/")
    is_folder = here.is_dir() and (follow or not here.is_symlink())
    path = _followed(session, target.container, path)
    found = session.streams.path_stat(target.container, path)
    if _is(found, _DIRECTORY):
        contents = is_folder and _means_contents(source)
        folder, name = (
            path,
            "." if contents else here.resolve().name if _dots(source) else here.name,
        )
    elif found is not None and is_folder:
        raise InvalidRequest("cannot copy directory", hint=f"{target.path} is a file")
    elif found is None and target.path.endswith("/") and not is_folder:
        raise InvalidRequest("no such directory", hint="Make it first, with %docker exec")
    else:
        folder, name = posixpath.split(path.rstrip("/"))
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        moved = _pack(spool, here, name, follow=follow, keep_owner=args.on("archive"))
        spool.seek(0)
        _put(session, target.container, folder or "/", spool)
    return moved


def _pack(file: Any, source: Path, name: str, *, follow: bool, keep_owner: bool) -> int:
    moved = 0

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        nonlocal moved
        moved += member.size
        if not keep_owner:
            member.uid = member.gid = 0
        member.uname = member.gname = ""  # names of this machine mean others in there
        return member

    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            # The one named may be followed; links inside stay links.
            archive.add(source.resolve() if follow else source, name, filter=owned)
    except OSError as error:
        raise Failed(f"can't read {error.filename}: {error.strerror}") from error
    return moved


def _put(session: Session, container: str, folder: str, archive: BinaryIO | Any) -> None:
    with translated(session.host.url):
        session.api.put_archive(container, folder, archive)


# Paths


def _rooted(path: str) -> str:
    """Paths in containers begin at the root, whatever the working folder is."""
    return path if path.startswith("/") else f"/{path}"


def _dots(path: str) -> bool:
    return posixpath.basename(path.rstrip("/")) in {"", ".", ".."}


def _means_contents(path: str) -> bool:
    return path == "." or path.endswith("/.")


def _followed(session: Session, container: str, path: str) -> str:
    found = session.streams.path_stat(container, path)
    if found is None or not _is(found, _SYMLINK) or not found.get("linkTarget"):
        return path
    return posixpath.join(posixpath.dirname(path.rstrip("/")), str(found["linkTarget"]))


def _is(found: Any, bit: int) -> bool:
    return bool(found and int(found.get("mode", 0)) & bit)


VERBS = (
    Verb(
        words=("cp",),
        act=copy,
        help="Copy files/folders between a container and the local filesystem",
        usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-  or  SRC_PATH|- CONTAINER:DEST_PATH",
        flags=(
            switch("archive", "a", "Archive mode (copy all uid/gid information)"),
            switch("follow-link", "L", "Always follow symbol link in SRC_PATH"),
            switch("quiet", "q", "Suppress progress output during copy"),
        ),
        least=2,
        most=2,
        takes="container",
        aliases=(("container", "cp"),),
    ),
)
