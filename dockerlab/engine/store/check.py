"""Compares rows and files: what is garbage, what is missing.

Knows:   that the row is the truth: files without a row are swept, rows without files reported.
Refuses: to guess; nothing that a row speaks of is ever removed here.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.durable import Durable
from dockerlab.engine.store.images import Images
from dockerlab.engine.store.layers import Layers
from dockerlab.errors import DockerlabError, NotFound
from dockerlab.oci import digests

_KEEP_LOOSE_BLOBS_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a check found; all empty when the store is whole."""

    missing_layers: tuple[int, ...] = ()
    damaged_layers: tuple[int, ...] = ()
    missing_blobs: tuple[str, ...] = ()
    broken_images: tuple[str, ...] = ()
    loose_layers: tuple[int, ...] = ()
    loose_blobs: tuple[str, ...] = field(default=())

    @property
    def is_whole(self) -> bool:
        """Tell whether everything that has a row has its files."""
        return not (
            self.missing_layers or self.damaged_layers or self.missing_blobs or self.broken_images
        )


def sweep(images: Images, layers: Layers, blobs: Blobs) -> None:
    """Remove files without a row, and layers that nobody holds.

    Blobs of an interrupted pull stay for a day: it will be tried again.
    """
    for number in layers.numbers_on_disk() - {row.number for row in layers.rows.values()}:
        shutil.rmtree(layers.folder / str(number), ignore_errors=True)
    layers.collect()
    needed = images.needed_blobs()
    limit = time.time() - _KEEP_LOOSE_BLOBS_S
    for digest in set(blobs.list()) - needed:
        if _is_older(blobs.path(digest), limit):
            blobs.remove(digest)
    for partial in blobs.partials():
        if _is_older(partial, limit):
            partial.unlink(missing_ok=True)


def after_power_loss(images: Images, layers: Layers, blobs: Blobs, durable: Durable) -> None:
    """Look at what the machine's crash may have eaten; images that lost a part are removed."""
    for key in durable.suspects():
        kind, _, name = key.partition(":")
        if kind == "layer":
            _verify_layer(images, layers, name)
        else:
            _verify_blob(images, blobs, name)
        durable.clear(key)


def _verify_layer(images: Images, layers: Layers, name: str) -> None:
    layer = layers.rows.get(name)
    if layer is None:
        return
    try:
        for _ in layers.tar(layer):
            pass
    except (DockerlabError, OSError):
        for row in images.rows.values():
            if layer.number in row.layers:
                images.forget(row.id)
        layers.forget(layer)


def _verify_blob(images: Images, blobs: Blobs, digest: str) -> None:
    try:
        actual = digests.hasher(digest)
        with blobs.open(digest) as file:
            while chunk := file.read(1 << 20):
                actual.update(chunk)
        if actual.hexdigest() == digests.hex_of(digest):
            return
    except (NotFound, OSError):
        pass
    blobs.remove(digest)
    if digest in images.rows:
        images.forget(digest)


def check(images: Images, layers: Layers, blobs: Blobs, *, deep: bool = False) -> Findings:
    """Look whether every row has its files; `deep` reads every layer and compares digests."""
    rows = {row.number: row for row in layers.rows.values()}
    on_disk = layers.numbers_on_disk()
    damaged = []
    for number in rows.keys() & on_disk if deep else ():
        try:
            for _ in layers.tar(rows[number]):
                pass
        except DockerlabError:
            damaged.append(number)
    documents = {d for row in images.rows.values() for d in (row.id, *row.manifests)}
    kept = {b.digest for known in images.layer_blobs.values() for b in known if b.kept}
    there = set(blobs.list())
    return Findings(
        missing_layers=tuple(sorted(rows.keys() - on_disk)),
        damaged_layers=tuple(sorted(damaged)),
        missing_blobs=tuple(sorted((documents | kept) - there)),
        broken_images=tuple(row.id for row in images.rows.values() if not images.get(row.id)),
        loose_layers=tuple(sorted(on_disk - rows.keys())),
        loose_blobs=tuple(
            sorted(
                digest
                for digest in there - images.needed_blobs()
                if _is_older(blobs.path(digest), time.time() - _KEEP_LOOSE_BLOBS_S)
            )
        ),
    )


def _is_older(path: Path, limit: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < limit
    return False
