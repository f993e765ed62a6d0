"""Cells as programs: each in a container of its own, or all in one that is kept.

Knows:   how interpreters take a script; that a kept container idles between its cells.
Refuses: variables and notebooks; bytes come in, a `Ran` comes out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dockerlab.commands.containers import submit
from dockerlab.commands.failures import translated
from dockerlab.commands.images import ensure
from dockerlab.commands.programs import Interrupted, listen_to_exec, run_document
from dockerlab.commands.results import Ran
from dockerlab.commands.session import Session
from dockerlab.errors import Conflict, DockerlabError, InvalidRequest, NotFound

KEPT_BYTES = 256 * 1024 * 1024  # of a stream that becomes a variable
_MAX_SCRIPT = 120_000  # the kernel ends one argument at 128 kB
_LABEL = "dockerlab.cells"
_SCRIPT_FLAGS = {
    "node": "-e",
    "ruby": "-e",
    "perl": "-e",
    "lua": "-e",
    "Rscript": "-e",
    "php": "-r",
}
_IDLE = ("sh", "-c", 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done')
# A program that was started by exec can't be signalled from outside: it is found by a variable of
# its environment, and with it whatever it started.
_END = 'for p in /proc/[0-9]*; do grep -q "$1" $p/environ 2>/dev/null && kill -9 ${p#/proc/}; done'
_MARK = "DOCKERLAB_CELL"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellProgram:
    """What a cell wants to run.

    Attributes:
        document: the body of /containers/create; its Cmd and Entrypoint are ours.
        command: interpreter, its flag, and the script.
        stdin: what the program reads; None: nothing.
        keep: how many bytes of each stream its `Ran` holds.
    """

    image: str
    document: Mapping[str, Any]
    command: tuple[str, ...]
    stdin: bytes | None = None
    name: str = ""
    pull: str = ""
    platform: str = ""
    keep: int = KEPT_BYTES
    execution: Mapping[str, Any] = field(default_factory=dict)


def script_command(interpreter: str, script: str) -> tuple[str, ...]:
    """The words that have an interpreter run a script: sh, python3, "python3 -u", node, ...

    Raises:
        InvalidRequest: no interpreter, or the script is too long for one argument.
    """
    if len(script.encode()) > _MAX_SCRIPT:
        raise InvalidRequest(
            "the cell is too long for one argument of a program (128 kB)",
            hint="Put the script into a folder, and mount it: -v ./folder:/script",
        )
    try:
        words = shlex.split(interpreter)
    except ValueError:
        words = []
    if not words:
        raise InvalidRequest(f"invalid --with: '{interpreter}'", hint="For example --with python3")
    return (*words, _SCRIPT_FLAGS.get(words[0].rpartition("/")[2], "-c"), script)


def run_once(session: Session, cell: CellProgram) -> Ran:
    """Run a cell in a new container, which is removed afterwards."""
    document = dict(cell.document)
    document["Entrypoint"], document["Cmd"] = [cell.command[0]], list(cell.command[1:])
    document["HostConfig"] = {**document["HostConfig"], "AutoRemove": True}
    if cell.stdin is not None:
        document |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    return run_document(
        session,
        cell.image,
        document,
        name=cell.name,
        pull=cell.pull,
        platform=cell.platform,
        keep=cell.keep,
    )


def run_kept(session: Session, cell: CellProgram) -> Ran:
    """Run a cell in a container that stays, with its files, for the cells to come.

    Raises:
        Conflict: there is a container of that name, made of something else.
        NotFound: there is none, and no image was named to make it of.
    """
    image = _ready(session, cell)
    mark = secrets.token_hex(8)
    with translated(session.host.url):
        created = session.api.exec_create(
            cell.name,
            list(cell.command),
            stdin=cell.stdin is not None,
            environment=[*cell.execution.get("env", ()), f"{_MARK}={mark}"],
            user=cell.execution.get("user", ""),
            workdir=cell.execution.get("workdir") or None,
        )
    try:
        ran = listen_to_exec(
            session, created["Id"], cell.name, stdin=cell.stdin is not None, keep=cell.keep
        )
    except KeyboardInterrupt:
        _end(session, cell.name, mark)
        raise Interrupted(
            f"interrupted; the container {cell.name} is kept",
            hint=f"Remove it with: %docker rm -f {cell.name}",
        ) from None
    return dataclasses.replace(ran, image=image)


def _ready(session: Session, cell: CellProgram) -> str:
    """Have the kept container run; returns its image."""
    made = _fingerprint(cell)
    try:
        with translated(session.host.url):
            there = session.api.inspect_container(cell.name)
    except NotFound:
        if not cell.image:
            raise NotFound(
                f"No such container: {cell.name}",
                hint="Name an image too, and it is made: %%container --name NAME --keep IMAGE",
            ) from None
        _make(session, cell, made)
        return cell.image
    image, labels = str(there["Config"]["Image"]), there["Config"].get("Labels") or {}
    if cell.image and cell.image != image:
        raise Conflict(
            f"the container {cell.name} was made of {image}, not of {cell.image}",
            hint=f"Remove it with %docker rm -f {cell.name}, or choose another --name",
        )
    if cell.image and labels.get(_LABEL) != made:
        raise Conflict(
            f"the container {cell.name} was made with other options",
            hint=f"Remove it with %docker rm -f {cell.name}, or leave out options and image",
        )
    if not there["State"]["Running"]:
        with translated(session.host.url):
            session.api.start(cell.name)
    return image


def _make(session: Session, cell: CellProgram, made: str) -> None:
    document = dict(cell.document)
    document["Entrypoint"], document["Cmd"] = list(_IDLE[:1]), list(_IDLE[1:])
    document["Labels"] = {**(document.get("Labels") or {}), _LABEL: made}
    for name in ("AttachStdout", "AttachStderr"):
        document[name] = False
    ensure(session, cell.image, cell.pull or "missing", cell.platform)
    container = submit(session, document, cell.name, cell.platform)
    try:
        with translated(session.host.url):
            session.api.start(container)
    except DockerlabError:
        with contextlib.suppress(DockerlabError), translated(session.host.url):
            session.api.remove_container(container, force=True)
        raise


def _fingerprint(cell: CellProgram) -> str:
    """What tells a container of these options from others; a cell's own may differ each time."""
    left_out = {"Env", "User", "WorkingDir", "Cmd", "Entrypoint"}
    made = {key: value for key, value in cell.document.items() if key not in left_out}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _end(session: Session, container: str, mark: str) -> None:
    with contextlib.suppress(DockerlabError), translated(session.host.url):
        created = session.api.exec_create(container, ["sh", "-c", _END, "sh", mark], user="0")
        session.api.exec_start(created["Id"])
