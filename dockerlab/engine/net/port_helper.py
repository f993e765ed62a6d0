"""Serve the published ports of one container on the host: forked by the zygote, one per container.

Knows:   listening at exactly the address asked for, whose namespace is whose, when to end.
Refuses: to decide which ports; anything heavy, as the zygote imports this. How bytes are copied:
         `port_streams.py`, `port_datagrams.py`.
Source:  docs/architecture.md, "The processes": why the host's own traffic takes this way.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import socket
import time
from typing import Any, NoReturn

from dockerlab.engine.linux.syscalls import CLONE_NEWNET, setns
from dockerlab.engine.net.port_datagrams import Datagrams
from dockerlab.engine.net.port_loop import IN, Loop
from dockerlab.engine.net.port_streams import Streams

_BACKLOG = 4096
_SWEEP_S = 10.0

Listener = dict[str, Any]


def run(request: dict[str, Any], control: int, lifeline: int) -> NoReturn:
    """Open the listeners, answer one line on `control`, serve until `lifeline` ends.

    Args:
        request: "listeners": list of {protocol, host_ip, host_port, target, target_port};
            "host": path of the network namespace to listen in, "" for the present one;
            "enter": path of the one to connect from, "" for the present one.
        control: socket for the answer: {"ok": true, "pid": N}, or {"ok": false, "error": text,
            "errno": N, "listener": index}.
        lifeline: read end of a pipe; its end is ours.
    """
    _raise_file_limit()
    try:
        loop = _opened(request)
    except _Refused as refused:
        _answer(control, refused.document)
        os._exit(0)
    _answer(control, {"ok": True, "pid": os.getpid()})
    gc.enable()  # the zygote switched it off to keep its pages shared
    loop.watch(lifeline, IN, lambda _: os._exit(0))
    while True:
        loop.wait(_SWEEP_S)
        loop.sweep(time.monotonic())


class _Refused(Exception):
    def __init__(self, error: OSError, listener: int) -> None:
        super().__init__(str(error))
        text = (error.strerror or str(error)).lower()
        self.document = {
            "ok": False,
            "error": text,
            "errno": error.errno or 0,
            "listener": listener,
        }


def _opened(request: dict[str, Any]) -> Loop:
    _join(request.get("host", ""), -1)
    opened = []
    for index, listener in enumerate(request["listeners"]):
        try:
            opened.append((listener, listen(listener)))
        except OSError as error:
            raise _Refused(error, index) from None
    _join(request.get("enter", ""), -1)
    loop = Loop()
    for listener, sock in opened:
        target = (listener["target"], int(listener["target_port"]))
        if listener["protocol"] == "udp":
            loop.sweepers.append(Datagrams(loop, sock, target).sweep)
        else:
            Streams(loop, sock, target)
    return loop


def listen(listener: Listener) -> socket.socket:
    """Open a socket at the address and port that a listener names, and only there."""
    family = socket.AF_INET6 if ":" in listener["host_ip"] else socket.AF_INET
    datagrams = listener["protocol"] == "udp"
    sock = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not datagrams:
            # Only for addresses in TIME_WAIT; for UDP it would let two helpers share a port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listener["host_ip"], int(listener["host_port"])))
        if not datagrams:
            sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _join(path: str, listener: int) -> None:
    if not path:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, CLONE_NEWNET)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _Refused(error, listener) from None


def _answer(control: int, document: dict[str, Any]) -> None:
    # An engine that died meanwhile reads nothing; the lifeline decides, not it.
    with contextlib.suppress(OSError):
        os.write(control, json.dumps(document).encode() + b"\n")
    os.close(control)


def _raise_file_limit() -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
