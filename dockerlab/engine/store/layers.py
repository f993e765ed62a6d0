"""layers/: unpacked layers side by side, found again by what they are.

Knows:   making (tmp, rename, row), sharing by diff id or chain id, giving a tar back, removing.
Refuses: images and containers; they hold layers by name of a holder.
Source:  OCI image-spec config.md "Layer DiffID", "Layer ChainID".
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dockerlab.engine.model.image import Layer
from dockerlab.engine.store import borrow, diff, layer_index, pack
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.durable import Durable
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.stack import Stack
from dockerlab.engine.store.streams import IterableSource, ReadAhead, Source
from dockerlab.engine.store.unpack import Figures, LayerTree, Limits, fill
from dockerlab.errors import Failed, NotFound
from dockerlab.oci import digests, layer_tar, tar_writer
from dockerlab.oci.changes import Change
from dockerlab.oci.layer_tar import Entry

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Layers:
    """Every unpacked layer of this host. All methods are safe in worker threads."""

    def __init__(
        self,
        root: Path,
        db: Database,
        durable: Durable | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._durable = durable
        self.folder = root / "layers"
        self._tmp = root / "tmp"
        for folder in (self.folder, self._tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limits = limits or Limits()
        self.rows = Table(db, "layers", Layer)
        self.holds = Table(db, "layer_holds", tuple[int, ...])
        self._lock = threading.Condition()
        self._making: set[str] = set()
        self._by_key: dict[str, Layer] = {_key(row): row for row in self.rows.values()}
        self._next = max([row.number for row in self.rows.values()], default=0) + 1
        self._leases = 0
        self._uncollected: set[int] = set()
        self._kept: dict[int, tuple[int, ...]] = {}
        self.opaque_xattr = _opaque_xattr(self._tmp)

    # Finding

    def get(self, number: int) -> Layer:
        """Return the layer of that number.

        Raises:
            NotFound: there is none.
        """
        layer = self.rows.get(str(number))
        if layer is None:
            raise NotFound(f"layer {number} does not exist")
        return layer

    def is_there(self, layer: Layer) -> bool:
        """Tell whether a layer was not removed since."""
        return self.rows.get(str(layer.number)) == layer

    def find(self, diff_id: str, parents: Sequence[Layer]) -> Layer | None:
        """Find a layer that can stand on these parents (bottom first)."""
        chain = digests.chain_id([*(parent.diff_id for parent in parents), diff_id])
        return self._by_key.get(f"diff {diff_id}") or self._by_key.get(f"chain {chain}")

    def path(self, layer: Layer) -> Path:
        """Return the folder that holds `fs/` and the index."""
        return self.folder / str(layer.number)

    # Making

    def unpack(
        self,
        source: Source,
        *,
        diff_id: str | None,
        parents: Sequence[Layer],
        progress: Callable[[int], None] | None = None,
    ) -> Layer:
        """Make a layer of an archive; nothing remains when it fails.

        Args:
            source: plain or compressed; told apart by its first bytes.
            diff_id: digest the plain tar must have; None for archives made here.
            parents: the layers below, bottom first.
            progress: told how many bytes of `source` were used so far.

        Raises:
            InvalidRequest: the archive asks for what may not be; the entry is named.
            Failed: its digest is not `diff_id`, or the disk is full.
        """
        with self._alone(diff_id or ""):
            found = self.find(diff_id, parents) if diff_id else None
            return found or self._unpack(source, diff_id, parents, progress)

    def _unpack(
        self,
        source: Source,
        diff_id: str | None,
        parents: Sequence[Layer],
        progress: Callable[[int], None] | None,
    ) -> Layer:
        with self._workshop() as folder:
            tree = LayerTree(folder, self.opaque_xattr)
            try:
                with ReadAhead(source, progress) as content:
                    figures = fill(tree, content, self._limits)
                if diff_id not in {None, figures.diff_id}:
                    raise Failed(
                        f"filesystem layer verification failed for digest {diff_id}",
                        hint=f"The unpacked layer has the digest {figures.diff_id}.",
                    )
                alone = self._complete(tree, parents)
                tree.finish()
            finally:
                tree.close()
            return self._keep(folder, figures, parents, alone=alone)

    def _complete(self, tree: LayerTree, parents: Sequence[Layer]) -> bool:
        """Fill in what the layer borrows from below; tell whether it is self-contained."""
        alone = not borrow.needs_parents(tree)
        if not alone:
            with self.stack(parents) as stack:
                borrow.fill_in(tree, stack)
        if tree.whiteouts and not parents:
            # With nothing below they would show as devices of nobody.
            alone = False
            for path in list(tree.whiteouts):
                tree.drop_whiteout(path)
        return alone

    def pack(self, items: Iterable[pack.Item], *, parents: Sequence[Layer]) -> Layer:
        """Make a layer of entries and their payloads, for example the files of a COPY."""
        source = IterableSource(pack.stream(items))
        return self.unpack(source, diff_id=None, parents=parents)

    def commit(self, upper: str, *, parents: Sequence[Layer], move: bool = True) -> Layer:
        """Make a layer of the upper directory of an overlay.

        Args:
            upper: absolute path, on the store's file system.
            parents: the layers it was the upper of, bottom first.
            move: the directory itself becomes the layer and is gone from its place;
                otherwise it is copied, and may stay in use.
        """
        descriptor = os.open(upper, _OPEN)
        try:
            walk = pack.Walk(descriptor, overlay=True)
            if not move:
                return self.pack(walk.items(), parents=parents)
            with self._workshop() as folder:
                figures = _index_of(folder, walk)
                found = self.find(figures.diff_id, parents)
                if found is not None:
                    shutil.rmtree(upper)
                    return found
                Path(upper).rename(folder / "fs")
                return self._keep(folder, figures, parents, alone=True)
        finally:
            os.close(descriptor)

    @contextmanager
    def _alone(self, diff_id: str) -> Iterator[None]:
        """Let one thread at a time make the layer of a diff id; the next ones will find it."""
        if not diff_id:
            yield
            return
        with self._lock:
            self._lock.wait_for(lambda: diff_id not in self._making)
            self._making.add(diff_id)
        try:
            yield
        finally:
            with self._lock:
                self._making.discard(diff_id)
                self._lock.notify_all()

    @contextmanager
    def _workshop(self) -> Iterator[Path]:
        """Give a folder in tmp/ that is gone afterwards unless it was kept."""
        folder = Path(tempfile.mkdtemp(dir=self._tmp, prefix="layer-"))
        try:
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(
        self, folder: Path, figures: Figures, parents: Sequence[Layer], *, alone: bool
    ) -> Layer:
        """Rename the finished folder, then write its row."""
        chain = digests.chain_id([*(parent.diff_id for parent in parents), figures.diff_id])
        with self._lock:
            found = self.find(figures.diff_id, parents)
            if found is not None:
                return found
            layer = Layer(
                number=self._next,
                diff_id=figures.diff_id,
                chain_id="" if alone else chain,
                size=figures.size,
                tar_size=figures.tar_size,
                entries=figures.entries,
                created_ns=time.time_ns(),
                root=figures.root,
            )
            self._next += 1
            folder.rename(self.path(layer))
            self._by_key[_key(layer)] = layer
        try:
            if self._durable is not None:
                self._durable.note(f"layer:{layer.number}")
            self.rows.put_sync(str(layer.number), layer)
        except BaseException:
            with self._lock:
                self._by_key.pop(_key(layer), None)
            shutil.rmtree(self.path(layer), ignore_errors=True)
            raise
        return layer

    # Reading

    def entries(self, layer: Layer) -> list[Entry]:
        """Return every entry of the layer's tar, in its order."""
        return [record.entry for record in layer_index.load(self.path(layer))]

    def tar(self, layer: Layer) -> Iterator[bytes]:
        """Give the layer's uncompressed tar back, byte for byte.

        Raises:
            Failed: at the end, when somebody changed the layer's files.
        """
        digest = hashlib.sha256()
        for chunk in layer_index.rebuild(self.path(layer)):
            digest.update(chunk)
            yield chunk
        if f"sha256:{digest.hexdigest()}" != layer.diff_id:
            raise Failed(f"layer {layer.diff_id} was changed on disk")

    def read_file(self, layer: Layer, path: str, *, limit: int = -1) -> bytes:
        """Return the bytes of a regular file that this layer's tar carries.

        Raises:
            NotFound: it carries no such file.
        """
        name = os.fsencode(path).strip(b"/")
        for record in reversed(layer_index.load(self.path(layer))):
            if record.entry.name == name and record.entry.kind == layer_tar.FILE:
                if not record.place:
                    return b""
                with open(os.fsencode(self.path(layer)) + b"/" + record.place, "rb") as file:
                    return file.read(limit)
        raise NotFound(f"no file {path} in layer {digests.short(layer.diff_id)}")

    def digests_of(self, layer: Layer) -> Callable[[int], str]:
        """Give the content digests of entries by number; each file is read when asked for."""
        records = layer_index.load(self.path(layer))
        folder = os.fsencode(self.path(layer))

        def digest(number: int) -> str:
            place = records[number].place
            if not place:
                return hashlib.sha256().hexdigest()
            with open(folder + b"/" + place, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        return digest

    @contextmanager
    def stack(self, layers: Sequence[Layer]) -> Iterator[Stack]:
        """Look at layers (bottom first) as they merge, without mounting them."""
        with ExitStack() as opened:
            roots = []
            for layer in reversed(layers):
                roots.append(os.open(self.path(layer) / "fs", _OPEN))
                opened.callback(os.close, roots[-1])
            yield Stack(roots)

    def changes(self, upper: str, parents: Sequence[Layer]) -> list[Change]:
        """List what an upper directory changed, as `docker diff` does, sorted by path."""
        descriptor = os.open(upper, _OPEN)
        try:
            with self.stack(parents) as stack:
                return diff.changes(descriptor, stack)
        finally:
            os.close(descriptor)

    # Holding and removing

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep every layer while something is put together from several."""
        with self._lock:
            self._leases += 1
        try:
            yield
        finally:
            with self._lock:
                self._leases -= 1
                waiting = set() if self._leases else self._uncollected
                self._uncollected = self._uncollected - waiting
            if waiting:
                self.collect(waiting)

    def hold(self, holder: str, layers: Sequence[Layer]) -> None:
        """Keep layers for as long as "container:ID", "build:KEY" or "image:ID" needs them.

        Raises:
            Failed: one of them was removed meanwhile (see `lease`).
        """
        with self._lock:
            if not all(self.is_there(layer) for layer in layers):
                raise Failed("a layer of the image was removed meanwhile", hint="Try again.")
            self.holds.put_sync(holder, tuple(layer.number for layer in layers))

    def keep(self, layer: Layer, parents: Sequence[Layer]) -> None:
        """Keep a layer while all of its parents are there, until this engine ends.

        For what is made of them at once and needed again soon: nobody holds it in between.
        """
        if parents:
            with self._lock:
                self._kept[layer.number] = tuple(parent.number for parent in parents)

    def held_by(self, holder: str) -> list[Layer]:
        """Return the layers kept for a holder, in the order given."""
        return [self.get(number) for number in self.holds.get(holder) or ()]

    def release(self, holder: str) -> int:
        """Give up a hold; remove what nobody holds any more and return the bytes freed."""
        numbers = self.holds.get(holder)
        if numbers is None:
            return 0
        self.holds.delete_sync(holder)
        return self.collect(numbers)

    def collect(self, numbers: Iterable[int] | None = None) -> int:
        """Remove layers that nobody holds, among some or all; later, while a lease is out."""
        with self._lock:
            every = [row.number for row in self.rows.values()] if numbers is None else numbers
            if self._leases:
                self._uncollected.update(every)
                return 0
            held = {number for row in self.holds.values() for number in row}
            dying = set(every) - held - self._kept.keys()
            for number, parents in list(self._kept.items()):
                if not dying.isdisjoint(parents):
                    del self._kept[number]
                    dying |= {number} - held
            dead = [row for n in dying if (row := self.rows.get(str(n))) is not None]
            for layer in dead:
                self._by_key.pop(_key(layer), None)
            if dead:
                self.rows.change_sync({str(layer.number): None for layer in dead})
        for layer in dead:
            shutil.rmtree(self.path(layer), ignore_errors=True)
        return sum(layer.size for layer in dead)

    def forget(self, layer: Layer) -> None:
        """Take back a layer whose files are damaged, whoever holds it."""
        with self._lock:
            self._by_key.pop(_key(layer), None)
        self.rows.delete_sync(str(layer.number))
        shutil.rmtree(self.path(layer), ignore_errors=True)

    def has_diff(self, diff_id: str) -> Layer | None:
        """Return any layer of that diff id, whatever it stands on."""
        return next((row for row in self.rows.values() if row.diff_id == diff_id), None)

    def numbers_on_disk(self) -> set[int]:
        """List the folders there are, with or without a row."""
        return {int(entry.name) for entry in self.folder.iterdir() if entry.name.isdigit()}


def _key(layer: Layer) -> str:
    return f"chain {layer.chain_id}" if layer.chain_id else f"diff {layer.diff_id}"


def _index_of(folder: Path, walk: pack.Walk) -> Figures:
    """Write the index of a tree as the tar it would be, and compute that tar's digest."""
    digest = hashlib.sha256()
    tar_size = size = 0
    pending = b""
    with layer_index.IndexWriter(folder) as index:
        for item in walk.items():
            entry = item.entry
            raw = pending + tar_writer.header(entry)
            digest.update(raw)
            for chunk in pack.exactly(item.chunks, entry.size):
                digest.update(chunk)
            index.add(entry, raw, b"fs/" + item.place if entry.payload else b"")
            pending = tar_writer.padding(entry.size)
            tar_size += len(raw) + entry.size
            size += entry.size
        tail = pending + tar_writer.END
        digest.update(tail)
        index.finish(tail)
    return Figures(
        entries=len(index.records),
        size=size,
        tar_size=tar_size + len(tail),
        diff_id="sha256:" + digest.hexdigest(),
    )


def _opaque_xattr(folder: Path) -> str:
    """Find the mark of opaque directories that we may set here: a user namespace has its own."""
    probe = Path(tempfile.mkdtemp(dir=folder, prefix="probe-"))
    try:
        for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
            with suppress(OSError):
                os.setxattr(probe, name, b"y")
                return name
    finally:
        probe.rmdir()
    return "user.overlay.opaque"
