"""Frames and progress messages, however their bytes are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.errors import Failed, Unauthenticated
from dockerlab.wire import progress
from dockerlab.wire.frames import encode, header, parse_header


def test_a_frame() -> None:
    assert encode(1, b"hello") == b"\x01\0\0\0\0\0\0\x05hello"
    assert encode(2, b"") == b""
    assert header(2, 258) == b"\x02\0\0\0\0\0\x01\x02"


@given(st.integers(0, 3), st.integers(0, 64 << 20))
def test_what_is_written_is_read(stream: int, length: int) -> None:
    assert parse_header(header(stream, length)) == (stream, length)


@pytest.mark.parametrize(
    "data", [b"\x04\0\0\0\0\0\0\x01", b"\x01\0\0\0\xff\0\0\0", b"$ ls -l\r\n"[:8]]
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(Failed, match="Unrecognized stream"):
        parse_header(data)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            progress.status("Pulling from library/alpine", id="3.20"),
            b'{"status":"Pulling from library/alpine","id":"3.20"}\r\n',
        ),
        (progress.status("Digest: sha256:00"), b'{"status":"Digest: sha256:00"}\r\n'),
        (
            progress.layer("Pull complete", "0123456789ab"),
            b'{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}\r\n',
        ),
        (progress.stream("Loaded image: a:b\n"), b'{"stream":"Loaded image: a:b\\n"}\r\n'),
        (
            progress.aux({"ID": "sha256:00"}),
            b'{"progressDetail":{},"aux":{"ID":"sha256:00"}}\r\n',
        ),
        (
            progress.error(Failed("it broke")),
            b'{"errorDetail":{"message":"it broke"},"error":"it broke"}\r\n',
        ),
        (
            progress.error(Unauthenticated("who?")),
            b'{"errorDetail":{"code":401,"message":"who?"},"error":"who?"}\r\n',
        ),
    ],
)
def test_messages(message: bytes, expected: bytes) -> None:
    assert message == expected


def test_progress_has_both_texts() -> None:
    document = json.loads(progress.advance("Downloading", "0123456789ab", 1_200_000, 3_000_000))
    assert document["progressDetail"] == {"current": 1_200_000, "total": 3_000_000}
    bar = "[" + "=" * 20 + ">" + " " * 30 + "]"
    assert document["progress"] == f"{bar}    1.2MB/3MB"


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (0, 0, ""),
        (1000, 0, "     1kB"),
        (0, 1000, "[>" + " " * 50 + "]       0B/1kB"),
        (1000, 1000, "[" + "=" * 50 + ">]      1kB/1kB"),
        (3000, 1000, "[" + "=" * 50 + ">]      3kB"),
    ],
)
def test_bars(current: int, total: int, text: str) -> None:
    assert progress.bar(current, total) == text
