"""The system calls that Python lacks, each in a child that is thrown away."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from dockerlab.engine.linux import capabilities, mounts, syscalls
from dockerlab.engine.linux.inside import (
    directory_inside,
    file_inside,
    open_inside,
    parent_inside,
)
from dockerlab.engine.runtime import netlink_replay
from dockerlab.errors import InvalidRequest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of these tests need root")


def in_child(work):
    """Run `work` in a forked child; its JSON-able result comes back, its errors as OSError."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            try:
                answer = {"result": work()}
            except OSError as error:
                answer = {"errno": error.errno, "text": str(error)}
            except BaseException as error:  # noqa: BLE001 - told to the parent
                answer = {"text": repr(error)}
            os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = json.loads(file.read())
    os.waitpid(pid, 0)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["text"])
    assert "text" not in answer, answer
    return answer["result"]


def test_unshare_and_names():
    def work():
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        syscalls.sethostname("elsewhere")
        syscalls.setdomainname("nowhere")
        return [os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text().strip()]

    before = os.uname().nodename
    assert in_child(work) == ["elsewhere", "nowhere"]
    assert os.uname().nodename == before


def test_clone3_gives_a_pidfd_and_new_namespaces():
    def work():
        reading, writing = os.pipe()
        pid, pidfd = syscalls.clone3(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET)
        if pid == 0:
            os.write(writing, f"{os.getpid()} {len(socket.if_nameindex())}".encode())
            os._exit(7)
        inside = os.read(reading, 100).decode()
        code = os.waitid(os.P_PIDFD, pidfd, os.WEXITED).si_status
        return [inside, code, pid > 1]

    assert in_child(work) == ["1 1", 7, True]


def test_clone3_refused():
    with pytest.raises(OSError, match="clone3 flags"):
        in_child(lambda: syscalls.clone3(1 << 62))


def test_setns():
    def work():
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        away = str(Path("/proc/self/ns/net").readlink())
        syscalls.setns(home, syscalls.CLONE_NEWNET)
        return [away != str(Path("/proc/self/ns/net").readlink())]

    assert in_child(work) == [True]


def test_small_promises():
    def work():
        syscalls.set_parent_death_signal(9)
        syscalls.set_name("a-very-long-name-indeed")
        assert Path("/proc/self/comm").read_text() == "a-very-long-nam\n"
        syscalls.set_no_new_privileges()
        syscalls.clear_ambient_capabilities()
        syscalls.drop_bounding_capability(capabilities.NUMBERS["CAP_SYS_TIME"])
        with suppress(OSError):
            syscalls.join_session_keyring("_ses.test")
        text = Path("/proc/self/status").read_text()
        syscalls.set_dumpable(dumpable=False)
        owner = Path("/proc/self/maps").stat().st_uid
        return ["NoNewPrivs:\t1" in text, int(text.split("CapBnd:\t")[1][:16], 16) >> 25 & 1, owner]

    assert in_child(work) == [True, 0, 0]


def test_a_filter_filters():
    def work():
        # Load the number of the call; uname answers ERRNO 55, everything else is allowed.
        uname = 160 if syscalls.ARM64 else 63
        program = b"".join(
            struct.pack("HBBI", *one)
            for one in (
                (0x20, 0, 0, 0),
                (0x15, 0, 1, uname),
                (6, 0, 0, 0x50037),
                (6, 0, 0, 0x7FFF0000),
            )
        )
        syscalls.set_no_new_privileges()
        syscalls.install_seccomp(program)
        try:
            os.uname()
        except OSError as error:
            return error.errno
        return 0

    assert in_child(work) == 55


def test_capability_sets():
    def work():
        keep = 1 << capabilities.NUMBERS["CAP_CHOWN"]
        capabilities.capset(keep, keep, 0)
        return capabilities.capget()

    assert in_child(work) == [1, 1, 0]


def test_capabilities_in_words():
    assert sum(1 << one for one in capabilities.DEFAULT) == 0xA80425FB
    resolve = capabilities.resolve
    assert resolve((), (), privileged=False) == capabilities.DEFAULT
    assert resolve(("net_admin",), ("CAP_CHOWN",), privileged=False) == tuple(
        sorted({*capabilities.DEFAULT, 12} - {0})
    )
    assert resolve(("chown",), ("ALL",), privileged=False) == (0,)
    assert resolve(("ALL",), ("chown",), privileged=False) == capabilities.held()[1:]
    assert resolve((), ("ALL",), privileged=True) == capabilities.held()
    assert resolve(("chown",), ("chown",), privileged=False) == capabilities.DEFAULT
    with pytest.raises(InvalidRequest) as unknown:
        resolve(("foo",), (), privileged=False)
    assert unknown.value.message == 'invalid CapAdd: unknown capability: "CAP_FOO"'
    assert capabilities.name_of(21) == "CAP_SYS_ADMIN"
    assert capabilities.normalise("cap_sys_admin") == "CAP_SYS_ADMIN"


