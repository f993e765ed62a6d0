"""Figures as docker writes them, and back: sizes, ages, durations, times.

Knows:   the CLI's rounding (7.84MB, "3 minutes ago", 1.944MiB).
Refuses: clocks; "now" is passed in. Times are nanoseconds since the epoch, UTC.
Source:  docker/go-units size.go, duration.go.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dockerlab.errors import InvalidRequest

SECOND_NS = 1_000_000_000
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_SPANS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.](\d+))?\s*(Z|[+-]\d\d:?\d\d)?.*"
)


def size(count: float, *, digits: int = 3) -> str:
    """A number of bytes in powers of 1000: 7.84MB."""
    return _scaled(count, 1000, _DECIMAL, digits)


def binary_size(count: float) -> str:
    """A number of bytes in powers of 1024: 1.944MiB."""
    return _scaled(count, 1024, _BINARY, 4)


def read_size(text: str) -> int:
    """`512m`, `1.5g` or `1048576` as bytes.

    Raises:
        InvalidRequest: in docker's words.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", text.strip().lower())
    if match is None:
        raise InvalidRequest(f"invalid size: '{text}'", hint="For example 512m or 1.5g")
    return int(float(match[1]) * _UNITS[match[2]])


def span(duration_ns: int) -> str:
    """A length of time in one unit, as `docker ps` says it: 3 minutes, About an hour."""
    seconds = max(0, duration_ns) // SECOND_NS
    minutes, hours = seconds // 60, round(seconds / 3600)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    return _days(hours // 24)


def _days(days: int) -> str:
    for limit, unit, name in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < limit:
            return f"{days // unit} {name}"
    return f"{days // 365} years"


def ago(time_ns: int, now_ns: int) -> str:
    """The age of a moment: "3 minutes ago"; "N/A" for a moment nobody recorded."""
    return f"{span(now_ns - time_ns)} ago" if time_ns > 0 else "N/A"


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
    match = _TIME.match(text)
    if match is None or match[1] == "0001":
        return 0
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    whole = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    zone = match[8] or "Z"
    if zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        digits = zone[1:].replace(":", "")
        whole -= sign * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    return whole * SECOND_NS + fraction


def write_time(time_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339, UTC."""
    whole, fraction = divmod(time_ns, SECOND_NS)
    moment = datetime.fromtimestamp(whole, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def read_span(text: str) -> int:
    """`10m`, `1h30m`, `1.5s` as nanoseconds.

    Raises:
        InvalidRequest: it is no duration.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    if not parts or "".join(value + unit for value, unit in parts) != text:
        raise InvalidRequest(f"invalid duration: {text}", hint="For example 30s, 10m or 1h30m")
    return sum(int(float(value) * _SPANS[unit]) for value, unit in parts)


def moment(text: str, now_ns: int) -> str:
    """What `--since` and `--until` mean, as the API wants it: seconds with a fraction."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return text
    time_ns = read_time(text if "T" in text or " " in text else f"{text}T00:00:00Z")
    if not time_ns:
        time_ns = now_ns - read_span(text)
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
