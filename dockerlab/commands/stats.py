"""Figures of running containers: one sample, a table of them, a stream.

Knows:   how the API's counters become per cent and bytes, as docker's own client does it.
Refuses: to draw.
Source:  docker CLI, cli/command/container/stats_helpers.go.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb, switch, text
from dockerlab.commands.results import Cell, Column, Kind, Table, Watch
from dockerlab.commands.session import Session
from dockerlab.commands.words import read_time, size
from dockerlab.errors import DockerlabError, NotFound
from dockerlab.wire.sizes import human_memory
from dockerlab.wire.times import SECOND_NS, parse_duration

STATS = (
    Column("id", Kind.ID, "CONTAINER ID", "ID", help="the whole id"),
    Column("name", Kind.TEXT, "NAME", "Name"),
    Column(
        "cpu_percent", Kind.PERCENT, "CPU %", "CPUPerc", help="of one processor: 200 is two of them"
    ),
    Column("shown_memory", Kind.SHOWN, "MEM USAGE / LIMIT", "MemUsage"),
    Column("memory", Kind.BYTES, help="in use, without page cache that would go"),
    Column(
        "memory_limit",
        Kind.BYTES,
        help="what it may use at most; the machine's where it has no limit",
    ),
    Column("memory_percent", Kind.PERCENT, "MEM %", "MemPerc", help="of its limit"),
    Column("shown_network", Kind.SHOWN, "NET I/O", "NetIO"),
    Column("received", Kind.BYTES, help="by its network interfaces, since its start"),
    Column("sent", Kind.BYTES, help="by its network interfaces, since its start"),
    Column("shown_block", Kind.SHOWN, "BLOCK I/O", "BlockIO"),
    Column("read", Kind.BYTES, help="from block devices, since its start"),
    Column("written", Kind.BYTES, help="to block devices, since its start"),
    Column("pids", Kind.COUNT, "PIDS", "PIDs", help="processes and threads"),
    Column("time", Kind.TIME, help="when the host measured"),
)
_MAX_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One container at one moment."""

    identifier: str
    name: str
    time_ns: int
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    pids: int = 0

    @property
    def memory_percent(self) -> float:
        limit = self.memory_limit_bytes
        return 100 * self.memory_bytes / limit if limit else 0.0


def sample(document: Mapping[str, Any]) -> Sample:
    """Read one message of /containers/{id}/stats."""
    memory = document.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    used = int(memory.get("usage") or 0)
    # v1 says total_inactive_file, v2 inactive_file: page cache that goes when memory is short.
    cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)) or 0)
    networks = (document.get("networks") or {}).values()
    read = written = 0
    for item in (document.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        kind = str(item.get("op", ""))[:1].lower()
        read += int(item["value"]) if kind == "r" else 0
        written += int(item["value"]) if kind == "w" else 0
    return Sample(
        identifier=str(document.get("id", "")),
        name=str(document.get("name", "")).lstrip("/"),
        time_ns=read_time(str(document.get("read", ""))),
        cpu_percent=_cpu_percent(document),
        memory_bytes=used - cache if cache < used else used,
        memory_limit_bytes=int(memory.get("limit") or 0),
        received_bytes=sum(int(network.get("rx_bytes", 0)) for network in networks),
        sent_bytes=sum(int(network.get("tx_bytes", 0)) for network in networks),
        read_bytes=read,
        written_bytes=written,
        pids=int((document.get("pids_stats") or {}).get("current") or 0),
    )


def stats(session: Session, args: Arguments) -> Table | Watch:
    """Figures now, or a view that goes on."""
    if args.on("no-stream"):
        return snapshot(session, running(session, args.words, every=args.on("all")), args)
    length = args.text("for")
    return Watch(
        names=running(session, args.words, every=args.on("all")),
        duration_s=parse_duration(length) / SECOND_NS if length else None,
    )


def running(session: Session, names: tuple[str, ...], *, every: bool = False) -> tuple[str, ...]:
    """The containers asked for; all running ones when none was named."""
    if names:
        for name in names:
            with translated(session.host.url):
                session.api.inspect_container(name)
        return names
    with translated(session.host.url):
        documents = session.api.containers(all=every)
    return tuple(str(document["Names"][0]).lstrip("/") for document in documents)


def snapshot(session: Session, names: tuple[str, ...], args: Arguments) -> Table:
    """One sample of each; the host measures for a second, so they are asked side by side."""

    def ask(name: str) -> Sample | None:
        try:
            with translated(session.host.url):
                return sample(session.api.stats(name, stream=False))
        except NotFound:
            return None  # it ended between the list and the question

    with ThreadPoolExecutor(min(_MAX_AT_ONCE, max(1, len(names)))) as pool:
        found = [item for item in pool.map(ask, names) if item is not None]
    return table(tuple(found), args.text("format"), untruncated=args.on("no-trunc"))


def table(samples: tuple[Sample, ...], template: str = "", *, untruncated: bool = False) -> Table:
    """Samples as docker's table and as typed columns."""
    return Table(
        noun="stats",
        columns=STATS,
        rows=tuple(_row(item) for item in samples),
        taken_ns=time.time_ns(),
        index="name",
        template=template,
        untruncated=untruncated,
    )


def watch(session: Session, name: str) -> Iterator[Sample]:
    """One sample a second, until the container ends. Close it from anywhere to end it."""
    messages = session.streams.documents("get", "/containers/{0}/stats", name)
    with contextlib.suppress(DockerlabError):  # a host that goes away ends the view, no more
        for document in messages:
            found = sample(document)
            if not found.time_ns:
                return  # Go's zero time: it no longer runs
            yield found


def _cpu_percent(document: Mapping[str, Any]) -> float:
    now, before = document.get("cpu_stats") or {}, document.get("precpu_stats") or {}
    usage = now.get("cpu_usage") or {}
    spent = usage.get("total_usage", 0) - (before.get("cpu_usage") or {}).get("total_usage", 0)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus") or len(usage.get("percpu_usage") or ()) or 1
    if spent <= 0 or passed <= 0 or not before.get("system_cpu_usage"):
        return 0.0
    return float(spent / passed * cpus * 100)


def _row(item: Sample) -> tuple[Cell, ...]:
    return (
        item.identifier,
        item.name,
        item.cpu_percent,
        f"{human_memory(item.memory_bytes)} / {human_memory(item.memory_limit_bytes)}",
        item.memory_bytes,
        item.memory_limit_bytes,
        item.memory_percent,
        f"{size(item.received_bytes)} / {size(item.sent_bytes)}",
        item.received_bytes,
        item.sent_bytes,
        f"{size(item.read_bytes)} / {size(item.written_bytes)}",
        item.read_bytes,
        item.written_bytes,
        item.pids,
        item.time_ns,
    )


VERBS = (
    Verb(
        words=("stats",),
        act=stats,
        help="Display a live stream of container(s) resource usage statistics",
        usage="[OPTIONS] [CONTAINER...]",
        flags=(
            switch("all", "a", "Show all containers (default shows just running)"),
            text("for", help="Watch for this long, then stop (30s)", metavar="duration"),
            text("format", help="Format output using a template: table, json, or a Go template"),
            switch("no-stream", help="Disable streaming stats and only pull the first result"),
            switch("no-trunc", help="Do not truncate output"),
        ),
        takes="container",
        aliases=(("container", "stats"),),
    ),
)
