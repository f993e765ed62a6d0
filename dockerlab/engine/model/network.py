"""Networks, and a container's place in one, as the engine keeps them.

Knows:   the rows of a network and of an endpoint, and what Docker's bridge options mean.
Refuses: to choose addresses (`net/addresses.py`) or to touch the kernel (`net/links.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BRIDGE_NAME = "com.docker.network.bridge.name"
BRIDGE_DEFAULT = "com.docker.network.bridge.default_bridge"
BRIDGE_ICC = "com.docker.network.bridge.enable_icc"
BRIDGE_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
BRIDGE_HOST_IP = "com.docker.network.bridge.host_binding_ipv4"
DRIVER_MTU = "com.docker.network.driver.mtu"

_DEFAULT_MTU = 1500
_TRUE = {"1", "t", "T", "true", "TRUE", "True", ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One pool of addresses of a network; empty words mean that nothing was asked for.

    Attributes:
        cidr: for example "172.18.0.0/16".
        ip_range: the part of it from which containers get their addresses.
        gateway: the bridge's own address.
        reserved: name -> address, never given to a container.
        given: the user chose it, so that containers may choose their addresses too.
    """

    cidr: str
    gateway: str = ""
    ip_range: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: its row in `state.db`."""

    id: str
    name: str
    driver: str
    created_ns: int
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    predefined: bool = False

    @property
    def bridge(self) -> str:
        """The host's link that the network lives on; "" for drivers without one."""
        if self.driver != "bridge":
            return ""
        return self.options.get(BRIDGE_NAME) or f"br-{self.id[:12]}"

    @property
    def is_default_bridge(self) -> bool:
        """The network called "bridge": no names, no addresses of one's choice."""
        return self.predefined and self.driver == "bridge"

    @property
    def mtu(self) -> int:
        """Largest packet, in bytes."""
        return int(self.options.get(DRIVER_MTU) or _DEFAULT_MTU)

    @property
    def icc(self) -> bool:
        """Whether its containers may talk to each other."""
        return self.options.get(BRIDGE_ICC, "true") in _TRUE

    @property
    def masquerade(self) -> bool:
        """Whether its containers appear outside with the host's address."""
        return not self.internal and self.options.get(BRIDGE_MASQUERADE, "true") in _TRUE

    @property
    def host_ip(self) -> str:
        """Where a port is published when the user names no address; "" for everywhere."""
        chosen = self.options.get(BRIDGE_HOST_IP, "")
        return "" if chosen == "0.0.0.0" else chosen  # noqa: S104 - a word, not a listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One port of a container that is reachable at an address of the host."""

    protocol: str
    host_ip: str
    host_port: int
    container_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running container's place in one network: its row in `state.db`.

    Attributes:
        owner: id of the container (or build step); owner_name as people see it.
        interface: its name inside, "eth0", "eth1", ...
        link: name of the host's end.
        address: with prefix length, "172.18.0.2/16".
        gateway: "" on internal networks.
        dns_names: every word by which others on the network may call it.
        priority: the endpoint with the highest one carries the default route.
        wired: the kernel has been told.
    """

    id: str
    network_id: str
    network_name: str
    owner: str
    owner_name: str
    interface: str
    link: str
    mac: str
    address: str = ""
    gateway: str = ""
    address6: str = ""
    gateway6: str = ""
    aliases: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    priority: int = 0
    internal: bool = False
    published: tuple[Published, ...] = ()
    wired: bool = False

    @property
    def ip(self) -> str:
        """The IPv4 address alone."""
        return self.address.partition("/")[0]

    @property
    def ip6(self) -> str:
        """The IPv6 address alone."""
        return self.address6.partition("/")[0]
