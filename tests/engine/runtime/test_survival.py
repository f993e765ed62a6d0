"""Kill each process in turn: what must go on goes on, and nothing is left of the rest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dockerlab.engine.linux import cgroups
from dockerlab.engine.runtime.launcher import Launcher, StartFailed, read_exit

ENGINE = Path(__file__).with_name("engine_to_kill.py")


def shim_of(pid):
    """The parent of a container's init."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(pid):
    """Wait until a process that is not our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(pidfd, lambda: ended.done() or ended.set_result(None))
    async with asyncio.timeout(10):
        await ended
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


def test_the_zygote_is_replaced_and_nobody_minds(bench):
    async def whole():
        async with bench.launched() as launcher:
            first = await launcher.launch(bench.spec("sleep", "100"))
            await first.go()
            os.kill(launcher._zygote.pid, signal.SIGKILL)
            second = await bench.run(launcher, bench.spec("echo", "second"))
            assert second.text == "second\n"
            assert first.ended is None
            await first.signal(9)
            assert (await first.wait()).code == 137

    asyncio.run(whole())


def test_a_lost_shim_takes_its_container_along(bench):
    async def whole():
        async with bench.launched() as launcher:
            spec = bench.spec("sh", "-c", "sleep 100 & sleep 100")
            process = await launcher.launch(spec)
            await process.go()
            os.kill(shim_of(process.pid), signal.SIGKILL)
            end = await process.wait()
            assert (end.code, end.error) == (137, "supervisor lost")
            await gone(process.pid)
            assert await launcher.adopt(spec.run_dir, cgroup=spec.cgroup) is None

    asyncio.run(whole())


def test_an_end_of_the_engine_before_go_leaves_nothing(bench):
    async def whole():
        async with bench.launched() as launcher:
            process = await launcher.launch(bench.spec("true"))
            pid, shim = process.pid, shim_of(process.pid)
        await gone(shim)
        await gone(pid)

    asyncio.run(whole())


def test_abort(bench):
    async def whole():
        async with bench.launched() as launcher:
            process = await launcher.launch(bench.spec("true"))
            await process.abort()
            await gone(process.pid)

    asyncio.run(whole())


def test_a_refused_control_group_leaves_nothing(bench):
    async def whole():
        async with bench.launched() as launcher:
            real = launcher._hierarchy.plan

            def broken(name, resources, **more):
                plan = real(name, resources, **more)
                bad = ("/sys/fs/cgroup/no/such/file", "1", True)
                return type(plan)(directories=plan.directories, tasks=plan.tasks, writes=(bad,))

            launcher._hierarchy = type("Broken", (), {"plan": staticmethod(broken)})()
            with pytest.raises(StartFailed, match="/sys/fs/cgroup/no/such/file"):
                await launcher.launch(bench.spec("true"))

    asyncio.run(whole())


def kill_an_engine(bench, spec_facts):
    """Run a launcher in a process of its own, kill -9 it once its container runs."""
    engine = subprocess.Popen(
        [sys.executable, str(ENGINE), json.dumps(spec_facts)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.environ["PATH"]},
    )
    with engine.stdout:
        line = engine.stdout.readline()
        engine.kill()
        engine.wait()
    assert line.strip().isdigit(), line
    return int(line)


def facts_of(spec):
    return {
        "id": spec.id, "cgroup": spec.cgroup, "args": spec.args, "run_dir": spec.run_dir,
        "exit_path": spec.exit_path, "layers_dir": spec.rootfs.layers_dir,
        "upper": spec.rootfs.upper, "work": spec.rootfs.work,
    }  # fmt: skip


def test_adoption_after_kill_9(bench):
    spec = bench.spec("sh", "-c", "read x; echo got $x; exit 4")
    pid = kill_an_engine(bench, facts_of(spec))
    assert Path(f"/proc/{pid}").exists()

    async def whole():
        async with bench.launched() as launcher:
            process = await launcher.adopt(
                spec.run_dir, cgroup=spec.cgroup, exit_path=spec.exit_path
            )
            assert process is not None
            assert (process.pid, process.id) == (pid, spec.id)
            assert process.running
            client, served = socket.socketpair()
            client.setblocking(False)
            attached = await process.attach(
                served, stdin=True, stdout=True, stderr=True, framed=False
            )
            await asyncio.get_running_loop().sock_sendall(client, b"word\n")
            end = await process.wait()
            assert await attached.done == "eof"
            served.close()
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"got word\n"
            client.close()
            assert end.code == 4
            assert read_exit(spec.exit_path) == end

    asyncio.run(whole())


def test_what_ended_without_an_engine_is_on_record(bench):
    spec = bench.spec("sh", "-c", "read x; exit 4")
    pid = kill_an_engine(bench, facts_of(spec))

    async def whole():
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        await gone_directory(Path(spec.run_dir))
        async with bench.launched() as launcher:
            assert await launcher.adopt(spec.run_dir, cgroup=spec.cgroup) is None
        assert read_exit(spec.exit_path).code == 137

    asyncio.run(whole())


async def gone_directory(path):
    async with asyncio.timeout(10):
        while path.exists():  # noqa: ASYNC110 - there is no event without inotify
            await asyncio.sleep(0.01)


def test_shim_and_container_both_killed_without_an_engine(bench):
    spec = bench.spec("sh", "-c", "read x; exit 4")
    pid = kill_an_engine(bench, facts_of(spec))

    async def whole():
        os.kill(shim_of(pid), signal.SIGKILL)
        async with bench.launched() as launcher:
            found = await launcher.adopt(spec.run_dir, cgroup=spec.cgroup, exit_path=spec.exit_path)
            assert found is None
            assert read_exit(spec.exit_path) is None
            await gone(pid)

    asyncio.run(whole())


def test_helpers_live_as_long_as_the_container(bench):
    helper_module = "dockerlab.engine.net.port_helper"
    pytest.importorskip(helper_module)

    async def whole():
        launcher = Launcher(cgroups.detect(), entry_points={"ports": helper_module})
        await launcher.start()
        process = await launcher.launch(bench.spec("sleep", "100"))
        await process.go()
        request = {"listeners": [], "host": "", "enter": ""}
        helper = await launcher.fork_ports(request, process)
        assert helper.answer["ok"]
        alone = await launcher.fork_ports(request)
        alone.close()
        await gone(alone.answer["pid"])
        os.kill(helper.answer["pid"], 0)
        await process.signal(9)
        await process.wait()
        await gone(helper.answer["pid"])
        await launcher.close()

    asyncio.run(whole())


@pytest.mark.parametrize("late", [False, True])
def test_init_that_fails_before_go_says_why(bench, late):
    (bench.fs / "proc").rmdir()
    (bench.fs / "proc").write_text("")

    async def whole():
        async with bench.launched() as launcher:
            process = await launcher.launch(bench.spec("true"))
            if late:
                await process.wait()
            with pytest.raises(StartFailed, match="must be mounted on ordinary directory"):
                await process.go()
            await process.abort()

    asyncio.run(whole())
