"""`run -it` and `exec -it`: this terminal becomes the container's.

Knows:   raw mode, the size of the window, and docker's way out: ctrl-p ctrl-q.
Refuses: to leave the terminal raw, whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any

from dockerlab.commands.containers import create_container
from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb
from dockerlab.commands.session import Session
from dockerlab.commands.streams import Connection
from dockerlab.errors import DockerlabError

_DETACH = b"\x10\x11"
_FAILED = 125


def interactive(session: Session, verb: Verb, args: Arguments) -> int:
    """Give the terminal to the program until it ends; returns its exit code."""
    return _exec(session, args) if verb.words[0] == "exec" else _run(session, args)


def _run(session: Session, args: Arguments) -> int:
    container = create_container(session, args, attached=True)
    remove = args.on("rm")
    connection = session.streams.attach(container, stdin=args.on("interactive"), tty=True)
    waiting = session.streams.documents(
        "post",
        "/containers/{0}/wait",
        container,
        params={"condition": "removed" if remove else "next-exit"},
    )
    try:
        with translated(session.host.url):
            session.api.start(container)
    except DockerlabError:
        connection.close()
        if remove:
            with contextlib.suppress(DockerlabError), translated(session.host.url):
                session.api.remove_container(container, force=True)
        raise
    if _converse(connection, lambda h, w: session.api.resize(container, h, w)):
        return 0
    answer = next(waiting, {})
    return int(answer.get("StatusCode", _FAILED))


def _exec(session: Session, args: Arguments) -> int:
    name, *command = args.words
    with translated(session.host.url):
        created = session.api.exec_create(
            name,
            command,
            stdin=args.on("interactive"),
            tty=True,
            privileged=args.on("privileged"),
            user=args.text("user"),
            environment=list(args.all("env")) or None,
            workdir=args.text("workdir") or None,
        )
    connection = session.streams.start_exec(created["Id"], tty=True)
    if _converse(connection, lambda h, w: session.api.exec_resize(created["Id"], h, w)):
        return 0
    with translated(session.host.url):
        return int(session.api.exec_inspect(created["Id"]).get("ExitCode") or 0)


def _converse(connection: Connection, resize: Callable[[int, int], Any]) -> bool:
    """Carry bytes both ways until the program ends; True when the person detached."""
    ended = threading.Event()

    def show() -> None:
        with contextlib.suppress(OSError, ValueError):
            for _, data in connection:
                os.write(sys.stdout.fileno(), data)
        ended.set()

    def fit(*_: object) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(Exception):  # the program may be gone: then no size matters
            resize(size.lines, size.columns)

    with _raw(), _resized(fit):
        fit()
        threading.Thread(target=show, name="output of the container", daemon=True).start()
        return _type(connection, ended)


def _type(connection: Connection, ended: threading.Event) -> bool:
    keyboard, last = sys.stdin.fileno(), b""
    try:
        while not ended.is_set():
            ready, _, _ = select.select([keyboard], [], [], 0.1)
            if not ready:
                continue
            data = os.read(keyboard, 4096)
            if _DETACH in last + data:
                return True
            last = data[-1:]
            if not data:
                connection.end_input()
                ended.wait()
                break
            with contextlib.suppress(OSError):
                connection.write(data)
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized(fit: Callable[..., None]) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, fit)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
