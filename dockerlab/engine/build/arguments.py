"""Which build arguments a step sees, with which values.

Knows:   declared, predefined and given arguments, and that ENV beats ARG.
Refuses: the environment of the engine: nothing is taken from there.
Source:  docs.docker.com/reference/dockerfile, "ARG": scope, predefined ARGs, impact on caching.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset(_PROXIES) | frozenset(name.lower() for name in _PROXIES)
"""Usable without ARG, and then neither in the history nor in the cache key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of one stage, as far as it has been read.

    Attributes:
        given: by the caller; None means "take none", not even the default.
        outer: values of ARGs before the first FROM, and of the platform.
        declared: name to default (expanded), or None.
    """

    given: Mapping[str, str | None] = field(default_factory=dict)
    outer: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, str | None] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> Arguments:
        """Another ARG was read."""
        return replace(self, declared={**self.declared, name: default})

    def visible(self, env: Mapping[str, str]) -> dict[str, str]:
        """Arguments with a value that ENV does not hide: what RUN and expansion see."""
        found: dict[str, str] = {}
        for name in (*self.declared, *(PREDEFINED & set(self.given))):
            value = self._value(name)
            if value is not None and name not in env:
                found[name] = value
        return found

    def recorded(self, env: Mapping[str, str]) -> tuple[str, ...]:
        """Those that are part of a RUN's history and cache key, as sorted "NAME=value"."""
        visible = self.visible(env)
        return tuple(sorted(f"{n}={v}" for n, v in visible.items() if n in self.declared))

    def _value(self, name: str) -> str | None:
        if name in self.given:
            return self.given[name]
        default = self.declared.get(name)
        return self.outer.get(name) if default is None else default
