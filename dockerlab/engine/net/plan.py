"""Decide what the kernel must be told for a network, for an endpoint, for a published port.

Knows:   which links, addresses, routes and table elements each of them needs, in which order.
Refuses: the kernel; `links.py` and `rules.py` perform these steps, `init` those of the inside.
         `describe()` writes each as ip(8) and nft(8) would, for `docker trace` and for learners.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from dockerlab.engine.model.network import Endpoint, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeBridge:
    """A switch in the kernel; its addresses are the containers' gateways."""

    name: str
    addresses: tuple[str, ...] = ()
    mtu: int = 1500

    def describe(self) -> str:
        """Write it as commands."""
        given = "; ".join(f"ip address add {one} dev {self.name}" for one in self.addresses)
        made = f"ip link add {self.name} type bridge; ip link set {self.name} mtu {self.mtu} up"
        return f"{made}; {given}" if given else made


@dataclass(frozen=True, slots=True, kw_only=True)
class MakePair:
    """A cable: one end is a port of the bridge, the other lies in the container's namespace."""

    link: str
    bridge: str
    interface: str
    mac: str
    mtu: int = 1500
    isolated: bool = False

    def describe(self) -> str:
        """Write it as commands; PID is the container's init."""
        text = (
            f"ip link add {self.link} mtu {self.mtu} master {self.bridge} up type veth "
            f"peer name {self.interface} address {self.mac} mtu {self.mtu} netns PID"
        )
        return f"{text}; bridge link set dev {self.link} isolated on" if self.isolated else text


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """Switch a link on, inside."""

    name: str

    def describe(self) -> str:
        """Write it as a command."""
        return f"ip link set {self.name} up"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress:
    """Give a link an address, inside."""

    name: str
    address: str

    def describe(self) -> str:
        """Write it as a command."""
        return f"ip address add {self.address} dev {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRoute:
    """Send everything for elsewhere to a gateway, inside."""

    gateway: str

    def describe(self) -> str:
        """Write it as a command."""
        return f"ip route add default via {self.gateway}"


Inside = LinkUp | AddAddress | AddRoute

LOOPBACK: tuple[Inside, ...] = (LinkUp(name="lo"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRules:
    """What the table knows of one bridge.

    Attributes:
        masqueraded: its containers appear outside with the host's address.
        talk: containers on it may talk to each other.
        internal: nothing leaves or enters it.
    """

    bridge: str
    masqueraded: bool = True
    talk: bool = True
    internal: bool = False

    def describe(self) -> str:
        """Write it as elements."""
        words = [f"add element bridges {{ {self.bridge} }}"]
        if self.talk:
            words.append(f"add element peers {{ {self.bridge} . {self.bridge} }}")
        if self.internal:
            words.append(f"add element internal {{ {self.bridge} }}")
        if self.masqueraded:
            words.append(f"add element masqueraded {{ {self.bridge} }}")
        return "; ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Packets from outside for a port of the host go to a container; "" is every address."""

    protocol: str
    host_ip: str
    host_port: int
    target: str
    target_port: int

    def describe(self) -> str:
        """Write it as an element."""
        to = f"{self.target} . {self.target_port}"
        if not self.host_ip:
            return f"add element published {{ {self.protocol} . {self.host_port} : {to} }}"
        key = f"{self.host_ip} . {self.protocol} . {self.host_port}"
        return f"add element published_at {{ {key} : {to} }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything our table shall hold."""

    bridges: tuple[BridgeRules, ...] = ()
    forwards: tuple[Forward, ...] = field(default=())


def bridge_of(network: Network) -> MakeBridge:
    """Decide the bridge of a network."""
    addresses = tuple(
        f"{subnet.gateway}/{subnet.cidr.partition('/')[2]}"
        for subnet in network.subnets
        if subnet.gateway
    )
    return MakeBridge(name=network.bridge, addresses=addresses, mtu=network.mtu)


def rules_of(network: Network) -> BridgeRules:
    """Decide what the table says of a network."""
    return BridgeRules(
        bridge=network.bridge,
        masqueraded=network.masquerade,
        talk=network.icc,
        internal=network.internal,
    )


def pair_of(network: Network, endpoint: Endpoint) -> MakePair:
    """Decide the cable of an endpoint."""
    return MakePair(
        link=endpoint.link,
        bridge=network.bridge,
        interface=endpoint.interface,
        mac=endpoint.mac,
        mtu=network.mtu,
        isolated=not network.icc,
    )


def inside_of(endpoint: Endpoint, *, default_route: bool) -> tuple[Inside, ...]:
    """Decide what happens in the container's namespace once the cable is there."""
    name = endpoint.interface
    addresses = [one for one in (endpoint.address, endpoint.address6) if one]
    gateways = [one for one in (endpoint.gateway, endpoint.gateway6) if one]
    return (
        *LOOPBACK,
        *(AddAddress(name=name, address=one) for one in addresses),
        LinkUp(name=name),
        *(AddRoute(gateway=one) for one in gateways if default_route),
    )


def forwards_of(endpoint: Endpoint) -> tuple[Forward, ...]:
    """Decide which packets from outside reach an endpoint; the host's own go to the port helper."""
    return tuple(
        Forward(
            protocol=one.protocol,
            host_ip="" if one.host_ip == "0.0.0.0" else one.host_ip,  # noqa: S104 - a word
            host_port=one.host_port,
            target=endpoint.ip,
            target_port=one.container_port,
        )
        for one in endpoint.published
        if endpoint.ip and _from_outside(one.host_ip)
    )


def _from_outside(host_ip: str) -> bool:
    """Say no for loopback, and for IPv6, which has no map: the port helper serves both."""
    address = ipaddress.ip_address(host_ip)
    return address.version == 4 and not address.is_loopback


def carries_default_route(endpoint: Endpoint, all_of_owner: Iterable[Endpoint]) -> bool:
    """Say whether this one of a container's endpoints leads outside: priority, then name."""
    leading = [one for one in all_of_owner if one.gateway and not one.internal]
    if not leading:
        return False
    return min(leading, key=lambda one: (-one.priority, one.network_name)).id == endpoint.id
