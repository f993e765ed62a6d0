"""Attached clients: terminals, detach keys, several at once, slow and dead ones."""

from __future__ import annotations

import asyncio
import socket

import pytest


async def read_all(client):
    loop, data = asyncio.get_running_loop(), bytearray()
    while more := await loop.sock_recv(client, 65536):
        data += more
    return bytes(data)


async def read_until(client, mark):
    loop, data = asyncio.get_running_loop(), b""
    while mark not in data:
        more = await loop.sock_recv(client, 65536)
        assert more, data
        data += more
    return data


class Attachment:
    """A client's end of an attached connection; the engine's end goes away with the shim's."""

    async def open(self, process, **wishes):
        self.client, self.served = socket.socketpair()
        self.client.setblocking(False)
        wishes = {"stdin": False, "stdout": True, "stderr": True, "framed": False} | wishes
        self.attached = await process.attach(self.served, **wishes)
        return self

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def rest(self):
        why = await self.attached.done
        self.served.close()
        data = await read_all(self.client)
        self.client.close()
        return why, data


def container(bench, spec, talk):
    """Launch, let `talk(process)` do everything from go on, and wait for the end."""

    async def whole():
        async with bench.launched() as launcher:
            process = await launcher.launch(spec)
            result = await talk(process)
            return result, await process.wait()

    return asyncio.run(whole())


def test_terminal(bench):
    async def talk(process):
        one = await Attachment().open(process, stdin=True)
        await process.go()
        await one.send(b"tty; stty size; ls -l /dev/console | wc -l; echo $((6*7))\n")
        seen = await read_until(one.client, b"42\r\n")
        await process.resize(33, 99)
        await one.send(b"stty size; exit 5\n")
        why, rest = await one.rest()
        return why, seen + rest

    spec = bench.spec("sh", tty=True, stdin_open=True, console_size=(40, 120))
    (why, seen), end = container(bench, spec, talk)
    assert end.code == 5
    assert why == "eof"
    assert b"/dev/pts/0\r\n40 120\r\n1\r\n42\r\n" in seen
    assert b"33 99\r\n" in seen


def test_hanging_up_does_not_end_a_terminal(bench):
    async def talk(process):
        one = await Attachment().open(process, stdin=True)
        two = await Attachment().open(process, stdin=True)
        await process.go()
        one.client.shutdown(socket.SHUT_WR)
        await two.send(b"echo still; exit 0\n")
        await one.rest()
        return await two.rest()

    (_, seen), end = container(bench, bench.spec("sh", tty=True, stdin_open=True), talk)
    assert end.code == 0
    assert b"still\r\n" in seen


def test_detach_keys(bench):
    async def talk(process):
        one = await Attachment().open(process, stdin=True, detach_keys=b"\x10\x11")
        await process.go()
        await read_until(one.client, b"up")
        await one.send(b"a\x10")
        await one.send(b"b")
        assert await read_until(one.client, b"b") == b"a\x10b"
        await one.send(b"\x10\x11lost")
        why, _ = await one.rest()
        assert why == "detached"
        two = await Attachment().open(process, stdin=True)
        await two.send(b"cd")
        return await two.rest()

    # A raw terminal: the line discipline has its own ideas about ^P.
    script = "stty raw -echo; echo up; dd bs=1 count=5 2>/dev/null; exit 6"
    (_, seen), end = container(
        bench, bench.spec("sh", "-c", script, tty=True, stdin_open=True), talk
    )
    assert end.code == 6
    assert seen == b"cd"


def test_stdin_stays_open_for_others_unless_once(bench):
    async def talk(process):
        one = await Attachment().open(process, stdin=True)
        two = await Attachment().open(process, stdin=True)
        await process.go()
        await one.send(b"first\n")
        await read_until(two.client, b"first\n")
        one.client.shutdown(socket.SHUT_WR)
        await two.send(b"second\n")
        await read_until(one.client, b"second\n")
        await process.close_stdin()
        await one.rest()
        await two.rest()

    _, end = container(bench, bench.spec("cat", stdin_open=True), talk)
    assert end.code == 0


