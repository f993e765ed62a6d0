"""The wildcards of COPY and ADD, and the classes they share with `.dockerignore`.

Knows:   which names a pattern means.
Refuses: to look for any; the builder does.
Source:  Go, filepath.Match: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before a plain character.
"""

from __future__ import annotations

import re


def has_wildcards(text: str) -> bool:
    """Whether anything in a source path is more than itself."""
    return any(char in text for char in "*?[\\")


def name_regex(glob: str) -> str:
    """Translate a pattern for one name, without slashes, into a regular expression.

    Raises:
        ValueError: the pattern is none: an open class, a backslash at the end.
    """
    parts: list[str] = []
    at = 0
    while at < len(glob):
        text, at = element(glob, at, any_char=".")
        parts.append(text)
    return "".join(parts)


def element(glob: str, at: int, *, any_char: str) -> tuple[str, int]:
    """Translate one element of a pattern; return its regular expression and where it ends.

    Args:
        glob: the whole pattern.
        at: where the element begins.
        any_char: what `*` and `?` stand for, as a regular expression.

    Raises:
        ValueError: an open class, a backslash at the end.
    """
    char = glob[at]
    at += 1
    if char == "*":
        return f"{any_char}*", at
    if char == "?":
        return any_char, at
    if char == "[":
        return _character_class(glob, at)
    if char == "\\":
        if at == len(glob):
            raise ValueError(glob)
        char = glob[at]
        at += 1
    return re.escape(char), at


def _character_class(glob: str, at: int) -> tuple[str, int]:
    """Read `[a-z]` or `[^a-z]` from behind its bracket; return it and where it ends.

    Raises:
        ValueError: the class is not closed, or empty.
    """
    negated = glob.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (glob.startswith("]", at) and ranges):
        low, at = _class_char(glob, at)
        high = low
        if glob.startswith("-", at):
            high, at = _class_char(glob, at + 1)
        if low <= high:  # an empty range matches nothing, and is no error
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    inside = "".join(ranges)
    if not inside:
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{inside}]", at + 1


def _class_char(glob: str, at: int) -> tuple[str, int]:
    if at >= len(glob) or glob[at] in "-]":
        raise ValueError(glob)
    if glob[at] == "\\":
        at += 1
        if at >= len(glob):
            raise ValueError(glob)
    return glob[at], at + 1
