"""Images: list, fetch, send, name, remove, look at, keep in files.

Knows:   the shapes of the messages that a pull, a push and a load send.
Refuses: to draw progress; it hands each message on.
Source:  docs.docker.com/reference/cli/docker/image.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dockerlab.commands.container_images import write_whole
from dockerlab.commands.failures import reported, translated
from dockerlab.commands.filters import FILTER, read_filters
from dockerlab.commands.grammar import Arguments, Verb, many, switch, text
from dockerlab.commands.results import Cell, Column, Done, Kind, Table
from dockerlab.commands.session import Progress, Session
from dockerlab.commands.words import size
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.oci import names
from dockerlab.wire.times import SECOND_NS

IMAGES = (
    Column("repository", Kind.TEXT, "REPOSITORY", "Repository", help="name without the tag"),
    Column("tag", Kind.TEXT, "TAG", "Tag"),
    Column("digest", Kind.TEXT, "", "Digest", help="of the registry's manifest"),
    Column("id", Kind.ID, "IMAGE ID", "ID", help="the whole id: digest of the configuration"),
    Column("created", Kind.TIME, "CREATED", "CreatedSince", help="when it was built"),
    Column("size", Kind.BYTES, "SIZE", "Size", help="of all its layers, unpacked"),
    Column(
        "containers",
        Kind.COUNT,
        "",
        "Containers",
        missing=True,
        help="how many use it; missing: not counted",
    ),
)
HISTORY = (
    Column(
        "id",
        Kind.ID,
        "IMAGE",
        "ID",
        help="the image after this step; <missing> where only a registry knew it",
    ),
    Column("created", Kind.TIME, "CREATED", "CreatedSince", help="when the step was done"),
    Column("created_by", Kind.TEXT, "CREATED BY", "CreatedBy", width=45, help="the instruction"),
    Column("size", Kind.BYTES, "SIZE", "Size", help="of files the step added"),
    Column("comment", Kind.TEXT, "COMMENT", "Comment"),
    Column("tags", Kind.LIST, "", "Tags", help="names of the image after this step"),
)


def images(session: Session, args: Arguments) -> Table:
    """List images, one row for each name."""
    filters = read_filters(args)
    if args.words:
        filters["reference"] = [args.words[0]]
    with translated(session.host.url):
        documents = session.api.images(all=args.on("all"), filters=filters or None)
    columns: tuple[Column, ...] = IMAGES
    if args.on("digests"):
        columns = tuple(
            Column("digest", Kind.TEXT, "DIGEST", "Digest") if column.name == "digest" else column
            for column in IMAGES
        )
    return Table(
        noun="images",
        columns=columns,
        rows=tuple(row for document in documents for row in _rows(document)),
        taken_ns=time.time_ns(),
        quiet="id",
        only_quiet=args.on("quiet"),
        untruncated=args.on("no-trunc"),
        template=args.text("format"),
    )


def pull(session: Session, args: Arguments) -> Done:
    """Fetch an image from its registry."""
    return _pull(session, args.words[0], args.text("platform"), every=args.on("all-tags"))


def ensure(session: Session, image: str, policy: str, platform: str) -> None:
    """Have an image on the host before a container is made of it, as `docker run` does."""
    if policy not in {"missing", "always", "never", ""}:
        raise InvalidRequest(
            f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"',
            hint="The usual one is missing",
        )
    if policy == "never":
        return
    if policy != "always":
        try:
            with translated(session.host.url):
                session.api.inspect_image(image)
        except NotFound:
            session.feedback.note(f"Unable to find image '{image}' locally")
        else:
            return
    _pull(session, image, platform, every=False)


def _pull(session: Session, image: str, platform: str, *, every: bool) -> Done:
    reference = names.parse(image)
    params = {"fromImage": reference.familiar_name}
    if not every:
        params["tag"] = reference.digest or reference.complete().tag
    if platform:
        params["platform"] = platform
    messages = session.streams.documents(
        "post",
        "/images/create",
        params=params,
        headers=session.streams.registry_headers(reference.familiar_name),
    )
    last = _relay(session, messages)
    shown = reference if every else reference.complete()
    return Done(action="pull", names=(str(shown),), note=last)


def push(session: Session, args: Arguments) -> Done:
    """Send an image to its registry."""
    reference = names.parse(args.words[0])
    tag = "" if args.on("all-tags") else reference.complete().tag
    messages = session.streams.documents(
        "post",
        "/images/{0}/push",
        reference.familiar_name,
        params={"tag": tag} if tag else {},
        # The API wants the header even for a registry without credentials.
        headers=session.streams.registry_headers(reference.familiar_name)
        or {"X-Registry-Auth": "e30="},
    )
    last = _relay(session, messages)
    return Done(action="push", names=(str(reference),), note=last)


def tag(session: Session, args: Arguments) -> Done:
    source, target = args.words
    reference = names.parse_complete(target)
    with translated(session.host.url):
        session.api.tag(source, reference.familiar_name, reference.tag)
    return Done(action="tag", names=(reference.familiar,))


def remove(session: Session, args: Arguments) -> Done:
    """Remove names, and images that have none left."""
    lines: list[str] = []
    failed: list[DockerlabError] = []
    for name in args.words:
        try:
            with translated(session.host.url):
                answer = session.api.remove_image(
                    name, force=args.on("force"), noprune=args.on("no-prune")
                )
            lines += [f"{verb}: {what}" for item in answer or () for verb, what in item.items()]
        except DockerlabError as error:
            failed.append(error)
    if failed:
        for problem in failed[1:]:
            session.feedback.note(problem.message)
        raise failed[0]
    return Done(action="rmi", names=tuple(lines))


def history(session: Session, args: Arguments) -> Table:
    """How an image came to be, newest step first."""
    with translated(session.host.url):
        steps = session.api.history(args.words[0])
    return Table(
        noun="history",
        columns=HISTORY,
        rows=tuple(
            (
                str(step.get("Id", "")),
                int(step.get("Created", 0)) * SECOND_NS,
                " ".join(str(step.get("CreatedBy", "")).split()),
                int(step.get("Size", 0)),
                str(step.get("Comment", "")),
                tuple(step.get("Tags") or ()),
            )
            for step in steps
        ),
        taken_ns=time.time_ns(),
        quiet="id",
        only_quiet=args.on("quiet"),
        untruncated=args.on("no-trunc"),
        template=args.text("format"),
    )


def save(session: Session, args: Arguments) -> Done:
    """Write images into an archive."""
    target = args.text("output")
    if not target and sys.stdout.isatty():
        raise InvalidRequest(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            hint="For example -o images.tar",
        )
    chunks = archive(session, args.words)
    if not target:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        return Done(action="save", names=())
    write_whole(target, chunks)
    return Done(action="save", names=(target,), note=size(Path(target).stat().st_size))


def archive(session: Session, image_names: Iterable[str]) -> Iterator[bytes]:
    """The bytes of `docker save`, as they come."""
    return session.streams.content("/images/get", params={"names": list(image_names)})


def load(session: Session, args: Arguments) -> Done:
    """Read images from an archive."""
    source = args.text("input")
    if not source and (session.patient_stdin is None or sys.stdin.isatty()):
        raise InvalidRequest("requested load from stdin, but stdin is empty", hint="Use -i FILE")
    try:
        file = Path(source).open("rb") if source else session.patient_stdin  # noqa: SIM115 - below
    except OSError as error:
        raise NotFound(f"open {source}: {error.strerror}", hint="Is the path right?") from None
    loaded: list[str] = []
    try:
        for message in session.streams.documents("post", "/images/load", data=file):
            line = str(message.get("stream") or "").strip()
            if line.startswith("Loaded image"):
                loaded.append(line.partition(": ")[2])
            elif not args.on("quiet"):
                _tell(session, message)
            _refuse(message)
    finally:
        file.close()
    return Done(action="load", names=tuple(loaded))


def prune(session: Session, args: Arguments) -> Done:
    filters = read_filters(args)
    if args.on("all"):
        filters["dangling"] = ["false"]
    with translated(session.host.url):
        answer = session.api.prune_images(filters=filters or None)
    lines = [
        f"{verb}: {what}"
        for item in answer.get("ImagesDeleted") or ()
        for verb, what in item.items()
    ]
    space = size(answer.get("SpaceReclaimed") or 0)
    return Done(action="prune", names=tuple(lines), note=f"Total reclaimed space: {space}")


def _relay(session: Session, messages: Iterator[Mapping[str, Any]]) -> str:
    """Hand each message on; return the last status that belongs to no layer."""
    last = ""
    for message in messages:
        _refuse(message)
        _tell(session, message)
        if message.get("status") and not message.get("id"):
            last = str(message["status"])
    return last


def _refuse(message: Mapping[str, Any]) -> None:
    if message.get("error"):
        detail = message.get("errorDetail") or {}
        raise reported(str(detail.get("message") or message["error"]))


def _tell(session: Session, message: Mapping[str, Any]) -> None:
    detail = message.get("progressDetail") or {}
    session.feedback.progress(
        Progress(
            status=str(message.get("status") or ""),
            subject=str(message.get("id") or ""),
            current=int(detail.get("current") or 0),
            total=int(detail.get("total") or 0),
            text=str(message.get("stream") or ""),
        )
    )


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    digests = {
        repository: digest
        for repository, _, digest in (
            text.partition("@") for text in document.get("RepoDigests") or ()
        )
    }
    used = document.get("Containers", -1)
    rest: tuple[Cell, ...] = (
        str(document["Id"]),
        int(document.get("Created", 0)) * SECOND_NS,
        int(document.get("Size", 0)),
        int(used) if isinstance(used, int) and used >= 0 else None,
    )
    tags = [tag for tag in document.get("RepoTags") or () if tag != "<none>:<none>"]
    for name in tags:
        repository, _, tag_text = name.rpartition(":")
        yield (repository, tag_text, digests.get(repository, "<none>"), *rest)
    if not tags:
        repository = next(iter(digests), "<none>")
        yield (repository, "<none>", digests.get(repository, "<none>"), *rest)


VERBS = (
    Verb(
        words=("images",),
        act=images,
        help="List images",
        usage="[OPTIONS] [REPOSITORY[:TAG]]",
        flags=(
            switch("all", "a", "Show all images (default hides intermediate images)"),
            switch("digests", help="Show digests"),
            FILTER,
            text("format", help="Format output using a template: table, json, or a Go template"),
            switch("no-trunc", help="Don't truncate output"),
            switch("quiet", "q", "Only show image IDs"),
        ),
        most=1,
        takes="image",
        aliases=(("image", "ls"), ("image", "list")),
    ),
    Verb(
        words=("pull",),
        act=pull,
        help="Download an image from a registry",
        usage="[OPTIONS] NAME[:TAG|@DIGEST]",
        flags=(
            switch("all-tags", "a", "Download all tagged images in the repository"),
            text("platform", help="Set platform if server is multi-platform capable"),
            switch("quiet", "q", "Suppress verbose output"),
        ),
        least=1,
        most=1,
        takes="image",
        aliases=(("image", "pull"),),
    ),
    Verb(
        words=("push",),
        act=push,
        help="Upload an image to a registry",
        usage="[OPTIONS] NAME[:TAG]",
        flags=(
            switch("all-tags", "a", "Push all tags of an image to the repository"),
            switch("quiet", "q", "Suppress verbose output"),
        ),
        least=1,
        most=1,
        takes="image",
        aliases=(("image", "push"),),
    ),
    Verb(
        words=("tag",),
        act=tag,
        help="Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        least=2,
        most=2,
        takes="image",
        aliases=(("image", "tag"),),
    ),
    Verb(
        words=("rmi",),
        act=remove,
        help="Remove one or more images",
        usage="[OPTIONS] IMAGE [IMAGE...]",
        flags=(
            switch("force", "f", "Force removal of the image"),
            switch("no-prune", help="Do not delete untagged parents"),
        ),
        least=1,
        takes="image",
        aliases=(("image", "rm"), ("image", "remove")),
    ),
    Verb(
        words=("history",),
        act=history,
        help="Show the history of an image",
        usage="[OPTIONS] IMAGE",
        flags=(
            text("format", help="Format output using a template: table, json, or a Go template"),
            switch("human", "H", "Print sizes and dates in human readable format"),
            switch("no-trunc", help="Don't truncate output"),
            switch("quiet", "q", "Only show image IDs"),
        ),
        least=1,
        most=1,
        takes="image",
        aliases=(("image", "history"),),
    ),
    Verb(
        words=("save",),
        act=save,
        help="Save one or more images to a tar archive (streamed to STDOUT by default)",
        usage="[OPTIONS] IMAGE [IMAGE...]",
        flags=(text("output", "o", "Write to a file, instead of STDOUT"),),
        least=1,
        takes="image",
        aliases=(("image", "save"),),
    ),
    Verb(
        words=("load",),
        act=load,
        help="Load an image from a tar archive or STDIN",
        usage="[OPTIONS]",
        flags=(
            text("input", "i", "Read from tar archive file, instead of STDIN"),
            switch("quiet", "q", "Suppress the load output"),
        ),
        most=0,
        aliases=(("image", "load"),),
    ),
    Verb(
        words=("image", "prune"),
        act=prune,
        help="Remove unused images",
        usage="[OPTIONS]",
        flags=(
            switch("all", "a", "Remove all unused images, not just dangling ones"),
            many("filter", help="Provide filter values (e.g. until=<timestamp>)"),
            switch("force", "f", "Do not prompt for confirmation"),
        ),
        most=0,
    ),
)
