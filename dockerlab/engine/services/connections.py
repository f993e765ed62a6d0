"""Connect containers to networks and disconnect them, running or not.

Knows:   what may be connected to what, and how a running container gets another interface.
Refuses: addresses and kernel (`networks.py`); what a network is.
Source:  moby daemon/container_operations.go (ConnectToNetwork, DisconnectFromNetwork).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import Endpoint, Network
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.endpoints import check_settings
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import Failed, Forbidden, InvalidRequest, NotFound
from dockerlab.wire.documents import EndpointSettings

REPLAY = "replay"


class Connections:
    """Changes which networks a container is on."""

    def __init__(self, rooms: Rooms, directory: Directory) -> None:
        self._rooms, self._directory = rooms, directory

    async def connect(
        self, network: str, container: str, settings: EndpointSettings | None
    ) -> None:
        """Put a container on a network: at once when it runs, else from its next start on.

        Raises:
            Forbidden: it is there already. InvalidRequest: it can't be there.
        """
        target = self._rooms.networks.resolve(network)
        found = self._directory.find(container)
        async with self._directory.live(found.id).lock:
            row = self._directory.get(found.id)
            asked = settings or EndpointSettings()
            self._check(row, target, asked)
            changed = replace(row, networks={**row.networks, target.name: asked})
            if row.state.pid:
                await self._plug(changed, target, asked)
            await self._rooms.containers.put(row.id, changed)

    async def disconnect(self, network: str, container: str, *, force: bool) -> None:
        """Take a container off a network.

        Args:
            network: which; with `force` it may be gone already.
            container: which; with `force` it may be gone already.
            force: also clear what a container that is gone left on the network.

        Raises:
            Forbidden: it is not there.
        """
        target = self._rooms.networks.resolve(network)
        try:
            found = self._directory.find(container)
        except NotFound:
            stale = self._stale(target, container)
            if not force or not stale:
                raise
            for endpoint in stale:
                await self._rooms.networks.unwire(endpoint)
            return
        async with self._directory.live(found.id).lock:
            row = self._directory.get(found.id)
            names = [name for name in row.networks if self._means(name, target)]
            if not names:
                raise Forbidden(f"container {row.id} is not connected to the network {target.name}")
            for endpoint in self._rooms.networks.endpoints_of(row.id):
                if endpoint.network_id == target.id:
                    await self._rooms.networks.unwire(endpoint)
            rest = {name: one for name, one in row.networks.items() if name not in names}
            changed = replace(row, networks=rest)
            await self._rooms.containers.put(row.id, changed)
            if row.state.pid:
                await self._rewrite_hosts(changed)

    def _check(self, row: Container, target: Network, asked: EndpointSettings) -> None:
        mode = row.host.network_mode
        if mode.startswith("container:"):
            raise InvalidRequest(
                "container sharing network namespace with another container or host cannot be "
                "connected to any other network"
            )
        if mode == "host" or target.driver == "host":
            raise InvalidRequest(
                "cannot connect container to host network - container must be created in host "
                "network mode"
                if target.driver == "host"
                else "container sharing network namespace with another container or host cannot "
                "be connected to any other network"
            )
        if target.driver == "null" or "none" in row.networks:
            raise InvalidRequest(
                "container cannot be connected to multiple networks with one of the networks in "
                "private (none) mode"
            )
        if any(self._means(name, target) for name in row.networks):
            raise Forbidden(
                f"endpoint with name {row.name} already exists in network {target.name}"
            )
        check_settings(target, asked)

    async def _plug(self, row: Container, target: Network, asked: EndpointSettings) -> None:
        networks = self._rooms.networks
        endpoint = await networks.allocate(row, target.name, asked)
        try:
            path = f"/proc/{row.state.pid}/ns/net"
            netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                batch = await networks.wire(endpoint, netns)
            finally:
                os.close(netns)
            await self._replay(path, batch, endpoint.interface if endpoint.address6 else "")
        except BaseException:
            await networks.unwire(endpoint)
            raise
        await self._rewrite_hosts(row)

    async def _replay(self, path: str, batch: bytes, ipv6_link: str) -> None:
        request = {"netns": path, "messages": batch.hex(), "ipv6_link": ipv6_link}
        helper = await self._rooms.launcher.fork_ports(request, name=REPLAY)
        helper.close()
        if not helper.answer.get("ok"):
            why = helper.answer.get("error")
            raise Failed(f"failed to set up container networking: {why}")

    async def _rewrite_hosts(self, row: Container) -> None:
        """Give /etc/hosts the present addresses; the same file, as it is mounted in there."""
        networks = self._rooms.networks
        text = networks.files(row, networks.endpoints_of(row.id))["hosts"]
        path = self._rooms.store.snapshots.path(row.id) / "hosts"
        with suppress(FileNotFoundError):
            await asyncio.to_thread(path.write_text, text)

    def _stale(self, target: Network, name: str) -> list[Endpoint]:
        bare = name.removeprefix("/")
        return [
            one
            for one in self._rooms.networks.endpoints_on(target)
            if bare in {one.owner, one.owner_name} or one.owner.startswith(bare)
        ]

    def _means(self, name: str, target: Network) -> bool:
        with suppress(NotFound, InvalidRequest):
            return self._rooms.networks.resolve(name).id == target.id
        return False
