"""Assemble a seccomp filter: from decisions on syscalls to classic BPF.

Knows:   struct seccomp_data, a balanced search over numbers, 64-bit comparisons in 32-bit steps.
Refuses: profiles and names; `seccomp.py` resolves those into `Table`s.
Source:  man 2 seccomp; Documentation/networking/filter.rst (classic BPF).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LOAD, AND, RETURN, JUMP = 0x20, 0x54, 0x06, 0x05
EQUAL, GREATER, GREATER_EQUAL = 0x15, 0x25, 0x35
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
_WORD = 0xFFFFFFFF
X32_BIT = 0x40000000


class Comparison(NamedTuple):
    """One comparison of a syscall argument; for "masked": (argument & value) == second."""

    argument: int
    op: str
    value: int
    second: int = 0


class Rule(NamedTuple):
    """An action that is taken if every test holds."""

    tests: tuple[Comparison, ...]
    action: int


@dataclass(frozen=True, slots=True)
class Table:
    """What one architecture's syscalls do.

    Attributes:
        audit_arch: AUDIT_ARCH_* that the kernel reports.
        first, last: the numbers this table is about; x86-64 and x32 share an audit_arch.
        wide: arguments have 64 bits.
        calls: number to rules in order; a rule without tests always holds.
        default: action for numbers and arguments no rule is about.
        newer: numbers from here on, up to `private`, get `newer_action`.
    """

    audit_arch: int
    first: int
    last: int
    wide: bool
    calls: Mapping[int, tuple[Rule, ...]]
    default: int
    newer: int
    private: int
    newer_action: int


class _Graph:
    """The program before it is a list: nodes by number, equal ones once.

    A node is ("return", value), ("load", offset, next), ("and", mask, next) or
    ("jump", operator, value, yes, no), where the last parts are numbers of nodes.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[str, tuple[int, ...]]] = []
        self._known: dict[tuple[str, tuple[int, ...]], int] = {}

    def add(self, kind: str, *parts: int) -> int:
        """The number of such a node."""
        node = kind, parts
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
        return self._known[node]


def assemble(tables: Sequence[Table], bad_architecture: int) -> bytes:
    """Compile to an array of struct sock_filter.

    Raises:
        ValueError: the program is longer than the kernel takes (4096 instructions).
    """
    by_arch: dict[int, list[Table]] = {}
    for table in tables:
        by_arch.setdefault(table.audit_arch, []).append(table)
    graph = _Graph()
    bad = node = graph.add("return", bad_architecture)
    # The native architecture, first in the list, is asked for first, so it is wrapped last.
    for arch, group in reversed(by_arch.items()):
        ranges = [] if any(table.first == 0 for table in group) else [(0, bad)]
        for table in sorted(group, key=lambda table: table.first):
            ranges += _ranges(graph, table)
        if group[-1].last < _WORD:
            ranges.append((max(table.last for table in group) + 1, bad))
        known = graph.add("load", NUMBER_AT, _search(graph, ranges))
        node = graph.add("jump", EQUAL, arch, known, node)
    return _Layout(graph).render(graph.add("load", ARCH_AT, node))


def _ranges(graph: _Graph, table: Table) -> list[tuple[int, int]]:
    """(first number, outcome) in order; neighbours with equal outcomes are one."""
    starts = {table.first, table.newer, table.private}
    for number in table.calls:
        starts |= {number, number + 1}
    out: list[tuple[int, int]] = []
    for start in sorted(start for start in starts if table.first <= start <= table.last):
        outcome = _outcome(graph, table, start)
        if not out or out[-1][1] != outcome:
            out.append((start, outcome))
    return out


def _outcome(graph: _Graph, table: Table, number: int) -> int:
    rules = table.calls.get(number)
    if rules is None:
        newer = table.newer <= number < table.private
        return graph.add("return", table.newer_action if newer else table.default)
    always = next((rule for rule in rules if not rule.tests), None)
    if always:
        return graph.add("return", always.action)
    node = graph.add("return", table.default)
    for rule in reversed(rules):
        no, node = node, graph.add("return", rule.action)
        for test in reversed(rule.tests):
            node = _test(graph, test, node, no, wide=table.wide)
    return node


