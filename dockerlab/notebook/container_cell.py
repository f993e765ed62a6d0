"""`%%container IMAGE`: its grammar, and how a line, a cell and variables become a program.

Knows:   which of `run`'s options a cell has, and its own: --with, --keep, -i, -o.
Refuses: to run anything; `commands/cells.py` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dockerlab.commands import catalogue
from dockerlab.commands.cells import KEPT_BYTES, CellProgram, run_kept, run_once, script_command
from dockerlab.commands.grammar import Arguments, Verb, switch, text
from dockerlab.commands.results import Ran
from dockerlab.commands.run_options import create_document
from dockerlab.commands.session import Session
from dockerlab.errors import Failed, InvalidRequest, NotFound
from dockerlab.notebook import variables
from dockerlab.notebook.arguments import NOTEBOOK_FLAGS

_LEFT_OUT = frozenset({"detach", "rm", "interactive", "tty", "entrypoint", "quiet", "restart"})


def verb() -> Verb:
    """The grammar of the line."""
    run, _ = catalogue.find(["run"])
    return Verb(
        words=("container",),
        act=run.act,
        help="Run the cell as a script in a new container, which is removed afterwards",
        usage="[OPTIONS] IMAGE",
        flags=(
            text("with", help="The program that reads the script: sh (default), bash, python3"),
            switch("keep", help="Keep the container for more cells; it needs --name"),
            text(
                "input",
                "i",
                "The variable that the program reads: text, bytes, a frame as CSV, else JSON",
                metavar="NAME[:FORMAT]",
            ),
            text(
                "output",
                "o",
                "The variable for what it writes: text, or :bytes, :json, :csv, :parquet",
                metavar="NAME[:FORMAT]",
            ),
            switch("quiet", "q", "Do not show the output"),
            *(flag for flag in run.flags if flag.name not in _LEFT_OUT),
            *NOTEBOOK_FLAGS,
        ),
        most=1,
        takes="image",
    )


def program(args: Arguments, script: str, namespace: Mapping[str, Any]) -> CellProgram:
    """Read a line and its cell; nothing is asked of a host yet.

    Raises:
        InvalidRequest: options that don't go together, or what can't be sent.
        NotFound: a variable that does not exist.
    """
    keep, name = args.on("keep"), args.text("name")
    if keep and not name:
        raise InvalidRequest("--keep needs a name", hint="%%container --name lab --keep IMAGE")
    if not args.words and not keep:
        raise InvalidRequest(
            '"%%container" requires exactly 1 argument.', hint="Name an image: %%container IMAGE"
        )
    if len(args.all("input")) > 1 or len(args.all("output")) > 1:
        raise InvalidRequest(
            "a program reads one variable and writes one",
            hint="Put several into a dict: it is sent as JSON; or mount a folder: -v ./data:/data",
        )
    if args.given("output"):
        variables.read(args.text("output"))  # a bad name is told before anything runs
    given = variables.read(args.text("input")) if args.given("input") else None
    image = args.words[0] if args.words else ""
    return CellProgram(
        image=image,
        document=create_document(
            Arguments((image,), args.flags),
            attached=True,
            environ=os.environ,
            env_files=[_lines_of(path) for path in args.all("env-file")],
            working_folder=os.getcwd(),  # noqa: PTH109 - text, as the API wants it
        ),
        command=script_command(args.text("with", "sh"), script),
        stdin=variables.encode(given, namespace) if given else None,
        name=name,
        pull=args.text("pull"),
        platform=args.text("platform"),
        execution={
            "env": args.all("env"),
            "user": args.text("user"),
            "workdir": args.text("workdir"),
        },
    )


def _lines_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise NotFound(f"open {path}: {error.strerror}", hint="Is the path right?") from None


def run(session: Session, cell: CellProgram, args: Arguments) -> Ran:
    """Run it where its line wants it."""
    return run_kept(session, cell) if args.on("keep") else run_once(session, cell)


def outcome(ran: Ran, args: Arguments) -> dict[str, Any]:
    """The variables that a program's output becomes.

    Raises:
        Failed: it wrote too much, or not what was announced.
    """
    if not args.given("output"):
        return {}
    if len(ran.stdout) >= KEPT_BYTES:
        raise Failed(
            "the program wrote more than 256 MiB",
            hint="Let it write into a folder: -v ./data:/data",
        )
    wanted = variables.read(args.text("output"))
    return {wanted.name: variables.decode(wanted, ran.stdout)}
