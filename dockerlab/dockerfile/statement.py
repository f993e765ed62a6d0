"""One instruction cut into keyword, flags and arguments, on its way to its type.

Knows:   the forms that several keywords share: lists, commands, flags and their values.
Refuses: to know any keyword; `parse.py` does.
Source:  docs.docker.com/reference/dockerfile, "Format", "Shell and exec form".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dockerlab.dockerfile.instructions import Command, Source
from dockerlab.dockerfile.lines import DockerfileError, Heredoc, LineRange
from dockerlab.dockerfile.suggest import closest
from dockerlab.dockerfile.words import Flag, WordError, go_quote, json_words
from dockerlab.errors import InvalidRequest
from dockerlab.wire.times import parse_duration

_MINIMUM_DURATION_NS = 1_000_000
_REPEATABLE = frozenset({"mount", "exclude", "device"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One instruction cut into keyword, flags and arguments, on its way to its type."""

    keyword: str
    arguments: str
    flags: tuple[Flag, ...]
    heredocs: tuple[Heredoc, ...]
    source: Source
    escape: str

    def words(self) -> tuple[str, ...]:
        return tuple(self.arguments.split())

    def one(self) -> str:
        """The rest of the line as one argument."""
        if not self.arguments:
            raise WordError(f"{self.keyword} requires exactly one argument")
        return self.arguments

    def some(self, found: tuple[str, ...]) -> tuple[str, ...]:
        if not found:
            raise WordError(f"{self.keyword} requires at least one argument")
        return found

    def list(self) -> tuple[str, ...]:
        """A JSON list, or words between blanks."""
        found = json_words(self.arguments)
        return self.words() if found is None else found

    def command(self) -> Command:
        """A JSON list is the exec form; everything else, silently, the shell form."""
        found = json_words(self.arguments)
        if found is not None:
            return Command(words=found, heredocs=self.heredocs)
        if not self.arguments:
            return Command(words=(), heredocs=self.heredocs)
        return Command(words=(self.arguments,), shell_form=True, heredocs=self.heredocs)

    def read_flags(self, **known: bool) -> Flags:
        """Check the flags against those known; `name=True` says that it needs no value."""
        found: dict[str, list[str]] = {}
        for flag in self.flags:
            key = flag.name.replace("-", "_")
            if key not in known or "_" in flag.name:
                names = [name.replace("_", "-") for name in known]
                raise unknown("flag", flag.name, names, self.source.lines, dashes="--")
            if flag.value is None and not known[key]:
                raise WordError(f"Missing a value on flag: {flag.name}")
            if key in found and key not in _REPEATABLE:
                raise WordError(f"Duplicate flag specified: {flag.name}")
            found.setdefault(key, []).append("true" if flag.value is None else flag.value)
        return Flags(found)


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one instruction, by name with `_` for `-`; all values of each."""

    given: Mapping[str, list[str]]

    def text(self, name: str) -> str:
        return self.given.get(name, [""])[0]

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self.given.get(name, ()))

    def truth(self, name: str) -> bool | None:
        if name not in self.given:
            return None
        text = self.given[name][0].lower()
        if text not in {"true", "false"}:
            shown = name.replace("_", "-")
            raise WordError(f"expected boolean value for flag {shown}: {text}")
        return text == "true"

    def duration_ns(self, name: str) -> int:
        text = self.text(name)
        if not text:
            return 0
        try:
            value = parse_duration(text)
        except InvalidRequest as error:
            raise WordError(error.message) from None
        if value != 0 and value < _MINIMUM_DURATION_NS:
            shown = name.replace("_", "-")
            raise WordError(f"Interval {go_quote(shown)} cannot be less than 1ms")
        return value


def unknown(
    what: str,
    word: str,
    known: Mapping[str, object] | list[str],
    lines: LineRange,
    dashes: str = "",
) -> DockerfileError:
    """Say that there is no such instruction or flag, and which was probably meant."""
    meant = closest(word, known)
    shown = word.upper() if what == "instruction" else f"{dashes}{word}"
    guess = f" (did you mean {dashes}{meant}?)" if meant else ""
    hint = f"Write {dashes}{meant}" if meant else f"Known: {', '.join(dashes + k for k in known)}"
    return DockerfileError(f"unknown {what}: {shown}{guess}", lines, hint=hint)
