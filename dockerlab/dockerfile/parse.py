"""Read a Dockerfile into instructions, one function per keyword.

Knows:   the grammar of each keyword and the words in which Docker refuses a wrong one.
Refuses: files, environment, clock; and values of variables, which only a build has.
Order:   read lines.py first, then words.py, statement.py, this file, expand.py.
Source:  docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dockerlab.dockerfile import instructions as kinds
from dockerlab.dockerfile.instructions import Command, Instruction, Source
from dockerlab.dockerfile.lines import (
    Directives,
    DockerfileError,
    LineRange,
    Lines,
    LogicalLine,
    split,
)
from dockerlab.dockerfile.statement import Statement, unknown
from dockerlab.dockerfile.words import (
    WordError,
    go_quote,
    json_words,
    pairs,
    take_flags,
    uses_old_pair_form,
    words,
)

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A whole file: its directives and its instructions, in order."""

    directives: Directives
    instructions: tuple[Instruction, ...]
    lines: tuple[LogicalLine, ...]


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile. Pure: no files, environment or clock.

    Raises:
        DockerfileError: with the lines that are wrong, and what was probably meant.
    """
    lines = split(text)
    read = tuple(parse_line(line, lines.directives.escape) for line in lines.logical)
    _check_stages(read)
    return Dockerfile(directives=lines.directives, instructions=read, lines=lines.logical)


def parse_line(line: LogicalLine, escape: str = "\\") -> Instruction:
    """Read one instruction."""
    word, *tail = line.text.split(maxsplit=1)
    rest = tail[0] if tail else ""
    reader = _READERS.get(word.upper())
    if reader is None:
        raise unknown("instruction", word, _READERS, line.lines)
    flags, arguments = take_flags(rest, escape) if word.upper() in _FLAGGED else ((), rest)
    statement = Statement(
        keyword=word.upper(),
        arguments=arguments,
        flags=flags,
        heredocs=line.heredocs,
        source=Source(text=line.text, lines=line.lines),
        escape=escape,
    )
    try:
        return reader(statement)
    except WordError as error:
        raise DockerfileError(str(error), line.lines, hint=_form(word.upper())) from None


def parse_trigger(text: str, lines: LineRange) -> Instruction:
    """Read the text of an ONBUILD, as an image keeps it, for the build that it triggers."""
    cut: Lines = split(text)
    if len(cut.logical) != 1:
        raise DockerfileError(f"not one instruction: {go_quote(text)}", lines)
    line = cut.logical[0]
    return parse_line(LogicalLine(text=line.text, lines=lines, heredocs=line.heredocs))


def _from(it: Statement) -> kinds.From:
    flags = it.read_flags(platform=False)
    found = it.words()
    if len(found) == 3 and found[1].lower() == "as":
        name = found[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise WordError(
                f"invalid name for build stage: {go_quote(found[2])}, "
                "name can't start with a number or contain symbols"
            )
    elif len(found) == 1:
        name = ""
    else:
        raise WordError("FROM requires either one or three arguments")
    return kinds.From(source=it.source, image=found[0], name=name, platform=flags.text("platform"))


def _arg(it: Statement) -> kinds.Arg:
    read: list[tuple[str, str | None]] = []
    for word in it.some(words(it.arguments, it.escape)):
        name, equals, value = word.partition("=")
        if not name:
            raise WordError("ARG names can not be blank")
        read.append((name, value if equals else None))
    return kinds.Arg(source=it.source, pairs=tuple(read))


def _env(it: Statement) -> kinds.Env:
    return kinds.Env(source=it.source, pairs=_named(it), old_form=_is_old(it))


def _label(it: Statement) -> kinds.Label:
    return kinds.Label(source=it.source, pairs=_named(it), old_form=_is_old(it))


def _named(it: Statement) -> tuple[tuple[str, str], ...]:
    found = pairs(it.arguments, it.escape, it.keyword)
    if not found:
        raise WordError(f"{it.keyword} requires at least one argument")
    if not all(name for name, _ in found):
        raise WordError(f"{it.keyword} names can not be blank")
    return found


def _is_old(it: Statement) -> bool:
    return uses_old_pair_form(it.arguments, it.escape)


def _run(it: Statement) -> kinds.Run:
    flags = it.read_flags(mount=False, network=False, security=False, device=False)
    return kinds.Run(
        source=it.source,
        command=it.command(),
        mounts=flags.all("mount"),
        devices=flags.all("device"),
        network=flags.text("network"),
        security=flags.text("security"),
    )


def _cmd(it: Statement) -> kinds.Cmd:
    return kinds.Cmd(source=it.source, command=it.command())


def _entrypoint(it: Statement) -> kinds.Entrypoint:
    return kinds.Entrypoint(source=it.source, command=it.command())


def _copy(it: Statement) -> kinds.Copy:
    flags = it.read_flags(
        **{"from": False}, chown=False, chmod=False, exclude=False, link=True, parents=True
    )
    sources, destination = _sources(it)
    return kinds.Copy(
        source=it.source,
        sources=sources,
        destination=destination,
        heredocs=it.heredocs,
        from_stage=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.truth("link")),
        parents=bool(flags.truth("parents")),
        excludes=flags.all("exclude"),
    )


def _add(it: Statement) -> kinds.Add:
    flags = it.read_flags(
        chown=False,
        chmod=False,
        checksum=False,
        exclude=False,
        link=True,
        keep_git_dir=True,
        unpack=True,
    )
    sources, destination = _sources(it)
    return kinds.Add(
        source=it.source,
        sources=sources,
        destination=destination,
        heredocs=it.heredocs,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        checksum=flags.text("checksum"),
        link=bool(flags.truth("link")),
        keep_git_dir=bool(flags.truth("keep_git_dir")),
        unpack=flags.truth("unpack"),
        excludes=flags.all("exclude"),
    )


def _sources(it: Statement) -> tuple[tuple[str, ...], str]:
    found = it.list()
    if not found:
        raise WordError(f"{it.keyword} requires at least two arguments")
    if len(found) < 2:
        raise WordError(
            f"{it.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    return found[:-1], found[-1]


def _workdir(it: Statement) -> kinds.Workdir:
    return kinds.Workdir(source=it.source, path=it.one())


def _user(it: Statement) -> kinds.User:
    return kinds.User(source=it.source, user=it.one())


def _expose(it: Statement) -> kinds.Expose:
    return kinds.Expose(source=it.source, ports=it.some(it.words()))


def _volume(it: Statement) -> kinds.Volume:
    paths = it.some(it.list())
    if not all(path.strip() for path in paths):
        raise WordError("VOLUME specified can not be an empty string")
    return kinds.Volume(source=it.source, paths=paths)


def _stop_signal(it: Statement) -> kinds.StopSignal:
    return kinds.StopSignal(source=it.source, signal=it.one())


def _shell(it: Statement) -> kinds.Shell:
    found = json_words(it.arguments)
    if found is None:
        if not it.arguments:
            raise WordError("SHELL requires at least one argument")
        raise WordError("SHELL requires the arguments to be in JSON form")
    return kinds.Shell(source=it.source, words=it.some(found))


def _healthcheck(it: Statement) -> kinds.Healthcheck:
    flags = it.read_flags(
        interval=False, timeout=False, start_period=False, start_interval=False, retries=False
    )
    kind, *rest = it.arguments.split(maxsplit=1) or [""]
    if not kind:
        raise WordError("HEALTHCHECK requires at least one argument")
    if kind.upper() == "NONE":
        if rest:
            raise WordError("HEALTHCHECK NONE takes no arguments")
        return kinds.Healthcheck(source=it.source, command=None)
    if kind.upper() != "CMD":
        raise WordError(f"Unknown type {go_quote(kind.upper())} in HEALTHCHECK (try CMD)")
    text = rest[0] if rest else ""
    found = json_words(text)
    if not text or found == ():
        raise WordError("Missing command after HEALTHCHECK CMD")
    return kinds.Healthcheck(
        source=it.source,
        command=Command(words=(text,), shell_form=True) if found is None else Command(words=found),
        interval_ns=flags.duration_ns("interval"),
        timeout_ns=flags.duration_ns("timeout"),
        start_period_ns=flags.duration_ns("start_period"),
        start_interval_ns=flags.duration_ns("start_interval"),
        retries=_retries(flags.text("retries")),
    )


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise WordError(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    if int(text) < 0:
        raise WordError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _on_build(it: Statement) -> kinds.OnBuild:
    if not it.arguments:
        raise WordError("ONBUILD requires at least one argument")
    keyword = it.arguments.split(maxsplit=1)[0].upper()
    if keyword == "ONBUILD":
        raise WordError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in {"FROM", "MAINTAINER"}:
        raise WordError(f"{keyword} isn't allowed as an ONBUILD trigger")
    # Read it now, so that a wrong one fails here and not in somebody else's build.
    parse_line(
        LogicalLine(text=it.arguments, lines=it.source.lines, heredocs=it.heredocs), it.escape
    )
    content = "".join(f"\n{part.content}{part.name}" for part in it.heredocs)
    return kinds.OnBuild(source=it.source, trigger=it.arguments + content)


def _maintainer(it: Statement) -> kinds.Maintainer:
    return kinds.Maintainer(source=it.source, author=it.one())


_READERS: Mapping[str, Callable[[Statement], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _on_build,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

# Everywhere else `--x` is an argument like any other.
_FLAGGED = frozenset({"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"})


_TYPES = {
    kind.keyword: kind for kind in vars(kinds).values() if getattr(kind, "keyword", "") in _READERS
}


def _form(keyword: str) -> str:
    """How the instruction is written: each type's documentation begins with it."""
    form = (_TYPES[keyword].__doc__ or "``").split("`")[1]
    return f"Write it as {form}"


def _check_stages(read: tuple[Instruction, ...]) -> None:
    for instruction in read:
        if isinstance(instruction, kinds.From):
            return
        if not isinstance(instruction, kinds.Arg):
            raise DockerfileError(
                "no build stage in current context",
                instruction.source.lines,
                hint="Begin with FROM and the image to start from.",
            )
    raise DockerfileError(
        "no build stage in current context",
        read[-1].source.lines,
        hint="Begin a stage with FROM and the image to start from.",
    )
