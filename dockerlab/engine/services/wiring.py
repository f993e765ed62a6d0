"""Keep the kernel's bridges, cables and rules as the rows say; the engine's only way to them.

Knows:   which machine can't do what, healing after a kill or a flush, the one thread for netlink.
Refuses: rows and Docker's words for networks (`networks.py`); the messages (`net/`).
         An nftables table is the only form of rules so far: without nftables in the kernel there
         are no bridge networks here (`none` and `host` work), iptables as a fallback comes later.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dockerlab.engine.model.network import Endpoint, Network
from dockerlab.engine.net import plan
from dockerlab.engine.net.addresses import AnyNetwork
from dockerlab.engine.net.routes import routes
from dockerlab.errors import DockerlabError, Failed, Unsupported

if TYPE_CHECKING:
    from dockerlab.engine.net.links import Links
    from dockerlab.engine.net.rules import Rules

_log = logging.getLogger(__name__)
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_NOT_HERE = {
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.EPROTONOSUPPORT,
    errno.EAFNOSUPPORT,
    errno.ENOSYS,
    errno.ENOENT,
}

T = TypeVar("T")


class Wiring:
    """The kernel's side of all networks of one engine. Ends with `close`."""

    def __init__(self, table: str) -> None:
        self._table = table
        # One thread: a netlink socket is not shared. A second one for removals, which wait long
        # for the kernel while it clears dying namespaces, and for which nobody waits.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="netlink removals")
        self._links: Links | None = None
        self._rules: Rules | None = None
        self._removals: Links | None = None
        self._networks: Callable[[], Sequence[Network]] = tuple
        self._endpoints: Callable[[], Sequence[Endpoint]] = tuple
        self.problem: DockerlabError | None = None
        self._healed = asyncio.Event()

    async def start(
        self,
        networks: Callable[[], Sequence[Network]],
        endpoints: Callable[[], Sequence[Endpoint]],
    ) -> None:
        """Bring bridges, plugs and table to what the rows say, whatever happened to them.

        A machine that can't have them is no error here: `check` says so to who needs them.
        """
        self._networks, self._endpoints = networks, endpoints
        try:
            await self._run(self._heal)
        except OSError as error:
            self.problem = _problem(error)
        finally:
            self._healed.set()

    async def check(self) -> None:
        """Refuse bridge networks where the machine has none.

        Raises:
            Unsupported: with what would lift it.
        """
        await self._healed.wait()
        if self.problem is not None:
            raise self.problem

    async def routes(self) -> list[AnyNetwork]:
        """List the destinations this machine knows; none where it can't be asked."""
        try:
            return await self._run(routes)
        except OSError:
            return []

    async def add(self, network: Network) -> None:
        """Make a network's bridge and let the rules know it."""
        await self.check()
        await self._tell(network.name, self._add, network)

    async def remove(self, network: Network) -> None:
        """Remove a network's bridge and what the rules know of it."""
        if self.problem is None:
            await self._tell(network.name, self._remove, network)

    async def plug(
        self, network: Network, endpoint: Endpoint, netns: int, *, default_route: bool
    ) -> bytes:
        """Lay an endpoint's cable into a namespace; return what must be replayed inside.

        Raises:
            Failed: the kernel refused. Unsupported: no bridges here.
        """
        await self.check()
        return await self._tell(
            endpoint.interface, self._plug, network, endpoint, netns, default_route
        )

    def unplug(self, endpoint: Endpoint) -> None:
        """Remove an endpoint's cable, soon; it would go with the namespace's last process too."""
        if self.problem is None:
            self._sweeper.submit(self._sweep, endpoint.link)

    async def publish(self, forwards: Sequence[plan.Forward]) -> None:
        """Let packets from outside through to published ports."""
        if forwards:
            await self._tell("published ports", self._publish, forwards)

    async def unpublish(self, forwards: Sequence[plan.Forward]) -> None:
        """Stop letting them through."""
        if forwards and self.problem is None:
            with suppress(Failed):
                await self._tell(
                    "published ports", lambda: self._open_rules().remove_forwards(forwards)
                )

    async def clean(self, networks: Iterable[Network]) -> None:
        """Remove every link and rule that is ours."""
        await self.settled()
        if self.problem is None:
            await self._tell(
                "networks", self._clean, [one.bridge for one in networks if one.bridge]
            )

    async def settled(self) -> None:
        """Wait until all removals asked for have happened."""
        await asyncio.wrap_future(self._sweeper.submit(lambda: None))

    async def close(self) -> None:
        """End the threads; links and rules stay, as containers go on."""
        await self.settled()
        await asyncio.to_thread(self._worker.shutdown)
        await asyncio.to_thread(self._sweeper.shutdown)
        for one in (self._links, self._rules, self._removals):
            if one is not None:
                one.close()

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    async def _tell(self, subject: str, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await self._run(work, *arguments)
        except OSError as error:
            raise Failed(
                f"failed to set up container networking: {subject}: {error.strerror}",
                hint="dockerlab doctor says what this machine's kernel can do.",
            ) from error

    def _open_links(self) -> Links:
        if self._links is None:
            # Here and not above: pyroute2 takes 0.2 s, which nobody shall wait for at start.
            from dockerlab.engine.net.links import Links  # noqa: PLC0415

            self._links = Links()
        return self._links

    def _open_rules(self) -> Rules:
        if self._rules is None:
            from dockerlab.engine.net.rules import Rules  # noqa: PLC0415 - as above

            self._rules = Rules(self._table)
        return self._rules

    def _heal(self) -> None:
        for network in self._networks():
            if network.bridge:
                self._mend(network)
        self._open_rules().replace(self._wanted())
        self._forward()

    def _mend(self, network: Network) -> None:
        """Make a bridge that is missing, and plug the cables in that it lost."""
        links = self._open_links()
        links.make_bridge(plan.bridge_of(network))
        for endpoint in self._endpoints():
            if endpoint.wired and endpoint.network_id == network.id:
                links.attach(endpoint.link, network.bridge)

    def _wanted(self) -> plan.Table:
        return plan.Table(
            bridges=tuple(plan.rules_of(one) for one in self._networks() if one.bridge),
            forwards=tuple(
                forward for one in self._endpoints() for forward in plan.forwards_of(one)
            ),
        )

    def _forward(self) -> None:
        """Let the kernel pass packets between links, as every router must.

        Never switched off again: another engine on this machine may rely on it by now.
        """
        try:
            if _FORWARDING.read_text().strip() == "0":
                _FORWARDING.write_text("1")
                _log.info("switched IPv4 forwarding of this machine on (net.ipv4.ip_forward)")
        except OSError as error:
            _log.warning("IPv4 forwarding stays off, containers reach nobody outside: %s", error)

    def _add(self, network: Network) -> None:
        links = self._open_links()
        links.make_bridge(plan.bridge_of(network))
        try:
            self._known(lambda rules: rules.add_bridge(plan.rules_of(network)))
        except OSError:
            links.delete(network.bridge)
            raise

    def _remove(self, network: Network) -> None:
        self._open_rules().remove_bridge(plan.rules_of(network))
        self._open_links().delete(network.bridge)

    def _plug(self, network: Network, endpoint: Endpoint, netns: int, default_route: bool) -> bytes:
        from dockerlab.engine.net.links import encode_inside  # noqa: PLC0415 - as above

        links, step = self._open_links(), plan.pair_of(network, endpoint)
        try:
            index = links.make_pair(step, netns)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            # Somebody removed the bridge behind our back.
            self._mend(network)
            index = links.make_pair(step, netns)
        return encode_inside(plan.inside_of(endpoint, default_route=default_route), index)

    def _publish(self, forwards: Sequence[plan.Forward]) -> None:
        self._known(lambda rules: rules.add_forwards(forwards))

    def _known(self, change: Callable[[Rules], None]) -> None:
        """Change the table; when somebody flushed it, make it anew first."""
        rules = self._open_rules()
        try:
            change(rules)
        except FileNotFoundError:
            rules.replace(self._wanted())
            change(rules)

    def _sweep(self, link: str) -> None:
        from dockerlab.engine.net.links import Links  # noqa: PLC0415 - as above

        if self._removals is None:
            self._removals = Links()
        try:
            self._removals.delete(link)
        except OSError as error:
            _log.warning("link %s stays: %s", link, error)

    def _clean(self, bridges: list[str]) -> None:
        links = self._open_links()
        for bridge in bridges:
            for port in links.ports(bridge):
                links.delete(port.name)
            links.delete(bridge)
        self._open_rules().clean()


def _problem(error: OSError) -> DockerlabError:
    why = f"{error.filename or 'network'}: {error.strerror}"
    if error.errno in {errno.EPERM, errno.EACCES}:
        hint = "Run the engine as root, or use --network none or --network host."
    elif error.errno in _NOT_HERE:
        hint = (
            "This kernel lacks bridges, veth or nftables (modules bridge, veth, nf_tables, "
            "nft_masq, nft_nat, nft_fib_inet); --network none and --network host work."
        )
    else:
        hint = "Another name in the engine's settings may help; --network none and host work."
    return Unsupported(f"bridge networks are not available on this machine: {why}", hint=hint)
