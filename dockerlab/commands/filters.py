"""`--filter key=value`, repeatable, as the API wants it.

Knows:   that one key may come several times.
Refuses: to know the keys; the host answers for those.
"""

from __future__ import annotations

from dockerlab.commands.grammar import Arguments, Flag, many
from dockerlab.errors import InvalidRequest

FILTER: Flag = many("filter", "f", "Filter output based on conditions provided")


def read_filters(args: Arguments, name: str = "filter") -> dict[str, list[str]]:
    """Gather the values of each key."""
    found: dict[str, list[str]] = {}
    for item in args.all(name):
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidRequest(
                f'invalid argument "{item}" for "-f, --filter" flag: bad format of filter '
                "(expected name=value)",
                hint="For example --filter status=exited",
            )
        found.setdefault(key.strip().lower(), []).append(value.strip())
    return found
