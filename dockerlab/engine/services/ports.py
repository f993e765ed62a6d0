"""Publish a container's ports: choose host ports, reserve them, have a port helper listen there.

Knows:   who holds which port of the host, ranges and random ports, Docker's refusals word for word.
Refuses: to copy bytes (`net/port_helper.py`) and to write rules (`wiring.py`).
Source:  moby daemon/libnetwork/portallocator, drivers/bridge/port_mapping_linux.go.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dockerlab.engine.model.network import Endpoint, Published
from dockerlab.errors import Failed, InvalidRequest, Unsupported
from dockerlab.wire.documents import PortBinding
from dockerlab.wire.ports import exposed_range, host_range

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_IPV6 = Path("/proc/net/if_inet6")
_DEFAULT_RANGE = (32768, 60999)
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what Docker publishes on when no address is given
_ATTEMPTS = 400
# A helper that has just lost its container may need a moment to let go of its ports.
_LINGER_S = 3.0
_RETRY_S = 0.01


class Helper(Protocol):
    """A forked port helper; `answer` is what it said about its listeners."""

    answer: dict[str, Any]


class Forker(Protocol):
    """The part of the launcher that this needs."""

    async def fork_ports(self, request: Mapping[str, Any], owner: Any = None) -> Helper:
        """Fork a helper which lives as long as the owner's shim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One port of a container and where it shall appear: the same host port at each address.

    Attributes:
        first, last: host ports to choose from; (0, 0) leaves it to us.
    """

    protocol: str
    container_port: int
    host_ips: tuple[str, ...]
    first: int = 0
    last: int = 0

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.first == self.last != 0


def wishes(
    bindings: Mapping[str, Sequence[PortBinding]],
    exposed: Iterable[str],
    *,
    publish_all: bool,
    host_ip: str,
    ipv6: bool,
) -> list[Wish]:
    """Read what a container wants to publish.

    Args:
        bindings: "80/tcp" -> where; an empty list means "anywhere, any port".
        exposed: the ports of `publish_all`.
        publish_all: publish every exposed port that has no binding, too.
        host_ip: where ports appear when a binding names no address; "" for everywhere.
        ipv6: this host has addresses of that family.

    Raises:
        InvalidRequest: no port, no address. Unsupported: sctp.
    """
    wanted: dict[str, Sequence[PortBinding]] = dict(bindings)
    if publish_all:
        for key in exposed:
            wanted.setdefault(key, (PortBinding(),))
    found: list[Wish] = []
    for key, where in wanted.items():
        first, last, protocol = exposed_range(key)
        if protocol == "sctp":
            raise Unsupported("ports of protocol sctp can't be published by this engine")
        for port in range(first, last + 1):
            for binding in where or (PortBinding(),):
                low, high = host_range(binding.host_port)
                ips = _host_ips(binding.host_ip or host_ip, ipv6=ipv6)
                found.append(
                    Wish(
                        protocol=protocol,
                        container_port=port,
                        host_ips=ips,
                        first=low,
                        last=high,
                    )
                )
    return found


def _host_ips(text: str, *, ipv6: bool) -> tuple[str, ...]:
    if not text:
        return _ANYWHERE if ipv6 else _ANYWHERE[:1]
    try:
        return (str(ipaddress.ip_address(text)),)
    except ValueError:
        raise InvalidRequest(
            f"invalid IP address: {text}", hint="Write an address of this host, not a name."
        ) from None


def host_has_ipv6() -> bool:
    """Say whether a listener on "::" makes sense here."""
    try:
        return bool(_IPV6.read_text())
    except OSError:
        return False


class Ports:
    """Which port of the host belongs to which endpoint of this engine."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._held: dict[tuple[str, int], dict[str, str]] = {}
        self._released: dict[tuple[str, int], float] = {}
        self._next = 0
        for endpoint in endpoints:
            for one in endpoint.published:
                self._hold(one.protocol, one.host_ip, one.host_port, endpoint.id)

    async def publish(
        self, endpoint: Endpoint, wanted: Sequence[Wish], forker: Forker, owner: object
    ) -> tuple[Published, ...]:
        """Choose, reserve and serve; on failure nothing stays reserved.

        Raises:
            Failed: in Docker's words, "port is already allocated" for ports of this engine and
                "address already in use" for those of others.
        """
        skip: dict[int, int] = {}
        started_s = time.monotonic()
        for _ in range(_ATTEMPTS):
            chosen = self._choose(endpoint, wanted, skip)
            flat = [(index, one) for index, group in enumerate(chosen) for one in group]
            try:
                answer = (await forker.fork_ports(_request(endpoint, flat), owner)).answer
            except BaseException:
                self.release(endpoint.id)
                raise
            if answer.get("ok"):
                return tuple(one for _, one in flat)
            self.release(endpoint.id, quietly=True)
            number, taken = flat[max(0, int(answer.get("listener", 0)))]
            in_use = answer.get("errno") == errno.EADDRINUSE
            if in_use and not wanted[number].fixed:
                skip[number] = taken.host_port
            elif in_use and self._lingers(taken, started_s):
                await asyncio.sleep(_RETRY_S)
            else:
                raise _refusal(endpoint, _bind_text(endpoint, taken, str(answer.get("error"))))
        raise _refusal(endpoint, "all ports are allocated")

    def release(self, endpoint_id: str, *, quietly: bool = False) -> None:
        """Give back everything an endpoint holds; twice is fine."""
        for key, owners in list(self._held.items()):
            for host_ip in [ip for ip, one in owners.items() if one == endpoint_id]:
                del owners[host_ip]
                if not quietly:
                    self._released[key] = time.monotonic()
            if not owners:
                del self._held[key]

    def _choose(
        self, endpoint: Endpoint, wanted: Sequence[Wish], skip: Mapping[int, int]
    ) -> list[list[Published]]:
        """Reserve a host port for each wish, or none at all."""
        chosen: list[list[Published]] = []
        for index, wish in enumerate(wanted):
            port = self._free_port(wish, skip.get(index, 0))
            if port is None:
                self.release(endpoint.id, quietly=True)
                raise _refusal(endpoint, _allocated(wish))
            for host_ip in wish.host_ips:
                self._hold(wish.protocol, host_ip, port, endpoint.id)
            chosen.append(
                [
                    Published(
                        protocol=wish.protocol,
                        host_ip=host_ip,
                        host_port=port,
                        container_port=wish.container_port,
                    )
                    for host_ip in wish.host_ips
                ]
            )
        return chosen

    def _free_port(self, wish: Wish, beyond: int) -> int | None:
        for port in self._candidates(wish, beyond):
            held = self._held.get((wish.protocol, port), {})
            if not any(_clash(one, other) for one in wish.host_ips for other in held):
                return port
        return None

    def _candidates(self, wish: Wish, beyond: int) -> Iterator[int]:
        """List host ports to try; `beyond` is the last one that somebody else turned out to have.

        Random ones advance, so that a released port is not handed out again at once.
        """
        if wish.first:
            yield from range(max(wish.first, beyond + 1), wish.last + 1)
            return
        first, last = _local_range()
        count = last - first + 1
        for _ in range(count):
            port = first + self._next % count
            self._next += 1
            yield port

    def _hold(self, protocol: str, host_ip: str, port: int, endpoint_id: str) -> None:
        self._held.setdefault((protocol, port), {})[host_ip] = endpoint_id

    def _lingers(self, one: Published, since_s: float) -> bool:
        """Say whether a helper of ours may still be on its way out of a port."""
        released_s = self._released.get((one.protocol, one.host_port), -_LINGER_S)
        return since_s - released_s < _LINGER_S and time.monotonic() - since_s < _LINGER_S