def _search(graph: _Graph, ranges: Sequence[tuple[int, int]]) -> int:
    """A balanced tree of comparisons that ends at the range the number is in."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(graph, ranges[:middle]), _search(graph, ranges[middle:])
    return graph.add("jump", GREATER_EQUAL, ranges[middle][0], above, below)


def _test(graph: _Graph, test: Comparison, yes: int, no: int, *, wide: bool) -> int:
    """One comparison as jumps; BPF compares 32 bits, so the high half comes first."""
    negated = {"ne": "eq", "lt": "ge", "le": "gt"}.get(test.op)
    if negated:
        return _test(graph, test._replace(op=negated), no, yes, wide=wide)
    low_at = ARGUMENTS_AT + 8 * test.argument
    high, low = test.value >> 32 & _WORD, test.value & _WORD
    if test.op == "masked":
        low_part = _masked(graph, low_at, (low, test.second & _WORD), yes, no)
        high_datum = test.second >> 32 & _WORD
        if not wide or not high | high_datum:
            return low_part
        return _masked(graph, low_at + 4, (high, high_datum), low_part, no)
    compare = {"eq": EQUAL, "ge": GREATER_EQUAL, "gt": GREATER}[test.op]
    low_part = graph.add("load", low_at, graph.add("jump", compare, low, yes, no))
    if not wide:
        return low_part
    rest = graph.add("jump", EQUAL, high, low_part, no)
    if test.op != "eq":
        rest = graph.add("jump", GREATER, high, yes, rest)
    return graph.add("load", low_at + 4, rest)


def _masked(graph: _Graph, at: int, mask_datum: tuple[int, int], yes: int, no: int) -> int:
    mask, datum = mask_datum
    return graph.add("load", at, graph.add("and", mask, graph.add("jump", EQUAL, datum, yes, no)))


class _Layout:
    """Writes nodes from the last instruction to the first, so that every distance is known."""

    def __init__(self, graph: _Graph) -> None:
        self._nodes = graph.nodes
        self._code: list[bytes] = []
        self._placed: dict[int, int] = {}

    def render(self, node: int) -> bytes:
        self._place(node)
        if len(self._code) > 4096:
            raise ValueError(f"the filter has {len(self._code)} instructions, 4096 are allowed")
        return b"".join(reversed(self._code))

    def _emit(self, code: int, yes: int = 0, no: int = 0, value: int = 0) -> int:
        self._code.append(struct.pack("=HBBI", code, yes, no, value))
        return len(self._code)

    def _place(self, node: int) -> int:
        """Make sure that a node is written; returns its place, counted from the end."""
        if node not in self._placed:
            self._placed[node] = self._write(node)
        return self._placed[node]

    def _write(self, node: int) -> int:
        kind, parts = self._nodes[node]
        if kind == "return":
            return self._emit(RETURN, value=parts[0])
        if kind != "jump":
            value, after = parts
            # The next instruction written runs on into `after`, which must lie right behind it.
            distance = -self._place(after) + len(self._code)
            if distance:
                self._emit(JUMP, value=distance)
            return self._emit(LOAD if kind == "load" else AND, value=value)
        operator, value, yes, no = parts
        if yes == no:
            return self._place(yes)
        self._place(yes)
        self._place(no)
        near = [self._near(target) for target in (yes, no)]
        here = len(self._code)
        return self._emit(operator, here - near[0], here - near[1], value)

    def _near(self, node: int) -> int:
        """A place of `node` that a conditional jump reaches; makes a stepping stone if need be."""
        place = self._placed[node]
        # A stone for the other branch may come between: 254, not 255.
        if len(self._code) - place < 254:
            return place
        if self._nodes[node][0] == "return":
            self._placed[node] = self._write(node)
            return self._placed[node]
        return self._emit(JUMP, value=len(self._code) - place)
