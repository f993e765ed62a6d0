"""The JSON documents of an image: manifest, index, configuration.

Knows:   their fields, their limits, and which combinations are refused.
Refuses: to rewrite what came from elsewhere: digests name raw bytes, so those are kept beside.
Source:  OCI image-spec manifest.md, image-index.md, config.md; Docker manifest v2 schema 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from dockerlab.errors import InvalidRequest, Unsupported
from dockerlab.oci import digests

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

INDEX_TYPES = (DOCKER_INDEX, OCI_INDEX)
ACCEPT_TYPES = (DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX)
"""What a client asks a registry for; without them old registries serve schema 1."""
CONFIG_TYPES = (DOCKER_CONFIG, OCI_CONFIG)
SCHEMA_1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
)

MAX_MANIFEST = 4 << 20
MAX_CONFIG = 8 << 20
MAX_LAYERS = 1000
MAX_HISTORY = 10_000


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an image runs."""

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] = msgspec.field(name="os.features", default=())
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bytes named by digest, with their type and size."""

    media_type: str = msgspec.field(name="mediaType", default="")
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = msgspec.field(name="artifactType", default="")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One image for one platform: a config and its layers, bottom first."""

    schema_version: int = msgspec.field(name="schemaVersion", default=2)
    media_type: str = msgspec.field(name="mediaType", default=DOCKER_MANIFEST)
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """One name for several platforms."""

    schema_version: int = msgspec.field(name="schemaVersion", default=2)
    media_type: str = msgspec.field(name="mediaType", default=OCI_INDEX)
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """A health check; times in nanoseconds, 0 inherits."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageRunConfig(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"
):
    """How to run an image, unless the container says otherwise."""

    user: str = ""
    exposed_ports: dict[str, Any] = {}
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, Any] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: HealthConfig | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False


class RootFS(msgspec.Struct, frozen=True, kw_only=True):
    """The uncompressed layers by digest, bottom first."""

    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one build step did."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration whose digest is the image's id. Times are RFC 3339 text, as written."""

    architecture: str = ""
    os: str = "linux"
    variant: str | msgspec.UnsetType = msgspec.UNSET
    os_version: str | msgspec.UnsetType = msgspec.field(name="os.version", default=msgspec.UNSET)
    created: str | msgspec.UnsetType = msgspec.UNSET
    author: str | msgspec.UnsetType = msgspec.UNSET
    comment: str | msgspec.UnsetType = msgspec.UNSET
    docker_version: str | msgspec.UnsetType = msgspec.UNSET
    config: ImageRunConfig = ImageRunConfig()
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()

    @property
    def platform(self) -> Platform:
        """Where the image runs."""
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant or "")


def layer_type(compression: str) -> str:
    """Name the media type of a layer by the compression found in its bytes."""
    return {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}.get(compression, OCI_LAYER)


def oci_layer_type(media_type: str) -> str:
    """Translate Docker's name of a layer's type into OCI's."""
    for compression in ("gzip", "zstd"):
        if media_type.endswith(compression):
            return layer_type(compression)
    return OCI_LAYER


_Document = TypeVar("_Document")


