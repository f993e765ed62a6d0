"""Perform the plan on links, addresses and routes; encode what init performs inside.

Knows:   rtnetlink's messages, by pyroute2's message classes; one send per container.
Refuses: to decide (`plan.py`), and to run in the event loop: the kernel's network lock may be
         held for milliseconds while other namespaces die. Imported after start: it takes 0.2 s.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from dockerlab.engine.net.addresses import mac_of
from dockerlab.engine.net.netlink import (
    ACK,
    CREATE,
    DUMP,
    EXCLUSIVE,
    NESTED,
    REQUEST,
    ROUTE,
    Channel,
    attributes,
)
from dockerlab.engine.net.plan import AddAddress, AddRoute, Inside, LinkUp, MakeBridge, MakePair

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _NEWROUTE = 20, 24
_NEW = REQUEST | CREATE | EXCLUSIVE
_IFF_UP = 1
_AF_BRIDGE = 7
_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 5, 10, 18, 1
_LINK_HEADER = struct.Struct("=BxHiII")
_LOOPBACK_INDEX = 1
_MAIN_TABLE, _PROTO_BOOT, _SCOPE_UNIVERSE, _UNICAST = 254, 3, 0, 1
# What a template has in the places of a cable's names, address and namespace.
_ANY_LINK = b"~~~~~~~~~~~~~~~"
_ANY_MAC = bytes.fromhex("02fefdfcfbfa")
_ANY_NETNS = bytes.fromhex("7efeed7e")
# From 240.0.0.0/4, which nobody can have.
_ANY_ADDRESS, _ANY_BROADCAST = "240.1.2.3", "240.1.2.4"
_SYSCTL = Path("/proc/sys/net/ipv6/conf")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of this namespace; `peer` is the index of a cable's other end, in its namespace."""

    index: int
    name: str
    peer: int
    master: int
    kind: str


class Links:
    """The links of the namespace in which it is made; for one thread at a time."""

    def __init__(self) -> None:
        self._channel = Channel(ROUTE)

    def close(self) -> None:
        """Give the socket back."""
        self._channel.close()

    def make_bridge(self, step: MakeBridge) -> None:
        """Make a bridge, or complete one that is there.

        Raises:
            OSError: EOPNOTSUPP without bridges in the kernel, EPERM without the right,
                EEXIST when a link of that name is none.
        """
        present = self.find(step.name)
        if present is None:
            mac = [("IFLA_ADDRESS", mac_of(_first_ipv4(step)))] if _first_ipv4(step) else []
            self._channel.ask(
                step.name,
                _link(
                    _NEWLINK,
                    _NEW,
                    up=True,
                    attrs=[
                        ("IFLA_IFNAME", step.name),
                        ("IFLA_MTU", step.mtu),
                        # Chosen: a bridge's own choice changes with its ports, and with it
                        # the address every container has in its ARP table.
                        *mac,
                        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
                    ],
                ),
            )
            present = self.find(step.name)
        elif present.kind != "bridge":
            raise OSError(errno.EEXIST, "a link that is no bridge has this name", step.name)
        if present is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), step.name)
        self._channel.ask(step.name, _link(_NEWLINK, REQUEST, index=present.index, up=True))
        for one in step.addresses:
            with _unless(errno.EEXIST):
                self._channel.ask(step.name, _address(present.index, one, _NEW))
        if not any(":" in one for one in step.addresses):
            _switch_off_ipv6(step.name)

    def make_pair(self, step: MakePair, netns: int) -> int:
        """Lay a cable from a bridge into a namespace.

        Args:
            step: the two ends.
            netns: descriptor of the namespace that gets the other end.

        Returns:
            The index of that end, inside.

        Raises:
            OSError: ENODEV when the bridge is gone.
        """
        bridge = _index_of(step.bridge)
        pair = _pair_template(bridge, step.interface, step.mtu, len(step.link))
        for sentinel, value in (
            (_ANY_LINK[: len(step.link)], step.link.encode()),
            (_ANY_MAC, bytes.fromhex(step.mac.replace(":", ""))),
            (_ANY_NETNS, struct.pack("=I", netns)),
        ):
            pair = pair.replace(sentinel, value)
        made = _read_link(self._channel.ask(step.link, pair)[0])
        # A port needs none, and an address that comes and goes with each container makes Chromium
        # drop every connection of its pages (ERR_NETWORK_CHANGED): those to JupyterLab, too.
        _switch_off_ipv6(step.link)
        if step.isolated:
            self._isolate(step.link, made.index)
        return made.peer

    def attach(self, name: str, bridge: str) -> None:
        """Plug a link into a bridge; one that is gone, with its container, is no error."""
        found, switch = self.find(name), self.find(bridge)
        if found is not None and switch is not None and found.master != switch.index:
            attrs = [("IFLA_MASTER", switch.index)]
            self._channel.ask(
                name, _link(_NEWLINK, REQUEST, index=found.index, up=True, attrs=attrs)
            )

    def find(self, name: str) -> Link | None:
        """Look a link up by name."""
        try:
            return _read_link(self._channel.ask(name, _query(name))[0])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def ports(self, bridge: str) -> list[Link]:
        """List the links that are plugged into a bridge."""
        found = self.find(bridge)
        if found is None:
            return []
        rows = self._channel.dump("links", _link(_GETLINK, REQUEST | DUMP))
        return [link for link in map(_read_link, rows) if link.master == found.index]

    def delete(self, name: str) -> None:
        """Remove a link; one that is gone is no error."""
        with _unless(errno.ENODEV):
            self._channel.ask(
                name, _link(_DELLINK, REQUEST, attrs=[("IFLA_IFNAME", name)], up=None)
            )

    def _isolate(self, name: str, index: int) -> None:
        """Forbid a port to talk to other isolated ports: no rule sees packets inside a bridge."""
        message = ifinfmsg()
        message["family"], message["index"] = _AF_BRIDGE, index
        message["attrs"] = [("IFLA_PROTINFO", {"attrs": [("IFLA_BRPORT_ISOLATED", 1)]}, NESTED)]
        self._channel.ask(name, _encoded(message, _SETLINK, REQUEST))