def test_a_client_without_stdin_may_half_close(bench):
    async def talk(process):
        one = await Attachment().open(process, framed=True)
        one.client.shutdown(socket.SHUT_WR)
        await process.go()
        return await one.rest()

    (_, seen), _ = container(bench, bench.spec("echo", "hello"), talk)
    assert seen == b"\x01\0\0\0\0\0\0\x06hello\n"


def test_a_slow_client_loses_nothing_and_a_dead_one_holds_nobody(bench):
    megabytes = 8

    async def talk(process):
        slow = await Attachment().open(process)
        dead = await Attachment().open(process)
        await process.go()
        await read_until(dead.client, b"\0")
        dead.client.close()
        await asyncio.sleep(0.3)  # the pause is the case: the program fills every buffer meanwhile
        why, data = await _slowly(slow)
        dead.served.close()
        return why, len(data)

    async def _slowly(slow):
        reading = asyncio.create_task(read_all(slow.client), name="slow")
        why = await slow.attached.done
        slow.served.close()
        data = await reading
        slow.client.close()
        return why, data

    spec = bench.spec("dd", "if=/dev/zero", "bs=1048576", f"count={megabytes}")
    (why, size), end = container(bench, spec, talk)
    assert end.code == 0
    assert why == "eof"
    assert size > megabytes << 20  # and dd's own words


def test_output_of_the_last_moment(bench):
    async def talk(process):
        one = await Attachment().open(process)
        await process.go()
        end = await process.wait()
        assert end.code == 3
        return await one.rest()

    script = "seq 1 20000; exit 3"
    (_, seen), _ = container(bench, bench.spec("sh", "-c", script), talk)
    assert seen.splitlines()[-1] == b"20000"


def test_what_the_client_sent_early_comes_first(bench):
    async def talk(process):
        one = await Attachment().open(process, stdin=True, pending=b"early " * 20_000)
        await process.go()
        await one.send(b"late")
        one.client.shutdown(socket.SHUT_WR)
        return await one.rest()

    spec = bench.spec("sh", "-c", "wc -c; echo ok", stdin_open=True, stdin_once=True)
    (_, seen), _ = container(bench, spec, talk)
    assert seen.split() == [b"120004", b"ok"]


def test_a_paused_client_gets_what_was_held(bench):
    async def talk(process):
        one = await Attachment().open(process, paused=True)
        await process.go()
        await process.wait()
        assert one.attached.since_ns > 1_700_000_000_000_000_000
        with pytest.raises(BlockingIOError):
            one.client.recv(10)
        await process.resume(one.attached)
        return await one.rest()

    assert container(bench, bench.spec("echo", "held"), talk)[0] == ("eof", b"held\n")


def test_attach_to_what_has_ended(bench):
    async def talk(process):
        await process.go()
        await process.wait()
        return await (await Attachment().open(process)).rest()

    assert container(bench, bench.spec("true"), talk)[0] == ("eof", b"")


def test_signals(bench):
    async def talk(process):
        one = await Attachment().open(process)
        await process.go()
        await read_until(one.client, b"up")
        await process.signal(15)
        await one.rest()

    script = "trap 'exit 12' TERM; echo up; while :; do sleep 0.02; done"
    assert container(bench, bench.spec("sh", "-c", script), talk)[1].code == 12


def test_killed(bench):
    async def talk(process):
        await process.go()
        await process.signal(9)

    assert container(bench, bench.spec("sleep", "100"), talk)[1].code == 137


@pytest.mark.parametrize("tty", [False, True])
def test_log_gets_what_clients_get(bench, tty):
    pytest.importorskip("dockerlab.engine.runtime.log_writer")
    from dockerlab.engine.runtime.spec import LogTarget

    path = bench.base / "log"

    async def talk(process):
        await process.go()

    spec = bench.spec(
        "sh", "-c", "echo one; echo two >&2", tty=tty,
        log=LogTarget(driver="json-file", path=str(path)),
    )  # fmt: skip
    container(bench, spec, talk)
    assert path.read_text().count("one") == 1
    assert path.read_text().count("two") == 1
