"""The Jupyter Server extension: the browser's bridge to one Docker host.

Knows:   how to hook its handlers into a server.
Refuses: to start an engine or to import docker before somebody opens the panel.
"""

from __future__ import annotations

from typing import Any


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the handlers; called by Jupyter Server once, at its start."""
    from dockerlab.jupyter.handlers import routes  # noqa: PLC0415 - only where a server runs

    server.web_app.add_handlers(".*$", routes(server.web_app.settings["base_url"]))
    server.log.info("dockerlab: the container panel is served below /dockerlab/")
