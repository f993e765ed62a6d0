"""Write what a container says into its log file; light, as every shim carries it.

Knows:   the json-file format to the byte, our `local` blocks, 16 KiB pieces, rotation.
Refuses: to wait, to buffer a whole line, to read; `logs.py` reads both formats.
Source:  Docker's jsonfilelog and its copier; Go's JSON escapes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import time
from collections.abc import Iterator, Mapping

PIECE_BYTES = 16384
"""A line longer than this becomes several records, only the last of which ends in a newline."""

STREAMS = ("", "stdout", "stderr")

# A `local` block: payload length, entries, time, stream, flags; the payload, whole lines of one
# stream at one time; the length again, so that the file can be read from its end. Writing is one
# copy however many lines come at once, which is what makes the format fast.
BLOCK = struct.Struct("<IIqBB2x")
BLOCK_END = struct.Struct("<I")
ATTRIBUTES = 0
"""Stream number of a block that holds the constant attributes as JSON."""


def time_text(time_ns: int) -> bytes:
    """RFC 3339 in UTC, with as many digits as are not zero, as Go prints it."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{digits}Z".encode()


_NAMED = (
    (b"\\", b"\\\\"), (b'"', b'\\"'), (b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"),
    (b"\r", b"\\r"),
)  # fmt: skip
_BROKEN = re.compile("[\udc80-\udcff]")
_CONTROLS = bytes(code for code in range(32) if code not in b"\r\n")


def escape(text: bytes) -> bytes:
    """JSON-escape a text as Docker does, but for newlines, which frame the records.

    Each step is one C call over the whole chunk; what is absent costs a memchr.
    """
    for plain, escaped in _NAMED:
        text = text.replace(plain, escaped)
    if len(text.translate(None, _CONTROLS)) != len(text):
        for code in _CONTROLS:
            text = text.replace(bytes((code,)), b"\\u%04x" % code)
    if not text.isascii():
        # Go replaces byte by byte, Python's "replace" a whole broken sequence at once; an error
        # handler of ours would be called for each, and binary output would take seconds.
        text = _BROKEN.sub(r"\\ufffd", text.decode("utf-8", "surrogateescape")).encode()
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text


class LogWriter:
    """One container's log file, written by one process."""

    def __init__(
        self, driver: str, path: str, max_bytes: int, max_files: int, attrs: Mapping[str, str]
    ) -> None:
        """Open the file, or continue it.

        Args:
            driver: "json-file" or "local"; anything else keeps nothing.
            path: of the active file; older ones get ".1", ".2", ...
            max_bytes: start a new file once this is reached; 0 or less: never.
            max_files: how many files are kept, the active one included.
            attrs: constant pairs that go with each record.
        """
        self._json = driver == "json-file"
        self._keeps = self._json or driver == "local"
        self._path, self._max_bytes, self._max_files = path, max_bytes, max_files
        self._attrs = json.dumps(dict(attrs), separators=(",", ":")).encode() if attrs else b""
        if self._json:
            self._attrs = escape_document(self._attrs)
        # An unfinished line of each stream, and when its last part came.
        self._pending = [b"", b"", b""]
        self._pending_ns = 0
        self._torn = False
        self._file = -1
        self._size = 0
        if self._keeps:
            self._open()

    def write(self, stream: int, data: bytes, time_ns: int) -> None:
        """Keep bytes of stream 1 or 2 that came at `time_ns`; whole lines are written at once."""
        if not self._keeps or not data:
            return
        pending = self._pending[stream]
        if pending:
            data = pending + data
        for lines, rest in _cut(data):
            if lines:
                self._append(self._records(stream, lines, time_ns))
            self._pending[stream] = rest
        self._pending_ns = time_ns

    def unfinished(self, stream: int) -> bytes:
        """The line that a stream has begun: no record has it yet."""
        return self._pending[stream]

    def close(self) -> None:
        """Write unfinished lines, without a newline, and close the file."""
        if self._file < 0:
            return
        for stream in (1, 2):
            if self._pending[stream]:
                self._append(self._records(stream, self._pending[stream], self._pending_ns))
                self._pending[stream] = b""
        os.close(self._file)
        self._file = -1

    def _records(self, stream: int, lines: bytes, time_ns: int) -> bytes:
        """Whole lines, or one piece without a newline, as records."""
        if not self._json:
            return block(stream, lines, time_ns)
        attrs = b',"attrs":' + self._attrs if self._attrs else b""
        tail = b'","stream":"%s"%s,"time":"%s"}\n' % (
            STREAMS[stream].encode(), attrs, time_text(time_ns),
        )  # fmt: skip
        text = escape(lines)
        if not text.endswith(b"\n"):
            return b'{"log":"' + text + tail
        framed = text.replace(b"\n", b"\\n" + tail + b'{"log":"')
        return b'{"log":"' + framed[: -len(b'{"log":"')]

    def _append(self, records: bytes) -> None:
        while records:
            room = self._max_bytes - self._size if self._max_bytes > 0 else len(records)
            if room <= 0:
                self._rotate()
                continue
            if len(records) <= room or not self._json:
                self._put(records)
                return
            # The record that crosses the limit is the last of this file, as Docker has it.
            end = records.find(b"\n", room - 1) + 1 or len(records)
            self._put(records[:end])
            records = records[end:]

    def _put(self, records: bytes) -> None:
        """One write(2) for whole records; a full disk loses output but never stops the program."""
        if self._torn and self._json:
            records = b"\n" + records
        left = memoryview(records)
        while left:
            try:
                written = os.write(self._file, left)
            except InterruptedError:
                continue
            except OSError as problem:
                if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                    raise
                self._lost(len(records) - len(left))
                return
            left = left[written:]
            self._size += written
        self._torn = False

    def _lost(self, written: int) -> None:
        """Undo half a record where that is possible; otherwise the next one starts a new line."""
        if not written:
            return
        try:
            os.ftruncate(self._file, self._size - written)
            self._size -= written
        except OSError:
            self._torn = True

    def _rotate(self) -> None:
        os.close(self._file)
        self._file = -1
        if self._max_files < 2:
            # Another file, not the same one emptied: whoever follows the old one can finish it.
            _forget(self._path)
        else:
            _forget(f"{self._path}.{self._max_files - 1}")
            for number in range(self._max_files - 2, 0, -1):
                _move(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            _move(self._path, f"{self._path}.1")
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._file).st_size
        if self._json:
            # A writer that was killed may have left half a record; readers skip it.
            self._torn = self._size > 0 and os.pread(self._file, 1, self._size - 1) != b"\n"
            return
        whole = whole_blocks(self._file, self._size)
        if whole != self._size:
            os.ftruncate(self._file, whole)
            self._size = whole
        if self._attrs and not self._size:
            self._put(block(ATTRIBUTES, self._attrs, 0))


def _cut(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split a text that starts a line into (whole lines or one piece, what is left unfinished).

    No line of the former is longer than a piece. The last item may have no lines, only a rest.
    """
    start, whole = 0, data.rfind(b"\n") + 1
    position = 0
    while whole - position > PIECE_BYTES:
        # The newline furthest away within one piece: lines up to it are short enough.
        near = data.rfind(b"\n", position, position + PIECE_BYTES)
        if near >= 0:
            position = near + 1
            continue
        if position > start:
            yield data[start:position], b""
        yield data[position : position + PIECE_BYTES], b""
        start = position = position + PIECE_BYTES
    if whole > start:
        yield data[start:whole], b""
        start = whole
    while len(data) - start >= PIECE_BYTES:
        yield data[start : start + PIECE_BYTES], b""
        start += PIECE_BYTES
    if start < len(data):
        yield b"", data[start:]


def escape_document(document: bytes) -> bytes:
    """Go's escapes for the inside of a finished JSON document: only <, > and & differ."""
    for plain, escaped in _NAMED[2:5]:
        document = document.replace(plain, escaped)
    return document


def block(stream: int, payload: bytes, time_ns: int) -> bytes:
    """One record of the `local` format."""
    size = len(payload)
    entries = payload.count(b"\n") + (not payload.endswith(b"\n"))
    return BLOCK.pack(size, entries, time_ns, stream, 0) + payload + BLOCK_END.pack(size)


def whole_blocks(file: int, size: int) -> int:
    """Where the last whole block of a `local` file ends; the rest is torn."""
    frame = BLOCK.size + BLOCK_END.size
    if size >= frame:
        (last,) = BLOCK_END.unpack(os.pread(file, BLOCK_END.size, size - BLOCK_END.size))
        start = size - frame - last
        if start >= 0 and BLOCK_END.unpack(os.pread(file, BLOCK_END.size, start)) == (last,):
            return size
    position = 0
    while position + frame <= size:
        (length,) = BLOCK_END.unpack(os.pread(file, BLOCK_END.size, position))
        end = position + frame + length
        if end > size or os.pread(file, 4, end - BLOCK_END.size) != BLOCK_END.pack(length):
            break
        position = end
    return position


# Plain `os` below: pathlib and contextlib would add their weight to every zygote.


def _forget(path: str) -> None:
    try:  # noqa: SIM105 - no contextlib here
        os.unlink(path)
    except FileNotFoundError:
        pass


def _move(old: str, new: str) -> None:
    try:  # noqa: SIM105 - no contextlib here
        os.rename(old, new)
    except FileNotFoundError:
        pass
