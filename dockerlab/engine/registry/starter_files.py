"""Which files of this host make the starter image, layer by layer.

Knows:   the list of tools, the small /etc of our own, and how to follow links on the way.
Refuses: to pack (starter.py), to run anything, and to copy what is secret or personal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from dockerlab.engine.registry.libraries import Libraries, MissingLibrary
from dockerlab.errors import Unsupported

SHELLS: Final = "sh bash"
TOOLS: Final = """
  arch awk base64 basename busybox cat chgrp chmod chown cksum clear cmp comm cp cut date dd df
  diff dirname du echo egrep env expand expr factor false fgrep find findmnt fold free getent
  grep groups gunzip gzip head hexdump hostname id ip install join kill less link ln ls lsns md5sum
  mkdir mkfifo mknod mktemp more mount mountpoint mv nc nice nl nohup nproc nsenter numfmt od paste
  pgrep ping pidof pkill printenv printf ps pwd readlink realpath renice reset rev rm rmdir sed seq
  sha1sum sha256sum sleep sort split ss stat stty sync tac tail tar taskset tee test timeout top
  touch tr true truncate tty umount uname uniq unlink unshare uptime watch wc which who whoami
  xargs xxd yes zcat [
"""
_PATH: Final = ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
_TOP_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS: Final = {
    "dev": 0o755, "etc": 0o755, "home": 0o755, "home/lab": 0o755, "mnt": 0o755, "opt": 0o755,
    "proc": 0o555, "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777,
    "usr": 0o755, "usr/bin": 0o755, "usr/lib": 0o755, "usr/local": 0o755, "usr/local/bin": 0o755,
    "usr/sbin": 0o755, "usr/share": 0o755, "var": 0o755, "var/lib": 0o755, "var/log": 0o755,
    "var/tmp": 0o1777,
}  # fmt: skip
_NAME_SERVICES: Final = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
_TERMINALS: Final = ("a/ansi", "d/dumb", "l/linux", "s/screen", "v/vt100", "x/xterm",
                     "x/xterm-256color", "x/xterm-color")  # fmt: skip
_PYTHON_LEFT_OUT: Final = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "lib2to3"}
    | {"site-packages", "dist-packages"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One entry of a layer; `name` is relative to the root of the image."""

    name: str
    kind: str  # "directory", "link" or "file"
    mode: int = 0o755
    target: str = ""
    source: str = ""
    text: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """The entries of one layer, sorted so that parents come before their children."""

    title: str
    files: tuple[File, ...]


def plan(root: Path = Path("/")) -> tuple[LayerPlan, ...]:
    """Decide the layers of the starter image: base, libraries, shell and tools.

    Raises:
        Unsupported: the host has no shell that could be packed.
    """
    libraries = Libraries(root)
    tools, needed = _Tree(root), _Tree(root)
    packed = [name for name in SHELLS.split() if _add_tool(name, root, libraries, tools, needed)]
    if "sh" not in packed:
        raise Unsupported(
            "no /bin/sh with its libraries on this host: the starter image can not be made",
            hint="Pull an image from a registry instead.",
        )
    for name in TOOLS.split():
        _add_tool(name, root, libraries, tools, needed)
    for name in _NAME_SERVICES:
        for folder in ("/lib", "/usr/lib", *_multiarch(root)):
            if (root / folder.lstrip("/") / name).exists():
                needed.add(f"{folder}/{name}")
    for folder in ("/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"):
        for name in _TERMINALS:
            if (root / folder.lstrip("/") / name).is_file():
                tools.add(f"{folder}/{name}")
    base = _base(root)
    _add_cache(libraries, needed)
    return (
        LayerPlan(title="directories and accounts", files=_sorted(base.values())),
        LayerPlan(title="shared libraries", files=needed.without(base)),
        LayerPlan(title="shell and core tools", files=tools.without(base | needed.links())),
    )


def plan_python(below: Iterable[LayerPlan], root: Path = Path("/")) -> LayerPlan | None:
    """Decide the layer with the system's Python; None where it can't be packed sensibly."""
    there = {file.name: file for layer in below for file in layer.files if file.kind != "directory"}
    for folder in (*_PATH, "/usr/local/bin"):
        program = root / folder.lstrip("/") / "python3"
        if not program.exists():
            continue
        real = program.resolve()
        library = next(
            (
                path
                for name in ("lib", "lib64")
                if (path := real.parent.parent / name / real.name / "os.py").is_file()
            ),
            None,
        )
        if library is None:
            continue
        tree = _Tree(root)
        libraries = Libraries(root)
        try:
            for need in libraries.closure(f"{folder}/python3"):
                tree.add(need)
            _add_library(library.parent, root, libraries, tree)
        except MissingLibrary:
            continue
        _add_cache(libraries, tree)
        return LayerPlan(title="python", files=tree.without(there))
    return None


def _add_library(folder: Path, root: Path, libraries: Libraries, tree: _Tree) -> None:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _PYTHON_LEFT_OUT and not name.startswith("config-")
        )
        for name in sorted(names):
            inside = "/" + str(PurePosixPath(path, name).relative_to(root))
            if name.endswith(".so"):
                try:
                    needs = libraries.closure(inside)
                except MissingLibrary:
                    continue
                for need in needs:
                    tree.add(need)
            elif not name.endswith((".pyc", ".a")):
                tree.add(inside)


