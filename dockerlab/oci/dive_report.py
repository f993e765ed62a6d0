"""The figures of the tool dive, number for number, its peculiarities included.

Knows:   dive's trees, its efficiency score and its list of inefficient files.
Refuses: to be right about waste; `layer_report.py` counts each dead byte once.
Source:  dive v0.13.1 filetree/efficiency.go, file_tree.go, file_node.go, image/analysis.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dockerlab.oci.layer_tar import DIRECTORY, Entry
from dockerlab.oci.tar_fields import readable

_PREFIX = b".wh."
_DOUBLE = b".wh..wh.."


@dataclass(frozen=True, slots=True)
class Inefficient:
    """A path that occurs in two or more layers, and the bytes of all its occurrences."""

    path: str
    size: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiveReport:
    """What dive would print.

    Attributes:
        efficiency: 0 to 1.
        inefficient: largest first.
        wasted_user_percent: against all layers but the first; NaN and infinity as in Go.
    """

    efficiency: float
    inefficient: tuple[Inefficient, ...]
    size_bytes: int
    user_size_bytes: int

    def shown(self) -> DiveReport:
        """The same with paths that every encoder takes: undecodable bytes are replaced."""
        return replace(
            self,
            inefficient=tuple(replace(one, path=readable(one.path)) for one in self.inefficient),
        )

    @property
    def wasted_bytes(self) -> int:
        """Bytes of every occurrence of an inefficient path, the one in use included."""
        return sum(one.size for one in self.inefficient)

    @property
    def wasted_user_percent(self) -> float:
        """Wasted bytes against the bytes above the lowest layer, as a share of 1."""
        if self.user_size_bytes:
            return self.wasted_bytes / self.user_size_bytes
        return float("inf") if self.wasted_bytes else float("nan")

    @property
    def printed_percent(self) -> int:
        """The efficiency as dive prints it."""
        return int(100 * self.efficiency)


@dataclass(slots=True, eq=False)
class _Node:
    entry: Entry | None = None
    children: dict[bytes, _Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        """Known from a directory's own entry only."""
        return self.entry is not None and self.entry.kind == DIRECTORY


@dataclass(slots=True)
class _Path:
    total: int = 0
    least: int | None = None
    count: int = 0

    def see(self, size: int) -> None:
        self.total += size
        self.least = size if self.least is None else min(self.least, size)
        self.count += 1


def report(layers: Sequence[Sequence[Entry]]) -> DiveReport:
    """Compute dive's figures for layers, bottom first."""
    trees = [_tree(entries) for entries in layers]
    below = _Node()
    paths: dict[bytes, _Path] = {}
    for tree in trees:
        for path, size in _occurrences(tree, below):
            paths.setdefault(path, _Path()).see(size)
        _stack(below, tree)
    total = sum(path.total for path in paths.values())
    least = sum(path.least or 0 for path in paths.values())
    found = [
        Inefficient("/" + name.decode("utf-8", "surrogateescape"), path.total, path.count)
        for name, path in paths.items()
        if path.count >= 2
    ]
    sizes = [sum(entry.size for entry in entries) for entries in layers]
    return DiveReport(
        efficiency=least / total if total else 1.0,
        inefficient=tuple(sorted(found, key=lambda one: (-one.size, one.path))),
        size_bytes=sum(sizes),
        user_size_bytes=sum(sizes[1:]),
    )


def _tree(entries: Sequence[Entry]) -> _Node:
    root = _Node()
    for entry in entries:
        parts = entry.name.split(b"/") if entry.name else []
        if any(part.startswith(_DOUBLE) for part in parts):
            continue
        node = root
        for part in parts:
            node = node.children.setdefault(part, _Node())
        node.entry = entry
    return root


def _leaves(root: _Node) -> Iterator[tuple[bytes, _Node]]:
    """Yield leaves in the order of dive's visit: by name, children before parents."""
    stack: list[tuple[bytes, _Node]] = [(b"", root)]
    while stack:
        path, node = stack.pop()
        if not node.children and path:
            yield path, node
        stack.extend(
            (path + b"/" + name if path else name, node.children[name])
            for name in sorted(node.children, reverse=True)
        )


def _occurrences(tree: _Node, below: _Node) -> Iterator[tuple[bytes, int]]:
    for path, node in _leaves(tree):
        folder, slash, base = path.rpartition(b"/")
        if not base.startswith(_PREFIX):
            yield path, node.entry.size if node.entry else 0
            continue
        hidden = folder + slash + base[len(_PREFIX) :]
        target = _find(below, hidden)
        if target is None:
            # dive's visitor fails here and leaves the rest of the layer.
            return
        yield hidden, _subtree_size(target) if target.is_directory else 0


def _find(root: _Node, path: bytes) -> _Node | None:
    node: _Node | None = root
    for part in path.split(b"/"):
        node = node.children.get(part) if node else None
    return node


def _subtree_size(root: _Node) -> int:
    total, stack = 0, [root]
    while stack:
        node = stack.pop()
        total += node.entry.size if node.entry else 0
        stack += node.children.values()
    return total


def _stack(below: _Node, upper: _Node) -> None:
    """Put a layer over those before it: whiteouts remove, others replace but keep children."""
    pending = [(below, upper)]
    while pending:
        lower, node = pending.pop()
        for name, child in node.children.items():
            if name.startswith(_PREFIX):
                lower.children.pop(name[len(_PREFIX) :], None)
                continue
            there = lower.children.setdefault(name, _Node())
            there.entry = child.entry or there.entry
            pending.append((there, child))
