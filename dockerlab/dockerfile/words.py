"""Cut the rest of an instruction's line into flags, words, pairs or a JSON list.

Knows:   quotes and the escape character, as far as they keep blanks inside one word.
Refuses: to remove quotes or to expand variables; `expand.py` does, when values are known.
Twin:    `expand.py` reads the same quotes; change both or none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


class WordError(ValueError):
    """The words do not have the form that an instruction asks for."""


@dataclass(frozen=True, slots=True)
class Flag:
    """`--name=value` before the arguments; value None when there was no `=`."""

    name: str
    value: str | None


_BLANKS = re.compile(r"\s+")


def words(text: str, escape: str) -> tuple[str, ...]:
    """Cut at blanks outside of quotes; quotes and escape characters stay in the words."""
    found: list[str] = []
    word: list[str] = []
    quote = ""
    characters = iter(text)
    for char in characters:
        if not quote and char.isspace():
            if word:
                found.append("".join(word))
            word = []
            continue
        word.append(char)
        if char == escape and quote != "'":
            # The next character loses its meaning, whatever it is.
            word.append(next(characters, ""))
        elif char in "'\"":
            quote = "" if quote == char else quote or char
    if word:
        found.append("".join(word))
    return tuple(found)


def take_flags(text: str, escape: str) -> tuple[tuple[Flag, ...], str]:
    """Take `--name=value` words off the front; return them and the rest of the line.

    A lone `--` ends the flags. Quotes around a value and escape characters are removed.
    """
    flags: list[Flag] = []
    rest = text.lstrip()
    while rest.startswith("--"):
        end = _end_of_word(rest, escape)
        word, rest = rest[:end], rest[end:].lstrip()
        if word == "--":
            break
        name, equals, value = _unquoted(word[2:], escape).partition("=")
        flags.append(Flag(name, value if equals else None))
    return tuple(flags), rest


def json_words(text: str) -> tuple[str, ...] | None:
    """Read `["a", "b"]`; None when the text is no JSON list.

    Raises:
        WordError: it is a JSON list, but not of strings alone.
    """
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise WordError("when using JSON array syntax, arrays must be comprised of strings only")
    # "\ud800" is a fine JSON escape, and no character.
    return tuple(item.encode("utf-8", "replace").decode() for item in value)


def pairs(text: str, escape: str, keyword: str) -> tuple[tuple[str, str], ...]:
    """Read `a=1 b="2 3"`, or the old form `a everything else`.

    Raises:
        WordError: a name without a value.
    """
    found = words(text, escape)
    if not found:
        return ()
    if "=" not in found[0]:
        name, *rest = _BLANKS.split(text.strip(), maxsplit=1)
        if not rest:
            raise WordError(f"{keyword} must have two arguments")
        return ((name, rest[0]),)
    for word in found:
        if "=" not in word:
            raise WordError(
                f"Syntax error - can't find = in {go_quote(word)}. Must be of the form: name=value"
            )
    return tuple((name, value) for name, _, value in (word.partition("=") for word in found))


def uses_old_pair_form(text: str, escape: str) -> bool:
    """Whether `ENV a b` was written instead of `ENV a=b`."""
    found = words(text, escape)
    return bool(found) and "=" not in found[0]


def go_quote(text: str) -> str:
    """Show a text as Docker's messages do, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _end_of_word(text: str, escape: str) -> int:
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        if not quote and char.isspace():
            return position
        if char == escape:
            position += 1
        elif char in "'\"":
            quote = "" if quote == char else quote or char
        position += 1
    return len(text)


def _unquoted(word: str, escape: str) -> str:
    kept: list[str] = []
    quote = ""
    characters = iter(word)
    for char in characters:
        if char == escape:
            kept.append(next(characters, ""))
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        else:
            kept.append(char)
    return "".join(kept)
