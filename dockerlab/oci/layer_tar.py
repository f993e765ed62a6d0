"""The language of layer archives: header blocks to entries, and entries to header blocks.

Knows:   ustar, pax, GNU long names, base-256 numbers, sparse maps; and the limits of each.
Refuses: to touch a disk; names that leave the root, and anything ambiguous, are errors here.
Source:  POSIX pax, "ustar Interchange Format"; GNU tar manual, "Sparse Formats"; OCI layer.md.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import msgspec

from dockerlab.errors import InvalidRequest
from dockerlab.oci import sparse_tar
from dockerlab.oci.tar_fields import (
    BLOCK,
    MAX_HEADER,
    bad,
    binary_or_octal,
    pax_number,
    pax_records,
    pax_time,
    shown,
    text,
    xattrs_of,
)

FILE, DIRECTORY, SYMLINK, HARDLINK = "file", "directory", "symlink", "hardlink"
CHARACTER, BLOCK_DEVICE, FIFO = "character", "block", "fifo"

MAX_NAME = 4095
MAX_COMPONENT = 255
MAX_DEPTH = 400
MAX_TAIL = 64 << 20
MAX_SIZE = 1 << 62

_ZERO = bytes(BLOCK)
_ADLER = 65521
_ODD = re.compile(rb"/[./]|\0")
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
    b"5": DIRECTORY,
    b"6": FIFO,
}
_EXTENSIONS = frozenset((b"x", b"g", b"L", b"K"))
_IGNORED = frozenset((b"V",))
# Ids of 2**32-1 mean "leave as it is" to chown.
_MAX_ID = 0xFFFF_FFFE

Pieces = tuple[tuple[int, int], ...]


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of an archive. Names are bytes, as they are in archives and on disks.

    Attributes:
        name: cleaned: no leading "/" or "./", no trailing "/"; b"" is the root itself.
        size: bytes of the file when unpacked; 0 for everything but regular files.
        payload: bytes that follow the header in the archive; less than `size` for sparse files.
        target: where a symlink points, as written; or the cleaned name a hard link shares.
        device: major and minor number.
        pieces: (offset, length) of the data of a sparse file; None for others.
    """

    name: bytes
    kind: str
    mode: int
    size: int = 0
    payload: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = {}
    pieces: Pieces | None = None

    @property
    def path(self) -> str:
        """The name as text; undecodable bytes survive as surrogates."""
        return self.name.decode("utf-8", "surrogateescape")

    @property
    def link(self) -> str:
        """The target as text."""
        return self.target.decode("utf-8", "surrogateescape")


