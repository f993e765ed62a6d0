"""Between containers and images: commit, export, import.

Knows:   that an export is one file system without layers, and a commit one more layer.
Refuses: to write half a file: an archive gets its name when it is whole.
Source:  docs.docker.com/reference/cli/docker/container/commit, export; image/import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dockerlab.commands.failures import reported, translated
from dockerlab.commands.grammar import Arguments, Verb, many, switch, text
from dockerlab.commands.results import Done
from dockerlab.commands.session import Session
from dockerlab.commands.words import size
from dockerlab.errors import InvalidRequest, NotFound
from dockerlab.oci import names


def commit(session: Session, args: Arguments) -> Done:
    """Make an image of what a container changed."""
    repository, tag = _named(args.words[1:])
    with translated(session.host.url):
        answer = session.api.commit(
            args.words[0],
            repository=repository or None,
            tag=tag or None,
            message=args.text("message") or None,
            author=args.text("author") or None,
            pause=args.on("pause") if args.given("pause") else True,
            changes=list(args.all("change")) or None,
        )
    return Done(action="commit", names=(str(answer["Id"]),), identifiers=True)


def export(session: Session, args: Arguments) -> Done:
    """Write a container's file system into an archive."""
    target = args.text("output")
    if not target and sys.stdout.isatty():
        raise InvalidRequest(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            hint="For example -o container.tar",
        )
    chunks = session.streams.content("/containers/{0}/export", args.words[0])
    if not target:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        return Done(action="export", names=())
    write_whole(target, chunks)
    return Done(action="export", names=(target,), note=size(Path(target).stat().st_size))


def write_whole(target: str, chunks: Iterable[bytes]) -> None:
    """Write a file that has its name only when it is complete."""
    partial = Path(f"{target}.part")
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        partial.replace(target)
    except FileNotFoundError:
        raise NotFound(
            f"invalid output path: directory {Path(target).parent} does not exist",
            hint="Make that folder first",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def import_(session: Session, args: Arguments) -> Done:
    """Make an image of one layer out of an archive: a file, standard input, or a URL."""
    source = args.words[0]
    repository, tag = _named(args.words[1:])
    remote = source.startswith(("http://", "https://"))
    params: dict[str, Any] = {"fromSrc": source if remote else "-", "repo": repository, "tag": tag}
    if args.given("message"):
        params["message"] = args.text("message")
    if args.given("platform"):
        params["platform"] = args.text("platform")
    if args.all("change"):
        params["changes"] = list(args.all("change"))
    file = None if remote else _opened(session, source)
    status = ""
    try:
        for message in session.streams.documents(
            "post",
            "/images/create",
            params=params,
            data=file,
            headers={"Content-Type": "application/x-tar"},
        ):
            if message.get("error"):
                raise reported(str(message["error"]))
            status = str(message.get("status") or status)
    finally:
        if file is not None:
            file.close()
    return Done(action="import", names=(status,), identifiers=True)


def _opened(session: Session, source: str) -> Any:
    if source == "-":
        if session.patient_stdin is None:
            raise InvalidRequest("there is no archive on standard input")
        return session.patient_stdin
    try:
        return Path(source).expanduser().open("rb")
    except OSError as error:
        raise NotFound(f"open {source}: {error.strerror}", hint="Is the path right?") from None


def _named(words: tuple[str, ...]) -> tuple[str, str]:
    if not words:
        return "", ""
    reference = names.parse_complete(words[0])
    return reference.familiar_name, reference.tag


_CHANGE = many("change", "c", "Apply Dockerfile instruction to the created image")

VERBS = (
    Verb(
        words=("commit",),
        act=commit,
        help="Create a new image from a container's changes",
        usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        flags=(
            text("author", "a", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
            _CHANGE,
            text("message", "m", "Commit message"),
            switch("pause", "p", "Pause container during commit (default true)"),
        ),
        least=1,
        most=2,
        takes="container",
        aliases=(("container", "commit"),),
    ),
    Verb(
        words=("export",),
        act=export,
        help="Export a container's filesystem as a tar archive",
        usage="[OPTIONS] CONTAINER",
        flags=(text("output", "o", "Write to a file, instead of STDOUT"),),
        least=1,
        most=1,
        takes="container",
        aliases=(("container", "export"),),
    ),
    Verb(
        words=("import",),
        act=import_,
        help="Import the contents from a tarball to create a filesystem image",
        usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        flags=(
            _CHANGE,
            text("message", "m", "Set commit message for imported image"),
            text("platform", help="Set platform if server is multi-platform capable"),
        ),
        least=1,
        most=2,
        aliases=(("image", "import"),),
    ),
)
