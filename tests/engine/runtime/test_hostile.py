"""Images that try to make us write, mount or look outside their root."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from dockerlab.engine.linux import capabilities
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.runtime.launcher import StartFailed


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_a_linked_kernel_file_system_is_refused(bench, place, tmp_path):
    (bench.fs / place).rmdir()
    (bench.fs / place).symlink_to(tmp_path)
    with pytest.raises(StartFailed, match="must be mounted on ordinary directory"):
        bench.do("true")
    assert list(tmp_path.iterdir()) == []


def test_a_linked_dev_stays_inside(bench, tmp_path):
    (bench.fs / "dev").rmdir()
    (bench.fs / "dev").symlink_to(tmp_path)
    assert bench.do("ls", f"{tmp_path}/null").code == 0
    assert list(tmp_path.iterdir()) == []


def test_mounts_through_links_and_dots_stay_inside(bench, tmp_path):
    (bench.fs / "up").symlink_to("../../../../../../.." + str(tmp_path))
    (bench.fs / "etc/dangling").symlink_to("/nowhere/yet")
    source = tmp_path / "source"
    source.mkdir()
    out = bench.do(
        "ls", f"{tmp_path}", "/nowhere/yet",
        mounts=(
            *bench.spec("x").mounts,
            Mount(kind="bind", source=str(source), target="/up/inner", options=("rbind",)),
            Mount(kind="tmpfs", source="tmpfs", target="/etc/dangling"),
        ),
    )  # fmt: skip
    assert out.code == 0
    assert "inner" in out.text
    assert [one.name for one in tmp_path.iterdir()] == ["source"]


def test_accounts_from_outside_are_not_read(bench, tmp_path):
    (tmp_path / "passwd").write_text("intruder:x:0:0::/:/bin/sh\n")
    (bench.fs / "etc/passwd").unlink()
    (bench.fs / "etc/passwd").symlink_to(tmp_path / "passwd")
    with pytest.raises(StartFailed, match="unable to find user intruder"):
        bench.do("true", user="intruder")


def test_accounts_that_are_a_pipe_do_not_hang(bench):
    (bench.fs / "etc/passwd").unlink()
    os.mkfifo(bench.fs / "etc/passwd")
    assert bench.do("true", user="0").code == 0


def test_a_directory_through_a_descriptor_is_refused(bench):
    for number in range(3, 12):
        with pytest.raises(StartFailed):
            bench.do("pwd", cwd=f"/proc/self/fd/{number}/../..")


def test_our_executable_cannot_be_written(bench):
    # The program is our own interpreter, by way of /proc/self/exe.
    shutil.copy(bench.fs / "bin/busybox", bench.fs / "bin/copy")
    (bench.fs / "bin/self").symlink_to("/proc/self/exe")
    before = Path("/proc/self/exe").stat().st_mtime_ns
    outcome = bench.do("/bin/self", "-c", "open('/proc/self/exe', 'r+b')", framed=True)
    assert outcome.code != 0
    assert Path("/proc/self/exe").stat().st_mtime_ns == before


def test_no_descriptor_leaks_into_the_program(bench):
    out = bench.do("ls", "-l", "/proc/self/fd").text
    kept = {line.split()[-3] for line in out.splitlines() if "->" in line}
    assert kept <= {"0", "1", "2", "3"}  # 3 is ls' own


def test_host_mounts_are_not_visible(bench):
    out = bench.do("cat", "/proc/self/mountinfo").text
    targets = [line.split()[4] for line in out.splitlines()]
    assert targets[0] == "/"
    assert not [
        one for one in targets if not one.startswith(("/proc", "/dev", "/sys")) and one != "/"
    ]


def test_the_interpreter_is_on_a_read_only_mount(bench):
    async def whole():
        async with bench.launched() as launcher:
            return os.statvfs(f"/proc/{launcher._zygote.pid}/exe").f_flag

    # While it runs a write is refused anyway (ETXTBSY); this holds afterwards, too.
    assert asyncio.run(whole()) & os.ST_RDONLY


def test_the_engines_environment_is_not_in_reach(bench, monkeypatch):
    # Our own PID 1 of --init is a fork of the zygote, and this container may look into it.
    monkeypatch.setenv("SECRET_OF_THE_STARTER", "hunter2")
    spec = bench.spec(
        "cat", "/proc/1/environ", use_init=True, capabilities=(*capabilities.DEFAULT, 19)
    )

    async def whole():
        async with bench.launched() as launcher:
            launcher._docker_init = ""
            return await bench.run(launcher, spec)

    out = asyncio.run(whole())
    assert out.code == 0
    assert "LC_ALL" in out.text
    assert "SECRET" not in out.text


def test_a_part_of_a_volume_that_became_a_link_stays_in_the_volume(bench, tmp_path):
    volume = tmp_path / "data"
    volume.mkdir()
    (tmp_path / "secret").write_text("of the host")
    # Whoever has the volume may do this between the create and the start of another.
    (volume / "part").symlink_to("..")
    (volume / "absolute").symlink_to(tmp_path)

    def start(part):
        mount = Mount(
            kind="bind",
            source=f"{volume}/{part}",
            target="/part",
            options=("rbind",),
            within=str(volume),
        )
        return bench.do("ls", "/part", mounts=(*bench.spec("x").mounts, mount))

    assert start("part").text.split() == ["absolute", "part"]
    with pytest.raises(StartFailed, match="no such file or directory"):
        start("absolute")
