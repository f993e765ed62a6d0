"""Packets through bridges, rules and port helpers, between namespaces made for the purpose.

Each test runs in a throwaway child with a network namespace of its own: that is "the host".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

from dockerlab.engine.linux.syscalls import (
    CLONE_NEWNET,
    set_parent_death_signal,
    setns,
    unshare,
)
from dockerlab.engine.model.container import Container
from dockerlab.engine.net import port_helper, replay_helper
from dockerlab.engine.net.addresses import mac_of
from dockerlab.engine.net.netlink import LOOPBACK_UP, ROUTE, Channel
from dockerlab.engine.net.plan import AddAddress, AddRoute, LinkUp, MakeBridge, MakePair
from dockerlab.engine.services.networks import Networks
from dockerlab.engine.store.db import Database
from dockerlab.errors import Failed, Forbidden, Unsupported
from dockerlab.wire.documents import (
    IPAM,
    ContainerConfig,
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    IPAMConfig,
    NetworkCreate,
    PortBinding,
)
from dockerlab.wire.filters import Filters

OUTSIDE_HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"
PATIENCE_S = 10


def in_a_host(body):
    """Run a test in a child that is a host of its own; its traceback becomes ours."""

    def test(tmp_path):
        if os.geteuid() != 0:
            pytest.skip("needs root: it makes network namespaces")
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                os.close(reading)
                signal.alarm(60)
                unshare(CLONE_NEWNET)
                with Channel(ROUTE) as channel:
                    channel.ask("lo", LOOPBACK_UP)
                asyncio.run(body(tmp_path))
            except BaseException:  # noqa: BLE001 - the parent shows it
                os.write(writing, traceback.format_exc()[-60000:].encode())
                code = 1
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            text = file.read().decode()
        _, status = os.waitpid(pid, 0)
        assert status == 0, text or f"the child ended with status {status}"

    test.__name__, test.__doc__ = body.__name__, body.__doc__
    return test


def fork():
    """Fork a child that ends with its parent, however that ends."""
    pid = os.fork()
    if pid == 0:
        set_parent_death_signal(signal.SIGKILL)
    return pid


class Space:
    """A network namespace kept by a process that waits, and what runs in it."""

    def __init__(self):
        ready, self._keep = os.pipe(), os.pipe()
        self.pid = fork()
        if self.pid == 0:
            os.close(self._keep[1])
            unshare(CLONE_NEWNET)
            os.write(ready[1], b"x")
            os.read(self._keep[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        for descriptor in (*ready, self._keep[0]):
            os.close(descriptor)
        self.netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.servers = []

    def replay(self, batch):
        def work():
            with Channel(ROUTE) as channel:
                channel.ask("inside", batch)

        self.run(work)

    def run(self, work):
        """Run a function inside and give back what it returns (as JSON)."""
        reading, writing = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                setns(self.netns, CLONE_NEWNET)
                answer = {"value": work()}
            except BaseException as error:  # noqa: BLE001 - the parent shows it
                answer = {"error": f"{type(error).__name__}: {error}"}
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            answer = json.loads(file.read())
        os.waitpid(pid, 0)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def serve(self, make, work):
        """Open a socket inside, then serve it in a child for as long as the space lives."""
        ready = os.pipe()
        pid = fork()
        if pid == 0:
            setns(self.netns, CLONE_NEWNET)
            sock = make()
            os.write(ready[1], b"x")
            while True:
                work(sock)
        os.read(ready[0], 1)
        for descriptor in ready:
            os.close(descriptor)
        self.servers.append(pid)

    def close(self):
        os.close(self.netns)
        os.close(self._keep[1])
        # The servers inherited the keeper's pipe: its end would never come.
        for pid in (*self.servers, self.pid):
            os.kill(pid, signal.SIGKILL)
        for pid in (*self.servers, self.pid):
            os.waitpid(pid, 0)


def tcp_listener(port):
    return lambda: socket.create_server(("0.0.0.0", port))


def udp_listener(port):
    def make():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        return sock

    return make


def tell_peer(sock):
    """Serve one connection: say whom we see, then echo until the end."""
    peer, address = sock.accept()
    with peer:
        peer.sendall(address[0].encode() + b"\n")
        while data := peer.recv(65536):
            peer.sendall(data)


def tell_sender(sock):
    data, address = sock.recvfrom(65536)
    sock.sendto(address[0].encode() + b" " + data, address)


def ask_tcp(host, port, timeout_s=PATIENCE_S):
    with socket.create_connection((host, port), timeout_s) as sock:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        data = b""
        while more := sock.recv(65536):
            data += more
    return data.decode()


def ask_udp(host, port, source=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if source:
            sock.bind((source, 0))
        sock.settimeout(PATIENCE_S)
        sock.connect((host, port))
        sock.send(b"ping")
        return sock.recv(65536).decode()


def fails(call):
    try:
        call()
    except OSError:
        return True
    return False


class Events:
    def __init__(self):
        self.seen = []

    def emit(self, kind, action, actor_id, attributes):
        self.seen.append(f"{kind} {action} {attributes.get('name', '')}")


class Zygote:
    """Forks port helpers as the engine's zygote does."""

    def __init__(self):
        self.lifelines, self.pids = [], []

    async def fork_ports(self, request, owner=None):
        ours, theirs = socket.socketpair()
        watched, lifeline = os.pipe()
        pid = fork()
        if pid == 0:
            ours.close()
            os.close(lifeline)
            for other in self.lifelines:
                os.close(other)
            with contextlib.suppress(BaseException):
                port_helper.run(request, theirs.detach(), watched)
            os._exit(1)
        theirs.close()
        os.close(watched)
        self.pids.append(pid)
        self.lifelines.append(lifeline)
        with ours.makefile("rb") as file:
            return Answer(json.loads(file.readline()))

    def end_first(self):
        pid = self.pids.pop(0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def end(self):
        for lifeline in self.lifelines:
            os.close(lifeline)
        self.lifelines.clear()
        for pid in self.pids:
            assert os.waitpid(pid, 0)[1] == 0
        self.pids.clear()


@dataclass
class Answer:
    answer: dict


class Lab:
    """An engine's networks, an outside host, and containers that are bare namespaces."""

    def __init__(self, tmp_path: Path):
        self.db = Database(tmp_path / "state.db")
        self.events, self.zygote = Events(), Zygote()
        self.spaces = []
        self.networks = self.engine()
        self.outside = self.space()

    def engine(self):
        return Networks(
            self.db, self.events, bridge="dlt0", subnet="10.201.0.0/24", table="dlt-test"
        )

    def space(self):
        self.spaces.append(Space())
        return self.spaces[-1]

    async def start(self):
        await self.networks.start()
        from dockerlab.engine.net.links import Links, encode_inside

        links = Links()
        links.make_bridge(MakeBridge(name="out0", addresses=(f"{OUTSIDE_HOST}/24",)))
        pair = MakePair(link="outv", bridge="out0", interface="eth0", mac=mac_of(OUTSIDE))
        index = links.make_pair(pair, self.outside.netns)
        # Addresses of ports come and go with containers, and browsers drop connections by that.
        switch = Path("/proc/sys/net/ipv6/conf/outv/disable_ipv6")
        assert switch.read_text() == "1\n"  # noqa: ASYNC240 - the kernel's memory, not a disk
        steps = (
            LinkUp(name="lo"),
            AddAddress(name="eth0", address=f"{OUTSIDE}/24"),
            LinkUp(name="eth0"),
        )
        self.outside.replay(encode_inside(steps, index))
        self.links = links
        self.outside_index, self.encode = index, encode_inside
        return self

    async def run(self, number, network="bridge", settings=None, **host):
        """Start a container: allocate, wire, replay inside."""
        container = Container(
            id=f"{number:064x}",
            name=f"c{number}",
            created_ns=1,
            image="x",
            image_id="sha256:" + "0" * 64,
            path="true",
            args=(),
            config=ContainerConfig(hostname=f"c{number}"),
            host=HostConfig(**host),
            networks={network: EndpointSettings()},
        )
        space = self.space()
        endpoint = await self.networks.allocate(container, network, settings)
        space.replay(await self.networks.wire(endpoint, space.netns))
        space.serve(tcp_listener(80), tell_peer)
        space.serve(udp_listener(53), tell_sender)
        await self.networks.publish(container, self.zygote)
        return container, endpoint, space

    async def end(self):
        for space in self.spaces:
            space.close()
        self.zygote.end()
        await self.networks.clean()
        await self.networks.close()
        self.db.close()


@in_a_host
async def test_a_container_reaches_outside_with_the_hosts_address(tmp_path):
    lab = await Lab(tmp_path).start()
    lab.outside.serve(tcp_listener(7), tell_peer)
    lab.outside.serve(udp_listener(7), tell_sender)
    _, endpoint, space = await lab.run(1)
    assert endpoint.address == "10.201.0.2/24"
    assert space.run(lambda: ask_tcp(OUTSIDE, 7)) == f"{OUTSIDE_HOST}\nhello"
    assert space.run(lambda: ask_udp(OUTSIDE, 7)) == f"{OUTSIDE_HOST} ping"
    assert space.run(lambda: ask_tcp("10.201.0.2", 80)).endswith("hello")
    assert [one.name for one in lab.links.ports("dlt0")] == [endpoint.link]
    await lab.networks.release(endpoint.owner)
    await lab.networks.release(endpoint.owner)
    await lab.networks.wiring.settled()
    assert lab.links.ports("dlt0") == []
    assert lab.events.seen == ["network connect bridge", "network disconnect bridge"]
    await lab.end()


@in_a_host
async def test_a_published_port_serves_loopback_outside_and_containers(tmp_path):
    lab = await Lab(tmp_path).start()
    bindings = {
        "80/tcp": (PortBinding(host_ip="", host_port="8080"),),
        "53/udp": (PortBinding(host_ip="0.0.0.0", host_port="8053"),),
    }
    container, _, space = await lab.run(1, port_bindings=bindings)
    loop = asyncio.get_running_loop()
    assert ask_tcp("127.0.0.1", 8080) == "10.201.0.1\nhello"
    assert ask_tcp("::1", 8080) == "10.201.0.1\nhello"
    assert ask_udp("127.0.0.1", 8053) == "10.201.0.1 ping"
    assert ask_udp("127.0.0.7", 8053) == "10.201.0.1 ping"
    # From outside the kernel forwards: the container sees who really asks.
    assert lab.outside.run(lambda: ask_tcp(OUTSIDE_HOST, 8080)) == f"{OUTSIDE}\nhello"
    assert lab.outside.run(lambda: ask_udp(OUTSIDE_HOST, 8053)) == f"{OUTSIDE} ping"
    # Over the host's address, from itself (hairpin) and from another network's container.
    assert space.run(lambda: ask_tcp(OUTSIDE_HOST, 8080)).endswith("hello")
    other = await lab.networks.create(NetworkCreate(name="other"))
    _, _, neighbour = await lab.run(2, "other")
    assert neighbour.run(lambda: ask_tcp(OUTSIDE_HOST, 8080)).endswith("hello")
    assert lab.networks.ports_of(container) == {
        "80/tcp": [
            PortBinding(host_ip="0.0.0.0", host_port="8080"),
            PortBinding(host_ip="::", host_port="8080"),
        ],
        "53/udp": [PortBinding(host_ip="0.0.0.0", host_port="8053")],
    }
    with pytest.raises(Forbidden, match="has active endpoints"):
        await lab.networks.remove(other.id)
    assert loop.is_running()
    await lab.networks.release(container.id)
    assert lab.outside.run(lambda: fails(lambda: ask_tcp(OUTSIDE_HOST, 8081, 0.3)))
    await lab.end()


@in_a_host
async def test_what_is_not_published_stays_closed(tmp_path):
    lab = await Lab(tmp_path).start()
    lab.outside.replay(lab.encode((AddRoute(gateway=OUTSIDE_HOST),), lab.outside_index))
    _, first, space = await lab.run(1)
    assert lab.outside.run(lambda: fails(lambda: ask_tcp(first.ip, 80, 0.3)))
    await lab.networks.create(NetworkCreate(name="other"))
    _, second, neighbour = await lab.run(2, "other")
    assert space.run(lambda: fails(lambda: ask_tcp(second.ip, 80, 0.3)))
    assert neighbour.run(lambda: fails(lambda: ask_tcp(first.ip, 80, 0.3)))
    _, third, _ = await lab.run(3)
    assert space.run(lambda: ask_tcp(third.ip, 80)) == f"{first.ip}\nhello"
    await lab.end()


@in_a_host
async def test_internal_networks_and_switched_off_talk(tmp_path):
    lab = await Lab(tmp_path).start()
    lab.outside.serve(tcp_listener(7), tell_peer)
    await lab.networks.create(NetworkCreate(name="inner", internal=True))
    quiet = {"com.docker.network.bridge.enable_icc": "false"}
    await lab.networks.create(NetworkCreate(name="quiet", options=quiet))
    _, one, inner = await lab.run(1, "inner")
    _, two, _ = await lab.run(2, "inner")
    assert one.gateway == ""
    assert inner.run(lambda: ask_tcp(two.ip, 80)) == f"{one.ip}\nhello"
    assert inner.run(lambda: fails(lambda: ask_tcp(OUTSIDE, 7, 0.3)))
    _, _, mute = await lab.run(3, "quiet")
    _, four, _ = await lab.run(4, "quiet")
    assert mute.run(lambda: fails(lambda: ask_tcp(four.ip, 80, 0.3)))
    assert mute.run(lambda: ask_tcp(OUTSIDE, 7)) == f"{OUTSIDE_HOST}\nhello"
    await lab.end()


@in_a_host
async def test_the_next_engine_heals_flushed_rules_and_a_deleted_bridge(tmp_path):
    lab = await Lab(tmp_path).start()
    bindings = {"80/tcp": (PortBinding(host_ip="", host_port="8080"),)}
    _, endpoint, _ = await lab.run(1, port_bindings=bindings)
    from dockerlab.engine.net.rules import Rules

    rules = Rules("dlt-test")
    rules.clean()
    lab.links.delete("dlt0")
    assert not rules.present()
    await lab.networks.close()
    lab.networks = lab.engine()
    await lab.networks.start()
    assert rules.present()
    assert [one.name for one in lab.links.ports("dlt0")] == [endpoint.link]
    assert lab.outside.run(lambda: ask_tcp(OUTSIDE_HOST, 8080)) == f"{OUTSIDE}\nhello"
    assert ask_tcp("127.0.0.1", 8080) == "10.201.0.1\nhello"
    # While it runs, too: the next container brings the table back.
    rules.clean()
    more = {"80/tcp": (PortBinding(host_ip=OUTSIDE_HOST, host_port="8081"),)}
    await lab.run(2, port_bindings=more)
    assert lab.outside.run(lambda: ask_tcp(OUTSIDE_HOST, 8080)) == f"{OUTSIDE}\nhello"
    assert lab.outside.run(lambda: ask_tcp(OUTSIDE_HOST, 8081)) == f"{OUTSIDE}\nhello"
    assert ask_tcp(OUTSIDE_HOST, 8081) == "10.201.0.1\nhello"
    assert fails(lambda: ask_tcp("127.0.0.1", 8081, 0.3))
    lab.links.delete("dlt0")
    await lab.run(3)
    await lab.end()
    assert not rules.present()
    assert lab.links.find("dlt0") is None
    assert lab.links.find(endpoint.link) is None


@in_a_host
async def test_ports_that_are_taken(tmp_path):
    lab = await Lab(tmp_path).start()
    fixed = {"80/tcp": (PortBinding(host_port="8080"),)}
    _, first, _ = await lab.run(1, port_bindings=fixed)
    with pytest.raises(Failed) as refused:
        await lab.run(2, port_bindings=fixed)
    assert str(refused.value).startswith(
        "failed to set up container networking: driver failed programming external connectivity "
        "on endpoint c2 ("
    )
    assert str(refused.value).endswith("): Bind for 0.0.0.0:8080 failed: port is already allocated")
    await lab.networks.release(f"{2:064x}")
    foreign = socket.create_server(("127.0.0.1", 9090))
    taken = {"80/tcp": (PortBinding(host_port="9090"),)}
    with pytest.raises(Failed) as refused:
        await lab.run(3, port_bindings=taken)
    assert "failed to bind host port for 0.0.0.0:9090:10.201.0." in str(refused.value)
    assert str(refused.value).endswith("/tcp: address already in use")
    await lab.networks.release(f"{3:064x}")
    # A range steps over both kinds; another address of the host is another port.
    some = {"80/tcp": (PortBinding(host_port="9090-9095"),)}
    ranged, _, _ = await lab.run(4, port_bindings=some)
    assert lab.networks.ports_of(ranged)["80/tcp"][0].host_port == "9091"
    elsewhere = {"80/tcp": (PortBinding(host_ip=OUTSIDE_HOST, host_port="9090"),)}
    await lab.run(5, port_bindings=elsewhere)
    assert ask_tcp(OUTSIDE_HOST, 9090).endswith("hello")
    # "Any port", twice.
    anywhere = {"80/tcp": (PortBinding(),), "53/udp": (PortBinding(host_port="0"),)}
    for number in (6, 7):
        container, _, _ = await lab.run(number, port_bindings=anywhere)
        port = int(lab.networks.ports_of(container)["80/tcp"][0].host_port)
        assert ask_tcp("127.0.0.1", port).endswith("hello")
    foreign.close()
    # The same port again, right after its container ended and while its helper still ends.
    await lab.networks.release(first.owner)
    threading.Timer(0.2, lab.zygote.end_first).start()
    await lab.run(8, port_bindings=fixed)
    assert ask_tcp("127.0.0.1", 8080).endswith("hello")
    assert lab.networks.listed(Filters({"type": ["builtin"]}))
    await lab.end()


@in_a_host
async def test_a_running_container_gets_another_interface(tmp_path):
    lab = await Lab(tmp_path).start()
    container, _, space = await lab.run(1)
    pool = IPAM(config=(IPAMConfig(subnet="10.202.0.0/24"),))
    await lab.networks.create(NetworkCreate(name="second", ipam=pool))
    asked = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.202.0.7"))
    endpoint = await lab.networks.allocate(container, "second", asked)
    assert (endpoint.interface, endpoint.address) == ("eth1", "10.202.0.7/24")
    batch = await lab.networks.wire(endpoint, space.netns)
    ours, theirs = socket.socketpair()
    pid = fork()
    if pid == 0:
        request = {"netns": f"/proc/{space.pid}/ns/net", "messages": batch.hex()}
        replay_helper.run(request, theirs.fileno(), os.pipe()[0])
    theirs.close()
    with ours, ours.makefile("rb") as file:
        assert json.loads(file.readline()) == {"ok": True}
    assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 0
    _, other, neighbour = await lab.run(2, "second")
    assert neighbour.run(lambda: ask_tcp("10.202.0.7", 80)) == f"{other.ip}\nhello"
    assert space.run(lambda: ask_tcp(other.ip, 80)) == "10.202.0.7\nhello"
    await lab.networks.unwire(endpoint)
    assert space.run(lambda: fails(lambda: ask_tcp(other.ip, 80, 0.3)))
    await lab.end()


@in_a_host
async def test_without_the_right_bridges_are_refused_and_none_works(tmp_path):
    from dockerlab.engine.net import links, rules

    assert links.Links
    assert rules.Rules
    database = Database(tmp_path / "state.db")
    networks = Networks(database, Events(), bridge="dlt0", subnet="10.201.0.0/24", table="dlt")
    os.setuid(65534)
    await networks.start()
    await networks.start()
    assert [one.name for one in networks.listed(Filters())] == ["host", "none", "bridge"]
    assert networks.loopback() == LOOPBACK_UP
    with pytest.raises(Unsupported, match="bridge networks are not available on this machine"):
        await networks.allocate(Nobody(), "bridge")
    with pytest.raises(Unsupported) as refused:
        await networks.create(NetworkCreate(name="new"))
    assert "Run the engine as root" in refused.value.hint
    await networks.release(Nobody.id)
    await networks.clean()
    await networks.close()
    database.close()


class Nobody:
    id, name = "9" * 64, "nobody"


@in_a_host
async def test_a_container_costs_the_kernel_little(tmp_path):
    lab = await Lab(tmp_path).start()
    times = []
    for number in range(1, 9):
        container = Container(
            id=f"{number:064x}",
            name=f"c{number}",
            created_ns=1,
            image="x",
            image_id="",
            path="true",
            args=(),
            config=ContainerConfig(),
            host=HostConfig(),
        )
        space = lab.space()
        began = time.perf_counter()
        endpoint = await lab.networks.allocate(container, "bridge")
        await lab.networks.wire(endpoint, space.netns)
        times.append(time.perf_counter() - began)
    times.sort()
    # The goal is 3 ms on a quiet machine; this only catches a way that is slow by nature.
    assert times[0] < 0.03
    await lab.end()
