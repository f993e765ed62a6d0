"""What the kernel would be told, written as commands."""

from __future__ import annotations

from dockerlab.engine.model.network import Endpoint, Network, Published, Subnet
from dockerlab.engine.net import plan


def a_network(**more):
    subnet = Subnet(cidr="172.18.0.0/16", gateway="172.18.0.1")
    values = {
        "id": "ab" * 32,
        "name": "net",
        "driver": "bridge",
        "created_ns": 0,
        "subnets": (subnet,),
    }
    return Network(**{**values, **more})


def an_endpoint(**more):
    values = {
        "id": "cd" * 32,
        "network_id": "ab" * 32,
        "network_name": "net",
        "owner": "ef" * 32,
        "owner_name": "web",
        "interface": "eth0",
        "link": "vethcdcdcdc",
        "mac": "02:42:ac:12:00:02",
        "address": "172.18.0.2/16",
        "gateway": "172.18.0.1",
    }
    return Endpoint(**{**values, **more})


def test_a_bridge_and_what_the_table_says_of_it():
    network = a_network()
    assert plan.bridge_of(network).describe() == (
        "ip link add br-abababababab type bridge; ip link set br-abababababab mtu 1500 up; "
        "ip address add 172.18.0.1/16 dev br-abababababab"
    )
    assert plan.rules_of(network).describe() == (
        "add element bridges { br-abababababab }; "
        "add element peers { br-abababababab . br-abababababab }; "
        "add element masqueraded { br-abababababab }"
    )
    closed = a_network(internal=True, options={"com.docker.network.bridge.enable_icc": "false"})
    assert plan.rules_of(closed).describe() == (
        "add element bridges { br-abababababab }; add element internal { br-abababababab }"
    )


def test_a_cable_and_the_inside():
    assert plan.pair_of(a_network(), an_endpoint()).describe() == (
        "ip link add vethcdcdcdc mtu 1500 master br-abababababab up type veth peer name eth0 "
        "address 02:42:ac:12:00:02 mtu 1500 netns PID"
    )
    steps = plan.inside_of(an_endpoint(), default_route=True)
    assert [step.describe() for step in steps] == [
        "ip link set lo up",
        "ip address add 172.18.0.2/16 dev eth0",
        "ip link set eth0 up",
        "ip route add default via 172.18.0.1",
    ]
    silent = a_network(options={"com.docker.network.bridge.enable_icc": "false"})
    assert plan.pair_of(silent, an_endpoint()).describe().endswith("isolated on")


def test_which_published_ports_get_packets_from_outside():
    def published(host_ip):
        return Published(protocol="tcp", host_ip=host_ip, host_port=8080, container_port=80)

    endpoint = an_endpoint(
        published=tuple(map(published, ("0.0.0.0", "::", "127.0.0.1", "192.0.2.7")))
    )
    assert [one.describe() for one in plan.forwards_of(endpoint)] == [
        "add element published { tcp . 8080 : 172.18.0.2 . 80 }",
        "add element published_at { 192.0.2.7 . tcp . 8080 : 172.18.0.2 . 80 }",
    ]


def test_who_carries_the_default_route():
    one = an_endpoint()
    first = an_endpoint(id="1" * 64, network_name="a")
    inner = an_endpoint(id="2" * 64, network_name="0", internal=True, gateway="")
    chosen = an_endpoint(id="3" * 64, network_name="z", priority=1)
    assert plan.carries_default_route(one, [one])
    assert not plan.carries_default_route(inner, [inner])
    assert plan.carries_default_route(first, [one, first, inner])
    assert plan.carries_default_route(chosen, [one, first, inner, chosen])
