"""Reading logs back: tails, times, torn records, and following across every seam."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.linux import inotify
from dockerlab.engine.runtime import logs
from dockerlab.engine.runtime.log_files import parse_time
from dockerlab.engine.runtime.log_writer import LogWriter, block, time_text
from dockerlab.errors import Unsupported

AT = 1_700_000_000_000_000_000
DRIVERS = ["json-file", "local"]


def fill(path, driver, lines, *, max_bytes=0, max_files=1, attrs=None, together=1):
    """Write lines, `together` in one chunk; line n comes at AT + n."""
    log = LogWriter(driver, str(path), max_bytes, max_files, attrs or {})
    for first in range(0, len(lines), together):
        log.write(1, "".join(lines[first : first + together]).encode(), AT + first)
    log.close()


async def texts(path, driver, **options):
    return [record.data.decode() async for record in logs.read(str(path), driver=driver, **options)]


def lines(count, start=0):
    return [f"line {number}\n" for number in range(start, start + count)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_comes_back(tmp_path, driver):
    log = LogWriter(driver, str(tmp_path / "log"), 0, 1, {"tag": "t"})
    log.write(1, b"out \xc3\xa9\n", AT)
    log.write(2, b"err\nno end", AT + 5)
    log.close()

    async def everything():
        return [r async for r in logs.read(str(tmp_path / "log"), driver=driver)]

    found = asyncio.run(everything())
    assert [(r.stream, r.data, r.time_ns) for r in found] == [
        (1, "out é\n".encode(), AT),
        (2, b"err\n", AT + 5),
        (2, b"no end", AT + 5),
    ]
    assert [r.time_text for r in found] == [time_text(r.time_ns).decode() for r in found]
    assert [r.attrs for r in found] == [{"tag": "t"}] * 3


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("together", [1, 7])
@pytest.mark.parametrize("tail", [0, 1, 5, 20, 29, 30, 31])
def test_tail_over_rotated_files(tmp_path, driver, together, tail):
    every = lines(30)
    fill(tmp_path / "log", driver, every, max_bytes=900, max_files=20, together=together)
    assert (tmp_path / "log.1").exists() or driver == "local"
    found = asyncio.run(texts(tmp_path / "log", driver, tail=tail))
    assert found == (every[-tail:] if tail else [])


@given(st.integers(0, 3000), st.integers(0, 40), st.sampled_from(DRIVERS))
def test_tail_of_lines_of_every_length(tmp_path_factory, length, tail, driver):
    path = tmp_path_factory.mktemp("log") / "log"
    every = [f"{n}" * (length + n) + "\n" for n in range(30)]
    fill(path, driver, every, together=4)
    found = asyncio.run(texts(path, driver, tail=tail))
    assert found == (every[-tail:] if tail else [])


@pytest.mark.parametrize("driver", DRIVERS)
def test_since_and_until_include_their_instants(tmp_path, driver):
    fill(tmp_path / "log", driver, lines(10))
    found = asyncio.run(texts(tmp_path / "log", driver, since_ns=AT + 3, until_ns=AT + 6))
    assert found == lines(4, start=3)
    # Following ends with the first record after `until`.
    found = asyncio.run(texts(tmp_path / "log", driver, until_ns=AT + 6, follow=True))
    assert found == lines(7)


def test_torn_records_are_skipped(tmp_path):
    path = tmp_path / "log"
    fill(path, "json-file", lines(2))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert asyncio.run(texts(path, "json-file")) == lines(2)
    assert asyncio.run(texts(path, "json-file", tail=1)) == lines(1, start=1)
    fill(path, "json-file", lines(1, start=2))
    assert asyncio.run(texts(path, "json-file")) == lines(3)


def test_a_torn_block_is_skipped(tmp_path):
    path = tmp_path / "log"
    fill(path, "local", lines(3))
    path.write_bytes(path.read_bytes() + block(1, b"half\n", AT)[:-1])
    assert asyncio.run(texts(path, "local")) == lines(3)
    assert asyncio.run(texts(path, "local", tail=2)) == lines(2, start=1)


def test_records_larger_than_a_chunk(tmp_path):
    text = b"x" * (3 << 20)
    (tmp_path / "log").write_bytes(block(1, text + b"\n", AT) + block(2, b"after\n", AT))
    found = asyncio.run(texts(tmp_path / "log", "local"))
    assert [len(one) for one in found] == [len(text) + 1, 6]


def test_several_lines_in_one_record_on_request(tmp_path):
    fill(tmp_path / "log", "local", lines(10), together=5)

    async def batches():
        return [
            record.data
            async for batch in logs.batches(
                str(tmp_path / "log"), driver="local", lines=False, tail=7
            )
            for record in batch
        ]

    found = asyncio.run(batches())
    assert len(found) == 2
    assert b"".join(found).decode() == "".join(lines(7, start=3))


def test_no_log_and_no_reader(tmp_path):
    assert asyncio.run(texts(tmp_path / "log", "json-file")) == []
    with pytest.raises(Unsupported, match="does not support reading"):
        asyncio.run(texts(tmp_path / "log", "none"))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("max_bytes", "max_files"), [(0, 1), (2000, 50), (200, 60)])
def test_following_loses_and_repeats_nothing(tmp_path, driver, max_bytes, max_files):
    path = tmp_path / "log"

    async def follow():
        ended = asyncio.Event()
        log = LogWriter(driver, str(path), max_bytes, max_files, {})
        log.write(1, "".join(lines(50)).encode(), AT)
        reading = asyncio.create_task(texts(path, driver, follow=True, ended=ended, tail=10))

        def write():
            for number in range(50, 400, 5):
                log.write(1, "".join(lines(5, start=number)).encode(), AT)
            log.write(2, b"the end", AT)
            log.close()

        # Far enough for the reader to have its tail before the writer goes on.
        await asyncio.sleep(0.05)
        await asyncio.to_thread(write)
        ended.set()
        return await asyncio.wait_for(reading, 10)

    assert asyncio.run(follow()) == [*lines(360, start=40), "the end"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_line_appears_at_once_while_following(tmp_path, driver):
    path = tmp_path / "log"

    async def conversation():
        log = LogWriter(driver, str(path), 0, 1, {})
        async with contextlib.aclosing(
            logs.read(str(path), driver=driver, follow=True, ended=asyncio.Event())
        ) as reading:
            for number in range(20):
                log.write(1, f"{number}\n".encode(), AT)
                record = await asyncio.wait_for(anext(reading), 5)
                assert record.data == f"{number}\n".encode()
        log.close()

    asyncio.run(conversation())


def test_following_where_the_kernel_has_no_watches_left(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(24, "no more")

    monkeypatch.setattr(inotify._Queue, "add", refuse)
    path = tmp_path / "log"

    async def follow():
        ended = asyncio.Event()
        log = LogWriter("json-file", str(path), 0, 1, {})
        async with contextlib.aclosing(
            logs.read(str(path), driver="json-file", follow=True, ended=ended)
        ) as reading:
            log.write(1, b"a\n", AT)
            assert (await asyncio.wait_for(anext(reading), 5)).data == b"a\n"
            log.write(1, b"b\n", AT)
            assert (await asyncio.wait_for(anext(reading), 5)).data == b"b\n"
        log.close()

    asyncio.run(follow())


def test_many_followers_share_one_queue_and_leave_nothing(tmp_path):
    path = tmp_path / "log"
    before = set(Path("/proc/self/fd").iterdir())

    async def follow():
        ended = asyncio.Event()
        fill(path, "json-file", lines(1))
        readers = [
            asyncio.create_task(texts(path, "json-file", follow=True, ended=ended))
            for _ in range(20)
        ]
        await asyncio.sleep(0.1)
        assert sum("inotify" in link for link in _links()) == 1
        ended.set()
        assert await asyncio.gather(*readers) == [lines(1)] * 20

    asyncio.run(follow())
    assert set(Path("/proc/self/fd").iterdir()) <= before


def _links():
    return [_link(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]


def _link(descriptor):
    # The one that lists the directory is closed by now.
    with contextlib.suppress(FileNotFoundError):
        return str(descriptor.readlink())
    return ""


@given(st.integers(0, 2**62))
def test_times_survive_their_text(time_ns):
    assert parse_time(time_text(time_ns).decode()) == time_ns


def test_odd_times_are_zero():
    assert [parse_time(text) for text in ("", "yesterday", "2026-01-01")] == [0, 0, 0]


def test_lines_of_other_programs_are_read_as_docker_wrote_them(tmp_path):
    record = {
        "log": "hi\n",
        "stream": "stderr",
        "attrs": {"a": "b"},
        "time": "2026-01-02T03:04:05Z",
    }
    (tmp_path / "log").write_text(json.dumps(record) + "\nnot json\n" + json.dumps(record) + "\n")
    assert asyncio.run(texts(tmp_path / "log", "json-file")) == ["hi\n", "hi\n"]
