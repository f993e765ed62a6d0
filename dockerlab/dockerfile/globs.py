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
        char = glob[at]
        at += 1
        if char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == "[":
            text, at = character_class(glob, at)
            parts.append(text)
        elif char == "\\":
            if at == len(glob):
                raise ValueError(glob)
            parts.append(re.escape(glob[at]))
            at += 1
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def character_class(glob: str, at: int) -> tuple[str, int]:
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
