"""What an ELF file says about the files it needs: its loader and its libraries.

Knows:   the headers, the dynamic section, both byte orders and word sizes.
Refuses: to search (libraries.py) and to execute anything, as `ldd` would.
Source:  man 5 elf; System V gABI, "Dynamic Linking".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRING_TABLE, _RPATH, _RUNPATH = 1, 5, 15, 29
_MAX_HEADERS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One program or library, as far as the loader is concerned."""

    machine: int
    bits: int
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def parse(data: bytes) -> Elf | None:
    """Read the bytes of a file; None when it is no ELF file, or a broken one."""
    if data[:4] != b"\x7fELF" or len(data) < 64:
        return None
    try:
        return _parse(data)
    except (struct.error, UnicodeDecodeError, ValueError):
        return None


def _parse(data: bytes) -> Elf:
    bits = 64 if data[4] == 2 else 32
    order = ">" if data[5] == 2 else "<"
    (machine,) = struct.unpack_from(order + "H", data, 18)
    segments = _segments(data, order, bits)
    interpreter = ""
    needed: list[str] = []
    search: dict[int, list[str]] = {}
    for segment in segments:
        if segment.kind == _INTERPRETER:
            interpreter = _text(data, segment.offset)
        elif segment.kind == _DYNAMIC:
            entries = _dynamic(data, segment, order, bits)
            strings = next((value for tag, value in entries if tag == _STRING_TABLE), None)
            if strings is None:
                continue
            base = _offset(segments, strings)
            needed = [_text(data, base + value) for tag, value in entries if tag == _NEEDED]
            for tag, value in entries:
                if tag in {_RPATH, _RUNPATH}:
                    search[tag] = _text(data, base + value).split(":")
    # RUNPATH, where there is one, makes the loader ignore RPATH.
    paths = search.get(_RUNPATH) or search.get(_RPATH) or []
    return Elf(
        machine=machine,
        bits=bits,
        interpreter=interpreter,
        needed=tuple(needed),
        search=tuple(path for path in paths if path),
    )


def _segments(data: bytes, order: str, bits: int) -> list[_Segment]:
    table, size, count = (
        (*struct.unpack_from(order + "Q", data, 32), *struct.unpack_from(order + "HH", data, 54))
        if bits == 64
        else (
            *struct.unpack_from(order + "I", data, 28),
            *struct.unpack_from(order + "HH", data, 42),
        )
    )
    found = []
    for number in range(min(count, _MAX_HEADERS)):
        at = table + number * size
        if bits == 64:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", data, at)
        found.append(_Segment(kind, offset, address, length))
    return found


def _dynamic(data: bytes, segment: _Segment, order: str, bits: int) -> list[tuple[int, int]]:
    entry = struct.Struct(order + ("qQ" if bits == 64 else "iI"))
    end = min(segment.offset + segment.size, len(data))
    entries = []
    for at in range(segment.offset, end - entry.size + 1, entry.size):
        tag, value = entry.unpack_from(data, at)
        if tag == 0:
            break
        entries.append((tag, value))
    return entries


def _offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError(address)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