def encode_inside(steps: Sequence[Inside], index: int) -> bytes:
    """Write the steps inside as one batch, each message asking for its acknowledgement.

    Args:
        steps: what to do.
        index: of the interface that the steps name, where it is not loopback.
    """
    return b"".join(_inside(step, index) for step in steps)


def _inside(step: Inside, index: int) -> bytes:
    match step:
        case LinkUp(name="lo"):
            return _link_up(_LOOPBACK_INDEX)
        case LinkUp():
            return _link_up(index)
        case AddAddress(address=address):
            return _address_inside(index, address)
        case AddRoute(gateway=gateway):
            return _default_route(index, gateway)


@functools.lru_cache(maxsize=256)
def _pair_template(bridge: int, interface: str, mtu: int, name_length: int) -> bytes:
    """Encode "make this cable, then show it" with sentinels for what differs per container.

    pyroute2 takes 1 to 2 ms for it, filling in takes microseconds.
    """
    name = _ANY_LINK[:name_length].decode()
    peer = {
        "attrs": [
            ("IFLA_IFNAME", interface),
            ("IFLA_ADDRESS", _ANY_MAC.hex(":")),
            ("IFLA_MTU", mtu),
            ("IFLA_NET_NS_FD", struct.unpack("=I", _ANY_NETNS)[0]),
        ]
    }
    veth = [
        ("IFLA_INFO_KIND", "veth"),
        ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]}),
    ]
    attrs = [
        ("IFLA_IFNAME", name),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", bridge),
        ("IFLA_LINKINFO", {"attrs": veth}),
    ]
    return _link(_NEWLINK, _NEW, up=True, attrs=attrs) + _query(name)


@functools.lru_cache(maxsize=64)
def _link_up(index: int) -> bytes:
    return _link(_NEWLINK, REQUEST | ACK, index=index, up=True)


def _link(
    kind: int,
    flags: int,
    *,
    index: int = 0,
    up: bool | None = None,
    attrs: Sequence[tuple[str, Any]] = (),
) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    if up:
        message["flags"] = message["change"] = _IFF_UP
    message["attrs"] = list(attrs)
    return _encoded(message, kind, flags)


def _query(name: str) -> bytes:
    return _link(_GETLINK, REQUEST, attrs=[("IFLA_IFNAME", name)])


def _address(index: int, address: str, flags: int) -> bytes:
    interface = ipaddress.ip_interface(address)
    message = ifaddrmsg()
    message["family"] = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    message["prefixlen"], message["index"] = interface.network.prefixlen, index
    message["attrs"] = [("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", str(interface.ip))]
    if interface.version == 4 and interface.network.prefixlen < 31:
        message["attrs"].append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
    return _encoded(message, _NEWADDR, flags)


@functools.lru_cache(maxsize=64)
def _address_template(index: int, length: int) -> bytes:
    message = ifaddrmsg()
    message["family"], message["prefixlen"], message["index"] = socket.AF_INET, length, index
    message["attrs"] = [
        ("IFA_LOCAL", _ANY_ADDRESS),
        ("IFA_ADDRESS", _ANY_ADDRESS),
        ("IFA_BROADCAST", _ANY_BROADCAST),
    ]
    return _encoded(message, _NEWADDR, _NEW | ACK)


def _address_inside(index: int, address: str) -> bytes:
    """Encode an IPv4 address by template, as every container gets one; others the long way."""
    ip, _, length = address.partition("/")
    if ":" in ip or int(length) > 30:
        return _address(index, address, _NEW | ACK)
    own = socket.inet_aton(ip)
    last = int.from_bytes(own, "big") | (1 << 32 - int(length)) - 1
    return (
        _address_template(index, int(length))
        .replace(socket.inet_aton(_ANY_ADDRESS), own)
        .replace(socket.inet_aton(_ANY_BROADCAST), last.to_bytes(4, "big"))
    )


@functools.lru_cache(maxsize=64)
def _default_route(index: int, gateway: str) -> bytes:
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    message["table"], message["proto"] = _MAIN_TABLE, _PROTO_BOOT
    message["scope"], message["type"] = _SCOPE_UNIVERSE, _UNICAST
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    return _encoded(message, _NEWROUTE, _NEW | ACK)


def _encoded(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"], message["header"]["flags"] = kind, flags
    message.encode()
    return bytes(message.data)


def _read_link(row: bytes) -> Link:
    _, _, index, _, _ = _LINK_HEADER.unpack_from(row)
    found = attributes(row[_LINK_HEADER.size :])
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
    return Link(
        index=index,
        name=found[_IFLA_IFNAME].rstrip(b"\0").decode(),
        peer=_number(found.get(_IFLA_LINK)),
        master=_number(found.get(_IFLA_MASTER)),
        kind=kind.rstrip(b"\0").decode(),
    )


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:  # which carries no number
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name) from None


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def _first_ipv4(step: MakeBridge) -> str:
    return next((one.partition("/")[0] for one in step.addresses if ":" not in one), "")


def _switch_off_ipv6(name: str) -> None:
    """Keep a link from giving itself an address of that family."""
    with contextlib.suppress(OSError):
        (_SYSCTL / name / "disable_ipv6").write_text("1")


@contextlib.contextmanager
def _unless(number: int) -> Any:
    """Let one refusal pass: the kernel is already as wished."""
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise
