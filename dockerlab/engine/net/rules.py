"""Perform the plan on our nftables table: address translation, isolation, published ports.

Knows:   the table's sets, maps, chains and rules, and how each is spelled for the kernel.
Refuses: to decide what is in the sets (`plan.py`); to touch any other table.
Source:  nft(8); Linux include/uapi/linux/netfilter/nf_tables.h. Imported after start.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    Meta,
    nft_chain_msg,
    nft_rule_msg,
    nft_set_elem_list_msg,
    nft_set_msg,
    nft_table_msg,
)

from dockerlab.engine.net.netlink import APPEND, CREATE, NETFILTER, REQUEST, Channel
from dockerlab.engine.net.plan import BridgeRules, Forward, Table

_INET = 1
_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 1, 2, 3, 6
_NEWSET, _NEWSETELEM, _DELSETELEM = 9, 12, 14

# Registers: four of 16 bytes, or the same memory as sixteen of 4 bytes.
_REG_1, _REG_2 = 1, 2
_REG32_0, _REG32_1, _REG32_2 = 8, 9, 10

_ACCEPT, _DROP, _RETURN = "NF_ACCEPT", "NF_DROP", "NFT_RETURN"
_VERDICTS = {_ACCEPT: 1, _DROP: 0, _RETURN: -5}

_IPV4 = 2
_PROTOCOLS = {"tcp": 6, "udp": 17}
_ESTABLISHED_OR_RELATED = 2 | 4
_DST_NAT = 0x20
_RTN_LOCAL = 2

# Data types of nft(8), six bits each in a concatenation; only for people who list the table.
_ADDR, _PROTO, _SERVICE, _IFNAME = 7, 12, 13, 41

# name -> (key types, key bytes, data types, data bytes); fields are padded to 4 bytes.
_SETS: Mapping[str, tuple[tuple[int, ...], int, tuple[int, ...], int]] = {
    "bridges": ((_IFNAME,), 16, (), 0),
    "masqueraded": ((_IFNAME,), 16, (), 0),
    "internal": ((_IFNAME,), 16, (), 0),
    "peers": ((_IFNAME, _IFNAME), 32, (), 0),
    "published": ((_PROTO, _SERVICE), 8, (_ADDR, _SERVICE), 8),
    "published_at": ((_ADDR, _PROTO, _SERVICE), 12, (_ADDR, _SERVICE), 8),
}
# name -> (type, hook number, priority)
_CHAINS = {
    "prerouting": ("nat", 0, -100),
    "forward": ("filter", 2, 0),
    "postrouting": ("nat", 4, 100),
}

# Host byte order: without it nft(8) lists names of links as "".
_NAMES_ARE_TEXT = {"userdata": [("NFTNL_UDATA_SET_KEYBYTEORDER", struct.pack("=I", 1))]}

Expression = dict[str, Any]


class Rules:
    """Our table in the namespace in which this is made; for one thread at a time."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._channel = Channel(NETFILTER)

    def close(self) -> None:
        """Give the socket back."""
        self._channel.close()

    def replace(self, wanted: Table) -> None:
        """Make the table anew with everything it shall hold, in one step that packets do not see.

        Raises:
            OSError: EOPNOTSUPP or the like without nftables in the kernel, EPERM without the right.
        """
        content = [element for bridge in wanted.bridges for element in _bridge_elements(bridge)]
        content += [_forward_element(one) for one in wanted.forwards]
        self._commit(
            # Made first, as deleting what is not there undoes the whole batch.
            self._message(nft_table_msg, _NEWTABLE, CREATE, {"name": self._table}),
            self._message(nft_table_msg, _DELTABLE, 0, {"name": self._table}),
            self._message(nft_table_msg, _NEWTABLE, CREATE, {"name": self._table}),
            *(self._set(number, name) for number, name in enumerate(_SETS, 1)),
            *(self._chain(name) for name in _CHAINS),
            *(self._rule(chain, rule) for chain, rules in _RULES.items() for rule in rules),
            *(self._element(_NEWSETELEM, name, element) for name, element in content),
        )

    def add_bridge(self, bridge: BridgeRules) -> None:
        """Let the rules know a bridge."""
        self._change(_NEWSETELEM, _bridge_elements(bridge))

    def remove_bridge(self, bridge: BridgeRules) -> None:
        """Forget a bridge; one that is not known is no error."""
        self._remove(_bridge_elements(bridge))

    def add_forwards(self, forwards: Iterable[Forward]) -> None:
        """Publish ports to the outside.

        Raises:
            OSError: ENOENT when somebody flushed the table; `replace` brings it back.
        """
        self._change(_NEWSETELEM, [_forward_element(one) for one in forwards])

    def remove_forwards(self, forwards: Iterable[Forward]) -> None:
        """Unpublish ports; those that are not published are no error."""
        self._remove([_forward_element(one) for one in forwards])

    def present(self) -> bool:
        """Say whether the table is there."""
        message = self._message(nft_table_msg, _GETTABLE, 0, {"name": self._table})
        try:
            return bool(self._channel.ask(self._table, message))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def clean(self) -> None:
        """Remove the table and everything in it."""
        self._commit(
            self._message(nft_table_msg, _NEWTABLE, CREATE, {"name": self._table}),
            self._message(nft_table_msg, _DELTABLE, 0, {"name": self._table}),
        )

    def _remove(self, elements: Iterable[tuple[str, Expression]]) -> None:
        # One by one: in a batch the first that is missing would keep all others.
        for element in elements:
            with contextlib.suppress(FileNotFoundError):
                self._change(_DELSETELEM, [element])

    def _change(self, kind: int, elements: Iterable[tuple[str, Expression]]) -> None:
        messages = [self._element(kind, name, element) for name, element in elements]
        if messages:
            self._commit(*messages)

    def _commit(self, *messages: bytes) -> None:
        self._channel.ask(self._table, _border(_BEGIN), *messages, _border(_END))

    def _set(self, number: int, name: str) -> bytes:
        key_types, key_bytes, data_types, data_bytes = _SETS[name]
        flags: set[str] = {"NFT_SET_MAP"} if data_bytes else set()
        more = {"data_type": _concatenated(data_types), "data_len": data_bytes}
        return self._message(
            nft_set_msg,
            _NEWSET,
            CREATE,
            {
                "table": self._table,
                "name": name,
                "flags": flags,
                "key_type": _concatenated(key_types),
                "key_len": key_bytes,
                **(more if data_bytes else {}),
                **(_NAMES_ARE_TEXT if key_types == (_IFNAME,) else {}),
                "id": number,
            },
        )

    def _chain(self, name: str) -> bytes:
        kind, hook, priority = _CHAINS[name]
        place = [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]
        return self._message(
            nft_chain_msg,
            _NEWCHAIN,
            CREATE,
            {
                "table": self._table,
                "name": name,
                "hook": {"attrs": place},
                "policy": _VERDICTS[_ACCEPT],
                "type": kind,
            },
        )

    def _rule(self, chain: str, expressions: list[Expression]) -> bytes:
        return self._message(
            nft_rule_msg,
            _NEWRULE,
            CREATE | APPEND,
            {"table": self._table, "chain": chain, "expressions": expressions},
        )

    def _element(self, kind: int, name: str, element: Expression) -> bytes:
        return self._message(
            nft_set_elem_list_msg,
            kind,
            CREATE if kind == _NEWSETELEM else 0,
            {"table": self._table, "set": name, "elements": [element]},
        )

    @staticmethod
    def _message(shape: Any, kind: int, flags: int, attributes: Mapping[str, Any]) -> bytes:
        message = shape()
        message["nfgen_family"] = _INET
        message["header"]["type"] = _SUBSYSTEM << 8 | kind
        message["header"]["flags"] = REQUEST | flags
        message["attrs"] = [(shape.name2nla(key), value) for key, value in attributes.items()]
        message.encode()
        return bytes(message.data)


