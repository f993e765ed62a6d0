"""The grammar of one command line: verbs, flags, and how words become arguments.

Knows:   docker's own rules (-it together, --name=x, words after the image are left alone).
Refuses: to know any verb; `catalogue.py` lists them, the nouns' files define them.
Source:  the error texts of docker's CLI, which people search for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from dockerlab.dockerfile.suggest import closest
from dockerlab.errors import InvalidRequest


class Takes(Enum):
    """What follows a flag."""

    NOTHING = auto()
    TEXT = auto()
    NUMBER = auto()
    MANY = auto()  # TEXT that may be given again and again


@dataclass(frozen=True, slots=True)
class Flag:
    """One option: `--name`, its letter, and what follows it."""

    name: str
    letter: str = ""
    takes: Takes = Takes.NOTHING
    help: str = ""
    default: str = ""
    metavar: str = ""

    @property
    def spelling(self) -> str:
        letter = f"-{self.letter}, " if self.letter else "    "
        value = {Takes.NOTHING: "", Takes.NUMBER: " int", Takes.MANY: " list"}.get(
            self.takes, f" {self.metavar or 'string'}"
        )
        return f"{letter}--{self.name}{value}"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The words and flags of one line, read through typed questions."""

    words: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def given(self, name: str) -> bool:
        return name in self.flags

    def on(self, name: str) -> bool:
        """A switch: `--rm`, also `--rm=false`."""
        values = self.flags.get(name, ())
        return bool(values) and _truth(name, values[-1])

    def text(self, name: str, default: str = "") -> str:
        values = self.flags.get(name, ())
        return values[-1] if values else default

    def all(self, name: str) -> tuple[str, ...]:
        return self.flags.get(name, ())

    def number(self, name: str) -> int | None:
        values = self.flags.get(name, ())
        if not values:
            return None
        try:
            return int(values[-1])
        except ValueError:
            raise InvalidRequest(
                f'invalid argument "{values[-1]}" for "--{name}" flag: '
                f'strconv.ParseInt: parsing "{values[-1]}": invalid syntax',
                hint="Give a whole number.",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One command: its words, its grammar, and what it does."""

    words: tuple[str, ...]
    act: Callable[[Any, Arguments], Any]
    help: str
    usage: str = ""
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = None
    takes: str = ""  # what its words name: image, container, network, volume; for completion
    leaves_rest: bool = False  # `run IMAGE ...`: what follows the image belongs to the program
    aliases: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        return " ".join(self.words)

    def flag(self, name: str) -> Flag | None:
        return next((flag for flag in self.flags if flag.name == name), None)

    def with_flags(self, *more: Flag) -> Verb:
        """The same verb with options of the place it is typed in."""
        return Verb(
            words=self.words,
            act=self.act,
            help=self.help,
            usage=self.usage,
            flags=self.flags + more,
            least=self.least,
            most=self.most,
            takes=self.takes,
            leaves_rest=self.leaves_rest,
            aliases=self.aliases,
        )


def switch(name: str, letter: str = "", help: str = "") -> Flag:  # noqa: A002 - docker's word
    return Flag(name, letter, Takes.NOTHING, help)


def text(name: str, letter: str = "", help: str = "", metavar: str = "") -> Flag:  # noqa: A002 - docker's word
    return Flag(name, letter, Takes.TEXT, help, metavar=metavar)


def many(name: str, letter: str = "", help: str = "") -> Flag:  # noqa: A002 - docker's word
    return Flag(name, letter, Takes.MANY, help)


def number(name: str, letter: str = "", help: str = "") -> Flag:  # noqa: A002 - docker's word
    return Flag(name, letter, Takes.NUMBER, help)


def parse(verb: Verb, words: list[str]) -> Arguments:
    """Read the words after the verb.

    Raises:
        InvalidRequest: unknown flag, missing value, too few or too many words.
    """
    found: dict[str, tuple[str, ...]] = {}
    plain: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            plain += rest
            break
        if word.startswith("--"):
            _long(verb, word, rest, found)
        elif word.startswith("-") and len(word) > 1:
            _short(verb, word, rest, found)
        else:
            plain.append(word)
            if verb.leaves_rest:
                plain += rest
                break
    _count(verb, len(plain))
    return Arguments(tuple(plain), found)


def usage(verb: Verb, program: str) -> str:
    """The help text of one verb, in docker's layout."""
    lines = [f"Usage:  {program} {verb.name} {verb.usage}".rstrip(), "", verb.help]
    if verb.flags:
        width = max(len(flag.spelling) for flag in verb.flags) + 3
        lines += ["", "Options:"]
        lines += [f"  {flag.spelling:<{width}}{flag.help}".rstrip() for flag in verb.flags]
    return "\n".join(lines)


def _long(verb: Verb, word: str, rest: list[str], found: dict[str, tuple[str, ...]]) -> None:
    name, equals, value = word[2:].partition("=")
    flag = verb.flag(name)
    if flag is None:
        near = closest(name, (flag.name for flag in verb.flags))
        raise InvalidRequest(
            f"unknown flag: --{name}",
            hint=f"Did you mean --{near}?" if near else _see_help(verb),
        )
    if flag.takes is Takes.NOTHING:
        _keep(flag, value if equals else "true", found)
    elif equals:
        _keep(flag, value, found)
    elif rest:
        _keep(flag, rest.pop(0), found)
    else:
        raise InvalidRequest(f"flag needs an argument: --{name}", hint=_see_help(verb))


def _short(verb: Verb, word: str, rest: list[str], found: dict[str, tuple[str, ...]]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = next((flag for flag in verb.flags if flag.letter == letter), None)
        if flag is None:
            raise InvalidRequest(
                f"unknown shorthand flag: '{letter}' in {word}", hint=_see_help(verb)
            )
        if flag.takes is Takes.NOTHING:
            value = "true"
            if letters.startswith("="):
                value, letters = letters[1:], ""
            _keep(flag, value, found)
        elif letters:
            _keep(flag, letters.removeprefix("="), found)
            return
        elif rest:
            _keep(flag, rest.pop(0), found)
        else:
            raise InvalidRequest(
                f"flag needs an argument: '{letter}' in {word}", hint=_see_help(verb)
            )


def _keep(flag: Flag, value: str, found: dict[str, tuple[str, ...]]) -> None:
    found[flag.name] = (*found.get(flag.name, ()), value)


def _count(verb: Verb, got: int) -> None:
    if verb.least <= got and (verb.most is None or got <= verb.most):
        return
    if verb.most == 0:
        raise InvalidRequest(f'"docker {verb.name}" accepts no arguments.', hint=_see_help(verb))
    limit = verb.least if got < verb.least else (verb.most or 0)
    kind = "exactly" if verb.least == verb.most else ("at least" if got < verb.least else "at most")
    plural = "" if limit == 1 else "s"
    raise InvalidRequest(
        f'"docker {verb.name}" requires {kind} {limit} argument{plural}.', hint=_see_help(verb)
    )


def _see_help(verb: Verb) -> str:
    return f"See %docker {verb.name} --help"


def _truth(name: str, value: str) -> bool:
    if value.lower() in {"true", "1", "t"}:
        return True
    if value.lower() in {"false", "0", "f"}:
        return False
    raise InvalidRequest(
        f'invalid argument "{value}" for "--{name}" flag: invalid boolean', hint="true or false"
    )
