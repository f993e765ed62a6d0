"""The notebook side: magics, tables, frames and widgets over any Docker host.

Knows:   how to hang itself into a running IPython, and how to leave it again.
Refuses: to import docker, pandas or widgets before somebody needs them.
"""

from __future__ import annotations

from typing import Any


def load(shell: Any) -> None:
    """Register the magics, choose the host, and say in one line which and why."""
    from dockerlab.notebook.completion import complete  # noqa: PLC0415 - loaded with the magics
    from dockerlab.notebook.magics import DockerMagics  # noqa: PLC0415 - only in a notebook

    magics = DockerMagics(shell)
    shell.register_magics(magics)
    if magics not in shell.configurables:
        shell.configurables.append(magics)  # for %config DockerMagics
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers.append(complete(magics))
    magics.welcome()


def unload(shell: Any) -> None:
    """Take the magics away; what runs in containers goes on."""
    from dockerlab.notebook.magics import DockerMagics  # noqa: PLC0415 - it is loaded by now

    for magics in [each for each in shell.configurables if isinstance(each, DockerMagics)]:
        shell.configurables.remove(magics)
        magics.close()
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers = [
            each
            for each in completer.custom_matchers
            if not getattr(each, "matcher_identifier", "").startswith("dockerlab")
        ]
    for kind, name in (
        ("line", "docker"),
        ("cell", "docker"),
        ("cell", "container"),
        ("cell", "dockerfile"),
    ):
        shell.magics_manager.magics[kind].pop(name, None)
