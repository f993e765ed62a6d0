"""Figures as docker writes them, and back: sizes, ages, durations, times.

Knows:   the CLI's rounding (7.84MB, "3 minutes ago", 1.944MiB).
Refuses: clocks; "now" is passed in. Times are nanoseconds since the epoch, UTC.
Source:  docker/go-units size.go, duration.go.
"""

from __future__ import annotations

from dockerlab.errors import InvalidRequest
from dockerlab.wire.times import SECOND_NS, human_duration, parse_moment, parse_rfc3339

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float, *, digits: int = 3) -> str:
    """A number of bytes in powers of 1000: 7.84MB."""
    return _scaled(count, 1000, _DECIMAL, digits)


def binary_size(count: float) -> str:
    """A number of bytes in powers of 1024: 1.944MiB."""
    return _scaled(count, 1024, _BINARY, 4)


def ago(time_ns: int, now_ns: int) -> str:
    """The age of a moment: "3 minutes ago"; "N/A" for a moment nobody recorded."""
    return f"{human_duration(now_ns - time_ns)} ago" if time_ns > 0 else "N/A"


def brief(duration_ns: int) -> str:
    """A short measured time for people: 0.21 s, 12 ms, 3 min 5 s."""
    seconds = duration_ns / SECOND_NS
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def read_time(text: str) -> int:
    """An RFC 3339 time as nanoseconds since the epoch; 0 for Go's zero time or nonsense."""
    try:
        return max(0, parse_rfc3339(text))
    except InvalidRequest:
        return 0


def moment(text: str, now_ns: int) -> str:
    """What `--since` and `--until` mean, as the API wants it: seconds with a fraction.

    Raises:
        InvalidRequest: it is neither a time nor a duration.
    """
    time_ns = parse_moment(text, now_ns)
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS:09d}"


def cut(text: str, width: int) -> str:
    """Long text, cut with an ellipsis."""
    return text if width <= 0 or len(text) <= width else text[: width - 1] + "…"


def short_id(identifier: str) -> str:
    """The twelve characters that people use."""
    return identifier.removeprefix("sha256:")[:12]


def _scaled(count: float, base: int, units: tuple[str, ...], digits: int) -> str:
    value, place = float(count), 0
    while abs(value) >= base and place < len(units) - 1:
        value, place = value / base, place + 1
    return f"{_significant(value, digits)}{units[place]}"


def _significant(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return str(int(float(text))) if "e" in text else text
