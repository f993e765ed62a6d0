"""One verb in a terminal: its surroundings, its result as docker prints it, its exit code.

Knows:   which results are text, and that `-it` wants a raw terminal.
Refuses: to draw; progress.py has the bars, screen.py the terminal.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from dockerlab.commands.formats import fill
from dockerlab.commands.grammar import Arguments, Verb
from dockerlab.commands.hosts import Host, choose
from dockerlab.commands.layer_tables import text as layers_text
from dockerlab.commands.results import (
    Documents,
    Done,
    ImageLayers,
    Logs,
    Ran,
    Table,
    Watch,
)
from dockerlab.commands.session import Session
from dockerlab.commands.tables import plain
from dockerlab.console.progress import Terminal
from dockerlab.console.screen import interactive
from dockerlab.errors import InvalidRequest
from dockerlab.wire.times import log_stamp


def carry_out(verb: Verb, args: Arguments, host: str) -> int:
    """Do it, print it, return docker's exit code."""
    terminal = Terminal(quiet=args.on("quiet") and verb.words[0] in {"pull", "push", "build"})
    session = Session(Host(choose(host)), terminal, sys.stdin.buffer)
    if args.on("tty") and verb.words[0] in {"run", "exec"} and not args.on("detach"):
        if not sys.stdin.isatty():
            raise InvalidRequest("the input device is not a TTY", hint="Leave out -t")
        return interactive(session, verb, args)
    with terminal:
        result = verb.act(session, args)
    if isinstance(result, Watch):
        return _watch(session, result)
    if isinstance(result, Ran):
        return result.exit_code
    if isinstance(result, Logs):
        write_logs(result)
        return 0
    text = printed(result)
    if text:
        sys.stdout.write(f"{text}\n")
    return 0


def printed(result: Any) -> str:
    """A result as docker prints it; what went by as it came is not told again."""
    match result:
        case Table():
            return "" if result.shown_already else plain(result)
        case ImageLayers():
            return layers_text(result)
        case Documents():
            return _documents(result)
        case Done():
            return _done(result)
        case _:
            return ""


def _documents(result: Documents) -> str:
    if result.template:
        return "\n".join(fill(result.template, document) for document in result.documents)
    return result.text or json.dumps(list(result.documents), indent=4, ensure_ascii=False)


def _done(result: Done) -> str:
    if result.action == "load":
        return "\n".join(f"Loaded image: {name}" for name in result.names)
    lines = [*result.names]
    if result.note and result.action.endswith("prune"):
        lines.append(result.note)
    return "\n".join(lines)


def write_logs(result: Logs) -> None:
    """Each line to the stream it came from."""
    if result.streamed:
        return
    for line in result.lines:
        stamp = f"{log_stamp(line.time_ns)} " if result.timestamps else ""
        target = sys.stderr if line.stream == "stderr" else sys.stdout
        target.write(f"{stamp}{line.text}\n")


def _watch(session: Session, request: Watch) -> int:
    """`stats`: a table that is drawn anew each second, until it is interrupted."""
    from rich.live import Live  # noqa: PLC0415 - only here
    from rich.text import Text  # noqa: PLC0415 - only here

    from dockerlab.commands.stats import running, snapshot  # noqa: PLC0415 - only here

    end = time.monotonic() + request.duration_s if request.duration_s else None
    try:
        with Live(refresh_per_second=4) as live:
            while end is None or time.monotonic() < end:
                table = snapshot(session, running(session, request.names), Arguments())
                live.update(Text(plain(table)))
                if not table.rows:
                    time.sleep(1)  # nothing runs; docker goes on looking, and so do we
    except KeyboardInterrupt:
        return 0
    return 0
