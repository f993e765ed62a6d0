"""What containers show of themselves: the list, their processes, ports and changed files.

Knows:   one request per verb; the list is one request, whatever the number of containers.
Refuses: to change anything.
Source:  docs.docker.com/reference/cli/docker/container.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dockerlab.commands.failures import translated
from dockerlab.commands.filters import FILTER, read_filters
from dockerlab.commands.grammar import Arguments, Verb, number, switch, text
from dockerlab.commands.results import Cell, Column, Kind, Table
from dockerlab.commands.session import Session
from dockerlab.commands.words import short_id
from dockerlab.errors import NotFound
from dockerlab.wire.times import SECOND_NS

CONTAINERS = (
    Column("id", Kind.ID, "CONTAINER ID", "ID", help="the whole id"),
    Column(
        "image", Kind.TEXT, "IMAGE", "Image", help="as it was named when the container was made"
    ),
    Column("command", Kind.TEXT, "COMMAND", "Command", width=20, help="entrypoint and arguments"),
    Column("created", Kind.TIME, "CREATED", "RunningFor", help="when it was made"),
    Column("state", Kind.CATEGORY, "", "State", help="created, running, paused, exited, ..."),
    Column("status", Kind.TEXT, "STATUS", "Status", help="as people say it: Up 3 minutes"),
    Column(
        "ports", Kind.LIST, "PORTS", "Ports", help="as docker writes them: 0.0.0.0:8080->80/tcp"
    ),
    Column("name", Kind.TEXT, "NAMES", "Names"),
    Column("networks", Kind.LIST, "", "Networks", help="names of networks"),
    Column("mounts", Kind.LIST, "", "Mounts", help="names of volumes, folders of the host"),
    Column("size", Kind.BYTES, "", "Size", missing=True, help="what it wrote; only with --size"),
)
PORTS = (
    Column("port", Kind.COUNT, "", "Port", help="in the container"),
    Column("protocol", Kind.CATEGORY, "", "Protocol", help="tcp, udp or sctp"),
    Column("host_address", Kind.TEXT, "", "HostIp", help="where the host listens"),
    Column("host_port", Kind.COUNT, "", "HostPort", help="on the host"),
    Column("line", Kind.TEXT, "PORTS", "Line", help="as docker writes it"),
)
DIFF = (
    Column("change", Kind.CATEGORY, "CHANGE", "Kind", help="A added, C changed, D deleted"),
    Column("path", Kind.TEXT, "PATH", "Path", help="absolute"),
)
_CHANGES = {0: "C", 1: "A", 2: "D"}


def ps(session: Session, args: Arguments) -> Table:
    """List containers; running ones unless -a, -n, -l or a filter on the state says more."""
    limit = 1 if args.on("latest") else args.number("last")
    with translated(session.host.url):
        documents = session.api.containers(
            all=args.on("all"),
            limit=limit if limit is not None else -1,
            size=args.on("size"),
            filters=read_filters(args) or None,
        )
    columns: tuple[Column, ...] = CONTAINERS
    if args.on("size"):
        columns = tuple(
            Column("size", Kind.BYTES, "SIZE", "Size", missing=True)
            if column.name == "size"
            else column
            for column in CONTAINERS
        )
    return Table(
        noun="containers",
        columns=columns,
        rows=tuple(_row(document) for document in documents),
        taken_ns=time.time_ns(),
        index="name",
        quiet="id",
        only_quiet=args.on("quiet"),
        untruncated=args.on("no-trunc"),
        template=args.text("format"),
    )


def top(session: Session, args: Arguments) -> Table:
    """The processes of a container, as ps on the host sees them."""
    name, *options = args.words
    with translated(session.host.url):
        answer = session.api.top(name, " ".join(options) or None)
    titles = [str(title) for title in answer["Titles"]]
    columns = tuple(
        Column(
            title.lower(),
            Kind.COUNT if title in _NUMERIC else Kind.TEXT,
            title,
            title,
            missing=True,
        )
        for title in titles
    )
    return Table(
        noun="processes",
        columns=columns,
        rows=tuple(
            tuple(_process(column, value) for column, value in zip(columns, row, strict=False))
            for row in answer["Processes"] or ()
        ),
        taken_ns=time.time_ns(),
        index="pid" if "PID" in titles else "",
    )


def port(session: Session, args: Arguments) -> Table:
    """Where a container's ports are on the host."""
    name, *wanted = args.words
    with translated(session.host.url):
        document = session.api.inspect_container(name)
    rows: list[tuple[Cell, ...]] = []
    published = (document.get("NetworkSettings") or {}).get("Ports") or {}
    for key, bindings in sorted(published.items()):
        number_text, _, protocol = key.partition("/")
        if wanted and wanted[0] not in {key, number_text}:
            continue
        for binding in bindings or ():
            address, host_port = binding["HostIp"], binding["HostPort"]
            where = f"[{address}]:{host_port}" if ":" in address else f"{address}:{host_port}"
            line = where if wanted else f"{key} -> {where}"
            rows.append((int(number_text), protocol, address, int(host_port), line))
    if wanted and not rows:
        raise NotFound(
            f"no public port '{wanted[0]}' published for {name}",
            hint=f"See all: docker port {name}",
        )
    return Table(noun="ports", columns=PORTS, rows=tuple(rows), taken_ns=time.time_ns())


