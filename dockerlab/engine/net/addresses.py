"""Choose subnets, addresses and MAC addresses by Docker's rules.

Knows:   the default pools, what may overlap what, whose turn an address is, the texts of refusals.
Refuses: to remember anything or to ask the kernel: what is taken is passed in.
Source:  moby api/types/network/ipam.go (ValidateIPAM), libnetwork ipams and ipamapi.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from dockerlab.engine.model.network import Subnet
from dockerlab.errors import Forbidden, InvalidRequest, Unavailable

AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
AnyAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Docker's default pools, in its order: where they lie, how large a piece a network gets.
DEFAULT_POOLS: tuple[tuple[ipaddress.IPv4Network, int], ...] = tuple(
    (ipaddress.IPv4Network(base), prefix)
    for base, prefix in (
        ("172.17.0.0/16", 16),
        ("172.18.0.0/16", 16),
        ("172.19.0.0/16", 16),
        ("172.20.0.0/14", 16),
        ("172.24.0.0/14", 16),
        ("172.28.0.0/14", 16),
        ("192.168.0.0/16", 20),
    )
)


def next_pool(taken: Collection[AnyNetwork]) -> str:
    """Find the first piece of the default pools that overlaps no network and no host route.

    Raises:
        InvalidRequest: all of them are taken.
    """
    for base, prefix in DEFAULT_POOLS:
        for piece in base.subnets(new_prefix=prefix):
            if not overlaps(piece, taken):
                return str(piece)
    raise InvalidRequest(
        "all predefined address pools have been fully subnetted",
        hint="Remove networks (docker network prune), or choose one: --subnet 10.1.0.0/24",
    )


def overlaps(one: AnyNetwork, others: Iterable[AnyNetwork]) -> bool:
    """Say whether two networks of one family share an address; default routes do not count."""
    return any(
        other.version == one.version and other.prefixlen > 0 and one.overlaps(other)
        for other in others
    )


def check_overlap(one: AnyNetwork, others: Iterable[AnyNetwork]) -> None:
    """Refuse a subnet of which another network has a part.

    Raises:
        Forbidden: in Docker's words.
    """
    if overlaps(one, others):
        raise Forbidden(
            "Pool overlaps with other one on this address space",
            hint="docker network inspect shows who has it; choose another --subnet.",
        )


def problems(subnet: str, ip_range: str, gateway: str, reserved: Mapping[str, str]) -> list[str]:
    """List what is wrong with one pool of a request, as Docker words it."""
    try:
        network = ipaddress.ip_network(subnet, strict=False)
    except ValueError:
        return [f"invalid subnet {subnet}: invalid CIDR block notation"]
    if "/" not in subnet:
        return [f"invalid subnet {subnet}: invalid CIDR block notation"]
    found: list[str] = []
    if _spelled(subnet) != str(network):
        found.append(f"invalid subnet {subnet}: it should be {network}")
    if ip_range:
        found += _range_problems(ip_range, network)
    if gateway and (why := _outside(gateway, network)):
        found.append(f"invalid gateway {gateway}: {why}")
    for name, address in reserved.items():
        if why := _outside(address, network):
            found.append(f"invalid auxiliary address {name}: {why}")
    return found


def _range_problems(ip_range: str, network: AnyNetwork) -> list[str]:
    try:
        part = ipaddress.ip_network(ip_range, strict=False)
    except ValueError:
        return [f"invalid ip-range {ip_range}: invalid CIDR block notation"]
    if part.version != network.version:
        return [f"invalid ip-range {ip_range}: parent subnet is an IPv{network.version} block"]
    found = []
    if _spelled(ip_range) != str(part):
        found.append(f"invalid ip-range {ip_range}: it should be {part}")
    if not part.subnet_of(network):  # type: ignore[arg-type]
        found.append(
            f"invalid ip-range {ip_range}: parent subnet {network} doesn't contain ip-range"
        )
    return found


def _spelled(text: str) -> str:
    """Write a prefix the canonical way without masking it."""
    address, _, prefix = text.partition("/")
    return f"{ipaddress.ip_address(address)}/{prefix}"


def _outside(text: str, network: AnyNetwork) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "invalid address"
    if address.version != network.version:
        return f"parent subnet is an IPv{network.version} block"
    return "" if address in network else f"parent subnet {network} doesn't contain this address"


def joined(heading: str, found: Sequence[str]) -> InvalidRequest:
    """Put several problems into one refusal."""
    lines = found if len(found) == 1 else [f"* {line}" for line in found]
    return InvalidRequest(heading + "\n" + "\n".join(lines))


def first_address(cidr: str) -> str:
    """Name the address that a network's gateway gets when nobody chose one."""
    return str(ipaddress.ip_network(cidr)[1])


