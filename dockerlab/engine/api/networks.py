"""The routes of networks: list, inspect, create, connect, disconnect, remove, prune.

Knows:   Docker's documents for networks, and which fields came with which version.
Refuses: decisions; the service answers in its own values.
Source:  API v1.50, "Network"; moby daemon/server/router/network/network_routes.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dockerlab.engine.api.reply import Empty, Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.network import Endpoint, Network, Subnet
from dockerlab.wire.documents import (
    EndpointSettings,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
)
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import rfc3339


class Networks(Protocol):
    """What these routes need of networks."""

    def resolve(self, name: str) -> Network: ...
    def listed(self, filters: Filters) -> list[Network]: ...
    def endpoints_on(self, network: Network) -> Sequence[Endpoint]: ...
    async def create(self, request: NetworkCreate) -> Network: ...
    async def remove(self, name: str) -> None: ...
    async def prune(self, filters: Filters) -> list[str]: ...


class Connections(Protocol):
    """What these routes need to change a container's networks."""

    async def connect(
        self, network: str, container: str, settings: EndpointSettings | None
    ) -> None: ...
    async def disconnect(self, network: str, container: str, *, force: bool) -> None: ...


def routes(networks: Networks, connections: Connections) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(networks, connections)
    return [
        Route("GET", "/networks", handlers.list),
        Route("GET", "/networks/", handlers.list),
        Route("POST", "/networks/create", handlers.create),
        Route("POST", "/networks/prune", handlers.prune),
        Route("POST", "/networks/{name}/connect", handlers.connect),
        Route("POST", "/networks/{name}/disconnect", handlers.disconnect),
        Route("GET", "/networks/{name}", handlers.inspect),
        Route("DELETE", "/networks/{name}", handlers.remove),
    ]


class _Handlers:
    def __init__(self, networks: Networks, connections: Connections) -> None:
        self._networks, self._connections = networks, connections

    async def list(self, request: Request) -> Reply:
        found = self._networks.listed(request.query.filters())
        return Json([document(one, (), request.version) for one in found])

    async def inspect(self, request: Request) -> Reply:
        network = self._networks.resolve(request.params["name"])
        endpoints = self._networks.endpoints_on(network)
        return Json(document(network, endpoints, request.version))

    async def create(self, request: Request) -> Reply:
        network = await self._networks.create(await request.json(NetworkCreate, required=True))
        return Json({"Id": network.id, "Warning": ""}, status=201)

    async def connect(self, request: Request) -> Reply:
        asked = await request.json(NetworkConnect, required=True)
        await self._connections.connect(
            request.params["name"], asked.container, asked.endpoint_config
        )
        return Empty(200)

    async def disconnect(self, request: Request) -> Reply:
        asked = await request.json(NetworkDisconnect, required=True)
        await self._connections.disconnect(
            request.params["name"], asked.container, force=asked.force
        )
        return Empty(200)

    async def remove(self, request: Request) -> Reply:
        await self._networks.remove(request.params["name"])
        return Empty(204)

    async def prune(self, request: Request) -> Reply:
        return Json({"NetworksDeleted": await self._networks.prune(request.query.filters())})


def document(
    network: Network, endpoints: Sequence[Endpoint], version: tuple[int, int]
) -> dict[str, Any]:
    """Draw a network with those who run on it."""
    drawn: dict[str, Any] = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_ns),
        "Scope": "local",
        "Driver": network.driver,
    }
    if version >= (1, 47):
        drawn["EnableIPv4"] = network.ipv4
    return drawn | {
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": dict(network.ipam_options) or None,
            "Config": [_pool(one) for one in network.subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {one.owner: _member(one) for one in endpoints},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _pool(subnet: Subnet) -> dict[str, Any]:
    drawn: dict[str, Any] = {"Subnet": subnet.cidr}
    if subnet.ip_range:
        drawn["IPRange"] = subnet.ip_range
    if subnet.gateway:
        drawn["Gateway"] = subnet.gateway
    if subnet.reserved:
        drawn["AuxiliaryAddresses"] = dict(subnet.reserved)
    return drawn


def _member(endpoint: Endpoint) -> dict[str, str]:
    return {
        "Name": endpoint.owner_name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": endpoint.address,
        "IPv6Address": endpoint.address6,
    }
