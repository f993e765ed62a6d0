"""Read the log files of a container: records, a start near the end, the file that comes next.

Knows:   both formats, torn records, how rotation renames files.
Refuses: to wait or to filter; `logs.py` does. Blocking: for worker threads.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import msgspec

from dockerlab.engine.runtime.log_writer import (
    ATTRIBUTES,
    BLOCK,
    BLOCK_END,
    time_text,
    whole_blocks,
)

_CHUNK = 1 << 20
_BACKWARDS = 1 << 16


class Record(Protocol):
    """One piece of output; times are turned into the form asked for only when asked."""

    @property
    def stream(self) -> int:
        """1 for stdout, 2 for stderr."""

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""

    @property
    def time_text(self) -> str:
        """RFC 3339, as Docker prints it."""

    @property
    def data(self) -> bytes:
        """The text with its newline, if it had one."""

    @property
    def attrs(self) -> Mapping[str, str] | None:
        """Labels and environment that the log options asked for."""


@lru_cache(maxsize=8)
def _second(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())


def parse_time(text: str) -> int:
    """Nanoseconds of "2026-01-02T03:04:05.6Z"; 0 for something else."""
    try:
        fraction = text[20:-1] if text[19] == "." else ""
        return _second(text[:19]) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    except (ValueError, IndexError):
        return 0


class JsonRecord(msgspec.Struct):
    """A line of a json-file log, decoded straight into this."""

    log: str = ""
    stream_name: str = msgspec.field(name="stream", default="stdout")
    time_text: str = msgspec.field(name="time", default="")
    attrs: dict[str, str] | None = None

    @property
    def stream(self) -> int:
        """1 for stdout, 2 for stderr."""
        return 2 if self.stream_name == "stderr" else 1

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return parse_time(self.time_text)

    @property
    def data(self) -> bytes:
        """The text."""
        return self.log.encode("utf-8", "replace")


class LocalRecord(msgspec.Struct):
    """A line of a `local` log, or several lines of one stream that came at one time."""

    stream: int
    time_ns: int
    data: bytes
    attrs: dict[str, str] | None = None

    @property
    def time_text(self) -> str:
        """RFC 3339."""
        return time_text(self.time_ns).decode()


_decoder = msgspec.json.Decoder(JsonRecord)


def _decode_each(lines: bytes) -> list[Record]:
    """Line by line: one is torn, half a record of a writer that was killed."""
    found: list[Record] = []
    for line in lines.split(b"\n"):
        with contextlib.suppress(msgspec.DecodeError):
            if line:
                found.append(_decoder.decode(line))
    return found


class LogFile:
    """One open file and how far it has been read."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.offset = 0

    def close(self) -> None:
        """Close it."""
        os.close(self._file)

    def gone(self) -> bool:
        """Tell whether it has no name any more."""
        return os.fstat(self._file).st_nlink == 0

    def left(self) -> int:
        """Bytes not read yet, half a record included."""
        return os.fstat(self._file).st_size - self.offset

    def records(self) -> list[Record]:
        """The next whole records, some thousands at most; none at the end of the file."""
        limit = _CHUNK
        while True:
            # Always from the last whole record: a new writer cuts or ends a torn one.
            data = os.pread(self._file, limit, self.offset)
            found, used = self._parse(data)
            if used or len(data) < limit:
                self.offset += used
                if found or not used:
                    return found
            else:
                limit *= 2

    def _parse(self, data: bytes) -> tuple[list[Record], int]:
        """Whole records at the start of `data`, and how many bytes they take."""
        raise NotImplementedError

    def skip_to_last(self, count: int) -> int:
        """Go to where the last `count` entries begin; returns how many of them are here."""
        raise NotImplementedError


class JsonFile(LogFile):
    """A file of the json-file driver."""

    def _parse(self, data: bytes) -> tuple[list[Record], int]:
        end = data.rfind(b"\n") + 1
        if not end:
            return [], 0
        lines = data[:end] if end != len(data) else data
        try:
            return list(_decoder.decode_lines(lines)), end
        except msgspec.DecodeError:
            return _decode_each(lines), end

    def skip_to_last(self, count: int) -> int:
        """Count newlines from the end."""
        at, found = self.size, 0
        while at > 0:
            start = max(0, at - _BACKWARDS)
            data = os.pread(self._file, at - start, start)
            newline = len(data)
            while (newline := data.rfind(b"\n", 0, newline)) >= 0:
                if found == count:
                    # It ends the entry before those asked for.
                    self.offset = start + newline + 1
                    return count
                found += 1
            at = start
        self.offset = 0
        return found