def _border(kind: int) -> bytes:
    message = nfgen_msg()
    message["res_id"] = _SUBSYSTEM
    message["header"]["type"], message["header"]["flags"] = kind, REQUEST
    message.encode()
    return bytes(message.data)


def _concatenated(types: tuple[int, ...]) -> int:
    number = 0
    for one in types:
        number = number << 6 | one
    return number


def _name(link: str) -> bytes:
    return link.encode().ljust(16, b"\0")


def _service(port: int) -> bytes:
    return struct.pack("!H2x", port)


def _value(data: bytes) -> Expression:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _bridge_elements(rules: BridgeRules) -> list[tuple[str, Expression]]:
    name = _name(rules.bridge)
    sets = {
        "bridges": (True, name),
        "masqueraded": (rules.masqueraded, name),
        "internal": (rules.internal, name),
        "peers": (rules.talk, name + name),
    }
    return [
        (one, {"attrs": [("NFTA_SET_ELEM_KEY", _value(key))]})
        for one, (wanted, key) in sets.items()
        if wanted
    ]


def _forward_element(forward: Forward) -> tuple[str, Expression]:
    key = struct.pack("B3x", _PROTOCOLS[forward.protocol]) + _service(forward.host_port)
    if forward.host_ip:
        key = socket.inet_aton(forward.host_ip) + key
    data = socket.inet_aton(forward.target) + _service(forward.target_port)
    return (
        "published_at" if forward.host_ip else "published",
        {"attrs": [("NFTA_SET_ELEM_KEY", _value(key)), ("NFTA_SET_ELEM_DATA", _value(data))]},
    )


