"""Who a process is: Docker's user words looked up in the container's own passwd and group.

Knows:   the grammar "[user|uid][:[group|gid]]", supplementary groups, Docker's errors.
Refuses: to open files; init reads them inside the container's root. Nothing heavy.
Source:  moby/sys/user; reference of Docker's `--user` and `--group-add`.
"""

from __future__ import annotations

_MAX_ID = 2**31 - 1


class UnknownUser(Exception):
    """A name or number that stands for nobody here; the text is Docker's."""


class Identity:
    """Ids and home directory of a process."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid, self.gid, self.groups, self.home = uid, gid, groups, home


def resolve(user: str, groups_add: list[str], passwd: str, group: str) -> Identity:
    """Look up a user; `passwd` and `group` are the texts of the container's files.

    Raises:
        UnknownUser: a name without an entry, or an id out of range.
    """
    user_word, explicit, group_word = user.partition(":")
    entries = _lines(group, 4)
    name, uid, gid, home = _user(user_word, passwd)
    groups: list[int] = []
    if explicit and group_word:
        gid = _group(group_word, entries)
    elif name:
        groups = [
            int(fields[2])
            for fields in entries
            if fields[2].isdigit() and name in fields[3].split(",")
        ]
    groups += [_group(word, entries) for word in groups_add]
    return Identity(uid, gid, list(dict.fromkeys([gid, *groups])), home)


def _user(word: str, passwd: str) -> tuple[str, int, int, str]:
    entries = _lines(passwd, 7)
    wanted = word or "0"
    number = _number(wanted)
    for fields in entries:
        if not (fields[2].isdigit() and fields[3].isdigit()):
            continue
        if (number is None and fields[0] == wanted) or (
            number is not None and int(fields[2]) == number
        ):
            return fields[0], int(fields[2]), int(fields[3]), fields[5] or "/"
    if number is None:
        raise UnknownUser(f"unable to find user {word}: no matching entries in passwd file")
    return "", number, 0, "/"


def _group(word: str, entries: list[list[str]]) -> int:
    number = _number(word)
    if number is not None:
        return number
    for fields in entries:
        if fields[0] == word and fields[2].isdigit():
            return int(fields[2])
    raise UnknownUser(f"unable to find group {word}: no matching entries in group file")


def _number(word: str) -> int | None:
    if not (word.lstrip("-").isdigit() and word.isascii()):
        return None
    if not 0 <= int(word) <= _MAX_ID:
        raise UnknownUser(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(word)


def _lines(text: str, columns: int) -> list[list[str]]:
    result = []
    for raw in text.splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            fields = line.split(":")
            result.append(fields + [""] * (columns - len(fields)))
    return result
