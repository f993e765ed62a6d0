"""What each layer of an image did to the layers below: added, changed, removed, the same.

Knows:   a file tree as the layers so far show it, and how whiteouts hide parts of it.
Refuses: disks and archives; entries come in, changes go out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dockerlab.oci.changes import Marker, marker_of
from dockerlab.oci.layer_tar import DIRECTORY, Entry


class LayerChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One path of a layer.

    Attributes:
        kind: file, directory, symlink, hardlink, ...
        size: bytes; of a removed folder: of everything that was in it.
        mark: "added", "changed", "removed", or "same" for a folder that archives only repeat.
    """

    path: str
    kind: str
    size: int
    mark: str
    mode: int = 0
    link: str = ""


class _Node:
    """One path of the tree."""

    __slots__ = ("children", "kind", "listed", "owner", "size")

    def __init__(
        self,
        kind: str = DIRECTORY,
        size: int = 0,
        owner: tuple[int, int, int] = (0o755, 0, 0),
        *,
        listed: bool = False,
    ) -> None:
        self.kind, self.size, self.owner, self.listed = kind, size, owner, listed
        self.children: dict[bytes, _Node] = {}

    def weight(self) -> int:
        """Bytes of everything at and below this path."""
        total, rest = 0, [self]
        while rest:
            node = rest.pop()
            total += node.size
            rest += node.children.values()
        return total


class LayerStack:
    """Layers on top of each other, bottom first."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, entries: Iterable[Entry]) -> list[LayerChange]:
        """Put one more layer on top and say what it did, sorted by path."""
        found: dict[bytes, LayerChange] = {}
        plain = []
        # Removals speak of the layers below, wherever in the archive they stand.
        for entry in entries:
            marker, path = marker_of(entry.name)
            if marker is Marker.WHITEOUT:
                self._hide(path, found)
            elif marker is Marker.OPAQUE:
                node = self._find(path)
                for name in list(node.children) if node else ():
                    self._hide(path + b"/" + name if path else name, found)
            elif marker is Marker.NONE and path:
                plain.append(entry)
        for entry in plain:
            found[entry.name] = self._put(entry, hidden=entry.name in found)
        return [found[path] for path in sorted(found)]

    def _find(self, path: bytes) -> _Node | None:
        node: _Node | None = self._root
        for part in path.split(b"/") if path else ():
            if node is None:
                return None
            node = node.children.get(part)
        return node

    def _hide(self, path: bytes, found: dict[bytes, LayerChange]) -> None:
        folder, _, name = path.rpartition(b"/")
        parent = self._find(folder)
        gone = parent.children.pop(name, None) if parent else None
        if gone is not None:
            found[path] = LayerChange(
                path=_text(path), kind=gone.kind, size=gone.weight(), mark="removed"
            )

    def _put(self, entry: Entry, *, hidden: bool) -> LayerChange:
        folder, _, name = entry.name.rpartition(b"/")
        parent = self._root
        for part in folder.split(b"/") if folder else ():
            parent = parent.children.setdefault(part, _Node())
        before = parent.children.get(name)
        node = _Node(entry.kind, entry.size, (entry.mode, entry.uid, entry.gid), listed=True)
        mark = "added" if before is None and not hidden else "changed"
        if before is not None and entry.kind == DIRECTORY == before.kind:
            node.children = before.children
            if before.owner == node.owner or not before.listed:
                mark = "same"
        parent.children[name] = node
        return LayerChange(
            path=_text(entry.name),
            kind=entry.kind,
            size=entry.size,
            mark=mark,
            mode=entry.mode,
            link=_text(entry.target),
        )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
