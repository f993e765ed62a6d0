"""`dockerlab engine check`: whether what is stored is whole, as sentences.

Knows:   how findings of the store read.
Refuses: to repair; a start sweeps what has no row.
"""

from __future__ import annotations

from dockerlab.engine.config import Settings
from dockerlab.engine.store import check as store_check
from dockerlab.engine.store.store import Store


def check(settings: Settings) -> list[str]:
    """Read every layer, compare digests, and name what is not as it was stored.

    Raises:
        Conflict: an engine is using the store.
    """
    store = Store.open(settings.root)
    try:
        found = store_check.check(store.images, store.layers, store.blobs, deep=True)
    finally:
        store.close()
    return [
        *(f"layer {number} has no files" for number in found.missing_layers),
        *(f"layer {number} is damaged" for number in found.damaged_layers),
        *(f"blob {digest} is missing" for digest in found.missing_blobs),
        *(f"image {image} lacks a part" for image in found.broken_images),
        *(f"folder of layer {number} belongs to nothing" for number in found.loose_layers),
        *(f"blob {digest} belongs to nothing" for digest in found.loose_blobs),
    ]
