"""Widgets: their state is here, their drawing in labextension/widgets/*.ts.

Knows:   where the built drawings are, and that a clone may not have built them yet.
Refuses: to decide anything; and networks: every drawing is a file of this package.
"""

from __future__ import annotations

from pathlib import Path


def drawing(name: str) -> Path | None:
    """The built ES module of a widget; None where the front end was not built."""
    path = Path(__file__).parents[2] / "static" / f"{name}.js"
    return path if path.is_file() else None
