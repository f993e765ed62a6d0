"""Ask the kernel which destinations this machine has routes for.

Knows:   one dump of rtnetlink, written by hand.
Refuses: to change routes; `links.py`, whose messages take 0.2 s to import, does.
Source:  man 7 rtnetlink, RTM_GETROUTE.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from dockerlab.engine.net.addresses import AnyNetwork
from dockerlab.engine.net.netlink import DUMP, REQUEST, ROUTE, Channel, attributes

_GETROUTE = 26
_MESSAGE_HEADER = struct.Struct("=IHHII")
_ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_RTA_DST = 1


def routes() -> list[AnyNetwork]:
    """List the destinations this machine has routes for; those of default routes left out."""
    size = _MESSAGE_HEADER.size + _ROUTE_HEADER.size
    question = _MESSAGE_HEADER.pack(size, _GETROUTE, REQUEST | DUMP, 0, 0)
    found: list[AnyNetwork] = []
    with Channel(ROUTE) as channel:
        rows = channel.dump("routes", question + bytes(_ROUTE_HEADER.size))
    for row in rows:
        family, length, *_ = _ROUTE_HEADER.unpack_from(row)
        target = attributes(row[_ROUTE_HEADER.size :]).get(_RTA_DST)
        if target is not None and family in {socket.AF_INET, socket.AF_INET6}:
            found.append(ipaddress.ip_network((target, length)))
    return found
