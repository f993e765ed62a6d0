"""What became of every byte that the layers of an image carry: alive, or dead and why.

Knows:   the merged tree, its inodes, and the first thing that hides each of them.
Refuses: to read files; content digests are asked for only where two layers have one path.
Source:  OCI image-spec layer.md; `dive_report.py` has the figures of the tool people know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dockerlab.oci.changes import Marker, marker_of
from dockerlab.oci.layer_tar import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry
from dockerlab.oci.tar_fields import readable

DigestOf = Callable[[int, int], str]
"""Gives the content digest of a file by its layer and its place among the layer's entries."""

_MAX_LINKS = 40


class Cause(StrEnum):
    """Why bytes are dead."""

    METADATA_COPY = "metadata_copy"
    OVERWRITTEN = "overwritten"
    DELETED = "deleted"
    DUPLICATE_ENTRY = "duplicate_entry"


@dataclass(frozen=True, slots=True)
class Dead:
    """Bytes that no path shows any more.

    Attributes:
        layer: who shipped them, counted from the bottom; who pays.
        hidden_by: who hid them; who wasted them.
    """

    path: str
    size: int
    layer: int
    hidden_by: int
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """One layer's part: bytes shipped, of those dead by now, and bytes of any layer it hid."""

    shipped: int
    dead: int
    hid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The ledger of an image; in bytes, and every byte once.

    Attributes:
        dead: largest first.
        base_layers: how many layers belong to the base image; None when that is not known, and
            the scope is the whole image.
    """

    layers: tuple[LayerFigures, ...]
    live: int
    dead: tuple[Dead, ...]
    base_layers: int | None = None

    def shown(self) -> Report:
        """The same with paths that every encoder takes: undecodable bytes are replaced."""
        return replace(self, dead=tuple(replace(one, path=readable(one.path)) for one in self.dead))

    @property
    def shipped(self) -> int:
        """Bytes of regular files in all the layers."""
        return sum(layer.shipped for layer in self.layers)

    @property
    def waste(self) -> int:
        """Bytes shipped that nobody can see."""
        return self.shipped - self.live

    @property
    def efficiency(self) -> float:
        """Share of the bytes shipped that can be seen."""
        return self.live / self.shipped if self.shipped else 1.0

    @property
    def by_cause(self) -> dict[Cause, int]:
        """The waste, by what made it."""
        sums = dict.fromkeys(Cause, 0)
        for one in self.dead:
            sums[one.cause] += one.size
        return {cause: size for cause, size in sums.items() if size}

    @property
    def user_shipped(self) -> int:
        """Bytes shipped by the layers above the base image."""
        return sum(layer.shipped for layer in self.layers[self.base_layers or 0 :])

    @property
    def user_waste(self) -> int:
        """Bytes hidden, or shipped dead, by the layers above the base image."""
        return sum(layer.hid for layer in self.layers[self.base_layers or 0 :])

    @property
    def user_waste_percent(self) -> float:
        """The waste of those layers, against what they shipped."""
        return 100 * self.user_waste / self.user_shipped if self.user_shipped else 0.0


def report(
    layers: Sequence[Sequence[Entry]], digest_of: DigestOf, *, base_layers: int | None = None
) -> Report:
    """Account for every byte of an image's layers, bottom first."""
    ledger = _Ledger(digest_of)
    for number, entries in enumerate(layers):
        ledger.add(number, entries)
    shipped = [0] * len(layers)
    for inode in ledger.inodes:
        shipped[inode.layer] += inode.size
    dead, hid = [0] * len(layers), [0] * len(layers)
    for one in ledger.dead:
        dead[one.layer] += one.size
        hid[one.hidden_by] += one.size
    return Report(
        layers=tuple(
            LayerFigures(shipped=s, dead=d, hid=h)
            for s, d, h in zip(shipped, dead, hid, strict=True)
        ),
        live=sum(inode.size for inode in ledger.inodes if inode.names),
        dead=tuple(sorted(ledger.dead, key=lambda one: (-one.size, one.layer, one.path))),
        base_layers=base_layers,
    )


def base_layer_count(diff_ids: Sequence[str], known: Sequence[Sequence[str]]) -> int | None:
    """Find the longest stack of another known image that this one was built on."""
    best = 0
    for other in known:
        count = len(other)
        if best < count < len(diff_ids) and tuple(diff_ids[:count]) == tuple(other):
            best = count
    return best or None


@dataclass(slots=True, eq=False)
class _Inode:
    layer: int
    number: int
    path: str
    size: int
    names: int = 0


@dataclass(slots=True, eq=False)
class _Node:
    """A name in the merged tree."""

    layer: int
    kind: str
    inode: _Inode | None = None
    target: bytes = b""
    children: dict[bytes, _Node] = field(default_factory=dict)


