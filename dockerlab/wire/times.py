"""Times and durations between nanoseconds and the texts of the API.

Knows:   RFC 3339 as Go writes and reads it, log stamps, Go durations, Docker's human words.
Refuses: to ask a clock; whoever calls says what time it is.
Source:  Go time.RFC3339Nano, time.ParseDuration; docker/go-units duration.go.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from dockerlab.errors import InvalidRequest

SECOND_NS = 1_000_000_000
ZERO_TIME = "0001-01-01T00:00:00Z"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_S = int((datetime(1, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_MAX_S = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds())
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,18}))?)?"
    r"(?:([Zz])|([+-])(\d\d):(\d\d))?)?",
    re.ASCII,
)
_SECONDS = re.compile(r"(-?\d{1,12})(?:\.(\d{1,18}))?", re.ASCII)
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}
_PART = re.compile(
    r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII
)


def rfc3339(time_ns: int) -> str:
    """Write a time with nanoseconds, trailing zeros dropped; 0 is "never", the year 1.

    Source: Go time.RFC3339Nano.
    """
    if not time_ns:
        return ZERO_TIME
    text = _stamp(time_ns)
    fraction = f"{time_ns % SECOND_NS:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def rfc3339_seconds(time_ns: int) -> str:
    """Write a time in whole seconds, as volumes show their creation."""
    return f"{_stamp(time_ns)}Z" if time_ns else ZERO_TIME


def log_stamp(time_ns: int) -> str:
    """Write the time before a log line: always nine digits, so that columns stand still."""
    return f"{_stamp(time_ns)}.{time_ns % SECOND_NS:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Read a time, or a date alone; without a zone it is UTC.

    Raises:
        InvalidRequest: not a time.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidRequest(f'parsing time "{text}": cannot parse as RFC 3339')
    numbers = [int(match[index] or 0) for index in range(1, 7)]
    zone = UTC
    if match[9]:
        minutes = int(match[10]) * 60 + int(match[11])
        zone = timezone(timedelta(minutes=-minutes if match[9] == "-" else minutes))
    try:
        moment = datetime(*numbers, tzinfo=zone)  # type: ignore[misc, arg-type]
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f'parsing time "{text}": {error}') from error
    seconds = round((moment - _EPOCH) / timedelta(seconds=1))
    return seconds * SECOND_NS + _fraction_ns(match[7] or "")


def parse_moment(text: str, now_ns: int) -> int:
    """Read a `since` or `until`: seconds[.nanos], RFC 3339, or a duration before now.

    Raises:
        InvalidRequest: none of the three.
    """
    match = _SECONDS.fullmatch(text)
    if match is not None:
        whole = int(match[1]) * SECOND_NS
        fraction = _fraction_ns(match[2] or "")
        return whole - fraction if match[1].startswith("-") else whole + fraction
    if _RFC3339.fullmatch(text):
        return parse_rfc3339(text)
    try:
        return now_ns - parse_duration(text)
    except InvalidRequest as error:
        raise InvalidRequest(
            f'failed to parse value as time or duration: "{text}"',
            hint="Write seconds since 1970, 2026-01-31T12:00:00Z, or 10m for ten minutes ago.",
        ) from error


def parse_duration(text: str) -> int:
    """Read a Go duration such as "1h30m" or "-1.5s" as nanoseconds.

    Raises:
        InvalidRequest: in the words of Go's time package.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        match = _PART.match(rest, position)
        if match is None:
            break
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS_NS[match[2]]
        total += int(whole or 0) * unit
        total += int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    if not rest or position < len(rest):
        missing = rest[position:].replace(".", "", 1).isdigit()
        kind = "missing unit in" if missing else "invalid"
        raise InvalidRequest(f'time: {kind} duration "{text}"')
    if total > 2**63 - 1:
        raise InvalidRequest(f'time: invalid duration "{text}"')
    return sign * total


def human_duration(duration_ns: int) -> str:
    """Say a duration as `docker ps` does: "About a minute", "5 days"."""
    seconds = max(0, duration_ns) // SECOND_NS
    minutes, hours = seconds // 60, int(seconds / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if minutes < 1:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return _human_hours(hours)


def _human_hours(hours: int) -> str:
    if hours == 1:
        return "About an hour"
    for below, unit, name in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < below:
            return f"{hours // unit} {name}"
    return f"{hours // 24 // 365} years"


def _stamp(time_ns: int) -> str:
    seconds = min(max(time_ns // SECOND_NS, _MIN_S), _MAX_S)
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").zfill(19)


def _fraction_ns(digits: str) -> int:
    return int(digits[:9].ljust(9, "0")) if digits else 0
