"""Programs in the foreground: run, attach, exec, and the logs they leave.

Knows:   docker's order of requests (attach, wait, start), so that no byte of output is lost.
Refuses: to swallow an interrupt: it ends the program, tidies up and says so.
Source:  engine-api: containers/{id}/attach, wait, exec.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dockerlab.commands.containers import create_container, submit
from dockerlab.commands.failures import reported, translated
from dockerlab.commands.grammar import Arguments, Verb, many, switch, text
from dockerlab.commands.images import ensure
from dockerlab.commands.results import Done, LogLine, Logs, Ran
from dockerlab.commands.run_options import CREATE_FLAGS
from dockerlab.commands.session import Session
from dockerlab.commands.streams import Connection
from dockerlab.commands.words import moment, read_time
from dockerlab.errors import DockerlabError, Failed, InvalidRequest

_KEPT_BYTES = 8 * 1024 * 1024  # of each stream, for a Ran's stdout and stderr
_RUN_FAILED = 125


class Interrupted(Failed):
    """The person at the keyboard stopped it."""


def run(session: Session, args: Arguments) -> Ran | Done:
    """Create a container and run its program; -d leaves it to itself."""
    if args.on("detach"):
        container = create_container(session, args)
        with _removed_on_failure(session, container, remove=args.on("rm")):
            session.api.start(container)
        return Done(action="run", names=(container,), identifiers=True)
    container = create_container(session, args, attached=True)
    return _foreground(
        session,
        container,
        image=args.words[0],
        remove=args.on("rm"),
        stdin=args.on("interactive"),
        tty=args.on("tty"),
    )


def run_document(
    session: Session,
    image: str,
    document: Mapping[str, Any],
    *,
    name: str = "",
    pull: str = "",
    platform: str = "",
    keep: int = _KEPT_BYTES,
) -> Ran:
    """Run a container described by its document, and remove it: what `%%container` does."""
    ensure(session, image, pull or "missing", platform)
    container = submit(session, document, name, platform)
    return _foreground(
        session,
        container,
        image=image,
        remove=True,
        stdin=bool(document.get("OpenStdin")),
        tty=False,
        keep=keep,
    )


def start_attached(session: Session, name: str, *, stdin: bool) -> Ran:
    """`start -a`: start a container that exists, and listen to it."""
    with translated(session.host.url):
        document = session.api.inspect_container(name)
    config = document["Config"]
    return _foreground(
        session,
        name,
        image=str(config["Image"]),
        remove=bool(document["HostConfig"].get("AutoRemove")),
        stdin=stdin and bool(config.get("OpenStdin")),
        tty=bool(config.get("Tty")),
    )


def attach(session: Session, args: Arguments) -> Ran:
    """Listen to a running container."""
    name = args.words[0]
    with translated(session.host.url):
        document = session.api.inspect_container(name)
    if not document["State"]["Running"]:
        raise InvalidRequest(
            "You cannot attach to a stopped container, start it first",
            hint=f"%docker start -a {name}",
        )
    tty, started = bool(document["Config"].get("Tty")), time.time_ns()
    connection = session.streams.attach(name, tty=tty)
    kept = _listen(session, connection)
    with translated(session.host.url):
        code = int(session.api.inspect_container(name)["State"]["ExitCode"])
    return Ran(
        container=name,
        image=str(document["Config"]["Image"]),
        exit_code=code,
        duration_ns=time.time_ns() - started,
        stdout=bytes(kept[1]),
        stderr=bytes(kept[2]),
    )


def execute(session: Session, args: Arguments) -> Ran | Done:
    """Run one more program in a running container."""
    name, *command = args.words
    tty = args.on("tty")
    with translated(session.host.url):
        created = session.api.exec_create(
            name,
            command,
            stdin=args.on("interactive"),
            tty=tty,
            privileged=args.on("privileged"),
            user=args.text("user"),
            environment=list(args.all("env")) or None,
            workdir=args.text("workdir") or None,
        )
        if args.on("detach"):
            session.api.exec_start(created["Id"], detach=True)
            return Done(action="exec", names=())
    try:
        return listen_to_exec(session, created["Id"], name, tty=tty, stdin=args.on("interactive"))
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the program in the container may still run",
            hint=f"See it: %docker top {name}",
        ) from None


def listen_to_exec(
    session: Session,
    identifier: str,
    container: str,
    *,
    tty: bool = False,
    stdin: bool = False,
    keep: int = _KEPT_BYTES,
) -> Ran:
    """Start a program that was made ready in a running container, and listen to its end."""
    started = time.time_ns()
    connection = session.streams.start_exec(identifier, tty=tty)
    with _fed(session, connection, stdin=stdin):
        kept = _listen(session, connection, keep)
    with translated(session.host.url):
        code = session.api.exec_inspect(identifier).get("ExitCode")
    return Ran(
        container=container,
        image="",
        exit_code=int(code or 0),
        duration_ns=time.time_ns() - started,
        stdout=bytes(kept[1]),
        stderr=bytes(kept[2]),
        kind="exec",
    )


def logs(session: Session, args: Arguments) -> Logs:
    """What a container wrote; --follow shows the lines as they come, and keeps them."""
    name = args.words[0]
    with translated(session.host.url):
        tty = bool(session.api.inspect_container(name)["Config"].get("Tty"))
    now = time.time_ns()
    params: dict[str, object] = {
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,  # always: a frame of lines has their times
        "follow": int(args.on("follow")),
        "tail": args.text("tail", "all"),
    }
    for bound in ("since", "until"):
        if args.given(bound):
            params[bound] = moment(args.text(bound), now)
    lines: list[LogLine] = []
    follow = args.on("follow")
    try:
        for line in _lines(session.streams.logs(name, params, tty=tty)):
            lines.append(line)
            if follow:
                shown = f"{line.text}\n".encode()
                session.feedback.output(2 if line.stream == "stderr" else 1, shown)
    except KeyboardInterrupt:
        if not follow:
            raise Interrupted("interrupted") from None
    return Logs(
        container=name,
        lines=tuple(lines),
        timestamps=args.on("timestamps"),
        streamed=follow,
    )


def _lines(frames: Iterator[tuple[int, bytes]]) -> Iterator[LogLine]:
    """Cut frames into lines; each begins with its time, also where a frame has several."""
    rests: dict[int, bytes] = {}
    for stream, data in frames:
        *whole, rests[stream] = (rests.get(stream, b"") + data).split(b"\n")
        for line in whole:
            yield _line(stream, line)
    for stream, rest in rests.items():
        if rest:
            yield _line(stream, rest)


def _line(stream: int, data: bytes) -> LogLine:
    text_of_line = data.decode("utf-8", "replace").rstrip("\r")
    head, space, rest = text_of_line.partition(" ")
    time_ns = read_time(head) if space else 0
    return LogLine(
        "stderr" if stream == 2 else "stdout", time_ns, rest if time_ns else text_of_line
    )


def _foreground(
    session: Session,
    container: str,
    *,
    image: str,
    remove: bool,
    stdin: bool,
    tty: bool,
    keep: int = _KEPT_BYTES,
) -> Ran:
    """Attach, wait, start, listen: docker's own order."""
    started = time.time_ns()
    with _removed_on_failure(session, container, remove=remove):
        connection = session.streams.attach(container, stdin=stdin, tty=tty)
        waiting = _Waiting(session, container, removed=remove)
        try:
            session.api.start(container)
        except BaseException:
            connection.close()
            raise
        try:
            with _fed(session, connection, stdin=stdin):
                kept = _listen(session, connection, keep)
            code = waiting.code()
        except KeyboardInterrupt:
            connection.close()
            _end(session, container, remove=remove)
            state = "removed" if remove else "stopped"
            raise Interrupted(
                f"interrupted; the container is {state}", hint="Run the cell again when you like"
            ) from None
    return Ran(
        container=container,
        image=image,
        exit_code=code,
        duration_ns=time.time_ns() - started,
        stdout=bytes(kept[1]),
        stderr=bytes(kept[2]),
    )


