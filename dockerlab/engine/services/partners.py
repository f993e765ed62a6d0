"""Other containers that one container names: whose namespaces it joins, to which it is linked.

Knows:   Docker's `container:X` modes and `--link`: the variables, the names, the refusals.
Refuses: to look containers up by itself (`find` comes in), files, the kernel.
Source:  moby daemon/{links,container_operations_unix}.go; links/links.go; docs "Legacy links".
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dockerlab.engine.model.container import Container
from dockerlab.errors import Failed, InvalidRequest, NotFound
from dockerlab.wire.documents import EndpointSettings, HostConfig
from dockerlab.wire.ports import exposed_range

Find = Callable[[str], Container]

CONTAINER = "container:"
# Docker passes on all of a linked container's variables but these two.
_NOT_PASSED_ON = frozenset({"HOME", "PATH"})
_NO_LINKS = (
    "conflicting options: {} can't be used with links. This would result in undefined behavior"
)
# On networks of the user's own a link is another name for the resolver, nothing more.
_LINKED_BY_VARIABLES = frozenset({"", "default", "bridge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One `--link` at the moment of a start."""

    partner: Container
    alias: str
    address: str


def resolved(host: HostConfig, find: Find) -> HostConfig:
    """Write full ids for the names of other containers, so that a renaming breaks nothing.

    Raises:
        InvalidRequest: there is no such container, or it shares nothing.
    """
    changes: dict[str, object] = {}
    for field in ("ipc_mode", "pid_mode"):
        mode = getattr(host, field)
        if mode.startswith(CONTAINER):
            partner = _existing(mode.removeprefix(CONTAINER), find)
            changes[field] = CONTAINER + partner.id
            if field == "ipc_mode":
                check_shares_memory(partner)
    if host.network_mode.startswith(CONTAINER):
        try:
            partner = find(host.network_mode.removeprefix(CONTAINER))
            changes["network_mode"] = CONTAINER + partner.id
        except NotFound:
            pass  # Docker complains about this one at the start only
    for text in host.volumes_from:
        _existing(text.partition(":")[0], find)
    if host.links:
        changes["links"] = tuple(_resolved_link(text, host, find) for text in host.links)
    return msgspec.structs.replace(host, **changes)


def check_shares_memory(partner: Container) -> None:
    """Refuse the IPC namespace of a container that keeps it for itself.

    Raises:
        InvalidRequest: in Docker's words.
    """
    if partner.host.ipc_mode in {"private", "none"}:
        raise InvalidRequest(
            f"can't join IPC of container {partner.id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )


def linked(container: Container, find: Find, address: Callable[[Container], str]) -> list[Link]:
    """Say to whom a container is linked right now.

    Raises:
        Failed: one of them does not run.
    """
    found: list[Link] = []
    if container.host.network_mode not in _LINKED_BY_VARIABLES:
        return found
    for text in container.host.links:
        name, alias = _parts(text)
        partner = find(name)
        if not partner.state.pid:
            raise Failed(
                f"Cannot link to a non running container: /{partner.name} "
                f"AS /{container.name}/{alias}",
                hint=f"docker start {partner.name}",
            )
        found.append(Link(partner=partner, alias=alias, address=address(partner)))
    return found


def bridge_address(places: Mapping[str, EndpointSettings]) -> str:
    """Where a container is on the default bridge, "" where it is not."""
    place = places.get("bridge")
    return place.ip_address if place else ""


def shown(container: Container, find: Find) -> tuple[str, ...]:
    """Spell the links of a container as inspect does."""
    texts = []
    for text in container.host.links:
        name, alias = _parts(text)
        try:
            texts.append(f"/{find(name).name}:/{container.name}/{alias}")
        except NotFound:
            continue  # Docker drops the link with its container
    return tuple(texts)


def variables(container: Container, links: Iterable[Link]) -> tuple[str, ...]:
    """The environment a container gets from its links, in Docker's order."""
    return tuple(line for link in links for line in _variables(container.name, link))


def host_entries(links: Iterable[Link]) -> Sequence[str]:
    """The links as `--add-host` would write them."""
    entries = []
    for link in links:
        words = [link.alias, link.partner.config.hostname, link.partner.name]
        entries.append(f"{' '.join(dict.fromkeys(words))}={link.address}")
    return entries


def _variables(own_name: str, link: Link) -> list[str]:
    prefix = link.alias.upper().replace("-", "_")
    ports = sorted(
        (first, protocol != "tcp", protocol)
        for first, _, protocol in map(exposed_range, link.partner.config.exposed_ports)
    )
    lines = []
    if ports:
        number, _, protocol = ports[0]
        lines.append(f"{prefix}_PORT={protocol}://{link.address}:{number}")
    for number, _, protocol in ports:
        one = f"{prefix}_PORT_{number}_{protocol.upper()}"
        lines += [
            f"{one}={protocol}://{link.address}:{number}",
            f"{one}_ADDR={link.address}",
            f"{one}_PORT={number}",
            f"{one}_PROTO={protocol}",
        ]
    lines.append(f"{prefix}_NAME=/{own_name}/{link.alias}")
    for entry in link.partner.config.env:
        key, assigned, value = entry.partition("=")
        if assigned and key not in _NOT_PASSED_ON:
            lines.append(f"{prefix}_ENV_{key}={value}")
    return lines


def _resolved_link(text: str, host: HostConfig, find: Find) -> str:
    mode = host.network_mode
    if mode == "host" or mode.startswith(CONTAINER):
        kind = "host type networking" if mode == "host" else "container type network"
        raise InvalidRequest(_NO_LINKS.format(kind))
    name, alias = _parts(text)
    try:
        partner = find(name)
    except NotFound as error:
        raise InvalidRequest(
            f"could not get container for {name}: {error.message}", hint=error.hint
        ) from None
    if partner.host.network_mode == "host":
        raise InvalidRequest(_NO_LINKS.format("host type networking"))
    return f"{partner.id}:{alias}"


def _parts(text: str) -> tuple[str, str]:
    """Read "NAME", "NAME:ALIAS", or inspect's "/NAME:/OWN/ALIAS"."""
    name, _, alias = text.partition(":")
    bare = name.removeprefix("/")
    if not bare:
        raise InvalidRequest(f"bad format for links: {text}")
    return bare, posixpath.basename(alias) or bare


def _existing(name: str, find: Find) -> Container:
    try:
        return find(name)
    except NotFound as error:
        # 404 would make the CLI pull the image.
        raise InvalidRequest(error.message, hint=error.hint) from None
