"""Change the links of a running container from inside its namespace: forked, does it, ends.

Knows:   how to enter a network namespace and replay prepared netlink messages there.
Refuses: to know what they ask for; anything heavy, as the zygote imports this. A container that
         is still being made does the same in its own init.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, NoReturn

from dockerlab.engine.linux.syscalls import CLONE_NEWNET, setns
from dockerlab.engine.net.netlink import ROUTE, Channel


def run(request: dict[str, Any], control: int, lifeline: int) -> NoReturn:
    """Replay, answer one line, end.

    Args:
        request: "netns": path of the namespace; "messages": hexadecimal digits; "ipv6_link": the
            link that gets an address of that family, in a namespace that may have gone without.
        control: socket for {"ok": true} or {"ok": false, "error": text, "errno": N}.
        lifeline: not needed, this does not stay.
    """
    os.close(lifeline)
    answer: dict[str, Any] = {"ok": True}
    try:
        descriptor = os.open(request["netns"], os.O_RDONLY | os.O_CLOEXEC)
        setns(descriptor, CLONE_NEWNET)
        if link := request.get("ipv6_link", ""):
            _allow_ipv6(link)
        with Channel(ROUTE) as channel:
            channel.ask("network", bytes.fromhex(request["messages"]))
    except OSError as error:
        answer = {"ok": False, "error": str(error), "errno": error.errno or 0}
    with contextlib.suppress(OSError):
        os.write(control, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _allow_ipv6(link: str) -> None:
    # Our /proc shows the network namespace that we are in, whichever mount namespace it is of.
    with (
        contextlib.suppress(FileNotFoundError),
        open(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "w", encoding="ascii") as file,
    ):
        file.write("0")
