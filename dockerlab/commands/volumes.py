"""Volumes: list, make, remove.

Knows:   docker's flags for them.
Refuses: to look into them.
Source:  docs.docker.com/reference/cli/docker/volume.
"""

from __future__ import annotations

import time

from dockerlab.commands.failures import translated
from dockerlab.commands.filters import FILTER, read_filters
from dockerlab.commands.grammar import Arguments, Verb, many, switch, text
from dockerlab.commands.results import Column, Done, Kind, Table
from dockerlab.commands.session import Session
from dockerlab.commands.words import read_time, size

VOLUMES = (
    Column("driver", Kind.CATEGORY, "DRIVER", "Driver"),
    Column("name", Kind.TEXT, "VOLUME NAME", "Name"),
    Column("mountpoint", Kind.TEXT, "", "Mountpoint", help="folder on the host"),
    Column("created", Kind.TIME, "", "CreatedAt"),
    Column("scope", Kind.CATEGORY, "", "Scope", help="local or global"),
)


def ls(session: Session, args: Arguments) -> Table:
    """List volumes."""
    with translated(session.host.url):
        documents = session.api.volumes(filters=read_filters(args) or None).get("Volumes") or ()
    return Table(
        noun="volumes",
        columns=VOLUMES,
        rows=tuple(
            (
                str(document.get("Driver", "")),
                str(document["Name"]),
                str(document.get("Mountpoint", "")),
                read_time(str(document.get("CreatedAt", ""))),
                str(document.get("Scope", "")),
            )
            for document in sorted(documents, key=lambda item: str(item["Name"]))
        ),
        taken_ns=time.time_ns(),
        index="name",
        quiet="name",
        only_quiet=args.on("quiet"),
        template=args.text("format"),
    )


def create(session: Session, args: Arguments) -> Done:
    """Make a volume; the host finds a name where none is given."""
    with translated(session.host.url):
        answer = session.api.create_volume(
            name=args.words[0] if args.words else args.text("name") or None,
            driver=args.text("driver", "local"),
            driver_opts=dict(_pair(item) for item in args.all("opt")) or None,
            labels=dict(_pair(item) for item in args.all("label")) or None,
        )
    return Done(action="volume create", names=(str(answer["Name"]),))


def remove(session: Session, args: Arguments) -> Done:
    for name in args.words:
        with translated(session.host.url):
            session.api.remove_volume(name, force=args.on("force"))
    return Done(action="volume rm", names=args.words)


def prune(session: Session, args: Arguments) -> Done:
    filters = read_filters(args)
    if args.on("all"):
        filters["all"] = ["true"]
    with translated(session.host.url):
        answer = session.api.prune_volumes(filters=filters or None)
    space = size(answer.get("SpaceReclaimed") or 0)
    return Done(
        action="volume prune",
        names=tuple(answer.get("VolumesDeleted") or ()),
        note=f"Total reclaimed space: {space}",
    )


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


VERBS = (
    Verb(
        words=("volume", "ls"),
        act=ls,
        help="List volumes",
        usage="[OPTIONS]",
        flags=(
            FILTER,
            text("format", help="Format output using a template: table, json, or a Go template"),
            switch("quiet", "q", "Only display volume names"),
        ),
        most=0,
        aliases=(("volume", "list"),),
    ),
    Verb(
        words=("volume", "create"),
        act=create,
        help="Create a volume",
        usage="[OPTIONS] [VOLUME]",
        flags=(
            text("driver", "d", "Specify volume driver name"),
            many("label", help="Set metadata for a volume"),
            text("name", help="Specify volume name"),
            many("opt", "o", "Set driver specific options"),
        ),
        most=1,
    ),
    Verb(
        words=("volume", "rm"),
        act=remove,
        help="Remove one or more volumes",
        usage="[OPTIONS] VOLUME [VOLUME...]",
        flags=(switch("force", "f", "Force the removal of one or more volumes"),),
        least=1,
        takes="volume",
        aliases=(("volume", "remove"),),
    ),
    Verb(
        words=("volume", "prune"),
        act=prune,
        help="Remove unused local volumes",
        usage="[OPTIONS]",
        flags=(
            switch("all", "a", "Remove all unused volumes, not just anonymous ones"),
            many("filter"),
            switch("force", "f", "Do not prompt for confirmation"),
        ),
        most=0,
    ),
)
