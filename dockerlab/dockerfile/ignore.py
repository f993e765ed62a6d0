"""Decide what `.dockerignore` leaves out of a build's context.

Knows:   the file's lines, Docker's pattern language, and which line decided about a path.
Refuses: to walk a folder; the caller asks about one relative path after another.
Source:  docs.docker.com/build/concepts/context, ".dockerignore files"; Go, filepath.Match.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field

from dockerlab.dockerfile.globs import element
from dockerlab.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One line of the file.

    Attributes:
        text: cleaned: no blanks, no leading slash, no `!`.
        line: where it stands, from 1.
        includes: written with `!`: takes back in what an earlier line left out.
    """

    text: str
    line: int
    includes: bool = False
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_regex", re.compile(_regex(self.text), re.DOTALL))

    def matches(self, path: str) -> bool:
        """Whether it matches this very path; parents are the caller's affair."""
        return self._regex.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Ignore:
    """All lines of a `.dockerignore`, in order."""

    patterns: tuple[Pattern, ...] = ()

    def decided_by(self, path: str) -> Pattern | None:
        """The last line that flipped the verdict about a path; None when none matched.

        A line speaks about a path by matching it or one of the directories above it.
        """
        verdict: Pattern | None = None
        candidates = _with_parents(path)
        for pattern in self.patterns:
            # Only a line that would change something is asked.
            if pattern.includes != (verdict is not None and not verdict.includes):
                continue
            if any(pattern.matches(candidate) for candidate in candidates):
                verdict = pattern
        return verdict

    def excludes(self, path: str) -> bool:
        """Whether the path stays out of the context."""
        verdict = self.decided_by(path)
        return verdict is not None and not verdict.includes

    def may_include_below(self, directory: str) -> bool:
        """Whether an excluded directory must be walked all the same, for a later `!` line."""
        return any(
            pattern.includes and _may_reach(pattern.text, directory) for pattern in self.patterns
        )


def parse_ignore(text: str) -> Ignore:
    """Read a `.dockerignore`.

    Raises:
        InvalidRequest: a lone `!`, or a glob that is none.
    """
    patterns: list[Pattern] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if raw.startswith("#"):
            continue
        line = raw.strip()
        if not line:
            continue
        includes = line.startswith("!")
        glob = line[1:].strip() if includes else line
        if not glob:
            raise InvalidRequest(
                'illegal exclusion pattern: "!"',
                hint=f"Write a pattern after the ! in line {number} of .dockerignore",
            )
        cleaned = _clean(glob)
        _check(cleaned, number)
        patterns.append(Pattern(text=cleaned, line=number, includes=includes))
    return Ignore(tuple(patterns))


def _clean(glob: str) -> str:
    cleaned = posixpath.normpath(glob)
    # normpath keeps "//x", which POSIX lets mean something else; nobody here does.
    cleaned = re.sub("^//+", "/", cleaned)
    return cleaned[1:] if len(cleaned) > 1 and cleaned[0] == "/" else cleaned


def _with_parents(path: str) -> tuple[str, ...]:
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def _may_reach(glob: str, directory: str) -> bool:
    """Whether a pattern can match something at or below a directory, judged by leading parts."""
    for part, name in zip(glob.split("/"), directory.split("/"), strict=False):
        if "**" in part:
            return True
        if re.fullmatch(_regex(part), name, re.DOTALL) is None:
            return False
    return True


def _check(glob: str, line: int) -> None:
    """Refuse what Go's filepath.Match calls a bad pattern: an open class, a final backslash."""
    try:
        _regex(glob)
    except ValueError:
        raise InvalidRequest(
            "syntax error in pattern", hint=f"See line {line} of .dockerignore: {glob}"
        ) from None


def _regex(glob: str) -> str:
    """Translate a pattern into a regular expression for whole relative paths.

    Raises:
        ValueError: the pattern is none.
    """
    literal = glob.removeprefix("**")
    if glob.startswith("**") and not re.search(r"[*?\[\]\\]", literal):
        # `**` before plain text means "ends in it", in the middle of a name too: `**.go`.
        anywhere = rf"(?:.*{re.escape(literal)})"
        return anywhere + (rf"|{re.escape(literal[1:])}" if literal.startswith("/") else "")
    parts: list[str] = []
    at = 0
    while at < len(glob):
        if glob.startswith("**", at):
            at += 2
            at += glob.startswith("/", at)
            parts.append("(?:.*/)?" if at < len(glob) else ".*")
            continue
        text, at = element(glob, at, any_char="[^/]")
        parts.append(text)
    return "".join(parts)
