"""Networks: list, make, join, leave, remove.

Knows:   docker's flags for them.
Refuses: to list one by one; a list is one request.
Source:  docs.docker.com/reference/cli/docker/network.
"""

from __future__ import annotations

import time

from dockerlab.commands.failures import translated
from dockerlab.commands.filters import FILTER, read_filters
from dockerlab.commands.grammar import Arguments, Verb, many, switch, text
from dockerlab.commands.results import Column, Done, Kind, Table
from dockerlab.commands.session import Session
from dockerlab.commands.words import read_time
from dockerlab.errors import InvalidRequest

NETWORKS = (
    Column("id", Kind.ID, "NETWORK ID", "ID", help="the whole id"),
    Column("name", Kind.TEXT, "NAME", "Name"),
    Column("driver", Kind.CATEGORY, "DRIVER", "Driver"),
    Column("scope", Kind.CATEGORY, "SCOPE", "Scope", help="local or swarm"),
    Column("subnets", Kind.LIST, "", "Subnets", help="as CIDR"),
    Column("internal", Kind.FLAG, "", "Internal", help="no way out to other networks"),
    Column("created", Kind.TIME, "", "CreatedAt"),
)


def ls(session: Session, args: Arguments) -> Table:
    """List networks."""
    with translated(session.host.url):
        documents = session.api.networks(filters=read_filters(args) or None)
    return Table(
        noun="networks",
        columns=NETWORKS,
        rows=tuple(
            (
                str(document["Id"]),
                str(document["Name"]),
                str(document.get("Driver", "")),
                str(document.get("Scope", "")),
                tuple(
                    str(item.get("Subnet", ""))
                    for item in (document.get("IPAM") or {}).get("Config") or ()
                ),
                bool(document.get("Internal")),
                read_time(str(document.get("Created", ""))),
            )
            for document in sorted(documents, key=lambda item: str(item["Name"]))
        ),
        taken_ns=time.time_ns(),
        index="name",
        quiet="id",
        only_quiet=args.on("quiet"),
        untruncated=args.on("no-trunc"),
        template=args.text("format"),
    )


def create(session: Session, args: Arguments) -> Done:
    """Make a network."""
    subnets, gateways, ranges = args.all("subnet"), args.all("gateway"), args.all("ip-range")
    if (gateways or ranges) and not subnets:
        raise InvalidRequest("every ip-range or gateway must have a corresponding subnet")
    pools = [
        {
            "Subnet": subnet,
            **({"Gateway": gateways[place]} if place < len(gateways) else {}),
            **({"IPRange": ranges[place]} if place < len(ranges) else {}),
        }
        for place, subnet in enumerate(subnets)
    ]
    with translated(session.host.url):
        answer = session.api.create_network(
            args.words[0],
            driver=args.text("driver", "bridge"),
            options=dict(_pair(item) for item in args.all("opt")) or None,
            ipam={"Driver": "default", "Config": pools} if pools else None,
            internal=args.on("internal"),
            labels=dict(_pair(item) for item in args.all("label")) or None,
            enable_ipv6=args.on("ipv6"),
            attachable=True if args.on("attachable") else None,
        )
    if answer.get("Warning"):
        session.feedback.note(f"WARNING: {answer['Warning']}")
    return Done(action="network create", names=(str(answer["Id"]),), identifiers=True)


def remove(session: Session, args: Arguments) -> Done:
    for name in args.words:
        with translated(session.host.url):
            session.api.remove_network(name)
    return Done(action="network rm", names=args.words)


def connect(session: Session, args: Arguments) -> Done:
    network, container = args.words
    with translated(session.host.url):
        session.api.connect_container_to_network(
            container,
            network,
            ipv4_address=args.text("ip") or None,
            aliases=list(args.all("alias")) or None,
        )
    return Done(action="network connect", names=())


def disconnect(session: Session, args: Arguments) -> Done:
    network, container = args.words
    with translated(session.host.url):
        session.api.disconnect_container_from_network(container, network, force=args.on("force"))
    return Done(action="network disconnect", names=())


def prune(session: Session, args: Arguments) -> Done:
    with translated(session.host.url):
        answer = session.api.prune_networks(filters=read_filters(args) or None)
    return Done(action="network prune", names=tuple(answer.get("NetworksDeleted") or ()))


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


VERBS = (
    Verb(
        words=("network", "ls"),
        act=ls,
        help="List networks",
        usage="[OPTIONS]",
        flags=(
            FILTER,
            text("format", help="Format output using a template: table, json, or a Go template"),
            switch("no-trunc", help="Do not truncate the output"),
            switch("quiet", "q", "Only display network IDs"),
        ),
        most=0,
        aliases=(("network", "list"),),
    ),
    Verb(
        words=("network", "create"),
        act=create,
        help="Create a network",
        usage="[OPTIONS] NETWORK",
        flags=(
            switch("attachable", help="Enable manual container attachment"),
            text("driver", "d", "Driver to manage the Network"),
            many("gateway", help="IPv4 or IPv6 Gateway for the master subnet"),
            switch("internal", help="Restrict external access to the network"),
            many("ip-range", help="Allocate container ip from a sub-range"),
            switch("ipv6", help="Enable IPv6 networking"),
            many("label", help="Set metadata on a network"),
            many("opt", "o", "Set driver specific options"),
            many("subnet", help="Subnet in CIDR format that represents a network segment"),
        ),
        least=1,
        most=1,
    ),
    Verb(
        words=("network", "rm"),
        act=remove,
        help="Remove one or more networks",
        usage="NETWORK [NETWORK...]",
        least=1,
        takes="network",
        aliases=(("network", "remove"),),
    ),
    Verb(
        words=("network", "connect"),
        act=connect,
        help="Connect a container to a network",
        usage="[OPTIONS] NETWORK CONTAINER",
        flags=(
            many("alias", help="Add network-scoped alias for the container"),
            text("ip", help="IPv4 address (e.g., 172.30.100.104)"),
        ),
        least=2,
        most=2,
        takes="network",
    ),
    Verb(
        words=("network", "disconnect"),
        act=disconnect,
        help="Disconnect a container from a network",
        usage="[OPTIONS] NETWORK CONTAINER",
        flags=(switch("force", "f", "Force the container to disconnect from a network"),),
        least=2,
        most=2,
        takes="network",
    ),
    Verb(
        words=("network", "prune"),
        act=prune,
        help="Remove all unused networks",
        usage="[OPTIONS]",
        flags=(switch("force", "f", "Do not prompt for confirmation"), many("filter")),
        most=0,
    ),
)
