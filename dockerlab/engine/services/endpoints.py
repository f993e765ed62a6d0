"""Decide an owner's place in a network: its address, MAC, names; and draw it as a document.

Knows:   what may be asked for on which network, whose turn an address is.
Refuses: rows and kernel; `networks.py` keeps what comes out.
Source:  moby daemon/container_operations.go, libnetwork/endpoint.go.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import Endpoint, Network, Subnet
from dockerlab.engine.net import addresses
from dockerlab.errors import InvalidRequest, Unavailable
from dockerlab.wire.documents import EndpointSettings


class Owner(Protocol):
    """Who gets a place in a network: a container, or a step of a build."""

    @property
    def id(self) -> str:
        """Its 64 digits."""

    @property
    def name(self) -> str:
        """What people call it."""


class Turns:
    """Hands out addresses in turn; remembers the last of each pool, for as long as it lives."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def place(
        self,
        owner: Owner,
        network: Network,
        settings: EndpointSettings,
        present: Collection[Endpoint],
        others: Collection[Endpoint],
    ) -> Endpoint:
        """Give an owner a place.

        Args:
            owner: who gets it.
            network: where.
            settings: what was asked for.
            present: the owner's places elsewhere.
            others: who is on this network already.

        Raises:
            InvalidRequest, Forbidden, Unavailable: in Docker's words.
        """
        check_settings(network, settings)
        taken = {ip for one in others for ip in (one.ip, one.ip6)}
        asked = settings.ipam_config
        pools = [one for one in network.subnets if ":" not in one.cidr]
        pools6 = [one for one in network.subnets if ":" in one.cidr]
        address, subnet = self._address(network, pools, asked.ipv4_address if asked else "", taken)
        address6, subnet6 = self._address(
            network, pools6, asked.ipv6_address if asked else "", taken
        )
        endpoint_id = secrets.token_hex(32)
        names = {one.interface for one in present}
        mac = settings.mac_address
        return Endpoint(
            id=endpoint_id,
            network_id=network.id,
            network_name=network.name,
            owner=owner.id,
            owner_name=owner.name,
            interface=next(f"eth{n}" for n in range(256) if f"eth{n}" not in names),
            link=f"veth{endpoint_id[:7]}",
            mac=addresses.checked_mac(mac) if mac else _mac(address, endpoint_id),
            address=addresses.with_prefix(address, subnet) if subnet else "",
            gateway=subnet.gateway if subnet and not network.internal else "",
            address6=addresses.with_prefix(address6, subnet6) if subnet6 else "",
            gateway6=subnet6.gateway if subnet6 and not network.internal else "",
            aliases=tuple(settings.aliases),
            dns_names=() if network.is_default_bridge else _dns_names(owner, settings),
            priority=settings.gw_priority,
            internal=network.internal,
        )

    def _address(
        self, network: Network, pools: Sequence[Subnet], asked: str, taken: Collection[str]
    ) -> tuple[str, Subnet | None]:
        if asked:
            return asked, addresses.check_asked(asked, pools, taken)
        for subnet in pools:
            last = self._last.get(subnet.cidr, "")
            try:
                address = addresses.next_address(subnet, taken, last)
            except Unavailable:
                continue
            self._last[subnet.cidr] = address
            return address, subnet
        if pools:
            version = 6 if ":" in pools[0].cidr else 4
            raise Unavailable(
                f"no available IPv{version} addresses on this network's address pools: "
                f"{network.name} ({network.id})",
                hint="Remove containers, or make a network with a larger --subnet.",
            )
        return "", None


def check_settings(network: Network, settings: EndpointSettings) -> None:
    """Refuse what the default bridge does not have.

    Raises:
        InvalidRequest: a fixed address or an alias, in Docker's words.
    """
    asked = settings.ipam_config
    if not network.is_default_bridge:
        return
    if asked and (asked.ipv4_address or asked.ipv6_address):
        raise InvalidRequest(
            "invalid endpoint settings:\n"
            "user specified IP address is supported on user defined networks only",
            hint="docker network create --subnet 10.1.0.0/24 NAME",
        )
    if settings.aliases:
        raise InvalidRequest(
            "invalid endpoint settings:\n"
            "network-scoped aliases are only supported for user-defined networks",
            hint="docker network create NAME",
        )


def filled(settings: EndpointSettings, endpoint: Endpoint) -> EndpointSettings:
    """Write what an endpoint got into what was asked for."""
    return msgspec.structs.replace(
        settings,
        endpoint_id=endpoint.id,
        mac_address=endpoint.mac,
        gateway=endpoint.gateway,
        ip_address=endpoint.ip,
        ip_prefix_len=_length(endpoint.address),
        ipv6_gateway=endpoint.gateway6,
        global_ipv6_address=endpoint.ip6,
        global_ipv6_prefix_len=_length(endpoint.address6),
        dns_names=endpoint.dns_names or None,
    )


def _dns_names(owner: Owner, settings: EndpointSettings) -> tuple[str, ...]:
    hostname = owner.config.hostname if isinstance(owner, Container) else ""
    words = (owner.name, *settings.aliases, owner.id[:12], hostname)
    return tuple(dict.fromkeys(word for word in words if word))


def _mac(address: str, endpoint_id: str) -> str:
    if address:
        return addresses.mac_of(address)
    return "02:42:" + bytes.fromhex(endpoint_id[:8]).hex(":")


def _length(address: str) -> int:
    return int(address.partition("/")[2] or 0)
