"""Fields of tar headers: octal and binary numbers, pax records, times, extended attributes.

Knows:   how one field is written and read back, strictly.
Refuses: to know what a whole header means; `layer_tar.py` and `tar_writer.py` do.
Source:  POSIX pax, "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from dockerlab.errors import InvalidRequest

BLOCK = 512
MAX_HEADER = 1 << 20
"""Bytes of all the headers of one entry together."""
MAX_TIME_S = 1 << 33

_ENDS = b"\0 "
_XATTR = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_SPARSE_LISTS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


def shown(name: bytes) -> str:
    """Quote a hostile name for a message: no control characters, bounded."""
    quoted = name[:200].decode("utf-8", "backslashreplace")
    quoted = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in quoted)
    return f'"{quoted}{"..." if len(name) > 200 else ""}"'


def readable(path: str) -> str:
    """Take surrogates of undecodable bytes out of a path: no encoder writes them."""
    if path.isascii():
        return path
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def bad(why: str, name: bytes) -> InvalidRequest:
    """Make the error of an entry that is refused."""
    return InvalidRequest(f"invalid tar entry {shown(name)}: {why}")


def text(field: bytes) -> bytes:
    """Cut a field at its first NUL."""
    return field.partition(b"\0")[0]


def binary_or_octal(field: bytes, what: str, name: bytes = b"") -> int:
    """Read a number: octal digits, or base 256 when the top bit is set.

    Raises:
        InvalidRequest: a negative number, or anything but digits.
    """
    # The common form first: this runs seven times for every entry of every layer.
    digits = field[:-1]
    if digits.isdigit() and field[-1] in _ENDS:
        try:
            return int(digits, 8)
        except ValueError:
            raise bad(f"invalid {what}", name) from None
    if field[0] & 0x80:
        if field[0] & 0x40:
            # Only times may be negative, and those are clamped to 0 anyway.
            if what == "mtime":
                return 0
            raise bad(f"negative {what}", name)
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise bad(f"invalid {what}", name)


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """Read records of LENGTH, blank, KEY=VALUE, newline; the last of a key wins.

    Raises:
        InvalidRequest: malformed.
    """
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise InvalidRequest("malformed pax header")
        end = position + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals:
            raise InvalidRequest("malformed pax header")
        if not key or b"\0" in key:
            raise InvalidRequest("malformed pax header")
        if key in _SPARSE_LISTS:
            _join_sparse(records, key, value)
        else:
            records[key] = value
        position = end
    return records


def _join_sparse(records: dict[bytes, bytes], key: bytes, value: bytes) -> None:
    """Collect the repeated records of sparse format 0.0 as the list that 0.1 has."""
    present = records.get(b"GNU.sparse.map", b"")
    odd = present.count(b",") % 2 == 0 and bool(present)
    if odd == (key == _SPARSE_LISTS[0]):
        raise InvalidRequest("malformed pax header: sparse map")
    records[b"GNU.sparse.map"] = present + b"," + value if present else value


def pax_number(records: Mapping[bytes, bytes], key: bytes, default: int, name: bytes) -> int:
    """Read a decimal record; an absent or empty one leaves the header's number."""
    value = records.get(key)
    if not value:
        return default
    if not value.isdigit() or len(value) > 20:
        raise bad(f"invalid {key.decode('ascii', 'replace')}", name)
    return int(value)


def pax_time(records: Mapping[bytes, bytes], field: bytes, name: bytes) -> int:
    """Read the time of change in nanoseconds, clamped to what file systems hold."""
    value = records.get(b"mtime")
    if not value:
        return min(binary_or_octal(field, "mtime", name), MAX_TIME_S) * 1_000_000_000
    match = _TIME.fullmatch(value)
    if match is None:
        raise bad("invalid mtime", name)
    if match[1]:
        return 0
    fraction = int((match[3] or b"0")[:9].ljust(9, b"0"))
    seconds = int(match[2])
    if seconds >= MAX_TIME_S:
        return MAX_TIME_S * 1_000_000_000
    return seconds * 1_000_000_000 + fraction


def xattrs_of(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Collect extended attributes, whoever's dialect they are in.

    Those of an overlay (`trusted.overlay.*`, `user.overlay.*`) would turn a file into something
    else when mounted, so an archive cannot set them.
    """
    found: dict[bytes, bytes] = {}
    for key, value in records.items():
        if key.startswith(_XATTR):
            attribute = key[len(_XATTR) :]
        elif key.startswith(_LIBARCHIVE):
            attribute = unquote_to_bytes(key[len(_LIBARCHIVE) :])
            try:
                value = base64.b64decode(value + b"=" * (-len(value) % 4))  # noqa: PLW2901
            except binascii.Error as error:
                raise InvalidRequest("malformed pax header: extended attribute") from error
        else:
            continue
        if attribute and b"\0" not in attribute and b".overlay." not in attribute:
            found.setdefault(attribute, value)
    return found
