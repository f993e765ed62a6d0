"""The documents of `docker save`: manifest.json, and an OCI layout beside it.

Knows:   how both name images and layers inside one archive.
Refuses: to read archives; `engine/store/archives.py` does.
Source:  moby image/tarexport; OCI image-layout.md.
"""

from __future__ import annotations

import msgspec

from dockerlab.errors import InvalidRequest
from dockerlab.oci.documents import MAX_LAYERS

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
MAX_IMAGES = 1000


class ArchivedImage(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One image of manifest.json; paths are those inside the archive."""

    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


def parse_manifest_list(raw: bytes) -> tuple[ArchivedImage, ...]:
    """Read manifest.json.

    Raises:
        InvalidRequest: malformed, or more than any archive needs.
    """
    try:
        images = msgspec.json.decode(raw, type=tuple[ArchivedImage, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"invalid manifest.json: {error}") from error
    if len(images) > MAX_IMAGES or any(len(i.layers or ()) > MAX_LAYERS for i in images):
        raise InvalidRequest("manifest.json has too many images or layers")
    return images
