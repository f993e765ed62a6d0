"""Binds: `src:dst[:opts]` as `-v` and `HostConfig.Binds` write it.

Knows:   the grammar, which options exist and which contradict each other, Docker's refusals.
Refuses: to touch the disk or make a volume; `engine/services/volumes.py` does.
Source:  moby daemon/volume/mounts/linux_parser.go.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from dockerlab.errors import InvalidRequest

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_CONSISTENCIES = frozenset({"consistent", "cached", "delegated", "default"})
_ACCESSES = frozenset({"ro", "rw"})
_LABELS = frozenset({"z", "Z"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """One bind, taken apart.

    Attributes:
        source: an absolute host path, the name of a volume, or "" for an anonymous volume.
        mode: the options as they were written; an inspect shows them.
        propagation: one of private, rprivate, shared, rshared, slave, rslave, or "".
    """

    source: str
    target: str
    mode: str = ""
    read_only: bool = False
    no_copy: bool = False
    propagation: str = ""

    @property
    def is_volume(self) -> bool:
        """Whether the source is a volume and not a path."""
        return not self.source.startswith("/")


def parse_bind(text: str) -> Bind:
    """Read one bind.

    Raises:
        InvalidRequest: `invalid volume specification: 'x'` and its relatives.
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts) or "\0" in text:
        raise _invalid(text)
    if len(parts) == 1:
        source, target, mode = "", parts[0], ""
    elif len(parts) == 3:
        source, target, mode = parts
    elif parts[0].startswith("/") and not parts[1].startswith("/") and _known(parts[1]):
        # An anonymous volume with options: /data:ro
        source, target, mode = "", parts[0], parts[1]
    else:
        source, target, mode = parts[0], parts[1], ""
    options = parse_mode(mode, volume=not source.startswith("/"))
    target = _target(target, text, "bind" if source.startswith("/") else "volume")
    return Bind(
        source=_source(source, text),
        target=target,
        mode=mode,
        read_only="ro" in options,
        no_copy="nocopy" in options,
        propagation=next((word for word in options if word in _PROPAGATIONS), ""),
    )


def parse_mode(mode: str, *, volume: bool) -> frozenset[str]:
    """Read the options behind the last colon.

    Raises:
        InvalidRequest: `invalid mode: x`; unknown, doubled or contradicting options.
    """
    if not mode:
        return frozenset()
    words = mode.split(",")
    groups = [next((index for index, group in enumerate(_groups()) if word in group), -1)
              for word in words]  # fmt: skip
    wrong_place = any(
        (word in _PROPAGATIONS and volume) or (word == "nocopy" and not volume) for word in words
    )
    if -1 in groups or len(set(groups)) != len(groups) or wrong_place:
        raise InvalidRequest(f"invalid mode: {mode}", hint="Write ro or rw, or nothing.")
    return frozenset(words)


def parse_volumes_from(text: str) -> tuple[str, str]:
    """Read `CONTAINER[:ro|rw|z|Z]` into the container and the mode, "rw" if none was given.

    Raises:
        InvalidRequest: `volumes-from` without a container, or with another mode.
    """
    name, _, mode = text.partition(":")
    if not name:
        raise InvalidRequest("volumes-from must not be an empty string")
    mode = mode or "rw"
    if not set(mode.split(",")) <= _ACCESSES | _LABELS:
        raise InvalidRequest(f"invalid mode for volumes-from: {mode}")
    return name, mode


def _groups() -> tuple[frozenset[str], ...]:
    return (_ACCESSES, _LABELS, frozenset({"nocopy"}), _PROPAGATIONS, _CONSISTENCIES)


def _known(mode: str) -> bool:
    return all(any(word in group for group in _groups()) for word in mode.split(","))


def _source(source: str, text: str) -> str:
    if source.startswith("/"):
        return posixpath.normpath(source).replace("//", "/", 1)
    if source and not _VOLUME_NAME.fullmatch(source):
        raise InvalidRequest(
            f'create {source}: "{source}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
            "directory, use absolute path",
            hint=f"Start the path with /, or name a volume: {text}",
        )
    return source


def _target(target: str, text: str, kind: str) -> str:
    if not target.startswith("/"):
        raise InvalidRequest(
            f"invalid volume specification: '{text}': invalid mount config for type "
            f"\"{kind}\": invalid mount path: '{target}' mount path must be absolute"
        )
    clean = posixpath.normpath(target).replace("//", "/", 1)
    if clean == "/":
        raise InvalidRequest(
            f"invalid volume specification: '{text}': invalid mount config for type "
            f"\"{kind}\": invalid specification: destination can't be '/'"
        )
    return clean


def _invalid(text: str) -> InvalidRequest:
    return InvalidRequest(
        f"invalid volume specification: '{text}'", hint="Write SOURCE:/target[:ro]"
    )