def private_mounts():
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.mount("", "/", "", mounts.PROPAGATION["rprivate"])


def test_mounts(tmp_path):
    def work():
        private_mounts()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs", mounts.MS_NOSUID, "mode=700")
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "a/file").touch()
        tree = mounts.open_tree(-100, str(tmp_path / "a"), mounts.OPEN_TREE_CLONE)
        place = os.open(tmp_path / "b", os.O_PATH)
        mounts.mount_setattr(tree, mounts.MOUNT_ATTR_RDONLY)
        mounts.move_mount(tree, place)
        try:
            (tmp_path / "b/file").write_text("x")
        except OSError as error:
            refused = error.errno
        mounts.umount2(str(tmp_path / "b"), mounts.MNT_DETACH)
        return [refused, list((tmp_path / "b").iterdir())]

    assert in_child(work) == [errno.EROFS, []]
    assert list(tmp_path.iterdir()) == []


def test_failures_name_their_subject():
    with pytest.raises(FileNotFoundError, match=r"mount tmpfs at /no/such/place: No such file"):
        in_child(lambda: mounts.mount("tmpfs", "/no/such/place", "tmpfs", 0))
    with pytest.raises(OSError, match="umount /no/such/place"):
        in_child(lambda: mounts.umount2("/no/such/place", 0))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (0, 0, 0, "")),
        (("ro", "nosuid", "mode=755"), (3, 0, 0, "mode=755")),
        (("noexec", "exec"), (0, 0, 0, "")),
        (("rbind", "rshared"), (0x5000, 0x104000, 0, "")),
        (("rbind", "rro"), (0x5000, 0, 1, "")),
        (("newinstance", "gid=5"), (0, 0, 0, "gid=5")),
    ],
)
def test_option_words(words, expected):
    assert mounts.parse_options(words) == expected


def test_pivot_root(tmp_path):
    def work():
        private_mounts()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs", 0)
        (tmp_path / "here").touch()
        os.chdir(tmp_path)
        syscalls.pivot_root(".", ".")
        mounts.umount2(".", mounts.MNT_DETACH)
        os.chdir("/")
        return [one.name for one in Path("/").iterdir()]

    assert in_child(work) == ["here"]


@pytest.fixture
def root(tmp_path):
    inside = tmp_path / "root"
    (inside / "dir").mkdir(parents=True)
    (inside / "out").symlink_to("../../../../../../etc")
    (inside / "abs").symlink_to("/etc")
    (inside / "dangling").symlink_to("/new/place")
    (inside / "relative").symlink_to("dir/deeper")
    (inside / "loop").symlink_to("loop")
    (inside / "magic").symlink_to("/proc/self/root")
    descriptor = os.open(inside, os.O_PATH)
    yield inside, descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "lands"),
    [
        ("/a/b/c", "a/b/c"),
        ("/out/x", "etc/x"),
        ("/abs/x", "etc/x"),
        ("/dangling/x", "new/place/x"),
        ("/relative", "dir/deeper"),
        ("/../../x", "x"),
        ("/dir/../../../y", "y"),
    ],
)
def test_what_is_made_stays_inside(root, path, lands):
    inside, descriptor = root
    made = directory_inside(descriptor, path)
    assert Path(f"/proc/self/fd/{made}").readlink() == inside / lands
    os.close(made)


def test_files_and_parents_inside(root):
    inside, descriptor = root
    os.close(file_inside(descriptor, "/out/passwd"))
    assert (inside / "etc/passwd").read_text() == ""
    parent, name = parent_inside(descriptor, "/abs/n/node")
    os.close(parent)
    assert name == "node"
    assert (inside / "etc/n").is_dir()
    with pytest.raises(OSError, match="loop"):
        directory_inside(descriptor, "/loop/x")
    with pytest.raises(OSError, match="magic"):
        open_inside(descriptor, "/magic/etc/passwd", os.O_RDONLY)


def test_netlink_messages_are_replayed_and_checked():
    def link_up(index):
        # RTM_NEWLINK, acknowledged: family, type, index, flags IFF_UP, change IFF_UP.
        body = struct.pack("BxHiII", 0, 0, index, 1, 1)
        return struct.pack("=IHHII", 16 + len(body), 16, 1 | 4, 1, 0) + body

    def work(index):
        syscalls.unshare(syscalls.CLONE_NEWNET)
        netlink_replay.replay(netlink_replay.encode([link_up(1) + link_up(index)]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", 9))  # reachable only once lo is up
        return True

    assert in_child(lambda: work(1))
    with pytest.raises(OSError, match="network set-up: No such device"):
        in_child(lambda: work(99))
