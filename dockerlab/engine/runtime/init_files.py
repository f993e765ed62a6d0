"""The file system steps of init: root, mounts, devices, masks, pivot.

Knows:   how each step is performed through descriptors, so that no path of an image is trusted.
Refuses: order and policy (`plan.py`), anything heavy.
Source:  man 2 mount, open_tree, pivot_root; runc's rootfs_linux.go for what must be refused.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from dockerlab.engine.linux import mounts
from dockerlab.engine.linux.inside import (
    directory_inside,
    file_inside,
    open_inside,
    parent_inside,
)
from dockerlab.engine.linux.syscalls import CLONE_NEWNS, pivot_root, setns

_MISMATCH = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)
# Flags that a bind needs a second call for; the first one ignores them.
_KEEPS = mounts.MS_BIND | mounts.MS_REC
_PER_MOUNT = (
    (1, mounts.MS_RDONLY), (2, mounts.MS_NOSUID), (4, mounts.MS_NODEV), (8, mounts.MS_NOEXEC),
    (1024, 0x400), (2048, 0x800), (4096, mounts.MS_RELATIME),
)  # fmt: skip


class FilesFailed(Exception):
    """A step that the kernel or the image refuses; the text is for the user.

    `bare` texts are those that Docker finds out before it asks its runtime.
    """

    def __init__(self, text: str, *, bare: bool = False) -> None:
        super().__init__(text)
        self.bare = bare


class Files:
    """The new root while it is being furnished, from outside, by descriptors."""

    def __init__(self) -> None:
        self.root = -1
        self._trees: dict[str, int] = {}
        self._null = -1

    def take_tree(self, source: str) -> None:
        """Copy a mount tree before ours is cut off from the host's propagation.

        Raises:
            FilesFailed: the source is on a mount that shares nothing, in Docker's words.
        """
        place, shared = _mount_of(os.path.realpath(source))
        if not shared:
            raise FilesFailed(
                f"path {source} is mounted on {place} but it is not a shared mount", bare=True
            )
        self._trees[source] = mounts.open_tree(
            mounts.AT_FDCWD, source, mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE
        )

    def take_foreign_tree(self, namespace: str, source: str) -> None:
        """Copy a mount tree of another container; the kernel gives it only to those who are there.

        Raises:
            FilesFailed: that container has ended, or has nothing there.
        """
        try:
            own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
            other = os.open(namespace, os.O_RDONLY)
            setns(other, CLONE_NEWNS)
            try:
                # Its own links are followed inside its own root only.
                tree = mounts.open_tree(
                    mounts.AT_FDCWD, source, mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE
                )
            finally:
                setns(own, CLONE_NEWNS)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise FilesFailed(f"{source} of the other container: {why}") from None
        os.close(other)
        os.close(own)
        self._trees[f"{namespace}:{source}"] = tree

    def propagate(self, word: str) -> None:
        mounts.mount("", "/", "", mounts.PROPAGATION[word])

    def mount_overlay(self, layers_dir: str, target: str, work: str, data: str) -> None:
        # Short names below the working directory: mount data ends at a page.
        os.chdir(layers_dir)
        # An earlier volatile mount left this, to refuse the next one after a crash of the machine.
        with suppress(FileNotFoundError):
            os.unlink(f"{work}/work/incompat/volatile/dirty")
            os.rmdir(f"{work}/work/incompat/volatile")
        mounts.mount("overlay", target, "overlay", 0, data)
        self.root = os.open(target, os.O_PATH | os.O_DIRECTORY)

    def bind_root(self, path: str) -> None:
        tree = mounts.open_tree(mounts.AT_FDCWD, path, mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
        place = os.open(path, os.O_PATH | os.O_DIRECTORY)
        mounts.move_mount(tree, place)
        self.root = tree

    def mount_at(  # noqa: PLR0917 - the facts of a step, in its order
        self,
        kind: str,
        source: str,
        target: str,
        flags: int,
        propagation: int,
        recursive: int,
        data: str,
        make_source: str,
        within: str,
    ) -> None:
        try:
            if kind == "bind":
                if make_source == "directory":
                    os.makedirs(source, exist_ok=True)
                tree = self._trees.pop(source, -1)
                if tree < 0:
                    tree = _tree_at(source, within, whole=bool(flags & mounts.MS_REC))
                self._bind(tree, target, flags, propagation, recursive)
            elif kind == "remount":
                self._remount(target, flags)
            else:
                self._mount_new(kind, source, target, flags, propagation, data)
        except OSError as error:
            text = os.strerror(error.errno or errno.EIO).lower()
            mismatch = _MISMATCH if error.errno == errno.ENOTDIR and kind == "bind" else ""
            message = f'error mounting "{source}" to rootfs at "{target}": mount {source}: {text}'
            raise FilesFailed(message + mismatch) from None

    def _mount_new(  # noqa: PLR0917
        self, kind: str, source: str, target: str, flags: int, propagation: int, data: str
    ) -> None:
        if kind in {"proc", "sysfs"}:
            self._refuse_link(kind, target)
        place = directory_inside(self.root, target)
        copied = kind == "tmpfs" and "tmpcopyup" in data.split(",")
        words = [word for word in data.split(",") if word != "tmpcopyup"] if copied else None
        mounts.mount(source, _by_descriptor(place), kind, flags, ",".join(words) if words else data)
        os.close(place)
        if propagation:
            top = open_inside(self.root, target, os.O_PATH)
            mounts.mount("", _by_descriptor(top), "", propagation)
            os.close(top)

    def _refuse_link(self, kind: str, target: str) -> None:
        parent, name = parent_inside(self.root, target)
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        finally:
            os.close(parent)
        if not stat.S_ISDIR(mode):
            raise FilesFailed(f'filesystem "{kind}" must be mounted on ordinary directory')

    def _bind(self, tree: int, target: str, flags: int, propagation: int, recursive: int) -> None:
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            place = directory_inside(self.root, target)
        else:
            place = file_inside(self.root, target)
        if stat.S_ISDIR(os.fstat(tree).st_mode) != stat.S_ISDIR(os.fstat(place).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        mounts.move_mount(tree, place)
        os.close(place)
        self._attributes(tree, flags & ~_KEEPS, recursive)
        mounts.mount("", _by_descriptor(tree), "", propagation or mounts.PROPAGATION["rprivate"])
        os.close(tree)

    def _attributes(self, tree: int, flags: int, recursive: int) -> None:
        if recursive:
            try:
                mounts.mount_setattr(tree, recursive, recursive=True)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                flags |= mounts.MS_RDONLY  # before Linux 5.12: the top mount only, as Docker does
        if flags:
            again = flags | mounts.MS_REMOUNT | mounts.MS_BIND | _present_flags(tree)
            mounts.mount("", _by_descriptor(tree), "", again)

    def _remount(self, target: str, flags: int) -> None:
        top = open_inside(self.root, target, os.O_PATH)
        again = flags | mounts.MS_REMOUNT | mounts.MS_BIND | _present_flags(top)
        mounts.mount("", _by_descriptor(top), "", again)
        os.close(top)

    def make_node(self, path: str, kind: str, major: int, minor: int, mode: int) -> None:
        parent, name = parent_inside(self.root, path)
        kind_bits = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
        try:
            os.mknod(name, mode | kind_bits, os.makedev(major, minor), dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)

    def make_link(self, path: str, target: str, needs: str) -> None:
        if needs and not os.path.lexists(needs):
            return
        parent, name = parent_inside(self.root, path)
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)

    def mask(self, path: str) -> None:
        try:
            place = open_inside(self.root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(os.fstat(place).st_mode):
            flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
            mounts.mount("tmpfs", _by_descriptor(place), "tmpfs", flags, "size=0,nr_inodes=1")
        else:
            mounts.mount(
                _by_descriptor(self._host_null()), _by_descriptor(place), "", mounts.MS_BIND
            )
        os.close(place)

    def _host_null(self) -> int:
        if self._null < 0:
            self._null = os.open("/dev/null", os.O_PATH)
            if os.fstat(self._null).st_rdev != os.makedev(1, 3):
                raise FilesFailed("/dev/null of the host is not the null device")
        return self._null

    def make_read_only(self, path: str) -> None:
        try:
            place = open_inside(self.root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        tree = mounts.open_tree(
            place, "", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE | mounts.AT_EMPTY_PATH
        )
        mounts.move_mount(tree, place)
        os.close(place)
        self._attributes(tree, mounts.MS_RDONLY, 0)
        os.close(tree)

    def pivot(self) -> None:
        os.fchdir(self.root)
        pivot_root(".", ".")
        # The old root now lies over the new one; letting go of it leaves only ours.
        mounts.umount2(".", mounts.MNT_DETACH)
        os.chdir("/")
        os.close(self.root)
        if self._null >= 0:
            os.close(self._null)
        self.root = -1

    def make_directory(self, path: str) -> None:
        try:
            if not os.path.isdir(path):
                os.makedirs(path, 0o755, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise FilesFailed(f"Cannot mkdir: {path} is not a directory", bare=True) from None

    def seal_root(self) -> None:
        flags = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY
        mounts.mount("", "/", "", flags)


def _tree_at(source: str, within: str, *, whole: bool) -> int:
    """Copy the mount tree at a host path; with `within`, no link leads out of that directory."""
    flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if whole else 0)
    if not within:
        return mounts.open_tree(mounts.AT_FDCWD, source, flags)
    root = os.open(within, os.O_PATH | os.O_DIRECTORY)
    place = open_inside(root, source.removeprefix(within), os.O_PATH)
    os.close(root)
    tree = mounts.open_tree(place, "", flags | mounts.AT_EMPTY_PATH)
    os.close(place)
    return tree


def _mount_of(path: str) -> tuple[str, bool]:
    """Find the mount that a host path lies on, and whether it is shared."""
    best, shared = "", False
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            place = fields[4]
            if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= len(best):
                best, shared = place, fields[6].startswith("shared:")
    return best, shared


def _by_descriptor(descriptor: int) -> str:
    # A link of /proc leads to exactly this file, whatever its path is by now.
    return f"/proc/self/fd/{descriptor}"


def _present_flags(descriptor: int) -> int:
    # A remount that drops a flag which a user namespace locked is refused.
    present = os.fstatvfs(descriptor).f_flag
    return sum(flag for bit, flag in _PER_MOUNT if present & bit)
