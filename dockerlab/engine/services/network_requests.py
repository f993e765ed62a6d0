"""Decide what a network create request means: a row, or a clear no.

Knows:   Docker's drivers, defaults and refusals for networks; how pools are chosen.
Refuses: rows, kernel, clock and chance: the caller passes in what only they know.
Source:  moby daemon/network.go, api/types/network/ipam.go, libnetwork/controller.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dockerlab.engine.model.network import BRIDGE_NAME, DRIVER_MTU, Network, Subnet
from dockerlab.engine.net import addresses
from dockerlab.engine.net.addresses import AnyNetwork
from dockerlab.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    Unavailable,
    Unsupported,
)
from dockerlab.wire.documents import IPAM, IPAMConfig, NetworkCreate

PREDEFINED = ("bridge", "host", "none")
_LATER = ("macvlan", "ipvlan")
_MIN_MTU = 68
_MAX_LINK_NAME = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the request can't know."""

    id: str
    now_ns: int
    networks: Sequence[Network]
    routes: Collection[AnyNetwork]


def decide(request: NetworkCreate, facts: Facts) -> Network:
    """Turn a request into a network's row.

    Raises:
        InvalidRequest, Forbidden, Conflict, NotFound: in Docker's words.
    """
    driver = request.driver or "bridge"
    _check_name(request.name, facts)
    _check_driver(driver)
    if request.config_only or (request.config_from and request.config_from.network):
        raise Unsupported("configuration-only networks are not supported by this engine")
    _check_options(request.options, facts)
    ipam = request.ipam or IPAM()
    if ipam.driver not in {"", "default"}:
        raise NotFound(
            f"could not find plugin {ipam.driver} in v1 plugin registry: plugin not found"
        )
    ipv4 = request.enable_ipv4 is not False
    ipv6 = bool(request.enable_ipv6)
    if not ipv4 and not ipv6:
        raise InvalidRequest("IPv4 or IPv6 must be enabled")
    return Network(
        id=facts.id,
        name=request.name,
        driver=driver,
        created_ns=facts.now_ns,
        subnets=_subnets(ipam.config, facts, ipv4=ipv4, ipv6=ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ipv4=ipv4,
        ipv6=ipv6,
        options=dict(request.options),
        labels=dict(request.labels),
        ipam_options=dict(ipam.options),
    )


def default_pool(facts: Facts) -> Subnet:
    """Choose the pool of a network for which nobody chose one."""
    cidr = addresses.next_pool([*_pools(facts.networks), *facts.routes])
    return Subnet(cidr=cidr, gateway=addresses.first_address(cidr))


def _check_name(name: str, facts: Facts) -> None:
    if not name.strip():
        raise InvalidRequest("network name cannot be empty", hint="docker network create NAME")
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    if name == "default":
        raise Forbidden("operation is not permitted on predefined default network ")
    if any(one.name == name for one in facts.networks):
        raise Conflict(
            f"network with name {name} already exists", hint=f"docker network inspect {name}"
        )


def _check_driver(driver: str) -> None:
    if driver == "bridge":
        return
    if driver in {"host", "null"}:
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
            "to connect this node to swarm and try again."
        )
    if driver in _LATER:
        raise Unsupported(f"networks of driver {driver} are not there yet", hint="Use bridge.")
    raise NotFound(
        f"could not find plugin {driver} in v1 plugin registry: plugin not found",
        hint="This engine has bridge, host and null.",
    )


def _check_options(options: Mapping[str, str], facts: Facts) -> None:
    mtu = options.get(DRIVER_MTU, "")
    if mtu and (not mtu.isdecimal() or int(mtu) < _MIN_MTU):
        raise InvalidRequest(f"invalid value for {DRIVER_MTU}: {mtu}")
    name = options.get(BRIDGE_NAME, "")
    if len(name.encode()) > _MAX_LINK_NAME or "/" in name or name.split() != [name] * bool(name):
        raise InvalidRequest(f"invalid value for {BRIDGE_NAME}: {name}", hint="15 letters at most.")
    for other in facts.networks:
        if name and other.bridge == name:
            raise Forbidden(f"bridge name already exists: {name} is used by {other.name}")


def _subnets(
    given: Sequence[IPAMConfig], facts: Facts, *, ipv4: bool, ipv6: bool
) -> tuple[Subnet, ...]:
    found = [
        problem
        for one in given
        if one.subnet
        for problem in addresses.problems(
            one.subnet, one.ip_range, one.gateway, one.auxiliary_addresses
        )
    ]
    found += [
        "invalid subnet : a subnet is needed where a gateway or a range is given"
        for one in given
        if not one.subnet and (one.gateway or one.ip_range or one.auxiliary_addresses)
    ]
    if found:
        raise addresses.joined("invalid network config:", found)
    taken: list[AnyNetwork] = _pools(facts.networks)
    chosen: list[Subnet] = []
    for one in given:
        if not one.subnet:
            continue
        network = ipaddress.ip_network(one.subnet)
        addresses.check_overlap(network, taken)
        taken.append(network)
        chosen.append(_given(one))
    if ipv4 and not any(":" not in one.cidr for one in chosen):
        chosen.insert(0, default_pool(facts))
    if ipv6 and not any(":" in one.cidr for one in chosen):
        chosen.append(_unique_local(facts.id))
    return tuple(one for one in chosen if ipv6 or ":" not in one.cidr)


def _given(one: IPAMConfig) -> Subnet:
    return Subnet(
        cidr=one.subnet,
        gateway=one.gateway or addresses.first_address(one.ip_range or one.subnet),
        ip_range=one.ip_range,
        reserved=dict(one.auxiliary_addresses),
        given=True,
    )


def _unique_local(network_id: str) -> Subnet:
    """Give a network a private IPv6 prefix of its own (RFC 4193); its id is random enough."""
    cidr = f"fd{network_id[:2]}:{network_id[2:6]}:{network_id[6:10]}::/64"
    return Subnet(cidr=str(ipaddress.ip_network(cidr)), gateway=addresses.first_address(cidr))


def _pools(networks: Sequence[Network]) -> list[AnyNetwork]:
    return [ipaddress.ip_network(one.cidr) for network in networks for one in network.subnets]
