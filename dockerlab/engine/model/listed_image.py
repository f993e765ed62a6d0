"""An image as a list shows it: together with its names and what others share of it.

Knows:   these figures.
Refuses: to find them; `services/images.py` does, `api/image_documents.py` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockerlab.engine.model.image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One image as a list shows it.

    Attributes:
        shared_size: bytes that other images have as well; -1 when nobody asked.
        containers: how many were made from it; -1 when nobody asked.
    """

    image: Image
    tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    shared_size: int = -1
    containers: int = -1
