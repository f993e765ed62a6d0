"""All verbs, and how the first words of a line find theirs.

Knows:   every noun's file; `container ls` is `ps`.
Refuses: to do anything.
"""

from __future__ import annotations

from dockerlab.commands import (
    builds,
    container_images,
    container_reports,
    containers,
    copies,
    images,
    layers,
    logins,
    networks,
    programs,
    registry,
    stats,
    system,
    volumes,
)
from dockerlab.commands.grammar import Verb
from dockerlab.dockerfile.suggest import closest
from dockerlab.errors import InvalidRequest

VERBS: tuple[Verb, ...] = (
    *programs.VERBS,
    *container_reports.VERBS,
    *containers.VERBS,
    *copies.VERBS,
    *container_images.VERBS,
    *stats.VERBS,
    *images.VERBS,
    *builds.VERBS,
    *layers.VERBS,
    *networks.VERBS,
    *volumes.VERBS,
    *system.VERBS,
    *registry.VERBS,
    *logins.VERBS,
)
_BY_WORDS: dict[tuple[str, ...], Verb] = {
    words: verb for verb in VERBS for words in (verb.words, *verb.aliases)
}
NOUNS = frozenset(words[0] for words in _BY_WORDS if len(words) > 1)


def find(words: list[str]) -> tuple[Verb, list[str]]:
    """The verb that a line begins with, and the words after it.

    Raises:
        InvalidRequest: no such verb; the hint has the nearest one.
    """
    for length in (2, 1):
        verb = _BY_WORDS.get(tuple(words[:length]))
        if verb is not None and len(words) >= length:
            return verb, words[length:]
    if not words:
        raise InvalidRequest("no command given", hint="For example %docker ps")
    known = [" ".join(each) for each in _BY_WORDS]
    wanted = " ".join(words[:2]) if words[0] in NOUNS else words[0]
    near = closest(wanted, known) or closest(wanted, NOUNS)
    if words[0] in NOUNS:
        below = sorted(each[1] for each in _BY_WORDS if len(each) > 1 and each[0] == words[0])
        hint = f"Did you mean {near}?" if near and " " in near else f"One of: {', '.join(below)}"
        raise InvalidRequest(f"docker: unknown command: docker {wanted}", hint=hint)
    raise InvalidRequest(
        f"docker: '{words[0]}' is not a docker command.",
        hint=f"Did you mean {near}?" if near else "See all: %docker --help",
    )


def overview(program: str) -> str:
    """All verbs with one line each."""
    width = max(len(verb.name) for verb in VERBS) + 2
    lines = [f"Usage:  {program} COMMAND", "", "Commands:"]
    lines += [
        f"  {verb.name:<{width}}{verb.help}" for verb in sorted(VERBS, key=lambda verb: verb.name)
    ]
    return "\n".join([*lines, "", f"Run '{program} COMMAND --help' for more information."])
