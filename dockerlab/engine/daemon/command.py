"""The commands `dockerlab engine ...` and `dockerlab doctor`.

Knows:   the words on the command line, what is printed, exit codes.
Refuses: anything about containers; docker's verbs are `dockerlab.console`'s.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from dockerlab.engine import config
from dockerlab.engine.daemon import control
from dockerlab.engine.daemon.pid_file import EngineRecord
from dockerlab.errors import Conflict, DockerlabError, Failed

_NOT_RUNNING = 1


def run(argv: list[str]) -> int:
    """Carry out `dockerlab engine ...`; what goes wrong is one line on stderr and exit code 1."""
    options = _parser().parse_args(argv)
    try:
        return int(options.act(config.from_environment(), options))
    except DockerlabError as error:
        if getattr(options, "json", False):
            _print_json({"message": error.message, "hint": error.hint})
        sys.stderr.write(f"dockerlab engine: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return control.ALREADY_RUNS if isinstance(error, Conflict) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dockerlab engine", description="The container engine.")
    verbs = parser.add_subparsers(required=True, metavar="serve|start|stop|status|check")
    serve = verbs.add_parser("serve", help="run in the foreground")
    serve.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    serve.set_defaults(act=_serve)
    start = verbs.add_parser("start", help="start in the background, or find the one that runs")
    start.set_defaults(act=_start)
    stop = verbs.add_parser("stop", help="end the engine; containers go on")
    stop.add_argument(
        "--clean", action="store_true", help="end containers too, remove links and rules"
    )
    stop.set_defaults(act=_stop)
    status = verbs.add_parser("status", help="say whether one runs, and where")
    status.set_defaults(act=_status)
    check = verbs.add_parser("check", help="verify that what is stored is whole")
    check.set_defaults(act=_check)
    for verb in (start, stop, status, check):
        verb.add_argument("--json", action="store_true", help="print JSON only")
    return parser


def _serve(settings: config.Settings, options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - only the engine itself needs these two

    from dockerlab.engine.daemon.serve import Engine, make_run_folder  # noqa: PLC0415

    os.umask(0o022)
    make_run_folder(settings.run)

    def announce() -> None:
        sys.stdout.write(json.dumps({"host": f"unix://{settings.socket}", "pid": os.getpid()}))
        sys.stdout.write("\n")
        sys.stdout.flush()
        if options.detached:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            os.close(nowhere)

    async def main() -> None:
        await Engine(settings).run(announce)

    try:
        asyncio.run(main())
    except DockerlabError:
        raise
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {error}") from error
    return 0


def _start(settings: config.Settings, options: argparse.Namespace) -> int:
    record = control.start(settings)
    _tell(options, record, f"engine runs (pid {record.pid}) at unix://{record.socket}")
    return 0


def _stop(settings: config.Settings, options: argparse.Namespace) -> int:
    record = control.stop(settings, clean=options.clean)
    _tell(options, record, "engine stopped" if record else f"no engine runs at {settings.socket}")
    return 0


def _status(settings: config.Settings, options: argparse.Namespace) -> int:
    record = control.running(settings)
    if record is None:
        _tell(options, None, f"no engine runs at {settings.socket}")
        return _NOT_RUNNING
    _tell(options, record, f"engine runs (pid {record.pid}) at unix://{record.socket}")
    return 0


def _check(settings: config.Settings, options: argparse.Namespace) -> int:
    from dockerlab.engine.daemon.check import check  # noqa: PLC0415 - opens the store

    problems = check(settings)
    if options.json:
        _print_json({"problems": problems})
    else:
        sys.stdout.writelines(f"{problem}\n" for problem in problems or ("all is whole",))
    return 1 if problems else 0


def _tell(options: argparse.Namespace, record: EngineRecord | None, text: str) -> None:
    if not options.json:
        sys.stdout.write(f"{text}\n")
        return
    document: dict[str, Any] = {"running": record is not None}
    if record is not None:
        from dockerlab.wire.times import rfc3339  # noqa: PLC0415 - after what takes time

        document |= {
            "host": f"unix://{record.socket}",
            "pid": record.pid,
            "root": record.root,
            "started": rfc3339(record.started_ns),
        }
    _print_json(document)


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
