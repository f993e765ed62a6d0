"""The `--mount` flags of RUN.

Knows:   types, options and defaults of each, and what an option's value may be.
Refuses: to mount; `engine/build/mounts.py` prepares what is described here.
Source:  docs.docker.com/reference/dockerfile, "RUN --mount".
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace

from dockerlab.dockerfile.suggest import closest
from dockerlab.dockerfile.words import WordError

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KNOWN = (
    "type",
    "source",
    "target",
    "from",
    "id",
    "readonly",
    "readwrite",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
)
_FLAGS = frozenset({"readonly", "readwrite", "required"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One `--mount`.

    Attributes:
        kind: bind, cache, tmpfs, secret or ssh.
        source: path below `from_stage`, or below the context.
        identity: which cache, secret or agent; "" only for binds and tmpfs.
        size_bytes: of a tmpfs; 0 for the kernel's default.
    """

    kind: str = "bind"
    target: str = ""
    source: str = ""
    from_stage: str = ""
    identity: str = ""
    read_only: bool = False
    required: bool = False
    sharing: str = "shared"
    size_bytes: int = 0
    mode: int | None = None
    uid: int = 0
    gid: int = 0


def parse_mount(text: str) -> RunMount:
    """Read "type=cache,target=/root/.cache"; variables are expanded already.

    Raises:
        WordError: an unknown option, or a value that cannot be.
    """
    given = _options(text)
    kind = given.get("type", "bind")
    if kind not in _TYPES:
        raise WordError(f'unsupported mount type "{kind}"')
    mount = RunMount(
        kind=kind,
        target=given.get("target", ""),
        source=given.get("source", ""),
        from_stage=given.get("from", ""),
        identity=given.get("id", ""),
        # A bind is read-only unless told otherwise; a cache is not.
        read_only=_truth(given, "readonly", kind == "bind") and not _truth(given, "readwrite"),
        required=_truth(given, "required"),
        sharing=given.get("sharing", "shared"),
        size_bytes=_size(given.get("size", "")),
        mode=_mode(given.get("mode", "")),
        uid=_number(given, "uid"),
        gid=_number(given, "gid"),
    )
    if mount.sharing not in {"shared", "private", "locked"}:
        raise WordError(f'unsupported sharing value "{mount.sharing}"')
    return _complete(mount)


def _complete(mount: RunMount) -> RunMount:
    if mount.kind in {"bind", "cache", "tmpfs"} and not mount.target:
        raise WordError(f"{mount.kind} mount needs a target")
    if mount.kind == "cache":
        return replace(mount, identity=mount.identity or mount.target)
    if mount.kind == "secret":
        identity = mount.identity or mount.target.rpartition("/")[2]
        if not identity:
            raise WordError("secret mount needs an id or a target")
        target = mount.target or f"/run/secrets/{identity}"
        return replace(mount, identity=identity, target=target)
    if mount.kind == "ssh":
        return replace(mount, identity=mount.identity or "default")
    return mount


def _options(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error:
        raise WordError(f"invalid mount: {text}") from None
    for field in fields:
        name, equals, value = field.partition("=")
        key = _ALIASES.get(name.lower(), name.lower())
        if key not in _KNOWN:
            meant = closest(name, _KNOWN)
            guess = f" (did you mean {meant}?)" if meant else ""
            raise WordError(f"unexpected key '{name}' in '{field}'{guess}")
        if not equals and key not in _FLAGS:
            raise WordError(f"invalid field '{field}' must be a key=value pair")
        given[key] = value if equals else "true"
    return given


def _truth(given: dict[str, str], name: str, default: bool = False) -> bool:
    text = given.get(name, "true" if default else "false").lower()
    if text not in {"true", "false", "1", "0"}:
        raise WordError(f"invalid value for {name}: {text}")
    return text in {"true", "1"}


def _number(given: dict[str, str], name: str) -> int:
    text = given.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise WordError(f"invalid value for {name}: {text}")
    return int(text)


def _mode(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise WordError(f"invalid value {text} for mode")
    return int(text, 8)


def _size(text: str) -> int:
    if not text:
        return 0
    match = re.fullmatch(r"([0-9]{1,15})([kmgt]?)i?b?", text.lower())
    if match is None:
        raise WordError(f"invalid size: '{text}'")
    return int(match[1]) << 10 * " kmgt".index(match[2] or " ")
