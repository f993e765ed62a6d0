"""Find the word that somebody probably meant.

Knows:   the edit distance between two words.
Refuses: to guess from afar: at most two letters may differ, and fewer in short words.
"""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """The known word nearest to `word`, ignoring case; "" when none is near."""
    folded = word.lower()
    limit = min(2, max(1, len(folded) // 3))
    ranked = sorted((distance(folded, candidate.lower()), candidate) for candidate in known)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else ""


def distance(first: str, second: str) -> int:
    """Count the letters to insert, delete, replace or swap with a neighbour."""
    if abs(len(first) - len(second)) > 2:
        return max(len(first), len(second))
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, previous, row = row, before, [i]
        for j, b in enumerate(second, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1]
