"""The registry that comes with dockerlab, as a verb of its own.

Knows:   the command that serves it: `dockerlab registry start`.
Refuses: to serve; that is the engine house's business, in a process of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from dockerlab.commands.grammar import Arguments, Verb, switch, text
from dockerlab.commands.results import Done
from dockerlab.commands.session import Session
from dockerlab.errors import Failed

_TIMEOUT_S = 180  # the starter image is made from the host's own files at the first start
_LET_GO_S = 60  # it may be in the middle of packing the starter image
_USUAL = "127.0.0.1:5000"
_ANY = "127.0.0.1:0"


def start(session: Session, args: Arguments) -> Done:
    """Serve a registry on loopback, with the starter image in it."""
    words = [] if args.on("empty") else ["--starter"]
    if args.given("storage"):
        words += ["--storage", args.text("storage")]
    try:
        line = _command(["start", "--addr", args.text("addr", _USUAL), *words])
    except Failed as error:
        if args.given("addr") or "in use" not in error.message:
            raise
        # Port 5000 is popular; nobody asked for exactly that one.
        line = _elsewhere(words)
    session.feedback.note(line)
    address = re.search(r"[\w.:\[\]-]+:\d+", line)
    where = address[0] if address else args.text("addr", _USUAL)
    return Done(action="registry start", names=(where.replace("127.0.0.1", "localhost"),))


def _elsewhere(words: list[str]) -> str:
    """Start at a free port, once the server that found its port taken has let its folder go."""
    end = time.monotonic() + _LET_GO_S
    while True:
        try:
            return _command(["start", "--addr", _ANY, *words])
        except Failed as error:
            if "storage" not in error.message or time.monotonic() > end:
                raise
            time.sleep(0.1)


def stop(session: Session, args: Arguments) -> Done:
    return _everywhere(session, args, "stop")


def status(session: Session, args: Arguments) -> Done:
    return _everywhere(session, args, "status")


def _everywhere(session: Session, args: Arguments, word: str) -> Done:
    """Ask the one named; else those that a plain `start` may have made."""
    places = [args.text("addr")] if args.given("addr") else [_USUAL, _ANY]
    answers = [_command([word, "--addr", place]) for place in places]
    running = [answer for answer in answers if not answer.startswith("no registry")]
    for answer in running or answers[:1]:
        session.feedback.note(answer)
    return Done(action=f"registry {word}", names=())


def _command(words: list[str]) -> str:
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "dockerlab", "registry", *words],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed("the registry did not answer in time", hint="dockerlab registry status") from (
            None
        )
    if finished.returncode and not finished.stdout.strip():
        lines = finished.stderr.strip().splitlines() or ["it said nothing"]
        raise Failed(
            lines[0].removeprefix("dockerlab registry: "),
            hint=lines[1].strip() if len(lines) > 1 else "Is another program at that port?",
        )
    return finished.stdout.strip()


_ADDRESS = text("addr", help="HOST:PORT to listen on (default 127.0.0.1:5000)")

VERBS = (
    Verb(
        words=("registry", "start"),
        act=start,
        help="Serve a small real registry on this machine, with the starter image",
        usage="[OPTIONS]",
        flags=(
            _ADDRESS,
            switch("empty", help="Without the starter image"),
            text("storage", help="Keep its content in this folder"),
        ),
        most=0,
    ),
    Verb(
        words=("registry", "stop"),
        act=stop,
        help="End the registry",
        usage="[OPTIONS]",
        flags=(_ADDRESS,),
        most=0,
    ),
    Verb(
        words=("registry", "status"),
        act=status,
        help="Say whether the registry answers",
        usage="[OPTIONS]",
        flags=(_ADDRESS,),
        most=0,
    ),
)
