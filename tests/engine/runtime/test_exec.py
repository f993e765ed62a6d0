"""A second process in a running container."""

from __future__ import annotations

import asyncio

import pytest

from dockerlab.engine.runtime.launcher import StartFailed


def inside(bench, work):
    """Call `work(launcher, process, spec)` beside a running container."""

    async def whole():
        async with bench.launched() as launcher:
            spec = bench.spec("sleep", "100")
            process = await launcher.launch(spec)
            await process.go()
            try:
                return await work(launcher, process, spec)
            finally:
                await process.signal(9)
                await process.wait()

    return asyncio.run(whole())


def test_exec_is_inside(bench):
    async def work(launcher, process, spec):
        script = "hostname; cat /proc/1/comm; pwd; id -u"
        command = bench.exec_spec(process, spec, "sh", "-c", script, cwd="/etc", user="alice")
        outcome = await bench.run(launcher, command, framed=True)
        groups = await bench.run(
            launcher, bench.exec_spec(process, spec, "cat", "/proc/self/cgroup")
        )
        return outcome, groups, spec

    outcome, groups, _ = inside(bench, work)
    assert outcome.err == b""
    assert outcome.text.split() == ["box", "sleep", "/etc", "1000"]
    # In the container's cgroup namespace the container's group is the root.
    assert all(
        line.endswith(":/") for line in groups.text.splitlines() if not line.startswith("0:")
    )


def test_exec_keeps_the_limits_on_privileges(bench):
    async def work(launcher, process, spec):
        command = bench.exec_spec(process, spec, "grep", "Cap", "/proc/self/status")
        return await bench.run(launcher, command)

    lines = inside(bench, work).text.split()
    assert lines[1::2] == ["0" * 16, *["00000000a80425fb"] * 3, "0" * 16]


def test_exec_with_a_terminal_and_exit_code(bench):
    async def work(launcher, process, spec):
        command = bench.exec_spec(
            process, spec, "sh", "-c", "tty; stty size; exit 7", tty=True, console_size=(10, 20)
        )
        return await bench.run(launcher, command)

    outcome = inside(bench, work)
    assert outcome.code == 7
    assert outcome.text == "/dev/pts/0\r\n10 20\r\n"


@pytest.mark.parametrize(
    ("args", "more", "code", "words"),
    [
        (("nothing",), {}, 127, 'exec: "nothing": executable file not found in $PATH: unknown'),
        (("true",), {"cwd": "/nowhere"}, 127,
         'chdir to cwd ("/nowhere") set in config.json failed: no such file or directory'),
    ],
)  # fmt: skip
def test_exec_that_fails(bench, args, more, code, words):
    async def work(launcher, process, spec):
        with pytest.raises(StartFailed) as failed:
            await bench.run(launcher, bench.exec_spec(process, spec, *args, **more))
        return failed.value

    failure = inside(bench, work)
    assert failure.message.startswith("OCI runtime exec failed: exec failed: ")
    assert words in failure.message
    assert failure.exit_code == code


def test_exec_ends_with_its_container(bench):
    async def work(launcher, process, spec):
        command = await launcher.launch(bench.exec_spec(process, spec, "sleep", "100"))
        await command.go()
        await process.signal(9)
        await process.wait()
        return (await command.wait()).code

    async def whole():
        async with bench.launched() as launcher:
            spec = bench.spec("sleep", "100")
            process = await launcher.launch(spec)
            await process.go()
            return await work(launcher, process, spec)

    assert asyncio.run(whole()) == 137


def test_exec_does_not_wait_for_ever_for_grandchildren(bench):
    async def work(launcher, process, spec):
        script = "sleep 50 & echo done"
        loop = asyncio.get_running_loop()
        before = loop.time()
        outcome = await bench.run(launcher, bench.exec_spec(process, spec, "sh", "-c", script))
        return outcome, loop.time() - before

    outcome, took_s = inside(bench, work)
    assert outcome.text == "done\n"
    assert took_s < 10


def test_exec_into_what_is_gone(bench):
    async def whole():
        async with bench.launched() as launcher:
            spec = bench.spec("true")
            process = await launcher.launch(spec)
            await process.go()
            await process.wait()
            with pytest.raises(StartFailed):
                await launcher.launch(bench.exec_spec(process, spec, "true"))

    asyncio.run(whole())


def test_exec_with_stdin(bench):
    async def work(launcher, process, spec):
        command = bench.exec_spec(process, spec, "cat", stdin_open=True, stdin_once=True)
        return await bench.run(launcher, command, stdin=b"x" * 300_000)

    assert inside(bench, work).out == b"x" * 300_000
