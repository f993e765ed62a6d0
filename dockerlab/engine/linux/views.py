"""A tree with others mounted into it, in a mount namespace that a descriptor alone keeps.

Knows:   clones of mounts: this machine's, and those of a running process; that namespaces belong
         to threads.
Refuses: to know containers; `services/copies.py` says what appears where.
Source:  man 7 mount_namespaces, man 2 setns, open_tree, move_mount.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dockerlab.engine.linux import mounts, syscalls
from dockerlab.engine.linux.inside import directory_inside, file_inside, open_inside

_CLONE = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that is mounted into the tree; outer ones come before inner ones.

    Attributes:
        target: where it appears, a path inside the tree.
        source: a path on this machine; not used for the tree of a process, which has it already.
        within: a directory above the source that no link on the way may leave; "" trusts it.
    """

    target: str
    source: str = ""
    within: str = ""
    read_only: bool = False


class View:
    """A tree to look at. The namespace goes, with every mount in it, when this is closed.

    Attributes:
        root: O_PATH descriptor of its root directory; resolve with RESOLVE_IN_ROOT only.
    """

    __slots__ = ("_namespace", "root")

    def __init__(self, root: int, namespace: int) -> None:
        self.root, self._namespace = root, namespace

    def close(self) -> None:
        """Let go of it; closing twice does no harm."""
        for descriptor in (self.root, self._namespace):
            if descriptor >= 0:
                os.close(descriptor)
        self.root = self._namespace = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def of_mount(root: int, parts: Sequence[Part], place: str) -> View:
    """Show a detached mount, given a descriptor of its root.

    Args:
        root: stays the caller's.
        parts: what is mounted into it; a missing target is made where that is possible.
        place: any directory of this machine that holds nothing of interest.
    """

    def attach(_own: int) -> None:
        clones = _clones(parts)
        mounts.move_mount(root, _opened(place))
        _fill(place, clones)

    return _assembled(attach, place)


def of_directory(path: str, parts: Sequence[Part], place: str) -> View:
    """Show a directory of this machine; see `of_mount`."""

    def attach(_own: int) -> None:
        clones = _clones(parts)
        mounts.mount(path, place, "", mounts.MS_BIND)
        _fill(place, clones)

    return _assembled(attach, place)


def of_process(pidfd: int, parts: Sequence[Part], place: str) -> View:
    """Show the root of a process, and of what is mounted below it only these parts.

    Raises:
        ProcessLookupError: it has ended.
    """

    def attach(own: int) -> None:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNS)
        try:
            # Paths below "/" are the container's from here on: none is followed but in its root.
            tree = _kept(mounts.open_tree(mounts.AT_FDCWD, "/", mounts.OPEN_TREE_CLONE))
            root = _opened("/")
            clones = [(part, _clone_inside(root, part.target)) for part in parts]
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNS)
        mounts.move_mount(tree, _opened(place))
        _fill(place, [(part, clone) for part, clone in clones if clone >= 0])

    return _assembled(attach, place)


def _assembled(attach: Callable[[int], None], place: str) -> View:
    """Run `attach` in a thread with a mount namespace of its own, and keep that namespace."""
    made: list[View] = []
    problems: list[BaseException] = []

    def work() -> None:
        descriptors = _opening.descriptors = []
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)
            own = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            try:
                attach(own)
                made.append(View(os.open(place, _PLACE), own))
            except BaseException:
                os.close(own)
                raise
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            problems.append(error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    thread = threading.Thread(target=work, name="mount view")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return made[0]


class _Opening(threading.local):
    """Descriptors that the working thread closes at its end."""

    descriptors: list[int]


_opening = _Opening()


def _kept(descriptor: int) -> int:
    _opening.descriptors.append(descriptor)
    return descriptor


def _opened(path: str) -> int:
    return _kept(os.open(path, _PLACE))


def _clones(parts: Sequence[Part]) -> list[tuple[Part, int]]:
    """Clone what the parts show, before anything hides it."""
    clones = []
    for part in parts:
        try:
            source = _source(part)
            clone = _kept(mounts.open_tree(source, "", _CLONE | mounts.AT_RECURSIVE))
        except FileNotFoundError:
            # A bind whose source was removed: a start would fail, looking need not.
            continue
        if part.read_only:
            mounts.mount_setattr(clone, mounts.MOUNT_ATTR_RDONLY)
        clones.append((part, clone))
    return clones


def _source(part: Part) -> int:
    if not part.within:
        return _kept(os.open(part.source, os.O_PATH | os.O_CLOEXEC))
    below = part.source.removeprefix(part.within)
    return _kept(open_inside(_opened(part.within), below, os.O_PATH))


def _clone_inside(root: int, target: str) -> int:
    try:
        found = _kept(open_inside(root, target, os.O_PATH))
    except OSError:
        return -1
    return _kept(mounts.open_tree(found, "", _CLONE | mounts.AT_RECURSIVE))


def _fill(place: str, clones: Sequence[tuple[Part, int]]) -> None:
    root = _opened(place)
    for part, clone in clones:
        is_directory = os.path.isdir(f"/proc/self/fd/{clone}")
        make = directory_inside if is_directory else file_inside
        try:
            target = _kept(make(root, part.target))
        except OSError:
            # No place for it, and none can be made in a tree that is only looked at.
            continue
        mounts.move_mount(clone, target)
