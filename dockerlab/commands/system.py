"""The host itself: info, version, events, disk use, and `inspect` of anything on it.

Knows:   what each answer looks like in docker's own tables.
Refuses: to interpret documents; `inspect` gives them as they are.
Source:  docs.docker.com/reference/cli/docker/system.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dockerlab.commands.failures import translated
from dockerlab.commands.filters import FILTER, read_filters
from dockerlab.commands.grammar import Arguments, Verb, switch, text
from dockerlab.commands.results import Cell, Column, Documents, Kind, Table
from dockerlab.commands.session import Session
from dockerlab.commands.words import moment
from dockerlab.errors import InvalidRequest, NotFound
from dockerlab.version import version as own_version
from dockerlab.wire.sizes import human_size

DISK_USE = (
    Column("kind", Kind.CATEGORY, "TYPE", "Type", help="images, containers, volumes, build cache"),
    Column("total", Kind.COUNT, "TOTAL", "TotalCount", help="how many there are"),
    Column("active", Kind.COUNT, "ACTIVE", "Active", help="how many are in use"),
    Column("size", Kind.BYTES, "SIZE", "Size", help="on the disk"),
    Column("reclaimable", Kind.BYTES, "RECLAIMABLE", "Reclaimable", help="what a prune would free"),
)
EVENTS = (
    Column("time", Kind.TIME, "", "Time", help="when it happened"),
    Column("type", Kind.CATEGORY, "", "Type", help="container, image, network, volume"),
    Column("action", Kind.CATEGORY, "", "Action", help="create, start, die, ..."),
    Column("name", Kind.TEXT, "", "Name", help="of whatever it happened to"),
    Column("id", Kind.ID, "", "ID", help="of whatever it happened to"),
    Column("line", Kind.SHOWN, "EVENT", "Line"),
)
_INSPECTORS: tuple[tuple[str, str], ...] = (
    ("container", "inspect_container"),
    ("image", "inspect_image"),
    ("network", "inspect_network"),
    ("volume", "inspect_volume"),
)
_ABSENT = {
    "container": "No such container: {0}",
    "image": "No such image: {0}",
    "network": "network {0} not found",
    "volume": "get {0}: no such volume",
    "": "No such object: {0}",
}


def inspect(session: Session, args: Arguments) -> Documents:
    """The documents of anything, whatever it is."""
    return _inspect(session, args, args.text("type"))


def inspect_kind(kind: str) -> Any:
    """The act of `docker image inspect` and its sisters."""

    def act(session: Session, args: Arguments) -> Documents:
        return _inspect(session, args, kind)

    return act


def _inspect(session: Session, args: Arguments, kind: str) -> Documents:
    if kind not in _ABSENT:
        raise InvalidRequest(
            f'"{kind}" is not a valid value for --type',
            hint=f"One of {', '.join(name for name, _ in _INSPECTORS)}",
        )
    return Documents(
        noun=kind or "object",
        names=args.words,
        documents=tuple(_document(session, name, kind) for name in args.words),
        template=args.text("format"),
    )


def _document(session: Session, name: str, kind: str) -> Mapping[str, Any]:
    for each, method in _INSPECTORS:
        if kind in ("", each):
            try:
                with translated(session.host.url):
                    document: Mapping[str, Any] = getattr(session.api, method)(name)
                    return document
            except NotFound:
                continue
    raise NotFound(_ABSENT[kind].format(name), hint="See what there is: %docker ps -a, images")


def info(session: Session, args: Arguments) -> Documents:
    """What the host says of itself."""
    with translated(session.host.url):
        document = session.api.info()
    return Documents(
        noun="info",
        names=(session.host.url,),
        documents=(document,),
        template=args.text("format"),
        text=_info_text(document),
    )


def version(session: Session, args: Arguments) -> Documents:
    """Versions of this side and of the host."""
    with translated(session.host.url):
        server = session.api.version()
    client = {"Version": own_version(), "ApiVersion": session.api.api_version}
    oldest = server.get("MinAPIVersion", "")
    rows = [
        "Client: dockerlab",
        f" Version:           {own_version()}",
        f" API version:       {session.api.api_version}",
        "",
        f"Server: {(server.get('Platform') or {}).get('Name') or 'Docker Engine'}",
        f" Version:           {server.get('Version', '')}",
        f" API version:       {server.get('ApiVersion', '')} (minimum version {oldest})",
        f" OS/Arch:           {server.get('Os', '')}/{server.get('Arch', '')}",
        f" Kernel:            {server.get('KernelVersion', '')}",
        f" Host:              {session.host.url}",
    ]
    return Documents(
        noun="version",
        names=(session.host.url,),
        documents=({"Client": client, "Server": server},),
        template=args.text("format"),
        text="\n".join(rows),
    )


def events(session: Session, args: Arguments) -> Table:
    """What happened; without --until it goes on until somebody interrupts."""
    now = time.time_ns()
    params: dict[str, object] = {}
    for bound in ("since", "until"):
        if args.given(bound):
            params[bound] = moment(args.text(bound), now)
    if args.given("since") and not args.given("until"):
        # A cell that asks for the past wants an answer, not to wait for the future.
        params["until"] = moment(str(now // 1_000_000_000 + 1), now)
    filters = read_filters(args)
    if filters:
        params["filters"] = json.dumps(filters)
    rows: list[tuple[Cell, ...]] = []
    live = "until" not in params
    messages = session.streams.documents("get", "/events", params=params)
    try:
        for message in messages:
            row = _event(message)
            rows.append(row)
            if live:
                session.feedback.output(1, f"{row[-1]}\n".encode())
    except KeyboardInterrupt:
        pass  # the only way to end it; what came until now is the answer
    return Table(
        noun="events",
        columns=EVENTS,
        rows=tuple(rows),
        taken_ns=time.time_ns(),
        template=args.text("format"),
        shown_already=live,
    )


def disk_use(session: Session, args: Arguments) -> Table:
    """What images, containers, volumes and caches take."""
    with translated(session.host.url):
        answer = session.api.df()
    return Table(
        noun="disk use",
        columns=DISK_USE,
        rows=tuple(_uses(answer)),
        taken_ns=time.time_ns(),
        index="kind",
        template=args.text("format"),
    )


def _uses(answer: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    images = answer.get("Images") or ()
    unused = [image for image in images if not image.get("Containers", 0)]
    total = int(answer.get("LayersSize") or 0)
    freed = sum(int(i.get("Size", 0)) - max(0, int(i.get("SharedSize", 0))) for i in unused)
    yield "Images", len(images), len(images) - len(unused), total, min(freed, total)
    containers = answer.get("Containers") or ()
    idle = [item for item in containers if item.get("State") not in ("running", "paused")]
    yield (
        "Containers",
        len(containers),
        len(containers) - len(idle),
        sum(int(item.get("SizeRw") or 0) for item in containers),
        sum(int(item.get("SizeRw") or 0) for item in idle),
    )
    volumes = answer.get("Volumes") or ()
    use = [volume.get("UsageData") or {} for volume in volumes]
    free = [item for item in use if not item.get("RefCount", 0)]
    yield (
        "Local Volumes",
        len(volumes),
        len(volumes) - len(free),
        sum(max(0, int(item.get("Size", 0))) for item in use),
        sum(max(0, int(item.get("Size", 0))) for item in free),
    )
    cache = answer.get("BuildCache") or ()
    cold = [item for item in cache if not item.get("InUse")]
    yield (
        "Build Cache",
        len(cache),
        len(cache) - len(cold),
        sum(int(item.get("Size", 0)) for item in cache),
        sum(int(item.get("Size", 0)) for item in cold),
    )


def _event(message: Mapping[str, Any]) -> tuple[Cell, ...]:
    from dockerlab.wire.times import log_stamp  # noqa: PLC0415 - used by this verb only

    actor = message.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    time_ns = int(message.get("timeNano") or int(message.get("time", 0)) * 1_000_000_000)
    kind, action = str(message.get("Type", "")), str(message.get("Action", ""))
    detail = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    line = f"{log_stamp(time_ns)} {kind} {action} {actor.get('ID', '')}"
    return (
        time_ns,
        kind,
        action,
        str(attributes.get("name", "")),
        str(actor.get("ID", "")),
        f"{line} ({detail})" if detail else line,
    )


def _info_text(document: Mapping[str, Any]) -> str:
    rows = [
        ("Server Version", document.get("ServerVersion")),
        ("Containers", document.get("Containers")),
        (" Running", document.get("ContainersRunning")),
        (" Paused", document.get("ContainersPaused")),
        (" Stopped", document.get("ContainersStopped")),
        ("Images", document.get("Images")),
        ("Storage Driver", document.get("Driver")),
        ("Logging Driver", document.get("LoggingDriver")),
        ("Cgroup Driver", document.get("CgroupDriver")),
        ("Cgroup Version", document.get("CgroupVersion")),
        ("Security Options", ", ".join(document.get("SecurityOptions") or ())),
        ("Kernel Version", document.get("KernelVersion")),
        ("Operating System", document.get("OperatingSystem")),
        ("OSType", document.get("OSType")),
        ("Architecture", document.get("Architecture")),
        ("CPUs", document.get("NCPU")),
        ("Total Memory", human_size(int(document.get("MemTotal") or 0))),
        ("Name", document.get("Name")),
        ("Docker Root Dir", document.get("DockerRootDir")),
    ]
    lines = [f"{name}: {value}" for name, value in rows if value not in (None, "")]
    lines += [f"WARNING: {warning}" for warning in document.get("Warnings") or ()]
    return "\n".join(lines)


_FORMAT = text("format", "f", "Format output using a custom template: json, or a Go template")

VERBS = (
    Verb(
        words=("inspect",),
        act=inspect,
        help="Return low-level information on Docker objects",
        usage="[OPTIONS] NAME|ID [NAME|ID...]",
        flags=(_FORMAT, text("type", help="Only inspect objects of the given type")),
        least=1,
        takes="object",
    ),
    *(
        Verb(
            words=(kind, "inspect"),
            act=inspect_kind(kind),
            help=f"Display detailed information on one or more {kind}s",
            usage=f"[OPTIONS] {kind.upper()} [{kind.upper()}...]",
            flags=(_FORMAT,),
            least=1,
            takes=kind,
        )
        for kind, _ in _INSPECTORS
    ),
    Verb(
        words=("info",),
        act=info,
        help="Display system-wide information",
        usage="[OPTIONS]",
        flags=(_FORMAT,),
        most=0,
        aliases=(("system", "info"),),
    ),
    Verb(
        words=("version",),
        act=version,
        help="Show the Docker version information",
        usage="[OPTIONS]",
        flags=(_FORMAT,),
        most=0,
    ),
    Verb(
        words=("events",),
        act=events,
        help="Get real time events from the server",
        usage="[OPTIONS]",
        flags=(
            FILTER,
            text("format", help="Format output using a template: json, or a Go template"),
            text("since", help="Show all events created since timestamp"),
            text("until", help="Stream events until this timestamp"),
        ),
        most=0,
        aliases=(("system", "events"),),
    ),
    Verb(
        words=("system", "df"),
        act=disk_use,
        help="Show docker disk usage",
        usage="[OPTIONS]",
        flags=(text("format", help="Format output using a template"), switch("verbose", "v")),
        most=0,
    ),
)
