"""Networks as clients ask for them, and a container's place in one.

Knows:   the fields of network create, connect and disconnect, and of an endpoint.
Refuses: to check addresses; `engine/net/addresses.py` does.
Source:  Docker Engine API 1.50, EndpointSettings, IPAM, NetworkCreateRequest.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from dockerlab.wire.documents.base import Document


class EndpointIPAMConfig(Document, frozen=True, kw_only=True):
    """Addresses that a client asks for on one network."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {"ipv4_address", "ipv6_address", "link_local_ips"}
    )

    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: tuple[str, ...] = field(name="LinkLocalIPs", default=())


class EndpointSettings(Document, frozen=True, kw_only=True):
    """A container's place in one network: what was asked, then what it got."""

    null_empty: ClassVar[frozenset[str]] = frozenset({"links", "aliases", "driver_opts"})

    ipam_config: EndpointIPAMConfig | None = field(name="IPAMConfig", default=None)
    links: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mac_address: str = ""
    driver_opts: dict[str, str] = field(default_factory=dict)
    gw_priority: int = 0
    network_id: str = field(name="NetworkID", default="")
    endpoint_id: str = field(name="EndpointID", default="")
    gateway: str = ""
    ip_address: str = field(name="IPAddress", default="")
    ip_prefix_len: int = field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = field(name="IPv6Gateway", default="")
    global_ipv6_address: str = field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = field(name="GlobalIPv6PrefixLen", default=0)
    dns_names: tuple[str, ...] | None = field(name="DNSNames", default=None)


class NetworkingConfig(Document, frozen=True, kw_only=True):
    """The networks a new container shall join, by name or id."""

    endpoints_config: dict[str, EndpointSettings] = field(default_factory=dict)


class IPAMConfig(Document, frozen=True, kw_only=True):
    """One pool of addresses of a network."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {"subnet", "ip_range", "gateway", "auxiliary_addresses"}
    )

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = field(default_factory=dict)


class IPAM(Document, frozen=True, kw_only=True):
    """How a network hands out addresses."""

    null_empty: ClassVar[frozenset[str]] = frozenset({"options"})

    driver: str = ""
    options: dict[str, str] = field(default_factory=dict)
    config: tuple[IPAMConfig, ...] = ()


class ConfigReference(Document, frozen=True, kw_only=True):
    """Name of a network that serves as a template."""

    network: str = ""


class NetworkCreate(Document, frozen=True, kw_only=True):
    """Body of POST /networks/create.

    None in `enable_ipv4` and `enable_ipv6` means that the engine's default applies.
    """

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    ipam: IPAM | None = field(name="IPAM", default=None)
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class NetworkConnect(Document, frozen=True, kw_only=True):
    """Body of POST /networks/{id}/connect."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnect(Document, frozen=True, kw_only=True):
    """Body of POST /networks/{id}/disconnect."""

    container: str = ""
    force: bool = False
