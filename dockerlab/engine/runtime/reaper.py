"""Our own PID 1 for `--init` where the machine has no docker-init: reaps and passes signals on.

Knows:   that it is a Python process of the host inside a container: not dumpable, no descriptors
         but 0-2, no host path in reach, the container's own capabilities and filter.
Refuses: anything heavy.
Source:  man 7 pid_namespaces; what tini does.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

_NOT_PASSED = frozenset(
    {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU}
)


def fork_program(sync: socket.socket) -> None:
    """Return in a child that shall exec; the parent stays as PID 1 and ends when the child does."""
    everything = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, everything)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _take_terminal()
        return
    sync.close()
    _stay(child)


def _take_terminal() -> None:
    try:
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        return  # no terminal


def _stay(child: int) -> NoReturn:
    waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    while True:
        number = signal.sigwaitinfo(waited).si_signo
        if number == signal.SIGCHLD:
            _reap(child)
        elif number not in _NOT_PASSED:
            os.kill(child, number)


def _reap(child: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(128 - code if code < 0 else code)
