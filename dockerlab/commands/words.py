"""Figures as docker writes them, and back: sizes, ages, durations, times.

Knows:   the CLI's rounding (7.84MB, "3 minutes ago", 1.944MiB).
Refuses: clocks; "now" is passed in. Times are nanoseconds since the epoch, UTC.
Source:  docker/go-units size.go, duration.go.
"""

from __future__ import annotations

from dockerlab.errors import InvalidRequest
from dockerlab.wire.sizes import human_size_short
from dockerlab.wire.times import SECOND_NS, human_duration, parse_moment, parse_rfc3339


def size(count: float) -> str:
    """A number of bytes as docker's tables have it: three digits, powers of 1000, 7.84MB."""
    return human_size_short(count)


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