class _Waiting:
    """Asks for a container's end before its start, so that a short life is not missed."""

    def __init__(self, session: Session, container: str, *, removed: bool) -> None:
        self._answer: dict[str, Any] | DockerlabError | None = None
        # The host answers the head at once; reading it here means that the wait is registered.
        self._messages = session.streams.documents(
            "post",
            "/containers/{0}/wait",
            container,
            params={"condition": "removed" if removed else "next-exit"},
        )
        self._thread = threading.Thread(
            target=self._read, name=f"wait for {container[:12]}", daemon=True
        )
        self._thread.start()

    def _read(self) -> None:
        try:
            with contextlib.closing(self._messages) as messages:
                self._answer = next(messages, None)
        except DockerlabError as error:
            self._answer = error

    def code(self) -> int:
        while self._thread.is_alive():
            self._thread.join(0.2)  # in short steps: a join without a limit defies interrupts
        if isinstance(self._answer, DockerlabError):
            raise self._answer
        if self._answer is None:
            raise Failed("the host ended its answer before the program ended")
        problem = (self._answer.get("Error") or {}).get("Message")
        if problem:
            raise reported(str(problem))
        return int(self._answer.get("StatusCode", _RUN_FAILED))


def _listen(
    session: Session, connection: Connection, keep: int = _KEPT_BYTES
) -> dict[int, bytearray]:
    kept = {1: bytearray(), 2: bytearray()}
    problem = bytearray()
    try:
        for stream, data in connection:
            if stream == 3:
                problem += data
                continue
            if stream not in kept:
                continue
            room = keep - len(kept[stream])
            if room > 0:
                kept[stream] += data[:room]
            session.feedback.output(stream, data)
    finally:
        connection.close()
    if problem:
        raise reported(problem.decode("utf-8", "replace").strip())
    return kept


