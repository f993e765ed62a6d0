"""Try whether containers can have a network: links and rules, in a namespace that is thrown away.

Knows:   the few netlink messages for that, by hand: `doctor` answers before pyroute2 is imported.
Refuses: to leave anything behind. What the engine itself sends: `net/netlink.py`.
Source:  man 7 rtnetlink; Linux include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct

from dockerlab.engine.linux import syscalls
from dockerlab.engine.linux.findings import PRIVILEGED, Finding, State
from dockerlab.engine.linux.throwaway import alone, refused

_RTM_NEWLINK, _REQUEST_ACK, _CREATE_EXCLUSIVE = 16, 0x5, 0x600
_NFT_NEWTABLE, _BATCH_BEGIN, _BATCH_END = 0xA00, 0x10, 0x11
_NETLINK_NETFILTER = 12


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _told(protocol: int, request: bytes) -> None:
    """Send to the kernel's netlink and raise what it answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
        link.settimeout(1)
        link.send(request)
        answer = link.recv(65536)
    code = -struct.unpack_from("=i", answer, 16)[0]
    if code:
        raise OSError(code, os.strerror(code))


def network() -> Finding:
    """Try to make a bridge and a pair of links."""

    def make_bridge() -> None:
        alone(syscalls.CLONE_NEWNET)
        for name, kind in ((b"probe0", b"bridge"), (b"probe1", b"veth")):
            info = _attribute(18, _attribute(1, kind + b"\0"))
            body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(3, name + b"\0") + info
            _told(0, _message(_RTM_NEWLINK, _REQUEST_ACK | _CREATE_EXCLUSIVE, 1, body))

    why = refused(make_bridge)
    if not why:
        return Finding(name="network", state=State.OK, meaning="containers can share networks")
    return Finding(
        name="network", state=State.LIMITED,
        meaning=f"only --network none and host work ({why})",
        remedy="modprobe bridge veth, and " + PRIVILEGED[0].lower() + PRIVILEGED[1:],
    )  # fmt: skip


def firewall() -> Finding:
    """Try to make an nftables table."""

    def make_table() -> None:
        alone(syscalls.CLONE_NEWNET)
        head = struct.pack("=BBH", 0, 0, socket.htons(10))
        table = struct.pack("=BBH", 2, 0, 0) + _attribute(1, b"probe\0")
        _told(_NETLINK_NETFILTER, b"".join((
            _message(_BATCH_BEGIN, 1, 0, head),
            _message(_NFT_NEWTABLE, _REQUEST_ACK | 0x400, 1, table),
            _message(_BATCH_END, 1, 2, head),
        )))  # fmt: skip

    why = refused(make_table)
    if not why:
        return Finding(name="nftables", state=State.OK, meaning="ports can be published")
    return Finding(
        name="nftables", state=State.LIMITED,
        meaning=f"containers do not reach the outside, ports only this machine ({why})",
        remedy="modprobe nf_tables, and " + PRIVILEGED[0].lower() + PRIVILEGED[1:],
    )  # fmt: skip