class _Ledger:
    """The merged tree so far, and the dead."""

    def __init__(self, digest_of: DigestOf) -> None:
        self._digest_of = digest_of
        self._root = _Node(0, DIRECTORY)
        self.inodes: list[_Inode] = []
        self.dead: list[Dead] = []

    def add(self, layer: int, entries: Sequence[Entry]) -> None:
        hidden, opaque, own = [], [], []
        for number, entry in enumerate(entries):
            marker, name = marker_of(entry.name)
            if marker is Marker.WHITEOUT:
                hidden.append(name)
            elif marker is Marker.OPAQUE:
                opaque.append(name)
            elif marker is Marker.NONE and name:
                own.append((number, entry))
        # Markers speak of lower layers only, wherever they stand in the archive. What dies by
        # them waits: an own entry at the same path is the nearer cause.
        waiting: dict[bytes, list[_Inode]] = {}
        for name in hidden:
            parent, base = self._parent(name)
            node = parent.children.pop(base, None) if parent else None
            self._wait(node, name, waiting)
        for name in opaque:
            node = self._find(name)
            for base, child in list(node.children.items()) if node else ():
                self._wait(child, name + b"/" + base if name else base, waiting)
            if node:
                node.children.clear()
        for number, entry in own:
            self._put(layer, number, entry, waiting)
        for inodes in waiting.values():
            for inode in inodes:
                self._unlink(inode, layer, Cause.DELETED)

    def _wait(self, node: _Node | None, path: bytes, waiting: dict[bytes, list[_Inode]]) -> None:
        if node is None:
            return
        for where, inode in _inodes(node, path):
            waiting.setdefault(where, []).append(inode)

    def _put(
        self, layer: int, number: int, entry: Entry, waiting: dict[bytes, list[_Inode]]
    ) -> None:
        parent, base = self._parent(entry.name, layer=layer)
        if parent is None:
            return
        before = parent.children.get(base)
        if entry.kind == DIRECTORY and before is not None and before.kind == DIRECTORY:
            before.layer = layer
            return
        node = _Node(layer, entry.kind, self._inode(layer, number, entry), entry.target)
        if node.inode:
            node.inode.names += 1
        for inode in waiting.pop(entry.name, ()):
            self._unlink(inode, layer, self._cause(inode, node))
        if before is not None:
            self._hide(before, node, layer)
        parent.children[base] = node

    def _inode(self, layer: int, number: int, entry: Entry) -> _Inode | None:
        if entry.kind == HARDLINK:
            target = self._find(entry.target)
            return target.inode if target else None
        if entry.kind != FILE:
            return None
        inode = _Inode(layer, number, entry.path, entry.size)
        self.inodes.append(inode)
        return inode

    def _hide(self, before: _Node, by: _Node, layer: int) -> None:
        """Let one node take the place of another and of all that is below it."""
        if before.inode is not None:
            same_layer = before.layer == layer
            cause = Cause.DUPLICATE_ENTRY if same_layer else self._cause(before.inode, by)
            self._unlink(before.inode, layer, cause)
        for child in before.children.values():
            for _, inode in _inodes(child, b""):
                own = inode.layer == layer
                self._unlink(inode, layer, Cause.DUPLICATE_ENTRY if own else Cause.OVERWRITTEN)

    def _cause(self, dying: _Inode, by: _Node) -> Cause:
        new = by.inode
        if new is None or new is dying or new.size != dying.size:
            return Cause.OVERWRITTEN
        old = self._digest_of(dying.layer, dying.number)
        same = old == self._digest_of(new.layer, new.number)
        return Cause.METADATA_COPY if same else Cause.OVERWRITTEN

    def _unlink(self, inode: _Inode, layer: int, cause: Cause) -> None:
        """Take one name from an inode; with the last one its bytes die."""
        inode.names -= 1
        if inode.names == 0 and inode.size:
            self.dead.append(Dead(inode.path, inode.size, inode.layer, layer, cause))

    # Walking; links on the way lead inside the tree.

    def _find(self, path: bytes) -> _Node | None:
        if not path:
            return self._root
        parent, base = self._parent(path)
        return parent.children.get(base) if parent else None

    def _parent(self, path: bytes, *, layer: int = -1) -> tuple[_Node | None, bytes]:
        """Find the directory that holds a path; with `layer`, make it where it is missing."""
        *folders, base = path.split(b"/")
        return self._descend(folders, layer), base

    def _descend(self, parts: list[bytes], layer: int) -> _Node | None:
        trail = [self._root]
        pending = list(reversed(parts))
        links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            node = trail[-1].children.get(part)
            if node is not None and node.kind == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return None
                if node.target.startswith(b"/"):
                    trail = [self._root]
                pending += reversed(node.target.split(b"/"))
                continue
            if node is None or node.kind != DIRECTORY:
                if layer < 0:
                    return None
                made = _Node(layer, DIRECTORY)
                if node is not None:
                    self._hide(node, made, layer)
                trail[-1].children[part] = node = made
            trail.append(node)
        return trail[-1]


def _inodes(node: _Node, path: bytes) -> Iterator[tuple[bytes, _Inode]]:
    """Yield every name's inode at and below a node; without recursion, trees may be deep."""
    stack = [(node, path)]
    while stack:
        here, where = stack.pop()
        if here.inode is not None:
            yield where, here.inode
        stack += [(child, where + b"/" + base) for base, child in here.children.items()]
