"""The shim: parent of one container, exec or build step, from its clone to its exit record.

Knows:   the program's streams, its end, and the packets by which an engine steers it.
Refuses: policy. It outlives the engine that asked for it; a later one connects to `run_dir/s`.
Source:  docs/architecture.md, "The processes". PROTOCOL rises with every change of packets.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

from dockerlab.engine.linux import syscalls
from dockerlab.engine.linux.birth import boot_id, start_ticks
from dockerlab.engine.runtime import init, packets, shim_steps
from dockerlab.engine.runtime.log_writer import LogWriter
from dockerlab.engine.runtime.pipes import Pipes
from dockerlab.engine.runtime.poller import IN, Poller
from dockerlab.engine.runtime.streams import Client, Streams

PROTOCOL = 1
_DRAIN_S = 2.0
"""How long output may pause after the end before grandchildren that hold the pipe are given up."""


def run(control: socket.socket, plan: dict[str, Any], joined: int) -> NoReturn:
    """Be the shim of one plan; never returns.

    Args:
        control: to the engine that asked; its end before "go" undoes everything.
        plan: as `Plan.encode` gives it.
        joined: exec: pidfd of the container's init, else -1.
    """
    code = 1
    try:
        gc.enable()  # the zygote switched it off to keep its pages shared
        os.setsid()
        syscalls.set_name("dockerlab-shim")
        shim = Shim(control, plan)
        shim.clone(joined)
        shim.serve()
        code = 0
    except OSError as error:
        _report(control, error.strerror or str(error))
    except BaseException as error:  # noqa: BLE001 - last words, whatever happened
        _report(control, f"{type(error).__name__}: {error}")
    os._exit(code)


def _report(control: socket.socket, text: str) -> None:
    with suppress(OSError):  # nobody is left to hear it
        packets.send(control, {"event": "failed", "error": text})


_EARLY = {"error": "init ended early", "bare": False}


class Shim:
    """The state of one shim."""

    def __init__(self, control: socket.socket, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._facts: dict[str, Any] = plan["streams"]
        self._poller = Poller()
        self._controls: dict[int, socket.socket] = {}
        self._sync: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._pid, self._pidfd = 0, -1
        self._state = "created"
        self._started_ns = 0
        self._go: tuple[socket.socket, int] | None = None
        self._exit: dict[str, Any] | None = None
        self._failure: dict[str, Any] | None = None
        self._warnings: list[str] = []
        self._lifelines: list[int] = []
        self._paused: dict[int, Client] = {}
        self._log = _open_log(self._facts["log"])
        self._streams = Streams(
            self._poller,
            self._log.write if self._log else None,
            tty=self._facts["tty"],
            stdin_once=self._facts["stdin_once"],
        )
        self._add_control(control)

    # -- beginning ----------------------------------------------------------------------------

    def clone(self, joined: int) -> None:
        """Perform the shim's steps, clone init, and tell the engine about it."""
        try:
            shim_steps.perform(self._plan["shim"], joined)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pipes = Pipes(tty=self._facts["tty"], stdin=self._facts["stdin_open"])
            cgroup = self._plan["cgroup"]
            group = os.open(cgroup, os.O_PATH | os.O_DIRECTORY) if cgroup else -1
            self._pid, self._pidfd = syscalls.clone3(self._plan["namespaces"], group)
            if self._pid == 0:
                init.run(self._plan, theirs, pipes.theirs, joined)
        except BaseException:
            self._remove_cgroups()
            raise
        theirs.close()
        pipes.close_theirs()
        for descriptor in (group, joined):
            if descriptor >= 0:
                os.close(descriptor)
        self._sync = ours
        self._poller.watch(ours.fileno(), IN, self._sync_happened)
        self._poller.watch(self._pidfd, IN, self._ended)
        if not self._facts["tty"]:
            self._streams.open_pipes(*pipes.ours)
        for control in tuple(self._controls.values()):
            self._greet(control)

    def _listen(self) -> None:
        directory = self._facts["run_dir"]
        if not directory:
            return
        os.makedirs(directory, 0o700, exist_ok=True)
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Through the descriptor: the path of a socket ends at 107 bytes.
        self._listener.bind(f"/proc/self/fd/{place}/s")
        self._listener.listen(8)
        os.close(place)
        self._poller.watch(self._listener.fileno(), IN, self._connected)
        with open(f"{directory}/pid", "w", encoding="ascii") as file:
            file.write(f"{self._pid} {start_ticks(self._pid)} {boot_id()}\n")

    def _connected(self, _mask: int) -> None:
        assert self._listener is not None
        control, _ = self._listener.accept()
        credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid = int.from_bytes(credentials[4:8], sys.byteorder)
        if uid not in {0, os.geteuid()}:
            control.close()
            return
        self._add_control(control)
        self._greet(control)

    def _add_control(self, control: socket.socket) -> None:
        control.setblocking(False)
        self._controls[control.fileno()] = control

        def happened(_mask: int) -> None:
            self._command(control)

        self._poller.watch(control.fileno(), IN, happened)

    def _greet(self, control: socket.socket) -> None:
        hello = {
            "v": PROTOCOL,
            "id": self._facts["id"],
            "kind": self._facts["kind"],
            "pid": self._pid,
            "state": self._state,
            "started_ns": self._started_ns,
            "exit": self._exit,
        }
        self._send(control, hello, (self._pidfd,))

    # -- commands -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until the program has ended and every client has everything."""
        while self._state != "over" or self._streams.clients:
            ending = self._state == "ending"
            happened = self._poller.wait(0.25 if ending else -1)
            idle_s = 0.0 if happened else time.monotonic() - self._streams.last_data
            if self._state == "ending" and (not self._streams.flowing or idle_s > _DRAIN_S):
                self._finish()

    def _send(
        self, control: socket.socket, document: dict[str, Any], fds: tuple[int, ...] = ()
    ) -> None:
        try:
            packets.send(control, document, fds)
        except OSError:
            # An engine that went away, or does not read: it connects again.
            self._forget_control(control)

    def _forget_control(self, control: socket.socket) -> None:
        if self._controls.pop(control.fileno(), None) is None:
            return
        self._poller.forget(control.fileno())
        control.close()
        if not self._controls and self._state == "created":
            self._undo()

    def _command(self, control: socket.socket) -> None:
        try:
            document, descriptors = packets.receive(control)
        except BlockingIOError:
            return
        except OSError:
            document, descriptors = None, []
        if document is None:
            self._forget_control(control)
            return
        number = document.get("id", 0)
        try:
            answer = self._obey(control, number, document, descriptors)
        except (OSError, KeyError, ValueError, IndexError) as error:
            answer = {"error": str(error)}
        if answer is not None:
            self._send(control, {"id": number, **answer})

    def _obey(
        self, control: socket.socket, number: int, document: dict[str, Any], fds: list[int]
    ) -> dict[str, Any] | None:
        match document["op"]:
            case "go":
                return self._start(control, number, fds)
            case "attach":
                since_ns = self._attach(control, document, fds)
                return {"since_ns": since_ns} if document.get("paused") else None
            case "resume":
                self._paused.pop(document["attach"]).resume()
            case "resize":
                self._streams.resize(document["height"], document["width"])
            case "signal":
                if self._exit is not None:
                    return {"error": "the process has ended"}
                signal.pidfd_send_signal(self._pidfd, document["number"])
            case "close_stdin":
                self._streams.close_input()
            case "hold":
                self._lifelines += fds
            case "abort":
                self._send(control, {"id": number})
                self._undo()
            case other:
                return {"error": f"unknown command {other}"}
        return {}

    def _start(self, control: socket.socket, number: int, fds: list[int]) -> dict[str, Any] | None:
        if self._state != "created":
            return {"error": f"it is {self._state}"}
        self._state = "starting"
        self._go = control, number
        if self._sync is None:
            self._failure = self._failure or dict(_EARLY)
            self._answer_go()
        else:
            with suppress(OSError):  # init failed already: its last words are yet to be read
                packets.send(self._sync, {"go": True}, tuple(fds))
        for descriptor in fds:
            os.close(descriptor)
        self._listen()  # while init works; before "go" there is nothing to adopt
        return None

    def _attach(self, control: socket.socket, document: dict[str, Any], fds: list[int]) -> int:
        number = document["attach"]

        def done(why: str) -> None:
            self._paused.pop(number, None)
            self._send(control, {"event": "done", "attach": number, "why": why})

        client = self._streams.attach(
            socket.socket(fileno=fds[0]),
            (document["stdin"], document["stdout"], document["stderr"]),
            framed=document["framed"],
            detach_keys=bytes.fromhex(document["detach_keys"]),
            pending=packets.unseal(fds[1]) if len(fds) > 1 else b"",
            done=done,
            paused=bool(document.get("paused")),
        )
        if document.get("paused"):
            self._paused[number] = client
            self._give_begun_lines(client)
        return time.time_ns()

    def _give_begun_lines(self, client: Client) -> None:
        """Hold for a client what is not in the log yet because its line has no end."""
        if self._log is None:
            return
        for stream in (1, 2):
            begun = self._log.unfinished(stream)
            if begun:
                client.give(stream, begun)

    # -- what init says -----------------------------------------------------------------------

    def _sync_happened(self, _mask: int) -> None:
        if self._sync is None:
            return
        try:
            document, descriptors = packets.receive(self._sync)
        except OSError:
            document, descriptors = None, []
        if document is None:
            # Closed by the exec: the program runs.
            self._poller.forget(self._sync.fileno())
            self._sync.close()
            self._sync = None
            self._answer_go()
        elif "console" in document:
            self._streams.open_terminal(descriptors[0])
        elif "warnings" in document:
            self._warnings = document["warnings"]
        else:
            self._failure = document

    def _answer_go(self) -> None:
        if self._go is None:
            return
        control, number = self._go
        self._go = None
        if self._failure is not None:
            answer = {"id": number, **self._failure}
            self._reap()
            self._clean_up()
            self._send(control, answer)
            self._leave()
        self._state = "running"
        self._started_ns = time.time_ns()
        self._send(control, {"id": number, "warnings": self._warnings})

    # -- the end ------------------------------------------------------------------------------

    def _ended(self, _mask: int) -> None:
        while self._sync is not None and self._go is not None:
            self._sync_happened(IN)
        self._poller.forget(self._pidfd)
        code = self._reap()
        if self._state == "created":
            # It ended before anybody said go: nothing ran.
            self._failure = self._failure or dict(_EARLY)
            self._clean_up()
            self._broadcast({"event": "failed", **self._failure})
            self._leave()
        self._exit = {
            "code": code,
            "started_ns": self._started_ns,
            "finished_ns": time.time_ns(),
            "oom": self._oom_killed(),
        }
        self._state = "ending"
        self._streams.last_data = time.monotonic()
        self._streams.drain()

    def _reap(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _oom_killed(self) -> bool:
        path = self._facts["oom_events"]
        if not path:
            return False
        try:
            with open(path, encoding="ascii") as file:
                return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in file)
        except OSError:
            return False

    def _finish(self) -> None:
        """Everything is read: record the end, clear the place, and only then tell anybody."""
        assert self._exit is not None
        self._state = "over"
        with suppress(OSError):  # a full disk must not hide the end from an engine that listens
            if self._log is not None:
                self._log.close()
            self._write_exit()
        self._clean_up()
        self._broadcast({"event": "exit", **self._exit})
        self._streams.end()

    def _write_exit(self) -> None:
        path = self._facts["exit_path"]
        if path:
            with open(f"{path}.new", "w", encoding="ascii") as file:
                file.write(json.dumps(self._exit))
            os.rename(f"{path}.new", path)

    def _broadcast(self, document: dict[str, Any]) -> None:
        for control in tuple(self._controls.values()):
            self._send(control, document)

    def _undo(self) -> None:
        """Before "go": leave nothing behind."""
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._reap()
        self._clean_up()
        self._leave()

    def _leave(self) -> NoReturn:
        self._state = "over"
        self._streams.end()
        os._exit(0)

    def _clean_up(self) -> None:
        for descriptor in self._lifelines:
            os.close(descriptor)
        self._lifelines.clear()
        if self._listener is not None:
            self._poller.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        directory = self._facts["run_dir"]
        if directory:
            for name in ("s", "pid"):
                _remove(os.unlink, f"{directory}/{name}")
            _remove(os.rmdir, directory)
        self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        for path in self._facts["groups"]:
            # Still busy where a process of a shared pid namespace stays: the engine ends it.
            _remove(os.rmdir, path)


def _open_log(facts: list[Any]) -> LogWriter | None:
    driver = facts[0]
    return None if driver == "none" else LogWriter(*facts)


def _remove(call: Any, path: str) -> None:
    with suppress(OSError):  # gone already, or not ours to force
        call(path)
