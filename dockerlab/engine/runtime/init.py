"""Init: the first process of a container (or exec) performs its steps and becomes the program.

Knows:   how every step of `steps.py` is done, how failures are told to the shim.
Refuses: to decide anything, and anything heavy. Runs once, single-threaded, between a clone and
         an exec; whatever it opens is close-on-exec.
Source:  man 7 namespaces, capabilities; man 2 seccomp; runc's init for the order that holds.
"""

from __future__ import annotations

import binascii
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import termios
from typing import Any, NoReturn

from dockerlab.engine.linux import capabilities, syscalls
from dockerlab.engine.linux.inside import open_inside, text_inside
from dockerlab.engine.linux.mounts import AT_FDCWD, MS_BIND, mount
from dockerlab.engine.runtime import netlink_replay, packets, reaper
from dockerlab.engine.runtime.executable import NotExecutable, execute, look_up
from dockerlab.engine.runtime.identity import Identity, UnknownUser, resolve
from dockerlab.engine.runtime.init_files import Files, FilesFailed

_MAX_ACCOUNTS_BYTES = 8 * 1024 * 1024
_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
_LAST_DESCRIPTOR = 0x7FFFFFFF


class InitFailed(Exception):
    """A start that ends here. `bare` texts are told without the runtime's prefix."""

    def __init__(self, text: str, *, bare: bool = False) -> None:
        super().__init__(text)
        self.bare = bare


def run(
    plan: dict[str, Any], sync: socket.socket, stdio: tuple[int, int, int], pidfd: int
) -> NoReturn:
    """Perform the plan's steps and become the program; never returns.

    Args:
        plan: as `Plan.encode` gives it.
        sync: to the shim: it says go; we say what failed, or nothing by becoming the program.
        stdio: descriptors for 0, 1 and 2; with a terminal they are replaced by it.
        pidfd: exec: the process whose namespaces are joined; else -1.
    """
    try:
        init = Init(sync, stdio, pidfd)
        init.perform(plan["enter"])
        init.wait_for_go()
        init.perform(plan["start"])
    except (InitFailed, FilesFailed, UnknownUser, NotExecutable) as error:
        bare = isinstance(error, UnknownUser) or getattr(error, "bare", False)
        _tell(sync, {"error": str(error), "bare": bare})
    except OSError as error:
        _tell(sync, {"error": error.strerror or str(error), "bare": False})
    except BaseException as error:  # noqa: BLE001 - the shim must hear of it, whatever it is
        _tell(sync, {"error": f"{type(error).__name__}: {error}", "bare": False})
    os._exit(128)


def _tell(sync: socket.socket, document: dict[str, Any]) -> None:
    try:
        packets.send(sync, document)
    except OSError:
        os._exit(128)