class LocalFile(LogFile):
    """A file of the local driver."""

    def __init__(self, path: str, *, lines: bool) -> None:
        super().__init__(path)
        self._lines = lines
        self._skip = 0
        self._attrs: dict[str, str] | None = None
        head = os.pread(self._file, BLOCK.size, 0)
        if len(head) == BLOCK.size:
            size, _, _, stream, _ = BLOCK.unpack(head)
            if stream == ATTRIBUTES:
                self._attrs = json.loads(os.pread(self._file, size, BLOCK.size))

    def _parse(self, data: bytes) -> tuple[list[Record], int]:
        found: list[Record] = []
        position = 0
        while position + BLOCK.size <= len(data):
            size, _, time_ns, stream, _ = BLOCK.unpack_from(data, position)
            start, end = position + BLOCK.size, position + BLOCK.size + size
            if end + BLOCK_END.size > len(data):
                break
            position = end + BLOCK_END.size
            if stream == ATTRIBUTES:
                continue
            payload = data[start:end]
            if self._lines or self._skip:
                lines = payload.split(b"\n")
                tail = lines.pop()
                texts = [line + b"\n" for line in lines] + ([tail] if tail else [])
                texts, self._skip = texts[self._skip :], 0
                if not self._lines:
                    texts = [b"".join(texts)]
                found += [LocalRecord(stream, time_ns, text, self._attrs) for text in texts]
            else:
                found.append(LocalRecord(stream, time_ns, payload, self._attrs))
        return found, position

    def skip_to_last(self, count: int) -> int:
        """Step from block to block by the length that ends each."""
        at, found = whole_blocks(self._file, self.size), 0
        self.offset = at
        while at > 0 and found < count:
            (size,) = BLOCK_END.unpack(os.pread(self._file, BLOCK_END.size, at - BLOCK_END.size))
            at -= BLOCK.size + size + BLOCK_END.size
            _, entries, _, stream, _ = BLOCK.unpack(os.pread(self._file, BLOCK.size, at))
            found += entries if stream != ATTRIBUTES else 0
        self.offset, self._skip = at, max(0, found - count)
        return min(found, count)


class LogFiles:
    """All files of one container's log, oldest first, and the way from each to its successor."""

    def __init__(self, path: str, driver: str, *, lines: bool) -> None:
        """Open what is there now.

        Args:
            path: of the active file.
            driver: "json-file" or "local".
            lines: one record a line, also where the format keeps several together.
        """
        self._path, self._driver, self._lines = path, driver, lines
        self.files: list[LogFile] = []
        while not self._open_all():
            self.close()

    def _open(self, path: str) -> LogFile | None:
        try:
            if self._driver == "json-file":
                return JsonFile(path)
            return LocalFile(path, lines=self._lines)
        except FileNotFoundError:
            return None

    def _open_all(self) -> bool:
        """Open all; False if a rotation came between: names or the active file changed."""
        names = self._numbers()
        opened = [self._open(self._name(number)) for number in names]
        self.files = [file for file in reversed(opened) if file is not None]
        active = self.files[-1].identity if names[:1] == [0] and self.files else None
        return names == self._numbers() and active == _identity(self._path) and None not in opened

    def _numbers(self) -> list[int]:
        """Which files there are, newest first: 0 for the active one."""
        folder, base = os.path.split(self._path)
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        ends = [name[len(base) + 1 :] for name in names if name.startswith(f"{base}.")]
        numbers = [int(end) for end in ends if end.isdecimal()]
        return sorted([*numbers, *([0] if base in names else [])])

    def _name(self, number: int) -> str:
        return f"{self._path}.{number}" if number else self._path

    def skip_to_last(self, count: int) -> None:
        """Leave the last `count` entries to be read, over all files."""
        for file in reversed(self.files):
            count -= file.skip_to_last(max(0, count))

    def records(self) -> list[Record]:
        """The next records; none at the present end."""
        while self.files:
            found = self.files[0].records()
            if found:
                return found
            if len(self.files) > 1:
                self.files.pop(0).close()
                continue
            successor = self._successor()
            if successor is None:
                return []
            # What was written between the last look and the rotation; nobody writes there now.
            found = self.files[0].records()
            if found:
                successor.close()
                return found
            self.files.pop(0).close()
            self.files.append(successor)
        first = self._open(self._path)
        if first is None:
            return []
        self.files.append(first)
        return self.records()

    def left(self) -> int:
        """About how many bytes are still to be read."""
        return sum(file.left() for file in self.files)

    def _successor(self) -> LogFile | None:
        """The file that rotation put after the one being read; None while there is none.

        Rotation renames one file after the other, the oldest first: there are holes in the
        numbers for a moment, or for good if the writer was killed in the middle.
        """
        mine = self.files[0]
        while True:
            if mine.gone():
                # Rotated away altogether: go on with the oldest that is left.
                numbers = self._numbers()
                after = self._open(self._name(numbers[-1])) if numbers else None
                if after is not None or not numbers:
                    return after
                continue
            number = self._number_of(mine)
            newer = self._newer_than(number)
            if newer is None and self._number_of(mine) == number:
                return None
            after = self._open(self._name(newer)) if newer is not None else None
            # Only if nothing moved meanwhile is this the next one.
            if after is not None and (newer, number) == (
                self._newer_than(number), self._number_of(mine)
            ):  # fmt: skip
                return after
            if after is not None:
                after.close()

    def _number_of(self, file: LogFile) -> int:
        """Where a file is now. Files only move up, so looking upwards can't miss it."""
        number = 0
        while _identity(self._name(number)) != file.identity and not file.gone():
            number += 1
            if number > 100_000:
                # Somebody moved it out of the numbers: take it for the active one.
                return 0
        return number

    def _newer_than(self, number: int) -> int | None:
        """The nearest number below that exists."""
        below = range(number - 1, -1, -1)
        return next((n for n in below if _identity(self._name(n)) is not None), None)

    def close(self) -> None:
        """Close every file."""
        while self.files:
            self.files.pop().close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