class Reader:
    """Reads an archive entry by entry.

    After `next()` the caller reads exactly `entry.payload` bytes from the same source, then
    calls `next()` again.

    Attributes:
        raw: the blocks before the latest entry's payload, with the padding of the one before.
        tail: after the end: everything that followed the last payload.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Args: read: gives exactly n bytes, or fewer at the end."""
        self._read = read
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self.raw = b""
        self.tail = b""

    def next(self) -> Entry | None:
        """Return the next entry, or None at the end of the archive.

        Raises:
            InvalidRequest: naming the entry where it can.
        """
        blocks = [self._read(self._padding)]
        local: dict[bytes, bytes] = {}
        total = 0
        while True:
            block = self._read(BLOCK)
            if len(block) < BLOCK or block == _ZERO:
                self._finish(b"".join(blocks), block)
                return None
            _verify(block)
            blocks.append(block)
            flag = block[156:157]
            if flag in _EXTENSIONS:
                total += self._extension(block, flag, blocks, local)
                if total > MAX_HEADER:
                    raise InvalidRequest(f"tar header is larger than {MAX_HEADER} bytes")
                continue
            if flag in _IGNORED:
                continue
            records = {**self._global, **local} if self._global else local
            entry = self._entry(block, flag, records, blocks)
            self._padding = -entry.payload % BLOCK
            self.raw = b"".join(blocks)
            return entry

    def _extension(
        self, block: bytes, flag: bytes, blocks: list[bytes], local: dict[bytes, bytes]
    ) -> int:
        """Read the data of a header that only speaks about others."""
        size = binary_or_octal(block[124:136], "size")
        if size > MAX_HEADER:
            raise InvalidRequest(f"tar header is larger than {MAX_HEADER} bytes")
        data = self._read(size + -size % BLOCK)
        if len(data) < size:
            raise InvalidRequest("unexpected EOF in a tar header")
        blocks.append(data)
        if flag == b"x":
            local.update(pax_records(data[:size]))
        elif flag == b"g":
            for key, value in pax_records(data[:size]).items():
                self._global[key] = value
        else:
            local[b"path" if flag == b"L" else b"linkpath"] = data[:size].partition(b"\0")[0]
        return len(data) + BLOCK

    def _entry(
        self, block: bytes, flag: bytes, records: dict[bytes, bytes], blocks: list[bytes]
    ) -> Entry:
        name = records.get(b"path") or _name(block)
        kind = _KINDS.get(flag)
        if kind is None:
            raise InvalidRequest(f"unhandled tar header type {flag[0]} of {shown(name)}")
        if flag == b"\0" and name.endswith(b"/"):
            kind = DIRECTORY
        size = binary_or_octal(block[124:136], "size", name)
        pieces: Pieces | None = None
        if kind != FILE:
            payload = size = 0
        else:
            payload = size = pax_number(records, b"size", size, name)
            if flag == b"S" or b"GNU.sparse.size" in records or b"GNU.sparse.major" in records:
                found = sparse_tar.find(
                    block, flag, records, size, read=self._read, blocks=blocks, name=name
                )
                name, size, payload, pieces = found
        if size > MAX_SIZE:
            raise bad("size out of range", name)
        # Parsed last of all: a sparse file's real name stands in its own record.
        cleaned = clean(name)
        target = b""
        if kind in (SYMLINK, HARDLINK):
            target = records.get(b"linkpath") or text(block[157:257])
            target = _target(kind, target, cleaned)
        device = (0, 0)
        if kind in (CHARACTER, BLOCK_DEVICE):
            device = (
                binary_or_octal(block[329:337], "devmajor", name),
                binary_or_octal(block[337:345], "devminor", name),
            )
        uid = pax_number(records, b"uid", binary_or_octal(block[108:116], "uid", name), name)
        gid = pax_number(records, b"gid", binary_or_octal(block[116:124], "gid", name), name)
        if uid > _MAX_ID or gid > _MAX_ID or max(device) >= 1 << 32:
            raise bad("number out of range", name)
        return Entry(
            cleaned,
            kind,
            binary_or_octal(block[100:108], "mode", name) & 0o7777,
            size,
            payload,
            uid,
            gid,
            pax_time(records, block[136:148], name),
            target,
            device,
            xattrs_of(records) if records else {},
            pieces,
        )

    def _finish(self, before: bytes, block: bytes) -> None:
        """Take the end of the archive: two zero blocks, or nothing at all, then anything."""
        if block and len(block) < BLOCK and block.strip(b"\0"):
            raise InvalidRequest("unexpected EOF in a tar header")
        parts = [before, block]
        if len(block) == BLOCK:
            second = self._read(BLOCK)
            if second.strip(b"\0"):
                raise InvalidRequest("archive/tar: invalid tar header")
            parts.append(second)
        left = MAX_TAIL
        while chunk := self._read(min(1 << 16, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise InvalidRequest("too many bytes after the end of the tar archive")
            parts.append(chunk)
        self.tail = b"".join(parts)
        self._padding = 0


def clean(name: bytes) -> bytes:
    """Reduce a name to its plain form below the root.

    Raises:
        InvalidRequest: it leaves the root, is too long, or holds a NUL.
    """
    plain = name.removeprefix(b"./")
    # Most names are plain already; below 255 bytes every other rule holds as well.
    if 0 < len(plain) <= MAX_COMPONENT and plain[0] not in b"./" and not _ODD.search(plain):
        return plain.removesuffix(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise bad("path is outside of the root", name)
            parts.pop()
            continue
        if len(part) > MAX_COMPONENT:
            raise bad("file name too long", name)
        parts.append(part)
    cleaned = b"/".join(parts)
    if len(cleaned) > MAX_NAME or len(parts) > MAX_DEPTH:
        raise bad("file name too long", name)
    if b"\0" in cleaned:
        raise bad("NUL in the name", name)
    return cleaned


def _target(kind: str, target: bytes, name: bytes) -> bytes:
    if kind == HARDLINK:
        try:
            cleaned = clean(target)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"invalid hardlink target {shown(target)} of {shown(name)}"
            ) from error
        if not cleaned:
            raise InvalidRequest(f"invalid hardlink target {shown(target)} of {shown(name)}")
        return cleaned
    if not target or len(target) > MAX_NAME or b"\0" in target:
        raise InvalidRequest(f"invalid symlink target of {shown(name)}")
    return target


def _name(block: bytes) -> bytes:
    """Return the name of an ustar header: prefix and name. GNU uses the prefix for other things."""
    name = text(block[:100])
    if block[257:263] == b"ustar\0":
        prefix = text(block[345:500])
        if prefix:
            return prefix + b"/" + name
    return name


def _verify(block: bytes) -> None:
    """Check the sum over all bytes, its own field taken as blanks."""
    written = binary_or_octal(block[148:156], "checksum")
    # The low half of Adler-32 is that sum plus 1, modulo 65521, at a tenth of the cost of sum().
    actual = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
    if (written - actual) % _ADLER:
        # Very old writers summed signed characters.
        signed = actual - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if (written - signed) % _ADLER:
            raise InvalidRequest("archive/tar: invalid tar header")