class Init:
    """What init holds between its steps."""

    def __init__(self, sync: socket.socket, stdio: tuple[int, int, int], pidfd: int) -> None:
        self.sync, self.pidfd = sync, pidfd
        self.files = Files()
        self.network = -1
        self.apparmor = -1
        self.identity = Identity(0, 0, [0], "/")
        self.warnings: list[str] = []
        # Nobody inside may look into us, whose executable and memory are the host's.
        syscalls.set_dumpable(False)
        os.setsid()
        os.umask(0)
        for target, source in enumerate(stdio):
            if source >= 0:
                os.dup2(source, target)
        self._close_others()

    def _close_others(self) -> None:
        kept = sorted({one for one in (self.sync.fileno(), self.pidfd) if one > 2})
        start = 3
        for one in kept:
            if start < one:
                syscalls.close_range(start, one - 1)
            start = one + 1
        syscalls.close_range(start, _LAST_DESCRIPTOR)

    def wait_for_go(self) -> None:
        """Wait for the engine's word; the end of the shim ends us."""
        document, descriptors = packets.receive(self.sync)
        if document is None:
            os._exit(128)
        if descriptors:
            self.network = descriptors[0]

    def perform(self, steps: list[list[Any]]) -> None:
        """Perform encoded steps in order."""
        for name, *arguments in steps:
            _PERFORM[name](self, *arguments)

    def enter_cgroup(self, tasks: list[str]) -> None:
        for path in tasks:
            _write(path, "0")

    def join_namespace(self, flag: int, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        syscalls.setns(descriptor, flag)
        os.close(descriptor)

    def join_process(self, _pid: int, flags: int) -> None:
        syscalls.setns(self.pidfd, flags)
        os.close(self.pidfd)

    def unshare(self, flags: int) -> None:
        syscalls.unshare(flags)

    def set_hostname(self, name: str) -> None:
        syscalls.sethostname(name)

    def set_domainname(self, name: str) -> None:
        syscalls.setdomainname(name)

    def set_sysctl(self, name: str, value: str) -> None:
        path = name if "/" in name else name.replace(".", "/")
        if ".." in path.split("/"):
            raise InitFailed(f"invalid sysctl {name}")
        _write(f"/proc/sys/{path}", value)

    def replay_netlink(self) -> None:
        if self.network >= 0:
            netlink_replay.replay(packets.unseal(self.network))
            self.network = -1

    def open_apparmor(self, _profile: str) -> None:
        # Through the host's /proc: the container's could be anything.
        self.apparmor = os.open("/proc/self/attr/exec", os.O_WRONLY)
        os.write(self.apparmor, f"exec {_profile}".encode())

    def set_oom_score(self, value: int) -> None:
        try:
            _write("/proc/self/oom_score_adj", str(value))
        except PermissionError:
            # Lowering is not permitted here: the engine's own value stays.
            self.warnings.append(f"oom_score_adj {value} is not permitted here")

    def open_console(self, height: int, width: int, bind: bool) -> None:
        master = open_inside(AT_FDCWD, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        if os.fstat(master).st_rdev != os.makedev(5, 2):
            raise InitFailed("/dev/pts/ptmx is not a terminal multiplexer")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        if height and width:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))
        if bind:
            number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"))[0]
            os.close(os.open("/dev/console", os.O_CREAT | os.O_NOFOLLOW | os.O_RDONLY, 0o620))
            mount(f"/dev/pts/{number}", "/dev/console", "", MS_BIND)
        packets.send(self.sync, {"console": True}, (master,))
        os.close(master)
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for target in (0, 1, 2):
            os.dup2(slave, target)
        os.close(slave)

    def join_keyring(self, name: str) -> None:
        try:
            syscalls.join_session_keyring(name)
        except OSError:
            # No keyrings in this kernel, or no quota left: Docker goes on, too.
            self.warnings.append("no session keyring of its own")

    def set_rlimit(self, number: int, soft: int, hard: int, name: str) -> None:
        try:
            resource.setrlimit(number, (soft, hard))
        except (ValueError, PermissionError):
            _, most = resource.getrlimit(number)
            top = hard if most == -1 or 0 <= hard <= most else most
            low = top if soft == -1 or (top != -1 and soft > top) else soft
            resource.setrlimit(number, (low, top))
            self.warnings.append(f"ulimit {name} was cut to {low}:{top}")

    def drop_bounding(self, keep: list[int]) -> None:
        for number in range(64):
            if number in keep:
                continue
            try:
                syscalls.drop_bounding_capability(number)
            except OSError as error:
                if error.errno == errno.EINVAL:  # beyond the last that this kernel knows
                    return
                raise

    def seccomp(self, program: str) -> None:
        syscalls.install_seccomp(binascii.a2b_base64(program))

    def become_user(self, user: str, groups: list[str]) -> None:
        self.identity = resolve(
            user,
            groups,
            text_inside(AT_FDCWD, "/etc/passwd", _MAX_ACCOUNTS_BYTES),
            text_inside(AT_FDCWD, "/etc/group", _MAX_ACCOUNTS_BYTES),
        )
        for descriptor in (0, 1, 2):
            # So that a program may open /dev/stdout again.
            status = os.fstat(descriptor)
            if status.st_rdev != os.makedev(1, 3) and status.st_uid != self.identity.uid:
                os.fchown(descriptor, self.identity.uid, -1)
        os.setgroups(self.identity.groups)
        os.setresgid(self.identity.gid, self.identity.gid, self.identity.gid)
        os.setresuid(self.identity.uid, self.identity.uid, self.identity.uid)

    def set_capabilities(self, keep: list[int]) -> None:
        _, permitted, _ = capabilities.capget()
        mask = permitted & sum(1 << number for number in keep)
        syscalls.clear_ambient_capabilities()
        capabilities.capset(mask, mask, 0)

    def enter_directory(self, path: str) -> None:
        try:
            os.chdir(path)
            os.getcwd()  # fails for a directory that is not below our root
        except OSError as error:
            text = (error.strerror or "").lower()
            raise InitFailed(f'chdir to cwd ("{path}") set in config.json failed: {text}') from None

    def no_new_privileges(self) -> None:
        syscalls.set_no_new_privileges()

    def execute(self, args: list[str], env: list[str], reap: bool) -> None:
        variables: dict[str, str] = {}
        for entry in env:
            key, assigned, value = entry.partition("=")
            if assigned:
                variables[key] = value
        if not variables.get("HOME"):
            variables["HOME"] = self.identity.home
        os.umask(0o022)
        if not args:
            raise InitFailed("no command specified")
        path = look_up(args[0], variables.get("PATH", ""))
        if self.warnings:
            packets.send(self.sync, {"warnings": self.warnings})
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if self._shim_is_gone():
            os._exit(128)
        if reap:
            reaper.fork_program(self.sync)
        _restore_signals()
        execute(path, args, variables)

    def _shim_is_gone(self) -> bool:
        poller = select.poll()
        poller.register(self.sync, 0)
        return bool(poller.poll(0))


