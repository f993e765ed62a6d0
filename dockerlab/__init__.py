"""dockerlab: a container lab that lives in Jupyter.

Knows:   its public names, each imported when somebody first asks for it (PEP 562).
Refuses: to import anything heavy: `%load_ext dockerlab` has 150 ms.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dockerlab.commands.hosts import choose as choose
    from dockerlab.errors import DockerlabError as DockerlabError
    from dockerlab.errors import NotFound as NotFound
    from dockerlab.notebook.frames import frame as frame

_PLACES = {
    "choose": "dockerlab.commands.hosts",
    "frame": "dockerlab.notebook.frames",
    "DockerlabError": "dockerlab.errors",
    "NotFound": "dockerlab.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from dockerlab.version import version  # noqa: PLC0415 - for the few who ask

        return version()
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, "__version__"})


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext dockerlab` calls."""
    from dockerlab.notebook import load  # noqa: PLC0415 - only in a notebook

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext dockerlab` calls."""
    from dockerlab.notebook import unload  # noqa: PLC0415 - only in a notebook

    unload(shell)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "dockerlab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "dockerlab.jupyter"}]