@contextlib.contextmanager
def _fed(session: Session, connection: Connection, *, stdin: bool) -> Iterator[None]:
    """Copy the session's input to the program in a thread, for as long as it runs."""
    if not stdin:
        yield
        return
    source = session.patient_stdin

    def copy() -> None:
        with contextlib.suppress(OSError, ValueError):
            while source is not None and (data := source.read1(65536)):
                connection.write(data)
            connection.end_input()

    threading.Thread(target=copy, name="standard input", daemon=True).start()
    yield


@contextlib.contextmanager
def _removed_on_failure(session: Session, container: str, *, remove: bool) -> Iterator[None]:
    """A container that could not be started does not stay behind when --rm was asked for."""
    try:
        with translated(session.host.url):
            yield
    except Interrupted:
        raise
    except DockerlabError:
        if remove:
            with contextlib.suppress(DockerlabError), translated(session.host.url):
                session.api.remove_container(container, force=True)
        raise


def _end(session: Session, container: str, *, remove: bool) -> None:
    """Stop a program at once; who asked for --rm finds nothing left."""
    with contextlib.suppress(DockerlabError), translated(session.host.url):
        session.api.kill(container)
    if remove:
        with contextlib.suppress(DockerlabError), translated(session.host.url):
            session.api.remove_container(container, force=True)


VERBS = (
    Verb(
        words=("run",),
        act=run,
        help="Create and run a new container from an image",
        usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
        flags=(
            switch("detach", "d", "Run container in background and print its ID"),
            *CREATE_FLAGS,
        ),
        least=1,
        takes="image",
        leaves_rest=True,
        aliases=(("container", "run"),),
    ),
    Verb(
        words=("attach",),
        act=attach,
        help="Attach local standard output and error streams to a running container",
        usage="CONTAINER",
        least=1,
        most=1,
        takes="container",
        aliases=(("container", "attach"),),
    ),
    Verb(
        words=("exec",),
        act=execute,
        help="Execute a command in a running container",
        usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
        flags=(
            switch("detach", "d", "Detached mode: run command in the background"),
            many("env", "e", "Set environment variables"),
            switch("interactive", "i", "Keep STDIN open even if not attached"),
            switch("privileged", help="Give extended privileges to the command"),
            switch("tty", "t", "Allocate a pseudo-TTY"),
            text("user", "u", "Username or UID (format: <name|uid>[:<group|gid>])"),
            text("workdir", "w", "Working directory inside the container"),
        ),
        least=2,
        takes="container",
        leaves_rest=True,
        aliases=(("container", "exec"),),
    ),
    Verb(
        words=("logs",),
        act=logs,
        help="Fetch the logs of a container",
        usage="[OPTIONS] CONTAINER",
        flags=(
            switch("follow", "f", "Follow log output"),
            text("since", help="Show logs since timestamp or relative (e.g. 42m)"),
            text("tail", "n", "Number of lines to show from the end of the logs"),
            switch("timestamps", "t", "Show timestamps"),
            text("until", help="Show logs before a timestamp or relative (e.g. 42m)"),
        ),
        least=1,
        most=1,
        takes="container",
        aliases=(("container", "logs"),),
    ),
)
