"""Amounts of bytes between numbers and people's texts.

Knows:   Docker's two rulers: 1000 for disks and networks, 1024 for memory.
Refuses: to round in a way Docker does not, but where Docker falls into 1e+03.
Source:  docker/go-units size.go.
"""

from __future__ import annotations

import re

from dockerlab.errors import InvalidRequest

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?|\.\d{1,18}) ?([kKmMgGtTpP])?([iI])?[bB]?", re.ASCII)
_POWERS = {letter: power for power, letter in enumerate("kmgtp", start=1)}
_MAX = 2**63 - 1


def human_size(size_bytes: float) -> str:
    """Say a size with four significant digits and powers of 1000: "1.234MB", "72.8MB"."""
    return _human(size_bytes, 1000, _DECIMAL, 4)


def human_size_short(size_bytes: float) -> str:
    """Say a size with three significant digits, as image lists and statistics do: "1.23MB"."""
    return _human(size_bytes, 1000, _DECIMAL, 3)


def human_memory(size_bytes: float) -> str:
    """Say memory with four significant digits and powers of 1024: "1.953GiB"."""
    return _human(size_bytes, 1024, _BINARY, 4)


def parse_bytes(text: str) -> int:
    """Read "512m", "1.5g", "64kb" or plain bytes, by powers of 1024, as memory options are.

    Raises:
        InvalidRequest: `invalid size: 'x'`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise InvalidRequest(
            f"invalid size: '{text}'", hint="Write a number with b, k, m or g, such as 512m."
        )
    factor = 1024 ** _POWERS[match[2].lower()] if match[2] else 1
    whole, _, fraction = match[1].partition(".")
    size = int(whole or 0) * factor + (
        int(fraction) * factor // 10 ** len(fraction) if fraction else 0
    )
    if size > _MAX:
        raise InvalidRequest(f"invalid size: '{text}'", hint="That is more than 8 exabytes.")
    return size


def _human(size: float, base: int, units: tuple[str, ...], digits: int) -> str:
    power = 0
    value = float(size)
    while value >= base and power < len(units) - 1:
        value /= base
        power += 1
    text = f"{value:.{digits}g}"
    if "e" in text and power < len(units) - 1:
        # Go writes 999.9kB with three digits as 1e+03kB; nobody reads that as what it is.
        return f"1{units[power + 1]}"
    return f"{text}{units[power]}"
