"""Sparse files in archives: where the data of a file with holes lies.

Knows:   GNU's old maps in the header and pax formats 0.0, 0.1 and 1.0.
Refuses: maps that overlap, go backwards or leave the file.
Source:  GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dockerlab.oci.tar_fields import BLOCK, MAX_HEADER, bad, binary_or_octal, pax_number

_Pieces = tuple[tuple[int, int], ...]
_Found = tuple[bytes, int, int, _Pieces]


def find(
    block: bytes,
    flag: bytes,
    records: Mapping[bytes, bytes],
    stored: int,
    *,
    read: Callable[[int], bytes],
    blocks: list[bytes],
    name: bytes,
) -> _Found:
    """Return the name, size, stored bytes and pieces of a sparse file.

    `blocks` grows by the map blocks that stand before the data.
    """
    if flag == b"S":
        size = binary_or_octal(block[483:495], "real size", name)
        numbers = _old_map(block, read, blocks, name)
    elif records.get(b"GNU.sparse.major") == b"1":
        size = pax_number(records, b"GNU.sparse.realsize", stored, name)
        numbers, used = _map_in_data(stored, read, blocks, name)
        stored -= used
        name = records.get(b"GNU.sparse.name") or name
    else:
        size = pax_number(records, b"GNU.sparse.size", stored, name)
        numbers = _numbers(records.get(b"GNU.sparse.map", b""), name)
        name = records.get(b"GNU.sparse.name") or name
    return name, size, stored, _checked(numbers, size, stored, name)


def _old_map(
    block: bytes, read: Callable[[int], bytes], blocks: list[bytes], name: bytes
) -> list[int]:
    numbers: list[int] = []
    start, count, more = 386, 4, 482
    while True:
        for position in range(start, start + count * 24, 12):
            field = block[position : position + 12]
            if field[0] == 0 and (position - start) % 24 == 0:
                break
            numbers.append(binary_or_octal(field, "sparse map", name))
        if not block[more]:
            return numbers
        block = read(BLOCK)
        if len(block) < BLOCK or len(numbers) * 12 > MAX_HEADER:
            raise bad("sparse map too long", name)
        blocks.append(block)
        start, count, more = 0, 21, 504


def _map_in_data(
    stored: int, read: Callable[[int], bytes], blocks: list[bytes], name: bytes
) -> tuple[list[int], int]:
    """Read the decimal lines that precede the data: how many pieces, then each one's numbers."""
    data = b""
    wanted = 1
    used = 0
    while data.count(b"\n") < wanted:
        if used + BLOCK > min(stored, MAX_HEADER):
            raise bad("sparse map too long", name)
        block = read(BLOCK)
        if len(block) < BLOCK:
            raise bad("unexpected EOF in a sparse map", name)
        blocks.append(block)
        used += BLOCK
        data += block
        first = data.partition(b"\n")
        if first[1]:
            if not first[0].isdigit() or len(first[0]) > 7:
                raise bad("invalid sparse map", name)
            wanted = 1 + 2 * int(first[0])
    return _numbers(b",".join(data.split(b"\n")[1:wanted]), name), used


def _numbers(joined: bytes, name: bytes) -> list[int]:
    if not joined:
        return []
    parts = joined.split(b",")
    if not all(part.isdigit() and len(part) < 20 for part in parts):
        raise bad("invalid sparse map", name)
    return [int(part) for part in parts]


def _checked(numbers: list[int], size: int, stored: int, name: bytes) -> _Pieces:
    if len(numbers) % 2:
        raise bad("invalid sparse map", name)
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = total = 0
    for offset, length in pieces:
        if offset < end:
            raise bad("invalid sparse map", name)
        end = offset + length
        total += length
    if end > size or total != stored:
        raise bad("invalid sparse map", name)
    return tuple(piece for piece in pieces if piece[1])
