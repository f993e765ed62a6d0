"""From a reference to the one image it means for a platform: index, manifest, config.

Knows:   digests of raw bytes, nested indexes, what is an image and what is another artifact.
Refuses: layers (pull.py), and any document whose bytes are not what their digest says.
Source:  OCI image-spec; moby distribution/pull_v2.go; CVE-2021-41190.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from dockerlab.engine.registry.remote_errors import RegistryAnswer, denied, pull_refusal
from dockerlab.engine.registry.transport import Registry
from dockerlab.errors import Failed, InvalidRequest, Unauthenticated, Unsupported
from dockerlab.oci import digests, platforms
from dockerlab.oci.documents import (
    ACCEPT_TYPES,
    CONFIG_TYPES,
    MAX_CONFIG,
    MAX_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_config,
    parse_manifest,
)
from dockerlab.oci.names import Reference

_MAX_DEPTH: Final = 3
_OLD_CONFIG_TYPES: Final = frozenset({"", "application/octet-stream", "text/html"})


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or an index as it came."""

    digest: str
    media_type: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a reference means here: the documents by which it was reached, outermost first."""

    documents: tuple[Document, ...]
    manifest: Manifest

    @property
    def digest(self) -> str:
        """The digest that the reference has in the registry: an index's, if it is one."""
        return self.documents[0].digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a registry has under a name."""

    document: Document
    size: int
    platforms: tuple[Platform, ...]


def pull_scope(reference: Reference) -> tuple[str, ...]:
    return (f"repository:{reference.path}:pull",)


def fetch_manifest(registry: Registry, reference: Reference) -> tuple[Document, Manifest | Index]:
    """Get what a tag or digest names, and check it.

    Raises:
        NotFound: there is none, or it may not be seen.
        Failed: what came is not what was asked for.
    """
    wanted = reference.digest or reference.tag
    path = f"/v2/{reference.path}/manifests/{wanted}"
    try:
        answer = registry.document(
            path, scopes=pull_scope(reference), accept=ACCEPT_TYPES, limit=MAX_MANIFEST
        )
    except Unauthenticated as error:
        raise denied("pull", reference, error.message) from error
    if answer.status != 200:
        raise pull_refusal(answer, reference)
    digest = digests.of(answer.body)
    if reference.digest and reference.digest != _digest_like(reference.digest, answer.body):
        raise Failed(f"manifest verification failed for digest {reference.digest}")
    promised = answer.headers.get("Docker-Content-Digest", "")
    if digests.is_digest(promised) and promised != _digest_like(promised, answer.body):
        raise Failed(
            f"manifest verification failed for digest {promised}",
            hint="The registry says one digest and sends another document.",
        )
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        document = parse_manifest(answer.body, media_type)
    except InvalidRequest as error:
        raise _no_manifest(answer, error) from error
    return Document(digest=digest, media_type=document.media_type, raw=answer.body), document


def resolve(
    registry: Registry, reference: Reference, wanted: Platform, *, exact: bool = False
) -> Resolved:
    """Follow indexes down to the manifest for a platform.

    Raises:
        NotFound: nothing there, or nothing for this platform.
    """
    documents = []
    here = reference
    for _ in range(_MAX_DEPTH):
        document, parsed = fetch_manifest(registry, here)
        documents.append(document)
        if isinstance(parsed, Manifest):
            return Resolved(documents=tuple(documents), manifest=parsed)
        entry = platforms.choose(parsed.manifests, wanted, exact=exact)
        here = reference.with_digest(entry.digest)
    raise Failed(f"too many nested indexes at {reference.familiar}")


def fetch_config(
    registry: Registry, reference: Reference, manifest: Manifest
) -> tuple[bytes, ImageConfig]:
    """Get the configuration of an image and check that it fits its manifest.

    Raises:
        Unsupported: the manifest is of something else than an image.
        Failed: it is not what the manifest promised.
    """
    wanted = manifest.config
    if wanted.media_type not in CONFIG_TYPES and wanted.media_type not in _OLD_CONFIG_TYPES:
        raise Unsupported(
            f'Encountered remote "{wanted.media_type}"(unknown) when fetching',
            hint="This is no container image; fetch it with the tool that made it.",
        )
    if wanted.size > MAX_CONFIG:
        raise Failed(f"image configuration is larger than {MAX_CONFIG} bytes")
    raw = fetch_blob(registry, reference, wanted)
    config = parse_config(raw)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise Failed(
            "layers from manifest don't match image configuration",
            hint="The image is broken in the registry; push it again.",
        )
    return raw, config


def fetch_blob(registry: Registry, reference: Reference, wanted: Descriptor) -> bytes:
    """Get a small blob and verify it."""
    path = f"/v2/{reference.path}/blobs/{wanted.digest}"
    answer = registry.document(path, scopes=pull_scope(reference), limit=wanted.size + 1)
    if answer.status != 200:
        raise pull_refusal(answer, reference)
    if len(answer.body) != wanted.size or _digest_like(wanted.digest, answer.body) != wanted.digest:
        raise Failed(
            f"image config verification failed for digest {wanted.digest}",
            hint=f"{len(answer.body)} bytes came, {wanted.size} were promised. Try again.",
        )
    return answer.body


def list_tags(registry: Registry, reference: Reference) -> list[str]:
    """Every tag of a repository, page by page."""
    path, tags = f"/v2/{reference.path}/tags/list?n=1000", list[str]()
    for _ in range(100):
        try:
            answer = registry.document(path, scopes=pull_scope(reference))
        except Unauthenticated as error:
            raise denied("pull", reference, error.message) from error
        if answer.status != 200:
            raise pull_refusal(answer, reference)
        try:
            tags += msgspec.json.decode(answer.body, type=_Tags).tags or []
        except msgspec.MsgspecError as error:
            raise Failed(f"invalid list of tags from {registry.domain}: {error}") from error
        link = answer.headers.get("Link", "")
        if 'rel="next"' not in link or not link.startswith("</"):
            return tags
        path = link[1 : link.index(">")]
    return tags


def _digest_like(digest: str, data: bytes) -> str:
    """The digest of some bytes by the same algorithm as another digest."""
    hasher = digests.hasher(digest)
    hasher.update(data)
    return f"{digest.partition(':')[0]}:{hasher.hexdigest()}"


def _no_manifest(answer: RegistryAnswer, error: InvalidRequest) -> Failed:
    start = " ".join(answer.body[:60].decode(errors="replace").split())
    if start.startswith("<"):
        return Failed(
            "error parsing HTTP 200 response body: invalid character '<' looking for beginning "
            f"of value: {start!r}",
            hint="A web page came: is that address a registry?",
        )
    return Failed(error.message, hint=error.hint)