def _clash(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    return one == other or one in _ANYWHERE or other in _ANYWHERE


def _request(endpoint: Endpoint, flat: Sequence[tuple[int, Published]]) -> dict[str, Any]:
    return {
        "listeners": [
            {
                "protocol": one.protocol,
                "host_ip": one.host_ip,
                "host_port": one.host_port,
                "target": endpoint.ip or endpoint.ip6,
                "target_port": one.container_port,
            }
            for _, one in flat
        ]
    }


def _shown(host_ip: str, port: int) -> str:
    return f"[{host_ip}]:{port}" if ":" in host_ip else f"{host_ip}:{port}"


def _allocated(wish: Wish) -> str:
    if not wish.first:
        return "all ports are allocated"
    shown = _shown(wish.host_ips[0], wish.first)
    return f"Bind for {shown} failed: port is already allocated"


def _bind_text(endpoint: Endpoint, one: Published, why: str) -> str:
    target = _shown(endpoint.ip or endpoint.ip6, one.container_port)
    return (
        f"failed to bind host port for {_shown(one.host_ip, one.host_port)}:"
        f"{target}/{one.protocol}: {why}"
    )


def _refusal(endpoint: Endpoint, why: str) -> Failed:
    return Failed(
        "failed to set up container networking: driver failed programming external connectivity "
        f"on endpoint {endpoint.owner_name} ({endpoint.id}): {why}",
        hint="docker ps shows published ports; choose another one: -p OTHER:PORT",
    )


def _local_range() -> tuple[int, int]:
    try:
        first, last = _RANGE.read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return _DEFAULT_RANGE
