"""The layer explorer: layers on the left, their files on the right.

Knows:   what travels: one JSON message of all entries as bytes, once.
Refuses: to draw; labextension/widgets/layers.ts does.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from dockerlab.commands.results import ImageLayers
from dockerlab.notebook.widgets import drawing

_KINDS = {"directory": "d", "symlink": "l", "hardlink": "h"}


def explorer(result: ImageLayers) -> Any:
    """A widget for these layers; None where the front end was not built."""
    kind = _kind()
    return None if kind is None else kind(image=result.image, content=content(result))


def content(result: ImageLayers) -> bytes:
    """The layers in the form that the drawing reads.

    Entries are lists, as there may be 50,000: [path, kind, size, mark, link].
    """
    document = [
        {
            "number": layer.number,
            "digest": layer.digest,
            "size": layer.size_bytes,
            "instruction": layer.instruction,
            "entries": [
                [
                    entry.path,
                    _KINDS.get(entry.kind, "f"),
                    entry.size,
                    entry.mark[0],  # added, changed, removed, same
                    entry.link,
                ]
                for entry in layer.entries
            ],
        }
        for layer in result.layers
    ]
    return json.dumps(document, separators=(",", ":")).encode()


@functools.cache
def _kind() -> Any:
    path = drawing("layers")
    if path is None:
        return None
    import anywidget  # noqa: PLC0415 - 200 ms, at first use
    import traitlets  # noqa: PLC0415 - comes with it

    class LayersWidget(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]  # no types
        """Carries the layers of one image."""

        _esm = path
        image = traitlets.Unicode().tag(sync=True)
        content = traitlets.Bytes().tag(sync=True)

        def __repr__(self) -> str:
            return f"layers of {self.image}"

    return LayersWidget
