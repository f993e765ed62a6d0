"""Writes header blocks: the same entry always gives the same bytes.

Knows:   ustar, with pax records for what does not fit into it.
Refuses: users' and groups' names, access times: they would make equal layers differ.
Source:  POSIX pax, "ustar Interchange Format".
"""

from __future__ import annotations

from dockerlab.oci.layer_tar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
)
from dockerlab.oci.tar_fields import BLOCK, bad

END = bytes(2 * BLOCK)

_FLAGS = {
    FILE: b"0",
    HARDLINK: b"1",
    SYMLINK: b"2",
    CHARACTER: b"3",
    BLOCK_DEVICE: b"4",
    DIRECTORY: b"5",
    FIFO: b"6",
}
_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a payload."""
    return bytes(-size % BLOCK)


def header(entry: Entry) -> bytes:
    """Write the blocks that precede an entry's payload.

    Raises:
        InvalidRequest: a device number beyond what the format holds.
    """
    name = entry.name or b"."
    if entry.kind == DIRECTORY and name != b"/":
        name += b"/"
    records: dict[bytes, bytes] = {}
    prefix, short = _split(name)
    if not short:
        records[b"path"] = name
        short = name[:100].decode("ascii", "replace").replace("\ufffd", "_").encode()
    target = entry.target
    if len(target) > 100 or not target.isascii():
        records[b"linkpath"] = target
        target = target[:100].decode("ascii", "replace").replace("\ufffd", "_").encode()
    for key, number, most in (
        (b"uid", entry.uid, _MAX_OCTAL_7),
        (b"gid", entry.gid, _MAX_OCTAL_7),
        (b"size", entry.size, _MAX_OCTAL_11),
    ):
        if number > most:
            records[key] = b"%d" % number
    seconds, fraction = divmod(entry.mtime_ns, 1_000_000_000)
    if fraction:
        records[b"mtime"] = b"%d.%09d" % (seconds, fraction)
        records[b"mtime"] = records[b"mtime"].rstrip(b"0")
    for attribute, value in entry.xattrs.items():
        records[b"SCHILY.xattr." + attribute] = value
    if max(entry.device) > _MAX_OCTAL_7:
        raise bad("device number out of range", entry.name)
    block = _block(
        short,
        _FLAGS[entry.kind],
        mode=entry.mode,
        uid=entry.uid if entry.uid <= _MAX_OCTAL_7 else 0,
        gid=entry.gid if entry.gid <= _MAX_OCTAL_7 else 0,
        size=entry.size if entry.size <= _MAX_OCTAL_11 else 0,
        mtime=min(seconds, _MAX_OCTAL_11),
        target=target,
        device=entry.device,
        prefix=prefix,
    )
    return _pax(records, name) + block if records else block


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Split a name over ustar's two fields; ("", "") when it does not fit."""
    if not name.isascii():
        return b"", b""
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, min(156, len(name) - 1))
    if cut <= 0 or not 0 < len(name) - cut - 1 <= 100:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _pax(records: dict[bytes, bytes], name: bytes) -> bytes:
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    base = name.rstrip(b"/").rpartition(b"/")[2][:80]
    label = b"PaxHeaders.0/" + base.decode("ascii", "replace").replace("\ufffd", "_").encode()
    return _block(label, b"x", mode=0o644, size=len(data)) + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """The length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    if len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


def _block(
    name: bytes,
    flag: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    start = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        mode,
        uid,
        gid,
        size,
        mtime,
    )
    end = b"%s%sustar\x0000%s%07o\0%07o\0%s%s" % (
        flag,
        target.ljust(100, b"\0"),
        bytes(64),
        *device,
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    checksum = sum(start) + 8 * 32 + sum(end)
    return start + b"%06o\0 " % checksum + end
