"""The `filters` parameter: both JSON shapes in, the matching rules on top.

Knows:   OR inside a key, AND over keys, labels that must all match, Docker's refusals.
Refuses: to know containers or images; services ask `matches` with their own words.
Source:  moby daemon/internal/filters/parse.go.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import msgspec

from dockerlab.errors import InvalidRequest

_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})


class Filters:
    """What a list or a prune shall be narrowed to; empty means everything."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Iterable[str]] | None = None) -> None:
        self._values = {key: tuple(given) for key, given in (values or {}).items()}

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self._values)

    def __contains__(self, key: str) -> bool:
        """Whether a key was given."""
        return key in self._values

    def __repr__(self) -> str:
        """Show the keys and their values."""
        return f"Filters({self._values!r})"

    def keys(self) -> Collection[str]:
        """The keys given."""
        return self._values.keys()

    def get(self, key: str) -> tuple[str, ...]:
        """The values of a key, none if it was not given."""
        return self._values.get(key, ())

    def check(self, accepted: Collection[str]) -> None:
        """Refuse keys that a route does not know.

        Raises:
            InvalidRequest: `invalid filter 'foo'`.
        """
        for key in self._values:
            if key not in accepted:
                raise InvalidRequest(
                    f"invalid filter '{key}'", hint="Known here: " + ", ".join(sorted(accepted))
                )

    def flag(self, key: str, default: bool = False) -> bool:
        """Read a key as one boolean.

        Raises:
            InvalidRequest: another word, both at once, or none.
        """
        if key not in self._values:
            return default
        values = set(self._values[key])
        true, false = values & _TRUE, values & _FALSE
        if bool(true) == bool(false) or values - true - false:
            raise InvalidRequest(f"invalid filter '{key}=[{' '.join(self._values[key])}]'")
        return bool(true)

    def one(self, key: str) -> str:
        """The only value of a key, "" if it was not given.

        Raises:
            InvalidRequest: several values.
        """
        values = self.get(key)
        if len(values) > 1:
            raise InvalidRequest(f"more than one {key} filter specified")
        return values[0] if values else ""

    def exact(self, key: str, *candidates: str) -> bool:
        """Whether the key is absent, or one of its values is one of the candidates."""
        values = self._values.get(key)
        return not values or any(candidate in values for candidate in candidates)

    def prefix(self, key: str, *candidates: str) -> bool:
        """Like `exact`, but a value may be the beginning of a candidate."""
        values = self._values.get(key)
        return not values or any(
            candidate.startswith(value) for value in values for candidate in candidates
        )

    def pattern(self, key: str, *candidates: str) -> bool:
        """Like `exact`, with values as regular expressions found anywhere in a candidate.

        A value that is no expression is compared as text.
        """
        values = self._values.get(key)
        return not values or any(
            _found(value, candidate) for value in values for candidate in candidates
        )

    def labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """Whether every label asked for (`k` or `k=v`) is there.

        With the key `label!`: whether none of those asked for is there as asked.
        """
        values = self.get(key)
        if key.endswith("!"):
            return not any(_has_label(labels, value) for value in values)
        return all(_has_label(labels, value) for value in values)


def parse_filters(text: str) -> Filters:
    """Read `{"status":{"running":true}}`, `{"status":["running"]}`, or both mixed.

    Raises:
        InvalidRequest: `invalid filter`.
    """
    if not text:
        return Filters()
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidRequest("invalid filter", hint='Write {"key": ["value"]}.') from error
    if tree is None:
        return Filters()
    if not isinstance(tree, dict):
        raise InvalidRequest("invalid filter", hint='Write {"key": ["value"]}.')
    return Filters({key: _values(given) for key, given in tree.items()})


def _values(given: object) -> list[str]:
    if isinstance(given, dict) and all(isinstance(item, bool) for item in given.values()):
        return [key for key, wanted in given.items() if wanted]
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return list(given)
    if given is None:
        return []
    raise InvalidRequest("invalid filter", hint='Write {"key": ["value"]}.')


def _found(pattern: str, candidate: str) -> bool:
    try:
        return re.search(pattern, candidate) is not None
    except (re.error, RecursionError, OverflowError):
        return pattern in candidate


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
