"""The zygote: forks shims and other light processes of the engine, on request.

Knows:   how to fork cheaply: one thread, few imports, a frozen heap.
Refuses: everything else. It ends with its engine; what it forked goes on.
Source:  measured: a fresh interpreter costs 9-23 ms, a fork of this process 0.4 ms.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
from typing import Any, NoReturn

from dockerlab.engine.linux import syscalls
from dockerlab.engine.runtime import packets, shim


def main(arguments: list[str]) -> NoReturn:
    """Serve the engine on the socket that is the first argument.

    Args:
        arguments: socket's descriptor; then NAME=MODULE for each further kind of process.
    """
    engine = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(engine.fileno(), False)
    # The descriptor by which our executable was found, see zygote_host.py.
    if engine.fileno() > 3:
        syscalls.close_range(3, engine.fileno() - 1)
    syscalls.close_range(engine.fileno() + 1, 0x7FFFFFFF)
    entries = {}
    for word in arguments[1:]:
        name, _, module = word.partition("=")
        entries[name] = importlib.import_module(module).run
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        # An engine under nohup ignores some; what is ignored stays so through an exec.
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.set_name("dockerlab-zygote")
    gc.disable()
    gc.freeze()
    packets.send(engine, {"ready": os.getpid()})
    while True:
        document, descriptors = packets.receive(engine)
        if document is None:
            os._exit(0)
        if os.fork() == 0:
            engine.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _be(document, descriptors, entries)
        for descriptor in descriptors:
            os.close(descriptor)


def _be(document: dict[str, Any], descriptors: list[int], entries: dict[str, Any]) -> NoReturn:
    try:
        # What outlives the engine must not keep its log or a pipe of its starter open.
        os.dup2(0, 2)
        request = json.loads(packets.unseal(descriptors[1]))
        if document["be"] == "shim":
            joined = descriptors[2] if len(descriptors) > 2 else -1
            shim.run(socket.socket(fileno=descriptors[0]), request, joined)
        os.setsid()
        syscalls.set_name(f"dockerlab-{document['be']}")
        entries[document["be"]](request, descriptors[0], descriptors[2])
    finally:
        os._exit(1)  # a fork must never fall back into the loop