def diff(session: Session, args: Arguments) -> Table:
    """What a container changed in its file system."""
    with translated(session.host.url):
        changes = session.api.diff(args.words[0]) or ()
    return Table(
        noun="changes",
        columns=DIFF,
        rows=tuple((_CHANGES.get(item["Kind"], "?"), item["Path"]) for item in changes),
        taken_ns=time.time_ns(),
        index="path",
    )


_NUMERIC = frozenset({"PID", "PPID", "C"})


def _process(column: Column, value: str) -> Cell:
    if column.kind is Kind.COUNT:
        return int(value) if value.isdigit() else None
    return value


def _row(document: Mapping[str, Any]) -> tuple[Cell, ...]:
    names = [name.lstrip("/") for name in document.get("Names") or ()]
    image = str(document.get("Image", ""))
    settings = (document.get("NetworkSettings") or {}).get("Networks") or {}
    size = document.get("SizeRw")
    return (
        str(document["Id"]),
        short_id(image) if image.startswith("sha256:") else image,
        str(document.get("Command", "")),
        int(document.get("Created", 0)) * SECOND_NS,
        str(document.get("State", "")),
        str(document.get("Status", "")),
        tuple(_binding(port) for port in _sorted_ports(document.get("Ports") or ())),
        next((name for name in names if "/" not in name), names[0] if names else ""),
        tuple(sorted(settings)),
        tuple(
            str(mount.get("Name") or mount.get("Source", ""))
            for mount in document.get("Mounts") or ()
        ),
        int(size) if size is not None else None,
    )


def _sorted_ports(ports: Any) -> list[Mapping[str, Any]]:
    return sorted(
        ports,
        key=lambda port: (port["PrivatePort"], port.get("Type", ""), str(port.get("IP", ""))),
    )


def _binding(port: Mapping[str, Any]) -> str:
    inside = f"{port['PrivatePort']}/{port.get('Type', 'tcp')}"
    if not port.get("PublicPort"):
        return inside
    address = str(port.get("IP", ""))
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{port['PublicPort']}->{inside}"


_LISTING = (
    switch("all", "a", "Show all containers (default shows just running)"),
    FILTER,
    text("format", help="Format output using a template: table, json, or a Go template"),
    number("last", "n", "Show n last created containers (includes all states)"),
    switch("latest", "l", "Show the latest created container (includes all states)"),
    switch("no-trunc", help="Don't truncate output"),
    switch("quiet", "q", "Only display container IDs"),
    switch("size", "s", "Display total file sizes"),
)
VERBS = (
    Verb(
        words=("ps",),
        act=ps,
        help="List containers",
        usage="[OPTIONS]",
        flags=_LISTING,
        most=0,
        aliases=(("container", "ls"), ("container", "ps"), ("container", "list")),
    ),
    Verb(
        words=("top",),
        act=top,
        help="Display the running processes of a container",
        usage="CONTAINER [ps OPTIONS]",
        least=1,
        takes="container",
        leaves_rest=True,
        aliases=(("container", "top"),),
    ),
    Verb(
        words=("port",),
        act=port,
        help="List port mappings or a specific mapping for the container",
        usage="CONTAINER [PRIVATE_PORT[/PROTO]]",
        least=1,
        most=2,
        takes="container",
        aliases=(("container", "port"),),
    ),
    Verb(
        words=("diff",),
        act=diff,
        help="Inspect changes to files or directories on a container's filesystem",
        usage="CONTAINER",
        least=1,
        most=1,
        takes="container",
        aliases=(("container", "diff"),),
    ),
)