def next_address(subnet: Subnet, taken: Collection[str], last: str) -> str:
    """Choose a container's address: serial, so that a released one is reused as late as possible.

    Args:
        subnet: whose turn it is.
        taken: addresses of the other endpoints.
        last: the address given out before this one, or "".

    Raises:
        Unavailable: none is left.
    """
    busy = {*taken, subnet.gateway, *subnet.reserved.values()}
    pool = ipaddress.ip_network(subnet.ip_range or subnet.cidr)
    whole = ipaddress.ip_network(subnet.cidr)
    for address in _from(pool, last):
        if address == whole.network_address or str(address) in busy:
            continue
        if whole.version == 4 and whole.prefixlen < 31 and address == whole.broadcast_address:
            continue
        return str(address)
    raise Unavailable(f"no available addresses on this pool: {subnet.cidr}")


def _from(pool: AnyNetwork, last: str) -> Iterator[AnyAddress]:
    """Go round the pool once, beginning behind `last`."""
    start = 0
    if last and (before := ipaddress.ip_address(last)) in pool:
        start = int(before) - int(pool.network_address) + 1
    size = pool.num_addresses
    for step in range(size):
        yield pool[(start + step) % size]


def check_asked(address: str, subnets: Sequence[Subnet], taken: Collection[str]) -> Subnet:
    """Check an address that a container asks for, and find its pool.

    Raises:
        InvalidRequest: no pool has it, or the pools were not chosen by the user.
        Forbidden: somebody has it.
    """
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidRequest(
            f"invalid endpoint settings:\ninvalid IPv4 address: {address}"
        ) from None
    for subnet in subnets:
        if wanted in ipaddress.ip_network(subnet.cidr):
            if not subnet.given:
                raise InvalidRequest(
                    "invalid endpoint settings:\nuser specified IP address is supported only when "
                    "connecting to networks with user configured subnets",
                    hint="docker network create --subnet 10.1.0.0/24 NAME",
                )
            if str(wanted) in {*taken, subnet.gateway, *subnet.reserved.values()}:
                raise Forbidden("Address already in use", hint="docker network inspect NAME")
            return subnet
    raise InvalidRequest(
        f"invalid endpoint settings:\nno configured subnet contains IP address {address}"
    )


def with_prefix(address: str, subnet: Subnet) -> str:
    """Write an address with the length of its network's prefix."""
    return f"{address}/{subnet.cidr.partition('/')[2]}"


def mac_of(address: str) -> str:
    """Derive a MAC address from an IPv4 address: locally administered, unique where the other is.

    A neighbour's ARP entry for a released address so stays right for its next owner.
    """
    return "02:42:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def checked_mac(text: str) -> str:
    """Normalise a MAC address that a user gave.

    Raises:
        InvalidRequest: it is not one.
    """
    parts = text.replace("-", ":").lower().split(":")
    try:
        octets = bytes(int(part, 16) for part in parts if 0 < len(part) <= 2)
    except ValueError:
        octets = b""
    if len(parts) != 6 or len(octets) != 6:
        raise InvalidRequest(f"invalid MAC address: {text}", hint="For example 02:42:ac:11:00:09")
    return octets.hex(":")
