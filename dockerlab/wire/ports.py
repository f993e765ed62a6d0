"""Ports: `80/tcp` as documents write it, `-p 127.0.0.1:8080-8090:80-90/udp` as people do.

Knows:   the grammar of published ports, ranges, IPv6 in brackets, Docker's refusals.
Refuses: to open or choose a port; `engine/net/` does.
Source:  docker/go-connections nat.go, parse.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import PortBinding

PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_MAX_PORT = 65535


def exposed_port(text: str) -> tuple[int, str]:
    """Read a document's key: "80/tcp", "53/udp", or "80" for tcp.

    Raises:
        InvalidRequest: no port, a range, or an unknown protocol.
    """
    first, last, protocol = exposed_range(text)
    if first != last:
        raise InvalidRequest(f"invalid port specification: {text}")
    return first, protocol


def exposed_range(text: str) -> tuple[int, int, str]:
    """Read "8000-8010/udp" as first, last and protocol.

    Raises:
        InvalidRequest: no ports, or an unknown protocol.
    """
    ports, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidRequest(f"invalid proto: {protocol}", hint="Write tcp, udp or sctp.")
    first, last = _range(ports, text)
    return first, last, protocol


def host_range(text: str) -> tuple[int, int]:
    """Read a binding's HostPort: "8080", "8000-8010"; "" and "0" are (0, 0), any free one.

    Raises:
        InvalidRequest: no port.
    """
    return _range(text, text) if text else (0, 0)


def parse_publish(specs: Iterable[str]) -> dict[str, list[PortBinding]]:
    """Read `-p` options into `HostConfig.PortBindings`; each key is also an exposed port.

    Accepts [[HOST_IP:]HOST_PORT[-LAST]:]PORT[-LAST][/PROTOCOL].

    Raises:
        InvalidRequest: in Docker's words.
    """
    result: dict[str, list[PortBinding]] = {}
    for spec in specs:
        for key, binding in _publish(spec):
            result.setdefault(key, []).append(binding)
    return result


def _publish(spec: str) -> list[tuple[str, PortBinding]]:
    address, host, container = _split(spec)
    if not container:
        raise InvalidRequest(f"no port specified: {spec}<empty>")
    ports, slash, protocol = container.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidRequest(f"invalid proto: {protocol}", hint="Write tcp, udp or sctp.")
    try:
        first, last = _range(ports, spec)
    except InvalidRequest:
        raise InvalidRequest(
            f"invalid containerPort: {ports}", hint="Write -p HOST_PORT:CONTAINER_PORT"
        ) from None
    try:
        host_first, host_last = host_range(host)
    except InvalidRequest:
        raise InvalidRequest(
            f"invalid hostPort: {host}", hint="Write -p HOST_PORT:CONTAINER_PORT"
        ) from None
    count, host_count = last - first + 1, host_last - host_first + 1
    if host and count not in (host_count, 1):
        raise InvalidRequest(
            f"invalid ranges specified for container and host Ports: {ports} and {host}"
        )
    found = []
    for offset in range(count):
        if not host:
            host_port = ""
        elif count == 1 and host_count != 1:
            host_port = host
        else:
            host_port = str(host_first + offset)
        binding = PortBinding(host_ip=address, host_port=host_port)
        found.append((f"{first + offset}/{protocol}", binding))
    return found


def _split(spec: str) -> tuple[str, str, str]:
    head, colon, container = spec.rpartition(":")
    if not colon:
        return "", "", spec
    address, colon, host = head.rpartition(":")
    if not colon:
        return "", head, container
    address = address.removeprefix("[").removesuffix("]")
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise InvalidRequest(
                f"invalid IP address: {address}", hint="Write an address, not a host name."
            ) from error
    return address, host, container


def _range(text: str, whole: str) -> tuple[int, int]:
    first_text, dash, last_text = text.partition("-")
    first = _port(first_text, whole)
    last = _port(last_text, whole) if dash else first
    if last < first:
        raise InvalidRequest(f"invalid range specified for port: {text}")
    return first, last


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > _MAX_PORT:
        raise InvalidRequest(f"invalid port specification: {whole}", hint="Ports end at 65535.")
    return int(text)
