"""The program's streams in the shim: output to log and attached clients, their input to stdin.

Knows:   framing, half-close, detach keys, and that a slow client slows the program but loses
         nothing, while a dead one is dropped.
Refuses: to close a client for good: the engine holds the connection too, and closes it last.
Source:  Docker Engine API, "attach"; the frame is documented there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from dockerlab.engine.runtime.detach_keys import DetachKeys
from dockerlab.engine.runtime.poller import ERR, HUP, IN, OUT, Poller
from dockerlab.wire.frames import encode

_CHUNK = 65536
_PIPE_BYTES = 262144
_F_SETPIPE_SZ = 1031
# Beyond it the program waits for the client; below half of it, it goes on.
_CLIENT_BYTES = 1 << 20
_STDIN_BYTES = 65536

Log = Callable[[int, bytes, int], None]


class Client:
    """One attached connection."""

    def __init__(
        self,
        streams: Streams,
        sock: socket.socket,
        wants: tuple[bool, bool, bool],
        *,
        framed: bool,
        detach_keys: bytes,
        done: Callable[[str], None],
        paused: bool,
    ) -> None:
        self._streams, self._sock, self._done = streams, sock, done
        self.reads, *_ = wants
        self._wants = wants
        self._framed = framed
        self._keys = DetachKeys(detach_keys)
        self._pending = bytearray()
        self._reading = self.reads
        self._closing = False
        self._paused = paused
        self.watch()

    @property
    def behind(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._pending)

    def watch(self) -> None:
        """Ask for the events that matter now."""
        events = (OUT if self._pending and not self._paused else 0) | (
            IN if self._reading and not self._streams.stdin_is_full else 0
        )
        self._streams.poller.watch(self._sock.fileno(), events, self._happened)

    def give(self, stream: int, data: bytes) -> None:
        """Queue output for the client, and send what it takes at once."""
        if not self._wants[stream] or self._closing:
            return
        if self._framed:
            data = encode(stream, data)
        if self._pending or self._paused:
            self._pending += data
            return
        sent = self._send(data)
        if 0 <= sent < len(data):
            self._pending += memoryview(data)[sent:]
            self.watch()

    def resume(self) -> None:
        """Send what was held, and from now on everything at once."""
        self._paused = False
        if self._closing and not self._pending:
            self.drop("eof")
        else:
            self.watch()

    def finish(self) -> None:
        """Let go of the client as soon as it has everything."""
        self._closing = True
        self._reading = False
        if self._pending or self._paused:
            self.watch()
        else:
            self.drop("eof")

    def drop(self, why: str) -> None:
        """Let go of the client now."""
        self._streams.poller.forget(self._sock.fileno())
        self._sock.close()
        self._streams.lost(self)
        self._done(why)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self.drop("eof")
            return -1

    def _happened(self, mask: int) -> None:
        if mask & OUT and self._pending:
            sent = self._send(self._pending)
            if sent < 0:
                return
            del self._pending[:sent]
            if not self._pending and self._closing:
                self.drop("eof")
                return
            self._streams.relieve()
            self.watch()
        if mask & IN and self._reading:
            self._read()
        elif mask & (HUP | ERR):
            self.drop("eof")

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self.drop("eof")
            return
        if not data:
            self._reading = False
            self.watch()
            self._streams.input_ended()
            return
        self.heard(data)

    def heard(self, data: bytes) -> None:
        """Pass on what the client sent, but for the keys by which it leaves."""
        passed, detached = self._keys.feed(data)
        if passed:
            self._streams.write_input(passed)
        if detached:
            self.drop("detached")


class Streams:
    """Everything that flows in and out of one program."""

    def __init__(self, poller: Poller, log: Log | None, *, tty: bool, stdin_once: bool) -> None:
        self.poller = poller
        self._log = log
        self._tty, self._stdin_once = tty, stdin_once
        self._outputs: dict[int, int] = {}
        self._paused = False
        self._clients: list[Client] = []
        self._stdin = -1
        self._queue = bytearray()
        self._stdin_ends = False
        self._master = -1
        self._over = False
        self.last_data = 0.0

    def open_pipes(self, stdin: int, stdout: int, stderr: int) -> None:
        """Take our ends of the program's pipes; stdin may be -1."""
        self._stdin = stdin
        for descriptor, stream in ((stdout, 1), (stderr, 2)):
            self._outputs[descriptor] = stream
            os.set_blocking(descriptor, False)
            with suppress(OSError):  # this user's share of pipe memory may be used up
                fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
            self.poller.watch(descriptor, IN, self._reader(descriptor))
        if stdin >= 0:
            os.set_blocking(stdin, False)

    def open_terminal(self, master: int) -> None:
        """Take the terminal that init opened inside; input that came early is written now."""
        os.set_blocking(master, False)
        self._master = master
        self._outputs[master] = 1
        # A second descriptor, as each is watched for one direction.
        self._stdin = fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 3)
        self.poller.watch(master, IN, self._reader(master))
        self._flush_input()

    def attach(
        self,
        sock: socket.socket,
        wants: tuple[bool, bool, bool],
        *,
        framed: bool,
        detach_keys: bytes,
        pending: bytes = b"",
        done: Callable[[str], None],
        paused: bool = False,
    ) -> Client:
        """Serve a client until it leaves or the program ends; then `done` is told why."""
        client = Client(
            self, sock, wants, framed=framed, detach_keys=detach_keys, done=done, paused=paused
        )
        self._clients.append(client)
        if self._over:
            client.finish()
        elif pending and client.reads:
            client.heard(pending)
        return client

    def resize(self, height: int, width: int) -> None:
        """Change the size of the terminal; without one nothing happens."""
        if self._master >= 0:
            size = struct.pack("4H", height, width, 0, 0)
            fcntl.ioctl(self._master, 0x5414, size)  # TIOCSWINSZ

    # -- output -----------------------------------------------------------------------------

    @property
    def flowing(self) -> bool:
        """Whether any output can still come."""
        return bool(self._outputs)

    @property
    def clients(self) -> int:
        """How many clients are still being served."""
        return len(self._clients)

    def _reader(self, descriptor: int) -> Callable[[int], None]:
        def readable(_mask: int) -> None:
            self._take(descriptor)

        return readable

    def _take(self, descriptor: int) -> bool:
        """Read once; False when there is nothing to read now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody holds it any more
                raise
            data = b""
        if not data:
            self._close_output(descriptor)
            return False
        stream = self._outputs[descriptor]
        if self._log is not None:
            with suppress(OSError):  # a full disk costs records, not the program
                self._log(stream, data, time.time_ns())
        for client in tuple(self._clients):
            client.give(stream, data)
        if not self._paused and any(one.behind > _CLIENT_BYTES for one in self._clients):
            self._pause()
        self.last_data = time.monotonic()
        return True

    def _close_output(self, descriptor: int) -> None:
        self.poller.forget(descriptor)
        del self._outputs[descriptor]
        os.close(descriptor)
        if descriptor == self._master:
            self._master = -1

    def _pause(self) -> None:
        self._paused = True
        for descriptor in self._outputs:
            self.poller.forget(descriptor)

    def relieve(self) -> None:
        """Go on reading the program once every client has caught up enough."""
        if self._paused and all(one.behind <= _CLIENT_BYTES // 2 for one in self._clients):
            self._paused = False
            for descriptor in self._outputs:
                self.poller.watch(descriptor, IN, self._reader(descriptor))

    def drain(self) -> None:
        """After the end: read what is left, without regard to slow clients."""
        for descriptor in tuple(self._outputs):
            while self._take(descriptor):
                pass
        if self._paused:
            self._paused = False
            for descriptor in self._outputs:
                self.poller.watch(descriptor, IN, self._reader(descriptor))

    def end(self) -> None:
        """No more output: close ours, and let each client go once it has everything."""
        self._over = True
        for descriptor in tuple(self._outputs):
            self._close_output(descriptor)
        self._close_stdin()
        for client in tuple(self._clients):
            client.finish()

    def lost(self, client: Client) -> None:
        """A client is gone; one that fed stdin may take it along."""
        if client in self._clients:
            self._clients.remove(client)
            if client.reads and not self._over:
                self.input_ended()
            self.relieve()

    # -- input ------------------------------------------------------------------------------

    @property
    def stdin_is_full(self) -> bool:
        """Whether clients must wait until the program has read."""
        return len(self._queue) >= _STDIN_BYTES

    def write_input(self, data: bytes) -> None:
        """Queue bytes for the program's stdin."""
        if self._stdin < 0 and not (self._tty and not self._over):
            return
        self._queue += data
        self._flush_input()

    def input_ended(self) -> None:
        """A client closed its sending side: with StdinOnce so does the program's stdin."""
        if self._stdin_once and not self._tty:
            self.close_input()

    def close_input(self) -> None:
        """Close the program's stdin once it has everything."""
        self._stdin_ends = True
        self._flush_input()

    def _flush_input(self) -> None:
        if self._stdin < 0:
            return
        was_full = self.stdin_is_full
        try:
            while self._queue:
                written = os.write(self._stdin, self._queue[:_CHUNK])
                del self._queue[:written]
        except BlockingIOError:
            self.poller.watch(self._stdin, OUT, self._stdin_ready)
        except OSError:
            # The program closed its stdin, or is gone.
            self._queue.clear()
            self._close_stdin()
        else:
            self.poller.forget(self._stdin)
            if self._stdin_ends:
                self._close_stdin()
        if was_full != self.stdin_is_full:
            for client in self._clients:
                client.watch()

    def _stdin_ready(self, _mask: int) -> None:
        self._flush_input()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self.poller.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