def _add_tool(name: str, root: Path, libraries: Libraries, tools: _Tree, needed: _Tree) -> bool:
    for folder in _PATH:
        path = f"{folder}/{name}"
        host = root / path.lstrip("/")
        if not host.is_file():
            continue
        try:
            program, *others = libraries.closure(path)
        except MissingLibrary:
            continue
        with host.open("rb") as file:
            script = file.read(2) == b"#!"
        if script and not (others and PurePosixPath(others[0]).name in {"sh", "bash"}):
            continue  # an interpreter is more than one file
        tools.add(program)
        if not script:
            for need in others:
                needed.add(need)
        return True
    return False


def _add_cache(libraries: Libraries, tree: _Tree) -> None:
    """Libraries in odd folders are found through the cache only, so it comes along."""
    if any(libraries.outside_defaults(f"/{name}") for name in tree.files()):
        tree.add("/etc/ld.so.cache")


class _Tree:
    """Files gathered by their names on the host, with every link on the way to them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[str, File] = {}

    def add(self, path: str) -> None:
        """Take a file, the folders above it, and the links that lead to it."""
        waiting = [part for part in path.split("/") if part]
        here: list[str] = []
        for _ in range(256):  # links may loop
            if not waiting:
                return
            part = waiting.pop(0)
            if part in {"", "."}:
                continue
            if part == "..":
                here = here[:-1]
                continue
            name = "/".join([*here, part])
            host = self._root / name
            information = host.lstat()
            if stat.S_ISLNK(information.st_mode):
                target = str(host.readlink())
                self._entries[name] = File(name=name, kind="link", mode=0o777, target=target)
                if target.startswith("/"):
                    here = []
                waiting = [*target.split("/"), *waiting]
            elif stat.S_ISDIR(information.st_mode):
                self._entries.setdefault(name, File(name=name, kind="directory"))
                here.append(part)
            else:
                # Set-id bits stay at home; who may not read a file here may in the image.
                mode = 0o755 if information.st_mode & 0o111 else 0o644
                self._entries[name] = File(name=name, kind="file", mode=mode, source=str(host))

    def files(self) -> list[str]:
        return [name for name, file in self._entries.items() if file.kind == "file"]

    def links(self) -> dict[str, File]:
        return {name: file for name, file in self._entries.items() if file.kind != "directory"}

    def without(self, below: dict[str, File]) -> tuple[File, ...]:
        """What no lower layer has; folders stay, so that each layer is whole by itself."""
        kept = {
            name: replace(file, mode=_FOLDERS.get(name, file.mode))
            if file.kind == "directory"
            else file
            for name, file in self._entries.items()
            if file.kind == "directory" or name not in below
        }
        used = {
            str(parent) for name, file in kept.items() if file.kind != "directory"
            for parent in PurePosixPath(name).parents
        }  # fmt: skip
        return _sorted(f for f in kept.values() if f.kind != "directory" or f.name in used)


def _base(root: Path) -> dict[str, File]:
    entries = {
        name: File(name=name, kind="directory", mode=mode) for name, mode in _FOLDERS.items()
    }
    for name in _TOP_LINKS:
        host = root / name
        if host.is_symlink():
            target = str(host.readlink())
            entries[name] = File(name=name, kind="link", mode=0o777, target=target)
            inside = target.lstrip("/")
            entries.setdefault(inside, File(name=inside, kind="directory"))
        elif host.is_dir():
            entries[name] = File(name=name, kind="directory")
    for name, text in _etc(root).items():
        mode = 0o640 if name == "etc/shadow" else 0o644
        entries[name] = File(name=name, kind="file", mode=mode, text=text.encode())
    return entries


def _etc(root: Path) -> dict[str, str]:
    origin = _os_release(root)
    return {
        "etc/passwd": (
            "root:x:0:0:root:/root:/bin/sh\n"
            "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
            "lab:x:1000:1000:lab:/home/lab:/bin/sh\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
        ),
        "etc/group": (
            "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:lab\nlab:x:1000:\nnogroup:x:65534:\n"
        ),
        "etc/shadow": "root:*:::::::\nlab:*:::::::\n",
        "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
        "etc/os-release": (
            f'PRETTY_NAME="dockerlab starter ({origin.get("PRETTY_NAME", "Linux")})"\n'
            'NAME="dockerlab starter"\nID=starter\n'
            f"ID_LIKE={origin.get('ID', 'linux')}\n"
            f'VERSION_ID="{origin.get("VERSION_ID", "")}"\n'
        ),
        "etc/profile": "export PS1='\\u@\\h:\\w\\$ '\n",
    }


def _os_release(root: Path) -> dict[str, str]:
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            lines = (root / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {key: value.strip("\"'") for key, _, value in pairs}
    return {}


def _multiarch(root: Path) -> list[str]:
    return ["/" + str(path.relative_to(root)) for path in sorted(root.glob("usr/lib/*-linux-gnu*"))]


def _sorted(files: Iterable[File]) -> tuple[File, ...]:
    return tuple(sorted(files, key=lambda file: PurePosixPath(file.name).parts))
