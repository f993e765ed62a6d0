"""Frames and progress messages, however their bytes are cut."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.errors import Failed, Unauthenticated
from dockerlab.wire import progress
from dockerlab.wire.frames import Frame, FrameReader, encode, header

FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=50)), max_size=20)


def test_a_frame() -> None:
    assert encode(1, b"hello") == b"\x01\0\0\0\0\0\0\x05hello"
    assert encode(2, b"") == b""
    assert header(2, 258) == b"\x02\0\0\0\0\0\x01\x02"


@given(FRAMES, st.integers(1, 40))
def test_frames_come_back_whole_or_in_pieces(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(encode(stream, payload) for stream, payload in frames)
    expected = [Frame(stream, payload) for stream, payload in frames if payload]
    reader = FrameReader()
    found = [
        frame
        for position in range(0, len(data), size)
        for frame in reader.feed(data[position : position + size])
    ]
    assert found == expected
    assert not reader.incomplete


def test_a_torn_frame_is_known() -> None:
    reader = FrameReader()
    assert list(reader.feed(encode(1, b"ab") + b"\x01\0\0")) == [Frame(1, b"ab")]
    assert reader.incomplete


@given(st.binary(min_size=1, max_size=40))
def test_what_is_no_frame_is_refused_or_waits(data: bytes) -> None:
    with suppress(Failed):
        for frame in FrameReader().feed(data):
            assert frame.stream <= 3


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


@given(st.integers(1, 30))
def test_messages_come_back_in_pieces(size: int) -> None:
    data = progress.status("one") + progress.layer("two", "x") + progress.stream("three\n")
    reader = progress.MessageReader()
    found = [
        message
        for position in range(0, len(data), size)
        for message in reader.feed(data[position : position + size])
    ]
    assert [next(iter(message.values())) for message in found] == ["one", "two", "three\n"]
