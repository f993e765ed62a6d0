"""Where the loader of this host would find a library.

Knows:   ld.so.cache (glibc), ld-musl-*.path (musl), the default folders, $ORIGIN.
Refuses: to run the loader, and variants for newer processors: an image may travel.
Source:  man 8 ld.so; glibc sysdeps/generic/dl-cache.h; musl ldso/dynlink.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from dockerlab.engine.registry import elf

_CACHE_MAGIC: Final = b"glibc-ld.so.cache1.1"
_DEFAULT: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


class MissingLibrary(Exception):
    """A program can not run here, as something that it names is not there."""


class Libraries:
    """The libraries of one root folder (the host's is `/`)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._known: dict[str, elf.Elf | None] = {}

    def closure(self, program: str) -> list[str]:
        """Every file that must be there for a program to start, itself first.

        Raises:
            MissingLibrary: one of them is not on this host.
        """
        found, waiting = [program], [program]
        seen = {program}
        while waiting:
            path = waiting.pop()
            for need in self._needs(path):
                if need not in seen:
                    seen.add(need)
                    found.append(need)
                    waiting.append(need)
        return found

    def outside_defaults(self, path: str) -> bool:
        """Whether only ld.so.cache leads to this library."""
        return self._is_cached_only(path)

    def _needs(self, path: str) -> Iterator[str]:
        image = self._read(path)
        if image is None:
            script = self._shebang(path)
            if script:
                yield script
            return
        if image.interpreter:
            if not self._at(image.interpreter).exists():
                raise MissingLibrary(image.interpreter)
            yield image.interpreter
        for name in image.needed:
            yield self._find(name, path, image)

    def _find(self, name: str, user: str, image: elf.Elf) -> str:
        if "/" in name:
            return name
        origin = str(Path("/") / self._at(user).resolve().relative_to(self._root.resolve()).parent)
        own = [
            text.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for text in image.search
        ]
        candidates = [f"{folder}/{name}" for folder in own]
        candidates += self._cache.get(name, [])
        candidates += [f"{folder}/{name}" for folder in self._folders]
        for candidate in candidates:
            other = self._read(candidate)
            if other and (other.machine, other.bits) == (image.machine, image.bits):
                return candidate
        raise MissingLibrary(name)

    def _is_cached_only(self, path: str) -> bool:
        cached = self._cache.get(Path(path).name, [])
        folder = str(Path(path).parent)
        return path in cached and folder not in self._folders

    @cached_property
    def _folders(self) -> list[str]:
        folders = []
        for listing in sorted(self._at("/etc").glob("ld-musl-*.path")):
            folders += [line.strip() for line in listing.read_text().replace(":", "\n").split()]
        # Debian's loader has the multiarch folders built in.
        folders += [
            "/" + str(folder.relative_to(self._root))
            for base in ("lib", "usr/lib")
            for folder in sorted(self._root.glob(f"{base}/*-linux-*"))
        ]
        return [*folders, *_DEFAULT]

    @cached_property
    def _cache(self) -> dict[str, list[str]]:
        try:
            data = self._at("/etc/ld.so.cache").read_bytes()
        except OSError:
            return {}
        return parse_cache(data)

    def _read(self, path: str) -> elf.Elf | None:
        if path not in self._known:
            try:
                self._known[path] = elf.parse(self._at(path).read_bytes())
            except OSError:
                self._known[path] = None
        return self._known[path]

    def _shebang(self, path: str) -> str:
        try:
            with self._at(path).open("rb") as file:
                line = file.readline(256)
        except OSError:
            return ""
        words = line[2:].split() if line.startswith(b"#!") else []
        return words[0].decode(errors="replace") if words else ""

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def parse_cache(data: bytes) -> dict[str, list[str]]:
    """Read ld.so.cache: library name to paths, without the variants for newer processors."""
    start = data.find(_CACHE_MAGIC)  # an older table may stand in front of it
    if start < 0:
        return {}
    found: dict[str, list[str]] = {}
    try:
        (count,) = struct.unpack_from("=I", data, start + 20)
        for number in range(min(count, 100_000)):
            at = start + 48 + number * 24
            _, key, value, _, hardware = struct.unpack_from("=iIIIQ", data, at)
            if hardware == 0:
                name, path = _string(data, start + key), _string(data, start + value)
                found.setdefault(name, []).append(path)
    except (struct.error, ValueError):
        return {}
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode(errors="surrogateescape")