def _restore_signals() -> None:
    # Python ignores these two; a program expects the kernel's default.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise OSError(error.errno, f"open {path}: {why}") from None
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        why = (error.strerror or "").lower()
        raise OSError(error.errno, f"write {text} to {path}: {why}") from None
    finally:
        os.close(descriptor)


_PERFORM: dict[str, Any] = {
    "EnterCgroup": Init.enter_cgroup,
    "JoinNamespace": Init.join_namespace,
    "JoinProcess": Init.join_process,
    "Unshare": Init.unshare,
    "SetHostname": Init.set_hostname,
    "SetDomainname": Init.set_domainname,
    "SetSysctl": Init.set_sysctl,
    "ReplayNetlink": Init.replay_netlink,
    "OpenAppArmor": Init.open_apparmor,
    "SetOomScore": Init.set_oom_score,
    "OpenConsole": Init.open_console,
    "JoinKeyring": Init.join_keyring,
    "SetRlimit": Init.set_rlimit,
    "DropBounding": Init.drop_bounding,
    "Seccomp": Init.seccomp,
    "BecomeUser": Init.become_user,
    "SetCapabilities": Init.set_capabilities,
    "EnterDirectory": Init.enter_directory,
    "NoNewPrivileges": Init.no_new_privileges,
    "Execute": Init.execute,
    "TakeTree": lambda init, *facts: init.files.take_tree(*facts),
    "TakeForeignTree": lambda init, *facts: init.files.take_foreign_tree(*facts),
    "Propagate": lambda init, *facts: init.files.propagate(*facts),
    "MountOverlay": lambda init, *facts: init.files.mount_overlay(*facts),
    "BindRoot": lambda init, *facts: init.files.bind_root(*facts),
    "MountAt": lambda init, *facts: init.files.mount_at(*facts),
    "MakeNode": lambda init, *facts: init.files.make_node(*facts),
    "MakeLink": lambda init, *facts: init.files.make_link(*facts),
    "Mask": lambda init, *facts: init.files.mask(*facts),
    "MakeReadOnly": lambda init, *facts: init.files.make_read_only(*facts),
    "PivotRoot": lambda init: init.files.pivot(),
    "MakeDirectory": lambda init, *facts: init.files.make_directory(*facts),
    "SealRoot": lambda init: init.files.seal_root(),
}
