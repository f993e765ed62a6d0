"""Cut a Dockerfile into stages and choose those that the target needs.

Knows:   the global ARGs before the first FROM, names and numbers of stages, who builds on whom.
Refuses: to know images; a name that is no earlier stage is left for the builder to look up.
Source:  docs.docker.com/build/building/multi-stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dockerlab.dockerfile.expand import ExpandError, expand
from dockerlab.dockerfile.instructions import Arg, Copy, From, Instruction, Run
from dockerlab.dockerfile.parse import Dockerfile
from dockerlab.dockerfile.suggest import closest
from dockerlab.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A FROM and what follows it.

    Attributes:
        image: the FROM's image with variables expanded.
        base: number of the earlier stage that `image` names, or None for an image.
        needs: numbers of all stages whose result this one uses, `base` included.
    """

    number: int
    begin: From
    instructions: tuple[Instruction, ...]
    image: str
    platform: str
    base: int | None
    needs: frozenset[int]

    @property
    def name(self) -> str:
        """Its name, or "" when it only has a number."""
        return self.begin.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """All stages of a file.

    Attributes:
        arguments: the ARG instructions before the first FROM.
        values: what they come to.
    """

    arguments: tuple[Arg, ...]
    values: Mapping[str, str]
    stages: tuple[Stage, ...]

    def find(self, name: str, before: int | None = None) -> int | None:
        """Number of the stage that a name or number means; the latest one when names repeat."""
        known = self.stages[:before]
        for stage in reversed(known):
            if stage.name and stage.name == name.lower():
                return stage.number
        return int(name) if name.isdecimal() and int(name) < len(known) else None

    def target(self, name: str) -> Stage:
        """The stage to build; the last one when no name is given.

        Raises:
            InvalidRequest: no such stage.
        """
        if not name:
            return self.stages[-1]
        number = self.find(name)
        if number is None:
            names = [stage.name for stage in self.stages if stage.name]
            meant = closest(name, names)
            raise InvalidRequest(
                f'target stage "{name}" could not be found',
                hint=f"Did you mean {meant}?" if meant else f"Stages: {', '.join(names) or 'none'}",
            )
        return self.stages[number]

    def needed(self, target: Stage) -> tuple[Stage, ...]:
        """The target and all that it uses, in the order of the file."""
        wanted: set[int] = set()
        open_ends = {target.number}
        while open_ends:
            number = open_ends.pop()
            wanted.add(number)
            open_ends |= self.stages[number].needs - wanted
        return tuple(stage for stage in self.stages if stage.number in wanted)


def graph(
    read: Dockerfile, build_args: Mapping[str, str | None], predefined: Mapping[str, str]
) -> Graph:
    """Cut the file into stages.

    Args:
        read: the whole file.
        build_args: what the caller gave; None means "take none".
        predefined: platform arguments, which FROM lines see undeclared.

    Raises:
        InvalidRequest: a FROM line asks for a substitution that is none.
    """
    escape = read.directives.escape
    first = next(i for i, one in enumerate(read.instructions) if isinstance(one, From))
    arguments = tuple(one for one in read.instructions[:first] if isinstance(one, Arg))
    values = _global_values(arguments, build_args, predefined, escape)
    stages: list[Stage] = []
    for begin, body in _bodies(read.instructions[first:]):
        number = len(stages)
        image = expanded(begin.image, values, escape)
        if not image:
            raise InvalidRequest(
                f"base name ({begin.image}) should not be blank",
                hint="Give the ARG a default, or pass it with --build-arg.",
            )
        so_far = Graph(arguments=arguments, values=values, stages=tuple(stages))
        base = _named(so_far, image)
        used = {base} | {
            so_far.find(name) if name.isdecimal() else _named(so_far, name)
            for name in _sources(body)
        }
        stages.append(
            Stage(
                number=number,
                begin=begin,
                instructions=body,
                image=image,
                platform=expanded(begin.platform, values, escape),
                base=base,
                needs=frozenset(number for number in used if number is not None),
            )
        )
    return Graph(arguments=arguments, values=values, stages=tuple(stages))


def expanded(text: str, values: Mapping[str, str], escape: str) -> str:
    """Expand one word; a wrong substitution is the caller's mistake."""
    try:
        return expand(text, values, escape=escape)
    except ExpandError as error:
        raise InvalidRequest(f'failed to process "{text}": {error}') from None


def _named(known: Graph, name: str) -> int | None:
    """A stage by name only: `FROM 0` is an image."""
    found = known.find(name)
    return found if found is not None and known.stages[found].name == name.lower() else None


def _bodies(
    instructions: tuple[Instruction, ...],
) -> list[tuple[From, tuple[Instruction, ...]]]:
    bodies: list[tuple[From, tuple[Instruction, ...]]] = []
    for one in instructions:
        if isinstance(one, From):
            bodies.append((one, ()))
        else:
            begin, body = bodies[-1]
            bodies[-1] = (begin, (*body, one))
    return bodies


def _sources(body: tuple[Instruction, ...]) -> set[str]:
    """Names after `--from=` and in `--mount=from=`."""
    names: set[str] = set()
    for one in body:
        if isinstance(one, Copy) and one.from_stage:
            names.add(one.from_stage)
        elif isinstance(one, Run):
            options = (option for mount in one.mounts for option in mount.split(","))
            names |= {option[5:] for option in options if option.startswith("from=")}
    return names


def _global_values(
    arguments: tuple[Arg, ...],
    build_args: Mapping[str, str | None],
    predefined: Mapping[str, str],
    escape: str,
) -> dict[str, str]:
    values = dict(predefined)
    for argument in arguments:
        for name, default in argument.pairs:
            given = build_args.get(name)
            if given is not None:
                values[name] = given
            elif default is not None:
                values[name] = expanded(default, values, escape)
    return values
