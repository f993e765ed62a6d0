"""What a network create request means; and the texts of hosts and resolv.conf."""

from __future__ import annotations

import ipaddress

import pytest

from dockerlab.engine.model.network import Network, Subnet
from dockerlab.engine.services import network_files, network_requests
from dockerlab.engine.services.network_files import Resolver
from dockerlab.engine.services.network_requests import Facts
from dockerlab.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unavailable
from dockerlab.wire.documents import IPAM, IPAMConfig, NetworkCreate

BRIDGE = Network(
    id="00" * 32,
    name="bridge",
    driver="bridge",
    created_ns=0,
    subnets=(Subnet(cidr="172.17.0.0/16", gateway="172.17.0.1"),),
    predefined=True,
)
OTHER = Network(
    id="11" * 32,
    name="other",
    driver="bridge",
    created_ns=0,
    subnets=(Subnet(cidr="10.0.0.0/16", gateway="10.0.0.1", given=True),),
)
FACTS = Facts(
    id="ab" * 32,
    now_ns=5,
    networks=[BRIDGE, OTHER],
    routes=[ipaddress.ip_network("172.18.0.0/24")],
)


def asked(*pools, **more):
    return NetworkCreate(**{"name": "new", "ipam": IPAM(config=pools), **more})


def test_a_network_without_wishes_gets_the_next_free_pool():
    made = network_requests.decide(asked(), FACTS)
    assert made.subnets == (Subnet(cidr="172.19.0.0/16", gateway="172.19.0.1"),)
    assert (made.driver, made.bridge, made.mtu, made.icc) == (
        "bridge", "br-abababababab", 1500, True,
    )  # fmt: skip


def test_a_network_with_wishes():
    pool = IPAMConfig(
        subnet="10.1.0.0/24", gateway="10.1.0.254", auxiliary_addresses={"nas": "10.1.0.9"}
    )
    made = network_requests.decide(asked(pool, internal=True, labels={"a": "b"}), FACTS)
    assert made.subnets[0].gateway == "10.1.0.254"
    assert made.subnets[0].given
    assert made.internal
    assert not made.masquerade


def test_ipv6_gets_a_private_prefix_of_its_own():
    made = network_requests.decide(asked(enable_ipv6=True), FACTS)
    assert [one.cidr for one in made.subnets] == ["172.19.0.0/16", "fdab:abab:abab::/64"]


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [
        (asked(name=""), InvalidRequest, "network name cannot be empty"),
        (asked(name="bridge"), Forbidden, "not permitted on predefined bridge network"),
        (asked(name="other"), Conflict, "network with name other already exists"),
        (asked(driver="x"), NotFound, "could not find plugin x in v1 plugin registry"),
        (asked(driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (asked(driver="overlay"), Unavailable, "This node is not a swarm manager"),
        (asked(IPAMConfig(subnet="10.0.5.0/24")), Forbidden, "Pool overlaps with other one"),
        (
            asked(IPAMConfig(subnet="10.1.0.0/24"), IPAMConfig(subnet="10.1.0.0/25")),
            Forbidden,
            "Pool overlaps with other one",
        ),
        (
            asked(IPAMConfig(subnet="10.1.0.1/24")),
            InvalidRequest,
            "invalid network config:\ninvalid subnet 10.1.0.1/24: it should be 10.1.0.0/24",
        ),
        (
            asked(options={"com.docker.network.driver.mtu": "x"}),
            InvalidRequest,
            "invalid value for com.docker.network.driver.mtu: x",
        ),
    ],
)
def test_refusals(request_, kind, text):
    with pytest.raises(kind) as refused:
        network_requests.decide(request_, FACTS)
    assert text in str(refused.value)


def test_hosts():
    text = network_files.hosts(
        ["172.17.0.2"],
        "web.example.org",
        "",
        ["db:10.0.0.9", "gate:host-gateway", "six=[fd00::1]"],
        "172.17.0.1",
        ipv6=False,
    )
    assert text == (
        "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.1\tgate\nfd00::1\tsix\n"
        "172.17.0.2\tweb.example.org web\n"
    )
    assert "ip6-localhost" in network_files.hosts([], "h", "", [], "", ipv6=True)


def test_resolvers():
    host = network_files.read_resolver(
        "# comment\nnameserver 127.0.0.1\nnameserver 10.0.0.53 ; here\nnameserver fd00::53\n"
        "domain old\nsearch a.example b.example\noptions ndots:2\n"
    )
    assert host == Resolver(
        servers=("127.0.0.1", "10.0.0.53", "fd00::53"),
        search=("a.example", "b.example"),
        options=("ndots:2",),
    )
    assert network_files.reachable(host, ipv6=False).servers == ("10.0.0.53",)
    assert network_files.reachable(Resolver(servers=("::1",)), ipv6=False).servers == (
        "8.8.8.8", "8.8.4.4",
    )  # fmt: skip
    own = network_files.overridden(host, ("127.0.0.2",), (".",), ())
    assert own == Resolver(servers=("127.0.0.2",), search=(), options=("ndots:2",))
    assert network_files.render_resolver(own).endswith("nameserver 127.0.0.2\noptions ndots:2\n")
