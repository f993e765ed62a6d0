"""Whom copied files belong to, and with which mode: the values of --chown and --chmod.

Knows:   names looked up in the image that is being built, numbers taken as they are.
Refuses: the host's own user database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dockerlab.engine.linux.inside import text_inside
from dockerlab.errors import InvalidRequest

_MAX_DATABASE_BYTES = 4 << 20
_MAX_ID = 2**32 - 2
_SYMBOLIC = re.compile(r"([ugoa]*)([-+=])([rwxXst]*|[ugo])")
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}


@dataclass(frozen=True, slots=True)
class Owner:
    """User and group by number."""

    uid: int = 0
    gid: int = 0


def find_owner(root: int, text: str) -> Owner:
    """Read "user[:group]", each a name or a number, against an image's own files.

    A user alone gives its number to the group too, as Docker has it.

    Raises:
        InvalidRequest: a name that the image does not know.
    """
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise InvalidRequest(
            f"invalid chown string: {text}", hint="Write user, user:group, or numbers."
        )
    uid = _number(root, user, "etc/passwd", "uid", "user")
    gid = _number(root, group, "etc/group", "gid", "group") if group else uid
    return Owner(uid, gid)


def new_mode(mode: int, change: str, *, is_directory: bool) -> int:
    """Apply "0755" or "u+x,go=r" to a mode.

    Raises:
        InvalidRequest: it is neither.
    """
    if re.fullmatch(r"[0-7]{1,5}", change) and int(change, 8) <= 0o7777:
        return int(change, 8)
    for clause in change.split(","):
        match = _SYMBOLIC.fullmatch(clause)
        if match is None:
            raise InvalidRequest(
                f"invalid chmod parameter: '{change}'. it should be octal string and between 0 "
                "and 07777",
                hint="For example --chmod=755 or --chmod=u+x",
            )
        mode = _clause(mode, *match.groups(), is_directory=is_directory)
    return mode


def _clause(mode: int, who: str, operator: str, what: str, *, is_directory: bool) -> int:
    mask = 0
    for letter in "ugo" if who in {"", "a"} or "a" in who else who:
        mask |= _WHO[letter]
    if what in {"u", "g", "o"}:
        digit = mode >> {"u": 6, "g": 3, "o": 0}[what] & 7
        bits = digit << 6 | digit << 3 | digit
    else:
        bits = 0
        for letter in what:
            bits |= _BITS.get(letter, 0)
            if letter == "X" and (is_directory or mode & 0o111):
                bits |= 0o111
            bits |= 0o6000 if letter == "s" else 0
    selected = bits & mask
    if "t" in what:
        selected |= 0o1000
    if operator == "+":
        return mode | selected
    if operator == "-":
        return mode & ~selected
    return mode & ~mask | selected


def _number(root: int, text: str, database: str, what: str, kind: str) -> int:
    if text.isdecimal() and int(text) <= _MAX_ID:
        return int(text)
    for line in text_inside(root, database, _MAX_DATABASE_BYTES).splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == text and fields[2].isdecimal():
            return int(fields[2])
    raise InvalidRequest(
        "unable to convert uid/gid chown string to host mapping: "
        f"can't find {what} for {kind} {text}: no such {kind}: {text}",
        hint=f"Only names in the image's own /{database} are known; a number always works.",
    )
