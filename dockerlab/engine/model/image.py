"""An image and its layers as the engine keeps them.

Knows:   which layer directories make an image, and what its configuration says.
Refuses: the disk; `engine/store/` finds, makes and removes what is named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dockerlab.oci import digests
from dockerlab.oci.documents import ImageConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One unpacked layer: `layers/NUMBER/fs` and its index.

    Attributes:
        number: names its directory; short, as mount options are cut at a page.
        diff_id: digest of the uncompressed tar.
        chain_id: "" when the layer is self-contained and fits any parents; else the one stack
            (this layer on top) whose directories it was completed from.
        size: bytes of regular files, the figure Docker shows.
        tar_size: bytes of the uncompressed tar.
        entries: how many entries the tar has.
        root: mode, user and group of the root directory, where the tar speaks of it.
    """

    number: int
    diff_id: str
    chain_id: str = ""
    size: int = 0
    tar_size: int = 0
    entries: int = 0
    created_ns: int = 0
    root: tuple[int, int, int] | None = None

    @property
    def lower(self) -> str:
        """The directory as a mount option names it, relative to the layer store."""
        return f"{self.number}/fs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A layer as it travelled: compressed or plain bytes under `blobs/`.

    Attributes:
        sources: repositories (docker.io/library/alpine) that are known to hold it.
        kept: the bytes are in `blobs/`; False when only the fact is remembered.
    """

    digest: str
    size: int
    media_type: str
    sources: tuple[str, ...] = ()
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """What `state.db` says of an image; its configuration is the blob named by its id.

    Attributes:
        id: digest of the configuration's bytes.
        layers: numbers of the layers, bottom first.
        parent: id of the local image it was built on, or "".
        manifests: digests of the manifests it came with or left with, newest last.
    """

    id: str
    layers: tuple[int, ...]
    parent: str = ""
    created_ns: int = 0
    last_tagged_ns: int = 0
    manifests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is whole on this host.

    Attributes:
        layers: bottom first; with empty history steps left out.
        created_ns: when it was made, as its configuration says; 0 when it does not.
    """

    id: str
    document: ImageConfig
    layers: tuple[Layer, ...]
    parent: str = ""
    created_ns: int = 0
    last_tagged_ns: int = 0
    manifests: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of regular files in all layers together."""
        return sum(layer.size for layer in self.layers)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers, bottom first."""
        return self.document.rootfs.diff_ids

    @property
    def short_id(self) -> str:
        """The twelve digits that people see."""
        return digests.short(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStep:
    """One line of `docker history`, newest first in a list."""

    image_id: str
    created_ns: int
    created_by: str
    tags: tuple[str, ...]
    size: int
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUser:
    """A container that was made from an image."""

    container_id: str
    running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalStep:
    """One step of a removal.

    Attributes:
        kind: "untagged" or "deleted".
        name: the familiar reference, or the image's id.
        image_id: of the image it was about.
    """

    kind: str
    name: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What a removal did, in order, and the bytes of layers it freed."""

    steps: tuple[RemovalStep, ...] = ()
    freed_bytes: int = 0


def chain_of(layers: Sequence[Layer]) -> str:
    """Name a stack of layers, bottom first."""
    return digests.chain_id([layer.diff_id for layer in layers])
