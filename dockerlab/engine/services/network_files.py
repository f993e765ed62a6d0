"""Write the texts of /etc/hosts and /etc/resolv.conf of a container.

Knows:   Docker's rules for both; which resolvers of the host a container can reach.
Refuses: to write; `preparation.py` does. Only `files` reads, the host's own two files.
         There is no embedded DNS server yet: containers of user-defined networks get the host's
         resolvers too, and find each other by address only.
Source:  moby daemon/libnetwork/internal/resolvconf, libnetwork/etchosts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import Endpoint

_IPV4_LINES = ("127.0.0.1\tlocalhost",)
_IPV6_LINES = (
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)
_PUBLIC = ("8.8.8.8", "8.8.4.4")
_PUBLIC6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")
_STUB_RESOLVER = "127.0.0.53"
_RESOLV_CONF = Path("/etc/resolv.conf")
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_HOSTS = Path("/etc/hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def files(container: Container, endpoints: Sequence[Endpoint], gateway: str) -> Mapping[str, str]:
    """Write hosts, hostname and resolv.conf of a container.

    Args:
        container: with what the user asked for.
        endpoints: its places in networks, in order.
        gateway: what `host-gateway` stands for.
    """
    host, config = container.host, container.config
    on_host = host.network_mode == "host"
    ipv6 = any(one.address6 for one in endpoints)
    resolver = overridden(_host_resolver(), host.dns, host.dns_search, host.dns_options)
    if not on_host and not host.dns:
        resolver = reachable(resolver, ipv6=ipv6)
    if on_host and not host.extra_hosts and _HOSTS.exists():
        text = _HOSTS.read_text()
    else:
        own = [ip for one in endpoints for ip in (one.ip, one.ip6) if ip]
        text = hosts(own, config.hostname, config.domainname, host.extra_hosts, gateway, ipv6=ipv6)
    return {
        "hosts": text,
        "hostname": f"{config.hostname}\n",
        "resolv.conf": render_resolver(resolver),
    }


def hosts(
    own: Sequence[str],
    hostname: str,
    domainname: str,
    extra: Sequence[str],
    gateway: str,
    *,
    ipv6: bool,
) -> str:
    """Write /etc/hosts.

    Args:
        own: the container's addresses, one line each.
        hostname: as in its configuration, perhaps with dots.
        domainname: appended to the name where there is one.
        extra: `--add-host` entries, NAME:ADDRESS or NAME=ADDRESS.
        gateway: what `host-gateway` stands for.
        ipv6: whether the lines of that family belong in it.
    """
    lines = [*_IPV4_LINES, *(_IPV6_LINES if ipv6 else ())]
    lines += [_extra_line(one, gateway) for one in extra]
    name = f"{hostname}.{domainname}" if domainname else hostname
    words = f"{name} {name.partition('.')[0]}" if "." in name else name
    lines += [f"{address}\t{words}" for address in own]
    return "\n".join(lines) + "\n"


def _extra_line(entry: str, gateway: str) -> str:
    separator = "=" if "=" in entry else ":"
    name, _, address = entry.partition(separator)
    address = address.removeprefix("[").removesuffix("]")
    return f"{gateway if address == 'host-gateway' else address}\t{name}"


def read_resolver(text: str) -> Resolver:
    """Read a resolv.conf; the last `search` or `domain` line counts, as in the C library."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *names]:
                search = tuple(names)
            case ["options", *more]:
                options += more
    return Resolver(servers=tuple(servers), search=search, options=tuple(options))


def overridden(
    host: Resolver, servers: Sequence[str], search: Sequence[str], options: Sequence[str]
) -> Resolver:
    """Put what the user asked for in the place of what the host has."""
    wanted = tuple(search) or host.search
    return Resolver(
        servers=tuple(servers) or host.servers,
        search=() if wanted == (".",) else wanted,
        options=tuple(options) or host.options,
    )


def reachable(host: Resolver, *, ipv6: bool) -> Resolver:
    """Leave out the resolvers that a container can't reach; public ones when none is left."""
    servers = tuple(one for one in host.servers if _reachable(one, ipv6=ipv6))
    public = (*_PUBLIC, *(_PUBLIC6 if ipv6 else ()))
    return Resolver(servers=servers or public, search=host.search, options=host.options)


def _reachable(server: str, *, ipv6: bool) -> bool:
    try:
        address = ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return not address.is_loopback and (ipv6 or address.version == 4)


def render_resolver(resolver: Resolver) -> str:
    """Write a resolv.conf."""
    lines = ["# Generated by dockerlab for this container; edits are kept while it runs.", ""]
    lines += [f"nameserver {one}" for one in resolver.servers]
    if resolver.search:
        lines.append("search " + " ".join(resolver.search))
    if resolver.options:
        lines.append("options " + " ".join(resolver.options))
    return "\n".join(lines) + "\n"


def _host_resolver() -> Resolver:
    """Read the host's resolvers; behind systemd's stub, the ones it asks itself."""
    found = _read(_RESOLV_CONF)
    if set(found.servers) == {_STUB_RESOLVER}:
        return _read(_RESOLVED)
    return found


def _read(path: Path) -> Resolver:
    try:
        return read_resolver(path.read_text())
    except OSError:
        return Resolver()
