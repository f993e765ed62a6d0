"""The log file of a container, as other programs will read it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.runtime.log_writer import (
    BLOCK,
    BLOCK_END,
    LogWriter,
    block,
    escape,
    time_text,
    whole_blocks,
)

AT = 1_700_000_000_120_000_000


def writer(path, *, driver="json-file", max_bytes=0, max_files=1, attrs=None):
    return LogWriter(driver, str(path), max_bytes, max_files, attrs or {})


def logs(path):
    return [json.loads(line)["log"] for line in path.read_text("utf-8").splitlines()]


def test_a_line_looks_exactly_as_docker_writes_it(tmp_path):
    log = writer(tmp_path / "log")
    log.write(1, b'a\t<"b"> & \\ c\r\n', AT)
    log.close()
    assert (tmp_path / "log").read_bytes() == (
        b'{"log":"a\\u0009\\u003c\\"b\\"\\u003e \\u0026 \\\\ c\\r\\n",'
        b'"stream":"stdout","time":"2023-11-14T22:13:20.12Z"}\n'
    )


def test_attributes_stand_between_stream_and_time(tmp_path):
    log = writer(tmp_path / "log", attrs={"tag": "<x>"})
    log.write(2, b"e\n", AT)
    assert (tmp_path / "log").read_bytes() == (
        b'{"log":"e\\n","stream":"stderr","attrs":{"tag":"\\u003cx\\u003e"},'
        b'"time":"2023-11-14T22:13:20.12Z"}\n'
    )
    log.close()


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, b"1970-01-01T00:00:00Z"),
        (1, b"1970-01-01T00:00:00.000000001Z"),
        (1_000_000_000, b"1970-01-01T00:00:01Z"),
        (1_500_000_000, b"1970-01-01T00:00:01.5Z"),
    ],
)
def test_time_without_trailing_zeros(time_ns, text):
    assert time_text(time_ns) == text


def test_broken_text_is_replaced_byte_by_byte():
    assert escape(b"\xe2\x82|\xff|\xed\xa0\x80|\xc3\xa9") == (
        rb"\ufffd\ufffd|\ufffd|\ufffd\ufffd\ufffd|" + "é".encode()
    )
    # One that was there before stays what it was, and Go escapes the two line separators.
    assert escape("\ufffd\u2028\u2029".encode()) == "\ufffd".encode() + rb"\u2028\u2029"


def test_a_character_across_two_chunks_is_whole(tmp_path):
    log = writer(tmp_path / "log")
    log.write(1, b"caf\xc3", AT)
    log.write(1, b"\xa9\n", AT)
    log.close()
    assert logs(tmp_path / "log") == ["café\n"]


def test_whole_lines_appear_at_once_and_the_rest_at_close(tmp_path):
    log = writer(tmp_path / "log")
    log.write(1, b"one\ntw", AT)
    log.write(2, b"err", AT)
    assert logs(tmp_path / "log") == ["one\n"]
    log.write(1, b"o\nlast", AT)
    assert logs(tmp_path / "log") == ["one\n", "two\n"]
    log.close()
    assert logs(tmp_path / "log") == ["one\n", "two\n", "last", "err"]


@pytest.mark.parametrize(
    ("length", "pieces"),
    [(16383, [16384]), (16384, [16384, 1]), (16385, [16384, 2]), (40000, [16384, 16384, 7233])],
)
def test_long_lines_come_in_pieces(tmp_path, length, pieces):
    log = writer(tmp_path / "log")
    log.write(1, b"before\n" + b"x" * length + b"\nafter\n", AT)
    log.close()
    found = logs(tmp_path / "log")
    assert [len(text) for text in found[1:-1]] == pieces
    assert [text.endswith("\n") for text in found[1:-1]] == [False] * (len(pieces) - 1) + [True]
    assert (found[0], found[-1]) == ("before\n", "after\n")


def test_a_line_without_an_end_does_not_wait_for_it(tmp_path):
    log = writer(tmp_path / "log")
    for _ in range(5):
        log.write(1, b"y" * 8192, AT)
    assert [len(text) for text in logs(tmp_path / "log")] == [16384, 16384]
    log.close()
    assert [len(text) for text in logs(tmp_path / "log")] == [16384, 16384, 8192]


@given(st.lists(st.binary(max_size=60).map(lambda b: b.replace(b"0", b"\n")), max_size=12))
def test_nothing_is_lost_however_it_is_cut(tmp_path_factory, chunks):
    path = tmp_path_factory.mktemp("log") / "log"
    log = writer(path)
    for chunk in chunks:
        log.write(1, chunk, AT)
    log.close()
    expected = b"".join(chunks)
    lines = path.read_bytes().splitlines()
    found = "".join(json.loads(line)["log"] for line in lines)
    broken = expected.decode("utf-8", "surrogateescape")
    bytewise = "".join("\ufffd" if "\udc80" <= one <= "\udcff" else one for one in broken)
    assert found == bytewise


def test_rotation_keeps_whole_records_and_so_many_files(tmp_path):
    log = writer(tmp_path / "log", max_bytes=300, max_files=3)
    lines = [f"line {number}\n" for number in range(20)]
    log.write(1, "".join(lines).encode(), AT)
    log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    kept = logs(tmp_path / "log.2") + logs(tmp_path / "log.1") + logs(tmp_path / "log")
    assert kept == lines[-len(kept) :]
    # The record that crosses the limit is the last: full files end just beyond it.
    assert 300 <= (tmp_path / "log.1").stat().st_size < 400


def test_rotation_with_one_file_starts_another(tmp_path):
    log = writer(tmp_path / "log", max_bytes=100)
    log.write(1, b"a\n", AT)
    before = (tmp_path / "log").stat().st_ino
    with (tmp_path / "log").open("rb") as follower:
        log.write(1, b"b\nc\nd\n", AT)
        assert len(follower.read().splitlines()) == 2
    log.close()
    assert (tmp_path / "log").stat().st_ino != before
    assert logs(tmp_path / "log") == ["c\n", "d\n"]


def test_half_a_record_of_a_killed_writer_spoils_only_itself(tmp_path):
    (tmp_path / "log").write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"x"}\n{"log":"ha')
    log = writer(tmp_path / "log")
    log.write(1, b"next\n", AT)
    log.close()
    first, torn, second = (tmp_path / "log").read_text().splitlines()
    assert json.loads(first)["log"] == "whole\n"
    assert torn == '{"log":"ha'
    assert json.loads(second)["log"] == "next\n"


def test_a_full_disk_loses_output_but_not_the_writer():
    log = LogWriter("json-file", "/dev/full", 0, 1, {})
    log.write(1, b"lost\n", AT)
    log.write(1, b"lost too\n", AT)
    log.close()


def test_local_blocks_and_the_torn_end(tmp_path):
    path = tmp_path / "log"
    log = writer(path, driver="local", attrs={"tag": "t"})
    log.write(1, b"one\ntwo\n", AT)
    log.write(2, b"err", AT)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + block(1, b"half\n", AT)[:-3])
    with path.open("rb") as file:
        assert whole_blocks(file.fileno(), path.stat().st_size) == len(whole)
    writer(path, driver="local").close()
    assert path.read_bytes() == whole
    size, entries, _, stream, _ = BLOCK.unpack(whole[: BLOCK.size])
    assert (entries, stream) == (1, 0)
    start = BLOCK.size + size + BLOCK_END.size
    size, entries, time_ns, stream, _ = BLOCK.unpack(whole[start : start + BLOCK.size])
    assert (size, entries, time_ns, stream) == (8, 2, AT, 1)


def test_no_driver_keeps_nothing(tmp_path):
    log = writer(tmp_path / "log", driver="none")
    log.write(1, b"x\n", AT)
    log.close()
    assert not list(tmp_path.iterdir())