def parse_manifest(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index.

    Args:
        raw: the bytes as received; their digest is the caller's business.
        media_type: the Content-Type they came with; "" when unknown (an OCI layout).

    Raises:
        InvalidRequest: malformed, too large, or both kinds at once (CVE-2021-41190).
        Unsupported: schema 1, or no image at all.
    """
    if len(raw) > MAX_MANIFEST:
        raise InvalidRequest(f"manifest is larger than {MAX_MANIFEST} bytes")
    media_type = media_type.partition(";")[0].strip()
    tree = _tree(raw, "manifest")
    _refuse_schema_1(tree, media_type)
    written = tree.get("mediaType", "")
    known = media_type in ACCEPT_TYPES
    if known and written and written != media_type:
        raise InvalidRequest(
            f"media type in manifest should be '{media_type}' not '{written}'",
            hint="The registry serves a manifest that contradicts itself.",
        )
    is_index = "manifests" in tree
    if is_index and ("layers" in tree or "config" in tree):
        raise InvalidRequest("manifest has both an index's and an image's fields")
    kind = written or (media_type if known else "") or (OCI_INDEX if is_index else OCI_MANIFEST)
    if kind not in ACCEPT_TYPES:
        raise Unsupported(f"unsupported manifest media type: {kind}")
    if is_index != (kind in INDEX_TYPES):
        raise InvalidRequest(f"manifest does not look like its media type '{kind}'")
    tree["mediaType"] = kind
    if is_index:
        index = _convert(tree, Index, "index")
        _check(index.manifests)
        return index
    manifest = _convert(tree, Manifest, "manifest")
    _check((manifest.config, *manifest.layers))
    return manifest


def parse_config(raw: bytes) -> ImageConfig:
    """Read an image's configuration; fields that we do not know stay in the raw bytes.

    Raises:
        InvalidRequest: malformed, too large, or with counts that contradict each other.
    """
    if len(raw) > MAX_CONFIG:
        raise InvalidRequest(f"image configuration is larger than {MAX_CONFIG} bytes")
    config = _convert(_tree(raw, "image configuration"), ImageConfig, "image configuration")
    diff_ids = config.rootfs.diff_ids
    for diff_id in diff_ids:
        digests.parse(diff_id)
    if len(diff_ids) > MAX_LAYERS or len(config.history) > MAX_HISTORY:
        raise InvalidRequest("image configuration has too many layers or history entries")
    filled = sum(not entry.empty_layer for entry in config.history)
    if config.history and filled != len(diff_ids):
        raise InvalidRequest(
            "invalid image config: number of layers "
            f"({len(diff_ids)}) does not match history ({filled})"
        )
    return config


def time_ns(text: str | msgspec.UnsetType) -> int:
    """Read a time of a document (RFC 3339) as nanoseconds since the epoch; 0 when there is none."""
    match = _RFC_3339.fullmatch(text or "")
    if match is None:
        return 0
    try:
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4].replace('Z', '+00:00')}")
    except ValueError:
        return 0
    seconds = (whole - _EPOCH) // timedelta(seconds=1)
    return max(0, seconds * 1_000_000_000 + int((match[3] or "0")[:9].ljust(9, "0")))


def render(document: msgspec.Struct) -> bytes:
    """Write a document of our own; the same value always gives the same bytes."""
    return msgspec.json.encode(document)


def _tree(raw: bytes, what: str) -> dict[str, Any]:
    try:
        tree = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"invalid {what}: {error}") from error
    if not isinstance(tree, dict):
        raise InvalidRequest(f"invalid {what}: it is no JSON object")
    try:
        return dict(_without_null(tree))
    except RecursionError as error:
        raise InvalidRequest(f"invalid {what}: nested too deeply") from error


def _without_null(value: Any) -> Any:
    """Drop nulls: Go writes them for empty lists, maps and pointers, and reads them as such."""
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


def _convert(tree: dict[str, Any], kind: type[_Document], what: str) -> _Document:
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid {what}: {error}") from error


def _check(descriptors: tuple[Descriptor, ...]) -> None:
    if len(descriptors) > MAX_LAYERS + 1:
        raise InvalidRequest(f"manifest has more than {MAX_LAYERS} entries")
    for descriptor in descriptors:
        digests.parse(descriptor.digest)
        if descriptor.size < 0:
            raise InvalidRequest(f"invalid size of {descriptor.digest}: {descriptor.size}")


def _refuse_schema_1(tree: dict[str, Any], media_type: str) -> None:
    if media_type in SCHEMA_1_TYPES or "fsLayers" in tree or tree.get("schemaVersion") == 1:
        raise Unsupported(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has "
            "been removed. Suggest the author of the image to upgrade it to the OCI Format or "
            "Docker Image manifest v2, schema 2. More information at "
            "https://docs.docker.com/go/deprecated-image-specs/"
        )
