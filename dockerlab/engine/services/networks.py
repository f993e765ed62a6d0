"""Networks and who is on them: make, list, remove; give containers addresses and ports.

Knows:   the rows of networks and endpoints, whose turn an address is, Docker's refusals.
Refuses: the kernel (`wiring.py`), requests (`network_requests.py`), host ports (`ports.py`).
         There is no embedded DNS server yet, see `network_files.py`.
Source:  moby daemon/network.go, daemon/container_operations.go, libnetwork/endpoint.go.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import (
    BRIDGE_DEFAULT,
    BRIDGE_HOST_IP,
    BRIDGE_ICC,
    BRIDGE_MASQUERADE,
    BRIDGE_NAME,
    DRIVER_MTU,
    Endpoint,
    Network,
    Subnet,
)
from dockerlab.engine.net import addresses, plan
from dockerlab.engine.net.netlink import LOOPBACK_UP
from dockerlab.engine.services import network_files, network_requests, ports
from dockerlab.engine.services.endpoints import Owner, Turns, filled
from dockerlab.engine.services.network_requests import Facts
from dockerlab.engine.services.wiring import Wiring
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.records import Table
from dockerlab.errors import Conflict, Forbidden, InvalidRequest, NotFound
from dockerlab.wire.documents import EndpointSettings, NetworkCreate, PortBinding
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import parse_moment

_LIST_FILTERS = {"dangling", "driver", "id", "label", "name", "scope", "type"}
_PRUNE_FILTERS = {"until", "label", "label!"}


class Events(Protocol):
    """The part of the events service that this needs."""

    def emit(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Announce something."""


