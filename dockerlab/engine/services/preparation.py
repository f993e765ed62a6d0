"""Everything around a run: files, namespaces, devices, addresses; made before, undone after.

Knows:   what a container's row means on this machine right now.
Refuses: to run anything; it gives the launcher a `Spec` and init its netlink messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import Endpoint
from dockerlab.engine.runtime.host_devices import every_device, named_devices
from dockerlab.engine.runtime.launcher import Process
from dockerlab.engine.runtime.spec import Namespaces, Spec
from dockerlab.engine.runtime.translate import Surroundings, spec_of
from dockerlab.engine.services import partners
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import Conflict, InvalidRequest

_KERNEL_IPV6 = Path("/proc/sys/net/ipv6")
_NOT_JOINED = {
    "net": "cannot join network namespace of a non running container: {0}",
    "ipc": "can't join IPC of container {0}: container {0} is not running",
    "pid": "cannot join PID namespace of a non running container: {0}",
}
_NET_OF = partners.CONTAINER


class Preparation:
    """Prepares each run of each container, and undoes it."""

    def __init__(self, rooms: Rooms, directory: Directory) -> None:
        self._rooms, self._directory = rooms, directory

    async def spec(self, container: Container) -> Spec:
        """Decide a run: addresses are taken and files written; the kernel has seen nothing yet.

        Raises:
            Conflict: a container whose namespace it shares does not run.
            InvalidRequest, Failed: an address, a device or a network that can't be had.
        """
        namespaces = self._namespaces(container)
        # What an end could not free, on a full disk.
        await self._rooms.networks.release(container.id)
        endpoints = [
            await self._rooms.networks.allocate(container, name, settings)
            for name, settings in container.networks.items()
            if name not in {"host", "none"}
        ]
        return await asyncio.to_thread(self._spec, container, namespaces, endpoints)

    async def wired(self, container: Container, process: Process) -> Sequence[bytes]:
        """Connect the namespace of a launched process; give back what init shall replay inside."""
        networks = self._rooms.networks
        batches = await networks.wire_process(container.id, process.pid)
        if batches:
            await networks.publish(container, self._rooms.launcher, process)
        elif container.host.network_mode == "none":
            batches.append(networks.loopback())
        return batches

    async def undone(self, container: Container) -> None:
        """Free what a run took: addresses, rules, links, the cgroup, the shim's folder."""
        await self._rooms.networks.release(container.id)
        await asyncio.to_thread(self._rooms.hierarchy.group(container.id).remove)

    def folder(self, container: Container) -> Path:
        """The container's own folder in the store."""
        return self._rooms.store.snapshots.path(container.id)

    def _spec(
        self, container: Container, namespaces: Namespaces, endpoints: Sequence[Endpoint]
    ) -> Spec:
        host = container.host
        folder = self.folder(container)
        links = self._links(container)
        run_dir = self._rooms.settings.run / "c" / container.id[:16]
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "exit").unlink(missing_ok=True)
        return spec_of(
            container,
            Surroundings(
                rootfs=self._rooms.store.snapshots.rootfs(container.id, volatile=host.auto_remove),
                directory=str(folder),
                run_dir=str(run_dir),
                namespaces=namespaces,
                devices=(every_device() if host.privileged else named_devices(host.devices or ())),
                files=self._files(container, folder, endpoints, links),
                shm_source=self._shared_memory(namespaces),
                shm_namespace=_mounts_beside(namespaces.ipc),
                links=partners.variables(container, links),
                ipv6=not _KERNEL_IPV6.exists() or any(one.address6 for one in endpoints),
                devices_limited="devices" in self._rooms.hierarchy.supports,
                hostname="" if host.uts_mode == "host" else container.config.hostname,
            ),
        )

    @staticmethod
    def _shared_memory(namespaces: Namespaces) -> str:
        return "" if namespaces.ipc == "private" else "/dev/shm"  # noqa: S108

    def _links(self, container: Container) -> list[partners.Link]:
        def address(partner: Container) -> str:
            return partners.bridge_address(self._rooms.networks.places_of(partner))

        return partners.linked(container, self._directory.find, address)

    def _files(
        self,
        container: Container,
        folder: Path,
        endpoints: Sequence[Endpoint],
        links: Sequence[partners.Link],
    ) -> Mapping[str, str]:
        """Write the three files of section "Files the engine writes"; another's are shared."""
        if container.host.network_mode.startswith(_NET_OF):
            folder = self.folder(self._partner(container.host.network_mode))
        else:
            texts = self._rooms.networks.files(_with_hosts(container, links), endpoints)
            for name, text in texts.items():
                (folder / name).write_text(text)
        names = ("hosts", "hostname", "resolv.conf")
        return {f"/etc/{name}": str(folder / name) for name in names}

    def _namespaces(self, container: Container) -> Namespaces:
        host = container.host
        return Namespaces(
            pid=self._namespace(host.pid_mode, "pid"),
            net="none"
            if host.network_mode == "none"
            else self._namespace(host.network_mode, "net"),
            ipc=self._namespace(host.ipc_mode, "ipc"),
            uts=self._namespace(host.uts_mode, "uts"),
            cgroup=self._namespace(host.cgroupns_mode, "cgroup"),
        )

    def _namespace(self, mode: str, kind: str) -> str:
        if mode == "host":
            return "host"
        if mode.startswith(_NET_OF):
            partner = self._partner(mode)
            if kind == "ipc":
                partners.check_shares_memory(partner)
            if not partner.state.pid:
                raise Conflict(
                    _NOT_JOINED[kind].format(partner.id), hint=f"docker start {partner.name}"
                )
            return f"/proc/{partner.state.pid}/ns/{kind}"
        return "private"

    def _partner(self, mode: str) -> Container:
        name = mode.removeprefix(_NET_OF)
        if not name:
            raise InvalidRequest(f"invalid container format {mode}")
        return self._directory.find(name)


def _with_hosts(container: Container, links: Sequence[partners.Link]) -> Container:
    """The container as if its links were written with `--add-host`."""
    if not links:
        return container
    extra = (*container.host.extra_hosts, *partners.host_entries(links))
    return replace(container, host=msgspec.structs.replace(container.host, extra_hosts=extra))


def _mounts_beside(ipc: str) -> str:
    """The mount namespace of the container whose IPC namespace is joined."""
    return ipc.removesuffix("ipc") + "mnt" if ipc.startswith("/") else ""
