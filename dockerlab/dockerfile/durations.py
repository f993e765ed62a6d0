"""Durations as Go programs write them, "1m30s"; HEALTHCHECK speaks this way.

Knows:   the units and their fractions.
Refuses: to judge a duration; the instructions do.
Source:  Go, time.ParseDuration.
"""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_UNIT = "|".join(sorted(_UNITS_NS, key=len, reverse=True))
_PART = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({_UNIT})")
_INT64_MAX = 2**63 - 1


def parse_duration(text: str) -> int:
    """Read "1m30s" or "-1.5h" into nanoseconds.

    Raises:
        ValueError: in Go's words.
    """
    shown = f'"{text}"'
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {shown}")
    total = Decimal(0)
    position = 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            if re.fullmatch(r"[0-9]+\.?[0-9]*", rest[position:]):
                raise ValueError(f"time: missing unit in duration {shown}")
            raise ValueError(f"time: invalid duration {shown}")
        total += Decimal(match[1]) * _UNITS_NS[match[2]]
        position = match.end()
    if total > _INT64_MAX:
        raise ValueError(f"time: invalid duration {shown}")
    return sign * int(total)
