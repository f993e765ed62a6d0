"""One frozen type per keyword of the Dockerfile language.

Knows:   what each instruction says, as far as it can be known before the build: variables are not
         expanded yet, and quotes of values that will be are still there.
Refuses: to read text (`parse.py`) and to do anything (`engine/build`).
Source:  docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dockerlab.dockerfile.lines import Heredoc, LineRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an instruction stands: its text as one line, and the lines of the file."""

    text: str
    lines: LineRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What RUN, CMD, ENTRYPOINT and HEALTHCHECK start.

    Attributes:
        words: argv in the exec form; one text, for the shell, in the shell form.
        shell_form: not a JSON list.
        heredocs: here-documents of a RUN.
    """

    words: tuple[str, ...]
    shell_form: bool = False
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What every instruction has."""

    keyword: ClassVar[str] = ""
    source: Source = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """`FROM [--platform=P] IMAGE [AS NAME]`: begin a stage."""

    keyword: ClassVar[str] = "FROM"
    image: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """`ARG NAME[=DEFAULT] ...`: a variable that the caller may set; None is "no default"."""

    keyword: ClassVar[str] = "ARG"
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """`ENV NAME=VALUE ...`: variables of this build's steps and of the image's containers."""

    keyword: ClassVar[str] = "ENV"
    pairs: tuple[tuple[str, str], ...]
    old_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """`LABEL NAME=VALUE ...`: words about the image."""

    keyword: ClassVar[str] = "LABEL"
    pairs: tuple[tuple[str, str], ...]
    old_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """`RUN [--mount=...] [--network=...] [--security=...] COMMAND`: run, keep the changes."""

    keyword: ClassVar[str] = "RUN"
    command: Command
    mounts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    network: str = ""
    security: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """`CMD COMMAND`: what a container runs unless told otherwise, or arguments of ENTRYPOINT."""

    keyword: ClassVar[str] = "CMD"
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """`ENTRYPOINT COMMAND`: what a container runs, whatever arguments it is given."""

    keyword: ClassVar[str] = "ENTRYPOINT"
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """`COPY [--from=F] [--chown=U:G] [--chmod=M] ... SOURCE... DESTINATION`."""

    keyword: ClassVar[str] = "COPY"
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    from_stage: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """`ADD [--chown=U:G] [--chmod=M] [--checksum=D] ... SOURCE... DESTINATION`."""

    keyword: ClassVar[str] = "ADD"
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    checksum: str = ""
    link: bool = False
    keep_git_dir: bool = False
    unpack: bool | None = None
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """`WORKDIR PATH`: the directory of what follows; made if missing."""

    keyword: ClassVar[str] = "WORKDIR"
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """`USER NAME[:GROUP]`: who runs what follows, and the image's containers."""

    keyword: ClassVar[str] = "USER"
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """`EXPOSE PORT[/PROTOCOL] ...`: where the program will listen."""

    keyword: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """`VOLUME PATH ...`: directories that get a volume in every container."""

    keyword: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """`STOPSIGNAL SIGNAL`: what `docker stop` sends."""

    keyword: ClassVar[str] = "STOPSIGNAL"
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """`SHELL ["PROGRAM", "ARGUMENT", ...]`: what runs the shell forms that follow."""

    keyword: ClassVar[str] = "SHELL"
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """`HEALTHCHECK [--interval=D] ... CMD COMMAND` or `HEALTHCHECK NONE` (command None).

    Times are nanoseconds; 0 means the inherited or default value.
    """

    keyword: ClassVar[str] = "HEALTHCHECK"
    command: Command | None
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """`ONBUILD INSTRUCTION`: kept in the image, performed by the builds that start from it."""

    keyword: ClassVar[str] = "ONBUILD"
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """`MAINTAINER NAME`: the author; a label says it better today."""

    keyword: ClassVar[str] = "MAINTAINER"
    author: str