class Networks:
    """All networks of this engine. `start` first; `close` leaves containers connected."""

    def __init__(
        self,
        db: Database,
        events: Events,
        *,
        bridge: str = "docker0",
        subnet: str = "",
        table: str = "dockerlab",
    ) -> None:
        """Take the settings by which several engines live side by side on one machine.

        Args:
            db: keeps the rows.
            events: hears of everything.
            bridge: name of the default network's link.
            subnet: the default network's, "" for the first free pool.
            table: name of the nftables table.
        """
        self._rows = Table(db, "networks", Network)
        self._places = Table(db, "endpoints", Endpoint)
        self._events = events
        self._bridge, self._subnet = bridge, subnet
        self._ports = ports.Ports(self._places.values())
        # Allocated and not wired: nothing to heal, so no row yet and no wait for its commit.
        self._promised: dict[str, Endpoint] = {}
        self._turns = Turns()
        self._pruning = asyncio.Lock()
        self._making = asyncio.Lock()
        self.wiring = Wiring(table)

    async def start(self) -> None:
        """Bring up bridge, host and none, and heal what a kill or a flush left."""
        await self.open()
        await self.heal()

    async def heal(self) -> None:
        """Bring the kernel's side to what the rows say; who needs a bridge waits for this."""
        await self.wiring.start(self._rows.values, self._places.values)

    async def open(self) -> None:
        """Have the rows of bridge, host and none."""
        for name, driver in (("host", "host"), ("none", "null")):
            if self._named(name) is None:
                await self._rows.put(*_predefined(name, driver))
        await self._ready_default()

    async def close(self) -> None:
        """Let go of the kernel's side without changing it."""
        await self.wiring.close()

    async def clean(self) -> None:
        """Remove every bridge, cable and rule of this engine; for `engine stop --clean`."""
        await self.wiring.clean(self._rows.values())

    def resolve(self, name: str) -> Network:
        """Find a network by full id, name, or a unique start of its id.

        Raises:
            NotFound: there is none. InvalidRequest: several ids start so.
        """
        found = self._rows.get(name) or self._named("bridge" if name == "default" else name)
        if found is not None:
            return found
        matches = [one for one in self._rows.values() if name and one.id.startswith(name)]
        if len(matches) > 1:
            raise InvalidRequest(
                f"network {name} is ambiguous ({len(matches)} matches found on name)",
                hint="Give more digits.",
            )
        if not matches:
            raise NotFound(f"network {name} not found", hint="docker network ls lists all.")
        return matches[0]

    async def create(self, request: NetworkCreate) -> Network:
        """Make a network and its bridge.

        Raises:
            InvalidRequest, Forbidden, Conflict, NotFound, Unsupported: in Docker's words.
        """
        async with self._making:
            network = network_requests.decide(request, await self._facts())
            await self.wiring.add(network)
            try:
                await self._rows.put(network.id, network)
            except BaseException:
                await self.wiring.remove(network)
                raise
        self._emit(network, "create")
        return network

    async def remove(self, name: str) -> None:
        """Remove a network that nobody uses.

        Raises:
            Forbidden: it is a predefined one, or containers run on it. NotFound.
        """
        network = self.resolve(name)
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        users = self.endpoints_on(network)
        if users:
            who = " ".join(f'name:"{one.owner_name}" id:"{one.id[:12]}"' for one in users)
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints "
                f"({who})",
                hint=f"docker network disconnect {network.name} {users[0].owner_name}",
            )
        await self._drop(network)

    def listed(self, filters: Filters) -> list[Network]:
        """List networks in the order they were made."""
        filters.check(_LIST_FILTERS)
        kinds = set(filters.get("type"))
        if kinds - {"custom", "builtin"}:
            raise InvalidRequest(f"invalid filter: 'type'='{min(kinds)}'")
        dangling = filters.flag("dangling") if "dangling" in filters else None
        return [
            one
            for one in self._rows.values()
            if filters.exact("driver", one.driver)
            and filters.prefix("id", one.id)
            and filters.pattern("name", one.name)
            and filters.exact("scope", "local")
            and filters.labels(one.labels)
            and (not kinds or ("builtin" if one.predefined else "custom") in kinds)
            and (dangling is None or dangling == self._dangles(one))
        ]

    async def prune(self, filters: Filters) -> list[str]:
        """Remove user networks that nobody uses; return their names.

        Raises:
            Conflict: another prune is under way.
        """
        filters.check(_PRUNE_FILTERS)
        until = filters.one("until")
        before_ns = parse_moment(until, time.time_ns()) if until else None
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            gone = []
            for one in self._rows.values():
                fits = filters.labels(one.labels) and filters.labels(one.labels, "label!")
                young = before_ns is not None and one.created_ns > before_ns
                if fits and not young and self._dangles(one):
                    await self._drop(one)
                    gone.append(one.name)
            self._events.emit("network", "prune", "", {"reclaimed": "0"})
            return gone

    async def allocate(
        self, owner: Owner, name: str, settings: EndpointSettings | None = None
    ) -> Endpoint:
        """Give an owner a place in a network: address, MAC, names. The kernel sees nothing yet.

        Raises:
            NotFound, InvalidRequest, Forbidden, Unavailable, Unsupported: in Docker's words.
        """
        network = self.resolve(name)
        await self.wiring.check()
        present = self.endpoints_of(owner.id)
        if any(one.network_id == network.id for one in present):
            raise Forbidden(
                f"endpoint with name {owner.name} already exists in network {network.name}"
            )
        endpoint = self._turns.place(
            owner, network, settings or EndpointSettings(), present, self.endpoints_on(network)
        )
        self._promised[endpoint.id] = endpoint
        return endpoint

    async def wire(self, endpoint: Endpoint, netns: int) -> bytes:
        """Lay the endpoint's cable into a namespace; return what init shall replay inside."""
        network = self._rows.get(endpoint.network_id)
        if network is None:
            raise NotFound(f"network {endpoint.network_name} not found")
        leads = plan.carries_default_route(endpoint, self.endpoints_of(endpoint.owner))
        # Together: the row costs a commit, the cable a wait for the kernel's network lock.
        batch, _ = await asyncio.gather(
            self.wiring.plug(network, endpoint, netns, default_route=leads),
            self._change(endpoint.id, wired=True),
        )
        self._emit(network, "connect", container=endpoint.owner)
        return batch

    async def wire_process(self, owner_id: str, pid: int) -> list[bytes]:
        """Lay every cable of an owner into its process's namespace; see `wire`."""
        endpoints = self.endpoints_of(owner_id)
        if not endpoints:
            return []
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return [await self.wire(endpoint, netns) for endpoint in endpoints]
        finally:
            os.close(netns)

    def loopback(self) -> bytes:
        """Return what init shall replay in a namespace that nobody wires (`none`)."""
        return LOOPBACK_UP

    async def publish(
        self, container: Container, forker: ports.Forker, owner: object = None
    ) -> None:
        """Publish a container's ports at its endpoint that leads outside.

        Args:
            container: with its port bindings.
            forker: the launcher.
            owner: the process whose shim keeps the port helper alive.

        Raises:
            Failed: a port is taken, in Docker's words; nothing is published then.
        """
        present = self.endpoints_of(container.id)
        leading = [one for one in present if plan.carries_default_route(one, present)]
        if not leading:
            return
        endpoint, host = leading[0], container.host
        wanted = ports.wishes(
            host.port_bindings,
            container.config.exposed_ports or (),
            publish_all=host.publish_all_ports,
            host_ip=self.resolve(endpoint.network_id).host_ip,
            ipv6=ports.host_has_ipv6(),
        )
        if not wanted:
            return
        published = await self._ports.publish(endpoint, wanted, forker, owner)
        endpoint = await self._change(endpoint.id, published=published)
        await self.wiring.publish(plan.forwards_of(endpoint))

    async def unwire(self, endpoint: Endpoint) -> None:
        """Free an endpoint's address, rules and ports; twice is fine."""
        if self._promised.pop(endpoint.id, None) is not None:
            return
        present = self._places.get(endpoint.id)
        if present is None:
            return
        self._ports.release(endpoint.id)
        await self._places.delete(endpoint.id)
        await self.wiring.unpublish(plan.forwards_of(present))
        if present.wired:
            self.wiring.unplug(present)
            network = self._rows.get(present.network_id)
            if network is not None:
                self._emit(network, "disconnect", container=present.owner)

    async def release(self, owner_id: str) -> None:
        """Free all places of an owner; twice is fine."""
        for endpoint in self.endpoints_of(owner_id):
            await self.unwire(endpoint)

    async def release_others(self, owner_ids: Collection[str]) -> None:
        """Free all places of owners that an engine's death left behind."""
        for endpoint in self._places.values():
            if endpoint.owner not in owner_ids:
                await self.unwire(endpoint)

    async def rename(self, owner_id: str, name: str) -> None:
        """Let a running owner be known by another name."""
        for one in self.endpoints_of(owner_id):
            names = tuple(name if word == one.owner_name else word for word in one.dns_names)
            await self._change(one.id, owner_name=name, dns_names=names)

    def endpoints_of(self, owner_id: str) -> Sequence[Endpoint]:
        """List an owner's places, in the order of connection."""
        return [one for one in self._everybody() if one.owner == owner_id]

    def endpoints_on(self, network: Network) -> Sequence[Endpoint]:
        """List who is on a network right now."""
        return [one for one in self._everybody() if one.network_id == network.id]

    def places_of(self, container: Container) -> Mapping[str, EndpointSettings]:
        """Say, by network name, what a container asked of each network and what it has there."""
        present = {one.network_id: one for one in self.endpoints_of(container.id)}
        found: dict[str, EndpointSettings] = {}
        for name, asked in container.networks.items():
            try:
                network = self.resolve(name)
            except NotFound:
                found[name] = asked
                continue
            settings = msgspec.structs.replace(asked, network_id=network.id)
            endpoint = present.get(network.id)
            found[network.name] = settings if endpoint is None else filled(settings, endpoint)
        return found

    def ports_of(self, container: Container) -> Mapping[str, Sequence[PortBinding] | None]:
        """Say where each port of a running container is published; None when only exposed."""
        endpoints = self.endpoints_of(container.id)
        if not endpoints:
            return {}
        found: dict[str, list[PortBinding] | None] = dict.fromkeys(
            container.config.exposed_ports or ()
        )
        for one in (port for endpoint in endpoints for port in endpoint.published):
            key = f"{one.container_port}/{one.protocol}"
            bindings = found.get(key) or []
            bindings.append(PortBinding(host_ip=one.host_ip, host_port=str(one.host_port)))
            found[key] = bindings
        return found

    def files(self, container: Container, endpoints: Sequence[Endpoint]) -> Mapping[str, str]:
        """Write hosts, hostname and resolv.conf of a container; blocks, reads the host's files."""
        return network_files.files(container, endpoints, self.gateway)

    @property
    def gateway(self) -> str:
        """The host's address on the default bridge: what `host-gateway` means."""
        network = self._named("bridge")
        return network.subnets[0].gateway if network and network.subnets else "127.0.0.1"

    async def _ready_default(self) -> None:
        """Make the row of the default network, or fit it to changed settings."""
        row = self._named("bridge")
        fits = row is not None and row.bridge == self._bridge
        if fits and row is not None and (not self._subnet or row.subnets[0].cidr == self._subnet):
            return
        if row is not None and self.endpoints_on(row):
            return  # containers of an earlier engine run on it
        if row is not None:
            await self.wiring.remove(row)
        if self._subnet:
            cidr = self._subnet
            subnet = Subnet(cidr=cidr, gateway=addresses.first_address(cidr))
        else:
            subnet = network_requests.default_pool(await self._facts(but=row))
        key, fresh = _predefined("bridge", "bridge", subnet, self._bridge)
        if row is not None:
            fresh = replace(fresh, id=row.id)
            key = row.id
        await self._rows.put(key, fresh)

    async def _facts(self, but: Network | None = None) -> Facts:
        return Facts(
            id=secrets.token_hex(32),
            now_ns=time.time_ns(),
            networks=[one for one in self._rows.values() if one is not but],
            routes=await self.wiring.routes(),
        )

    async def _drop(self, network: Network) -> None:
        await self._rows.delete(network.id)
        await self.wiring.remove(network)
        self._emit(network, "destroy")

    async def _change(self, endpoint_id: str, **changes: object) -> Endpoint:
        present = self._promised.pop(endpoint_id, None) or self._places.get(endpoint_id)
        if present is None:
            raise NotFound("the endpoint has been removed meanwhile")
        changed = replace(present, **changes)  # type: ignore[arg-type]
        await self._places.put(endpoint_id, changed)
        return changed

    def _everybody(self) -> list[Endpoint]:
        return [*self._places.values(), *self._promised.values()]

    def _named(self, name: str) -> Network | None:
        return next((one for one in self._rows.values() if one.name == name), None)

    def _dangles(self, network: Network) -> bool:
        return not network.predefined and not self.endpoints_on(network)

    def _emit(self, network: Network, action: str, **extra: str) -> None:
        attributes = {**extra, "name": network.name, "type": network.driver}
        self._events.emit("network", action, network.id, attributes)


def _predefined(
    name: str, driver: str, subnet: Subnet | None = None, bridge: str = ""
) -> tuple[str, Network]:
    options = {
        BRIDGE_DEFAULT: "true",
        BRIDGE_ICC: "true",
        BRIDGE_MASQUERADE: "true",
        BRIDGE_HOST_IP: "0.0.0.0",  # noqa: S104 - as Docker shows it
        BRIDGE_NAME: bridge,
        DRIVER_MTU: "1500",
    }
    network = Network(
        id=secrets.token_hex(32),
        name=name,
        driver=driver,
        created_ns=time.time_ns(),
        subnets=(subnet,) if subnet else (),
        ipv4=driver == "bridge",
        options=options if bridge else {},
        predefined=True,
    )
    return network.id, network