def _expression(name: str, **attributes: Any) -> Expression:
    prefix = f"NFTA_{name.upper()}_"
    data = [(prefix + key.upper(), value) for key, value in attributes.items()]
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _meta(key: int, register: int) -> Expression:
    return _expression("meta", key=int(key), dreg=register)


def _equal(register: int, data: bytes) -> Expression:
    return _expression("cmp", sreg=register, op=0, data=_value(data))


def _in(name: str, register: int = _REG_1) -> Expression:
    return _expression("lookup", set=name, sreg=register)


def _not_in(name: str, register: int = _REG_1) -> Expression:
    return _expression("lookup", set=name, sreg=register, flags={"NFT_LOOKUP_F_INV"})


def _any_bit(key: int, bits: int) -> list[Expression]:
    """Match connections that have one of these bits of state (0) or status (2)."""
    return [
        _expression("ct", key=key, dreg=_REG_1),
        _expression(
            "bitwise",
            sreg=_REG_1,
            dreg=_REG_1,
            len=4,
            mask=_value(struct.pack("=I", bits)),
            xor=_value(bytes(4)),
        ),
        _expression("cmp", sreg=_REG_1, op=1, data=_value(bytes(4))),
    ]


def _verdict(name: str) -> Expression:
    code = {"attrs": [("NFTA_VERDICT_CODE", _VERDICTS[name])]}
    return _expression("immediate", dreg=0, data={"attrs": [("NFTA_DATA_VERDICT", code)]})


_IIF = _meta(Meta.NFT_META_IIFNAME, _REG_1)
_OIF = _meta(Meta.NFT_META_OIFNAME, _REG_1)
_IS_IPV4 = [_meta(Meta.NFT_META_NFPROTO, _REG_1), _equal(_REG_1, bytes([_IPV4]))]
_TO_THIS_HOST = [
    # pyroute2 takes the result for flags: 3, "the kind of address", is its bits 0 and 1.
    _expression(
        "fib", dreg=_REG_1, result={"NFT_FIB_RESULT_UNSPEC", "NFT_FIB_RESULT_OIF"}, flags=2
    ),
    _equal(_REG_1, struct.pack("=I", _RTN_LOCAL)),
]


def _port_key(first: int) -> list[Expression]:
    """Load protocol and destination port into two registers."""
    return [
        _meta(Meta.NFT_META_L4PROTO, first),
        _expression("payload", dreg=first + 1, base=2, offset=2, len=2),
    ]


def _to_container(name: str) -> list[Expression]:
    """Look the key in the first registers up and change the destination to what the map says."""
    return [
        _expression("lookup", set=name, sreg=_REG32_0, dreg=_REG32_0),
        _expression("nat", type=1, family=_IPV4, reg_addr_min=_REG32_0, reg_proto_min=_REG32_1),
    ]


_RULES: Mapping[str, list[list[Expression]]] = {
    "prerouting": [
        # Containers reach published ports by the port helper, also their own ("hairpin").
        [_IIF, _in("bridges"), _verdict(_RETURN)],
        [
            *_IS_IPV4,
            _expression("payload", dreg=_REG32_0, base=1, offset=16, len=4),
            *_port_key(_REG32_1),
            *_to_container("published_at"),
        ],
        [*_IS_IPV4, *_TO_THIS_HOST, *_port_key(_REG32_0), *_to_container("published")],
    ],
    "forward": [
        # Packets inside one bridge come by here where br_netfilter is loaded.
        [
            _IIF,
            _meta(Meta.NFT_META_OIFNAME, _REG_2),
            _in("peers"),
            _verdict(_ACCEPT),
        ],
        [_IIF, _in("internal"), _verdict(_DROP)],
        [_OIF, _in("internal"), _verdict(_DROP)],
        [_OIF, _in("bridges"), *_any_bit(0, _ESTABLISHED_OR_RELATED), _verdict(_ACCEPT)],
        [_OIF, _in("bridges"), *_any_bit(2, _DST_NAT), _verdict(_ACCEPT)],
        [_OIF, _in("bridges"), _verdict(_DROP)],
    ],
    "postrouting": [
        [_IIF, _in("masqueraded"), _OIF, _not_in("bridges"), _expression("masq")],
    ],
}
