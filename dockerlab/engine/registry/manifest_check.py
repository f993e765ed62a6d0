"""What our registry demands of a manifest before it keeps one.

Knows:   that everything a manifest names must be here first.
Refuses: half images: a tag never points at something that can't be pulled.
Source:  OCI distribution-spec "Pushing Manifests".
"""

from __future__ import annotations

from dockerlab.engine.registry.storage import Refused, Storage
from dockerlab.errors import DockerlabError
from dockerlab.oci.documents import Index, parse_manifest


def check_manifest(storage: Storage, repository: str, raw: bytes, declared: str) -> str:
    """Return the media type of a manifest that this repository can really serve."""
    try:
        document = parse_manifest(raw, declared)
    except DockerlabError as error:
        raise Refused("MANIFEST_INVALID", error.message) from error
    if isinstance(document, Index):
        for child in document.manifests:
            if not storage.has_manifest(repository, child.digest):
                raise Refused(
                    "MANIFEST_BLOB_UNKNOWN", f"manifest unknown to registry: {child.digest}"
                )
        return document.media_type
    for blob in (document.config, *document.layers):
        # Bytes with `urls` may live elsewhere: they must not be redistributed.
        if not blob.urls and not storage.has_blob(repository, blob.digest):
            raise Refused("MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {blob.digest}")
    return document.media_type
