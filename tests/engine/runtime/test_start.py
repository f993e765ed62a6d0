"""Real containers: what a program gets, and what Docker says when it can't have it."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from dockerlab.engine.linux import capabilities, mounts
from dockerlab.engine.linux.cgroup_values import CgroupPlan
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Directory
from dockerlab.engine.runtime.launcher import StartFailed, read_exit
from dockerlab.engine.runtime.spec import Device, Namespaces, Rlimit


def test_a_volatile_root_can_be_mounted_again(bench):
    async def whole():
        async with bench.launched() as launcher:
            spec = bench.spec("touch", "/made")
            spec = replace(spec, rootfs=replace(spec.rootfs, volatile=True))
            assert (await bench.run(launcher, spec)).code == 0
            assert (await bench.run(launcher, replace(spec, args=("ls", "/made")))).code == 0

    asyncio.run(whole())


def test_signals_are_as_a_program_expects(bench):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        lines = bench.do("cat", "/proc/self/status").text.splitlines()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    # glibc keeps 32 and 33 for itself: it lets nobody set them, and a library of ours may have.
    seen = {int(status[one], 16) & ~(0b11 << 31) for one in ("SigBlk", "SigIgn", "SigCgt")}
    assert seen == {0}


def test_exit_codes(bench):
    async def whole():
        async with bench.launched() as launcher:
            codes = [
                (await bench.run(launcher, bench.spec("sh", "-c", script))).code
                for script in ("exit 0", "exit 42", "kill -9 $$; sleep 1", "exit 255")
            ]
            # PID 1 can't kill itself; its child can.
            assert codes == [0, 42, 0, 255]
            spec = bench.spec("true")
            outcome = await bench.run(launcher, spec)
            assert read_exit(spec.exit_path) == outcome.exit
            assert outcome.exit.finished_ns > 1_700_000_000_000_000_000

    asyncio.run(whole())


def test_streams_apart_in_frames(bench):
    outcome = bench.do("sh", "-c", "echo out; echo err >&2", framed=True)
    assert (outcome.out, outcome.err) == (b"out\n", b"err\n")


def test_stdin_half_close_reaches_the_program(bench):
    outcome = bench.do("cat", stdin=b"one\ntwo\n", stdin_open=True, stdin_once=True)
    assert outcome.out == b"one\ntwo\n"


def test_much_output_arrives_whole(bench):
    outcome = bench.do("dd", "if=/dev/zero", "bs=65536", "count=160", framed=True)
    assert len(outcome.out) == 160 * 65536


def test_stdin_is_the_null_device_without_wish(bench):
    assert bench.do("cat").out == b""


def test_privileges_of_root(bench):
    lines = bench.do("cat", "/proc/self/status").text.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[one] for one in ("CapPrm", "CapEff", "CapBnd")} == {"00000000a80425fb"}
    assert {status[one] for one in ("CapInh", "CapAmb")} == {"0000000000000000"}
    assert status["NoNewPrivs"] == "0"


def test_privileges_of_a_user(bench):
    lines = bench.do("cat", "/proc/self/status", user="1000").text.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[one] for one in ("CapPrm", "CapEff", "CapInh")} == {"0000000000000000"}
    assert status["CapBnd"] == "00000000a80425fb"


def test_seccomp_is_on(bench):
    seccomp = pytest.importorskip("dockerlab.engine.linux.seccomp")
    program = seccomp.default_program(
        frozenset(capabilities.name_of(one) for one in capabilities.DEFAULT)
    )
    outcome = bench.do("sh", "-c", "grep Seccomp: /proc/self/status; mount", seccomp=program)
    assert "Seccomp:\t2" in outcome.text
    quiet = bench.do(
        "grep", "Seccomp:", "/proc/self/status", seccomp=program, no_new_privileges=True
    )
    assert quiet.text == "Seccomp:\t2\n"


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), "uid=0(root) gid=0(root) groups=0(root),10(wheel)"),
        ("alice", (), "uid=1000(alice) gid=1000(alice) groups=1000(alice),10(wheel)"),
        ("1000", (), "uid=1000(alice) gid=1000(alice) groups=1000(alice),10(wheel)"),
        ("alice:wheel", (), "uid=1000(alice) gid=10(wheel) groups=10(wheel)"),
        ("4242", (), "uid=4242 gid=0(root) groups=0(root)"),
        ("4242:4343", ("wheel", "77"), "uid=4242 gid=4343 groups=4343,10(wheel),77"),
    ],
)
def test_users(bench, user, groups, expected):
    out = bench.do("id", user=user, groups_add=groups).text
    # The kernel sorts supplementary groups.
    assert words_of(out) == words_of(expected)


def words_of(line):
    return set(line.replace(",", " ").replace("groups=", " ").split())


def test_environment_and_home(bench):
    out = bench.do("env", env=("PATH=/bin", "A=1", "A=2", "gone"), user="alice").text
    assert out.splitlines() == ["PATH=/bin", "A=2", "HOME=/home/alice"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("nothing",), 127, 'exec: "nothing": executable file not found in $PATH'),
        (
            ("/bin/nothing",),
            127,
            'exec: "/bin/nothing": stat /bin/nothing: no such file or directory',
        ),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/etc",), 126, 'exec: "/etc": is a directory'),
    ],
)
def test_programs_that_are_not(bench, args, code, words):
    with pytest.raises(StartFailed) as failed:
        bench.do(*args)
    assert words in failed.value.message
    assert failed.value.message.startswith("failed to create task for container: ")
    assert failed.value.exit_code == code


def test_unknown_user(bench):
    with pytest.raises(StartFailed) as failed:
        bench.do("true", user="bob")
    assert failed.value.message == "unable to find user bob: no matching entries in passwd file"
    assert failed.value.exit_code == 128


def test_a_broken_interpreter_is_told_on_stderr(bench):
    script = bench.fs / "bin/script"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    outcome = bench.do("/bin/script", framed=True)
    assert outcome.code == 255
    assert outcome.err == b"exec /bin/script: no such file or directory\n"


def test_what_is_hidden_and_frozen(bench):
    out = bench.do(
        "sh",
        "-c",
        "cat /proc/interrupts | wc -c; (echo 1 > /proc/sys/kernel/printk) 2>&1;"
        "ls /sys/firmware | wc -l;"
        "(echo > /sys/kernel/uevent_seqnum) 2>&1; cat /proc/timer_list | wc -c",
    ).text
    assert out.splitlines() == [
        "0",
        "sh: can't create /proc/sys/kernel/printk: Read-only file system",
        "0",
        "sh: can't create /sys/kernel/uevent_seqnum: Read-only file system",
        "0",
    ]


def test_the_device_directory(bench):
    out = bench.do(
        "sh", "-c", "ls /dev; stat -c '%a %t:%T' /dev/null /dev/tty /dev/x; readlink /dev/ptmx",
        devices=(Device(path="/dev/x", kind="c", major=1, minor=3, mode=0o640),),
    ).text.split("\n")  # fmt: skip
    names = [line for line in out if " " not in line]
    assert {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "ptmx"} <= set(names)
    assert "666 1:3" in out
    assert "666 5:0" in out
    assert "640 1:3" in out
    assert "pts/ptmx" in out


def test_names_and_namespaces(bench):
    out = bench.do("sh", "-c", "hostname; echo $$; ls /proc/sys/net/ipv4/conf").text.split()
    assert out[:2] == ["box", "1"]
    assert "eth0" not in out
    same = bench.do("readlink", "/proc/self/ns/net", namespaces=Namespaces(net="host"))
    assert same.text.strip() == str(Path("/proc/self/ns/net").readlink())


def test_sysctls_and_limits(bench):
    out = bench.do(
        "sh", "-c",
        "cd /proc; cat sys/net/ipv4/ip_unprivileged_port_start; ulimit -n; cat self/oom_score_adj",
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
        rlimits=(Rlimit(name="nofile", soft=100, hard=1 << 20),),
        oom_score_adj=7,
    )  # fmt: skip
    assert out.text.split() == ["0", "100", "7"]


def test_working_directory_is_made(bench):
    assert bench.do("pwd", cwd="/srv/deep").text == "/srv/deep\n"
    with pytest.raises(StartFailed, match="Cannot mkdir: /etc/passwd is not a directory"):
        bench.do("pwd", cwd="/etc/passwd")


def test_read_only_root(bench):
    out = bench.do(
        "sh", "-c", "touch /x 2>&1; touch /dev/shm/x && echo shm; pwd",
        readonly_rootfs=True, cwd="/made",
    )  # fmt: skip
    assert out.text.splitlines() == ["touch: /x: Read-only file system", "shm", "/made"]


def bind(source, target, *options):
    return Mount(kind="bind", source=source, target=target, options=options)


def test_binds(bench, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("from outside\n")
    out = bench.do(
        "sh", "-c", "cat /a/b/file; touch /a/b/x 2>&1; touch /rw/new; cat /etc/one",
        mounts=(
            *bench.spec("x").mounts,
            bind(f"{tmp_path}/data", "/a/b", "rbind", "rro", "ro"),
            replace(bind(f"{tmp_path}/made", "/rw", "rbind"), make_source="directory"),
            bind(f"{tmp_path}/data/file", "/etc/one", "bind"),
        ),
    )  # fmt: skip
    assert out.text.splitlines() == [
        "from outside",
        "touch: /a/b/x: Read-only file system",
        "from outside",
    ]
    assert (tmp_path / "made/new").exists()


def test_mismatch_of_a_bind(bench, tmp_path):
    mount = Mount(kind="bind", source=str(tmp_path), target="/etc/passwd", options=("rbind",))
    with pytest.raises(StartFailed) as failed:
        bench.do("true", mounts=(mount,))
    assert "Are you trying to mount a directory onto a file (or vice-versa)?" in str(failed.value)
    assert failed.value.exit_code == 127


def test_a_plain_directory_as_root(bench):
    assert bench.do("cat", "/etc/group", rootfs=Directory(path=str(bench.fs))).code == 0


def test_init_of_the_machine_and_our_own(bench):
    script = "cat /proc/1/comm; sleep 0.01 & exec sh -c 'echo $$; exit 3'"
    given = bench.do("sh", "-c", script, use_init=True)
    assert given.code == 3
    assert given.text.split()[0] in {"docker-init", "tini-static"}

    async def whole():
        async with bench.launched() as launcher:
            launcher._docker_init = ""
            return await bench.run(launcher, bench.spec("sh", "-c", script, use_init=True))

    own = asyncio.run(whole())
    assert own.code == 3
    assert own.text.split()[1] != "1"


def test_our_own_init_passes_signals_on_and_shows_nothing(bench):
    script = (
        "trap 'exit 9' TERM; ls -l /proc/1/exe /proc/1/root 2>&1;"
        "echo up; while :; do sleep 0.05; done"
    )

    async def whole():
        async with bench.launched() as launcher:
            launcher._docker_init = ""

            process = await launcher.launch(bench.spec("sh", "-c", script, use_init=True))
            client, served = socket.socketpair()
            await process.attach(served, stdin=False, stdout=True, stderr=True, framed=False)
            client.setblocking(False)
            await process.go()
            text = b""
            while b"up\n" not in text:
                text += await asyncio.get_running_loop().sock_recv(client, 4096)
            await process.signal(15)
            end = await process.wait()
            client.close()
            served.close()
            return end, text

    end, text = asyncio.run(whole())
    assert end.code == 9
    assert text.count(b"Permission denied") == 2


UNIFIED = Path("/sys/fs/cgroup/unified")


@pytest.mark.skipif(not UNIFIED.is_dir(), reason="no cgroup v2 tree beside v1 on this machine")
def test_the_clone_enters_a_cgroup_of_version_2(bench):
    place = UNIFIED / f"{bench.name}-v2"

    class Bare:
        def plan(self, name, resources, **more):
            return CgroupPlan(directories=(f"{place}/",), clone_into=str(place))

    async def whole():
        async with bench.launched() as launcher:
            launcher._hierarchy = Bare()
            spec = bench.spec("cat", "/proc/self/cgroup", namespaces=Namespaces(cgroup="host"))
            return await bench.run(launcher, spec)

    try:
        outcome = asyncio.run(whole())
    finally:
        place.rmdir()
    assert f"0::/{place.name}" in outcome.text.splitlines()


def test_many_at_once(bench):
    async def whole():
        async with bench.launched() as launcher:
            specs = [bench.spec("sh", "-c", f"exit {number}") for number in range(1, 21)]
            outcomes = await asyncio.gather(*(bench.run(launcher, spec) for spec in specs))
            return [outcome.code for outcome in outcomes]

    assert asyncio.run(whole()) == list(range(1, 21))


def test_shared_binds_need_a_shared_source(bench, tmp_path):
    with pytest.raises(StartFailed) as failed:
        bench.do("true", mounts=(bind("/proc", "/mnt", "rbind", "rshared"),))
    words = "path /proc is mounted on /proc but it is not a shared mount"
    assert words in failed.value.message


def test_shared_binds_share_with_the_host(bench, tmp_path):
    place = tmp_path / "shared"
    (place / "below").mkdir(parents=True)
    mounts.mount(str(place), str(place), "", mounts.MS_BIND)
    try:
        mounts.mount("", str(place), "", mounts.PROPAGATION["shared"])
        spec = bench.spec(
            "mount", "-t", "tmpfs", "tmpfs", "/mnt/below",
            mounts=(bind(str(place), "/mnt", "rbind", "rshared"),),
            capabilities=(*capabilities.DEFAULT, capabilities.NUMBERS["CAP_SYS_ADMIN"]),
        )  # fmt: skip

        async def whole():
            async with bench.launched() as launcher:
                return await bench.run(launcher, spec)

        assert asyncio.run(whole()).code == 0
        assert f" {place}/below " in Path("/proc/self/mountinfo").read_text()
    finally:
        mounts.umount2(str(place), mounts.MNT_DETACH)
