"""Put values in place of variables, and take quotes and escape characters away.

Knows:   `$v`, `${v}` and every `${v...}` form, single and double quotes, the escape character.
Refuses: to know where values come from; the caller gives them.
Source:  docs.docker.com/reference/dockerfile, "Environment replacement"; POSIX shell, 2.6.2.
Twin:    `words.py` reads the same quotes; change both or none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# In a shell these are parameters; here they are names that nobody has set.
_SPECIAL = frozenset("@*#?-$!0")
_MAX_DEPTH = 50


class ExpandError(ValueError):
    """The text asks for a substitution that is not one, or a required variable is missing."""


def expand(text: str, values: Mapping[str, str], *, escape: str = "\\") -> str:
    """Expand one word; blanks in it and in values stay."""
    return _Expansion(text, values, escape).whole()


def expand_words(text: str, values: Mapping[str, str], *, escape: str = "\\") -> tuple[str, ...]:
    """Expand, then cut at blanks that stood outside of quotes, those of values included."""
    return _Expansion(text, values, escape).words()


def expand_dollars(text: str, values: Mapping[str, str], *, escape: str = "\\") -> str:
    """Expand variables alone: quotes are characters like others (here-documents)."""
    return _Expansion(text, values, escape, quotes=False).whole()


class _Expansion:
    """A place in the text; each method reads on from there. Pieces remember if blanks cut them."""

    def __init__(
        self, text: str, values: Mapping[str, str], escape: str, *, quotes: bool = True
    ) -> None:
        self.text = text
        self.values = values
        self.escape = escape
        self.quotes = quotes
        self.at = 0
        self.depth = 0

    def whole(self) -> str:
        return "".join(piece for piece, _ in self._pieces(""))

    def words(self) -> tuple[str, ...]:
        found: list[str] = []
        open_word: str | None = None
        for piece, cuttable in self._pieces(""):
            if not cuttable:
                open_word = (open_word or "") + piece
                continue
            for part in re.findall(r"\s+|\S+", piece):
                if part.isspace():
                    found.extend([open_word] if open_word is not None else [])
                    open_word = None
                else:
                    open_word = (open_word or "") + part
        found.extend([open_word] if open_word is not None else [])
        return tuple(found)

    def _pieces(self, stop: str, *, raw: bool = False) -> list[tuple[str, bool]]:
        """Read up to the character `stop` and over it; "" reads to the end.

        With `raw`, escape characters stay, as patterns need them.
        """
        pieces: list[tuple[str, bool]] = []
        while self.at < len(self.text):
            char = self._next()
            if char == stop:
                return pieces
            if self.quotes and char == "'":
                pieces.append((self._single_quoted(), False))
            elif self.quotes and char == '"':
                pieces.append((self._double_quoted(), False))
            elif char == "$":
                pieces.append((self._dollar(), True))
            elif char == self.escape:
                pieces.append(self._escaped(raw=raw))
            else:
                pieces.append((char, True))
        if stop:
            raise ExpandError(f"syntax error: missing '{stop}'" + " in ${}" * (stop == "/"))
        return pieces

    def _next(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _escaped(self, *, raw: bool) -> tuple[str, bool]:
        if not self._peek():
            # Nothing follows: in a here-document it stands for itself, in a word for nothing.
            return ("" if self.quotes else self.escape), True
        char = self._next()
        if raw or (not self.quotes and char not in {"$", self.escape}):
            return self.escape + char, False
        return char, False

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.at)
        if end < 0:
            raise ExpandError("unexpected end of statement while looking for matching single-quote")
        inside, self.at = self.text[self.at : end], end + 1
        return inside

    def _double_quoted(self) -> str:
        kept: list[str] = []
        while self.at < len(self.text):
            char = self._next()
            if char == '"':
                return "".join(kept)
            if char == "$":
                kept.append(self._dollar())
            elif char == self.escape and self._peek() in {'"', "$", self.escape}:
                kept.append(self._next())
            else:
                kept.append(char)
        raise ExpandError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self.values.get(name, "") if name else "$"
        self._next()
        if not self._peek():
            raise ExpandError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise ExpandError("syntax error: bad substitution")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ExpandError("syntax error: substitutions nested too deeply")
        value = self._braced(self._name())
        self.depth -= 1
        return value

    def _name(self) -> str:
        first = self._peek()
        if first and first in _SPECIAL:
            return self._next()
        start = self.at
        belongs = str.isdigit if first.isdigit() else _is_name_char
        while self._peek() and belongs(self._peek()):
            self.at += 1
        return self.text[start : self.at]

    def _braced(self, name: str) -> str:
        """Read what follows the name in `${name...}`, and decide."""
        value = self.values.get(name)
        if not self._peek():
            raise ExpandError("syntax error: missing '}'")
        operator = self._next()
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._replaced(value or "")
        empty_counts = operator == ":"
        if empty_counts:
            if not self._peek():
                raise ExpandError("syntax error: missing '}'")
            operator = self._next()
        shown = ":" + operator if empty_counts else operator
        if operator not in _FORMS and (empty_counts or operator not in "#%"):
            raise ExpandError(f"unsupported modifier ({shown}) in substitution")
        word = self._word("}", raw=operator in "#%")
        if operator in "#%":
            return _trimmed(value or "", word, operator)
        is_set = value is not None and not (empty_counts and value == "")
        return _FORMS[operator](name, value, word, is_set)

    def _word(self, stop: str, *, raw: bool) -> str:
        return "".join(piece for piece, _ in self._pieces(stop, raw=raw))

    def _replaced(self, value: str) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = _glob(self._word("/", raw=True), greedy=True)
        replacement = self._word("}", raw=True)
        return re.sub(
            pattern, lambda _: replacement, value, count=0 if every else 1, flags=re.DOTALL
        )


def _is_name_char(char: str) -> bool:
    return char.isalnum() or char == "_"


def _default(_name: str, value: str | None, word: str, is_set: bool) -> str:
    return (value or "") if is_set else word


def _alternative(_name: str, _value: str | None, word: str, is_set: bool) -> str:
    return word if is_set else ""


def _required(name: str, value: str | None, word: str, is_set: bool) -> str:
    if is_set:
        return value or ""
    state = "unset" if value is None else "empty"
    raise ExpandError(f"{name}: {word or f'is not allowed to be {state}'}")


_FORMS: Mapping[str, Callable[[str, str | None, str, bool], str]] = {
    "-": _default,
    "+": _alternative,
    "?": _required,
}


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Take the shortest match of a glob off one end; the longest when the operator is doubled."""
    greedy = pattern.startswith(operator)
    glob = _glob(pattern.removeprefix(operator), greedy=greedy)
    if operator == "#":
        match = re.match(glob, value, re.DOTALL)
        return value[match.end() :] if match else value
    # Backwards, the end of the text is its beginning, and "shortest" means the latest start.
    starts = range(len(value) + 1) if greedy else range(len(value), -1, -1)
    compiled = re.compile(glob, re.DOTALL)
    for start in starts:
        if compiled.fullmatch(value, start):
            return value[:start]
    return value


def _glob(pattern: str, *, greedy: bool) -> str:
    """Turn `*`, `?` and escaped characters into a regular expression."""
    parts: list[str] = []
    characters = iter(pattern)
    for char in characters:
        if char == "*":
            parts.append(".*" if greedy else ".*?")
        elif char == "?":
            parts.append(".")
        elif char == "\\":
            parts.append(re.escape(next(characters, "\\")))
        else:
            parts.append(re.escape(char))
    return "".join(parts)
