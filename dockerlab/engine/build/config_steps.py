"""Instructions that only change how an image is run: each is a pure change of its configuration.

Knows:   what ENV, LABEL, CMD, ENTRYPOINT, EXPOSE, VOLUME, USER, STOPSIGNAL, SHELL, HEALTHCHECK,
         ONBUILD, WORKDIR and MAINTAINER do, and the line of history each leaves.
Refuses: files; WORKDIR's directory is made by `builder.py`.
Source:  the histories of images that Docker's classic builder made.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from dockerlab.dockerfile import instructions as kinds
from dockerlab.dockerfile.expand import ExpandError, expand_words
from dockerlab.dockerfile.words import go_quote
from dockerlab.engine.build.stages import expanded
from dockerlab.errors import InvalidRequest
from dockerlab.oci.documents import HealthConfig, ImageRunConfig

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A new configuration, and what the history says about it."""

    config: ImageRunConfig
    comment: str
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an instruction is read against.

    Attributes:
        values: variables for expansion: visible ARGs, then ENV.
        cmd_set: this stage has set CMD itself, so ENTRYPOINT leaves it alone.
    """

    values: Mapping[str, str]
    escape: str
    cmd_set: bool = False

    def expand(self, text: str) -> str:
        """Expand one word."""
        return expanded(text, self.values, self.escape)

    def words(self, text: str) -> tuple[str, ...]:
        """Expand into any number of words."""
        try:
            return expand_words(text, self.values, escape=self.escape)
        except ExpandError as error:
            raise InvalidRequest(f'failed to process "{text}": {error}') from None


def change(config: ImageRunConfig, one: kinds.Instruction, scope: Scope) -> Change | None:
    """Apply one instruction to a configuration; None when it is not of this kind."""
    apply = _CHANGES.get(type(one))
    return apply(config, one, scope) if apply else None


def shell(config: ImageRunConfig) -> tuple[str, ...]:
    """What runs the shell forms."""
    return config.shell or DEFAULT_SHELL


def nop(config: ImageRunConfig, comment: str) -> str:
    """The `created_by` of a step that ran nothing; two blanks, as ever."""
    return " ".join((*shell(config), "#(nop) ", comment))


def environment(env: tuple[str, ...]) -> dict[str, str]:
    """The variables of an image by name."""
    return {name: value for name, _, value in (item.partition("=") for item in env)}


def command_words(command: kinds.Command, config: ImageRunConfig) -> tuple[str, ...]:
    """Argv of a CMD, ENTRYPOINT or plain RUN."""
    return (*shell(config), *command.words) if command.shell_form else command.words


def _env(config: ImageRunConfig, one: kinds.Env, scope: Scope) -> Change:
    env = list(config.env)
    pairs = [(scope.expand(name), scope.expand(value)) for name, value in one.pairs]
    for name, value in pairs:
        if not name:
            raise InvalidRequest("ENV names can not be blank")
        item = f"{name}={value}"
        known = [i for i, old in enumerate(env) if old.partition("=")[0] == name]
        if known:
            env[known[0]] = item
        else:
            env.append(item)
    return Change(
        config=structs.replace(config, env=tuple(env)),
        comment=" ".join(["ENV", *(f"{name}={value}" for name, value in pairs)]),
    )


def _label(config: ImageRunConfig, one: kinds.Label, scope: Scope) -> Change:
    pairs = {scope.expand(name): scope.expand(value) for name, value in one.pairs}
    return Change(
        config=structs.replace(config, labels=_sorted({**config.labels, **pairs})),
        comment=" ".join(["LABEL", *(f"{name}={value}" for name, value in pairs.items())]),
    )


def _cmd(config: ImageRunConfig, one: kinds.Cmd, _scope: Scope) -> Change:
    words = command_words(one.command, config)
    return Change(
        config=structs.replace(config, cmd=words, args_escaped=False),
        comment=f"CMD {_quoted(words)}",
    )


def _entrypoint(config: ImageRunConfig, one: kinds.Entrypoint, scope: Scope) -> Change:
    words = command_words(one.command, config)
    return Change(
        # An inherited CMD was made for another program.
        config=structs.replace(
            config, entrypoint=words or None, cmd=config.cmd if scope.cmd_set else None
        ),
        comment=f"ENTRYPOINT {_quoted(words)}",
    )


def _expose(config: ImageRunConfig, one: kinds.Expose, scope: Scope) -> Change:
    written = sorted(word for text in one.ports for word in scope.words(text))
    ports = {port: {} for text in written for port in _ports(text)}  # type: ignore[var-annotated]
    return Change(
        config=structs.replace(config, exposed_ports=_sorted({**config.exposed_ports, **ports})),
        comment=f"EXPOSE {' '.join(written)}",
    )


def _ports(text: str) -> list[str]:
    """Read "80", "80/udp" or "8000-8010/tcp" into "80/tcp" and so on."""
    spec, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    # "8080:80" publishes nothing here, and Docker takes its last part.
    container = spec.rpartition(":")[2]
    match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", container)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if first > last or last > 65535:
        raise InvalidRequest(
            f"Invalid containerPort: {container}", hint="Ports go from 1 to 65535."
        )
    if protocol not in {"tcp", "udp", "sctp"}:
        raise InvalidRequest(f"Invalid proto: {protocol}", hint="Write tcp, udp or sctp.")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _volume(config: ImageRunConfig, one: kinds.Volume, scope: Scope) -> Change:
    paths = [scope.expand(path).strip() for path in one.paths]
    if not all(paths):
        raise InvalidRequest("VOLUME specified can not be an empty string")
    volumes = {**config.volumes, **{path: {} for path in paths}}
    return Change(
        config=structs.replace(config, volumes=_sorted(volumes)),
        comment=f"VOLUME [{' '.join(paths)}]",
    )


def _user(config: ImageRunConfig, one: kinds.User, scope: Scope) -> Change:
    user = scope.expand(one.user)
    return Change(config=structs.replace(config, user=user), comment=f"USER {user}")


def _stop_signal(config: ImageRunConfig, one: kinds.StopSignal, scope: Scope) -> Change:
    text = scope.expand(one.signal)
    name = text.upper().removeprefix("SIG")
    known = {member.name.removeprefix("SIG") for member in signal.Signals}
    numeric = text.isdecimal() and 0 < int(text) <= 64
    if not numeric and name not in known and not re.fullmatch(r"RT(MIN\+|MAX-)[0-9]{1,2}", name):
        raise InvalidRequest(f"Invalid signal: {text}", hint="For example SIGTERM, or 15.")
    return Change(config=structs.replace(config, stop_signal=text), comment=f"STOPSIGNAL {text}")


def _shell(config: ImageRunConfig, one: kinds.Shell, _scope: Scope) -> Change:
    return Change(
        config=structs.replace(config, shell=one.words),
        comment=f"SHELL [{' '.join(one.words)}]",
    )


def _healthcheck(config: ImageRunConfig, one: kinds.Healthcheck, _scope: Scope) -> Change:
    test: tuple[str, ...] = ("NONE",)
    if one.command is not None:
        kind = "CMD-SHELL" if one.command.shell_form else "CMD"
        test = (kind, *one.command.words)
    health = HealthConfig(
        test=test,
        interval=one.interval_ns,
        timeout=one.timeout_ns,
        start_period=one.start_period_ns,
        start_interval=one.start_interval_ns,
        retries=one.retries,
    )
    return Change(
        config=structs.replace(config, healthcheck=health),
        comment=f"HEALTHCHECK {_go_health(health)}",
    )


def _go_health(health: HealthConfig) -> str:
    """How Go prints that struct: retries come out as the character of that number."""
    times = [health.interval, health.timeout, health.start_period]
    if health.start_interval:
        times.append(health.start_interval)
    shown = " ".join(f'"{go_duration(ns)}"' for ns in times)
    rune = chr(health.retries) if 32 <= health.retries < 127 else f"\\x{health.retries:02x}"
    return f"&{{{_quoted(health.test)} {shown} '{rune}'}}"


def go_duration(ns: int) -> str:
    """Write a duration as Go does: 90 s are "1m30s"."""
    if ns == 0:
        return "0s"
    for unit, size in (("ns", 1_000), ("µs", 1_000_000), ("ms", 1_000_000_000)):
        if abs(ns) < size:
            return f"{_number(ns * 1000, size)}{unit}"
    hours, rest = divmod(ns, 3_600_000_000_000)
    minutes, rest = divmod(rest, 60_000_000_000)
    text = f"{_number(rest, 1_000_000_000)}s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _number(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _on_build(config: ImageRunConfig, one: kinds.OnBuild, _scope: Scope) -> Change:
    return Change(
        config=structs.replace(config, on_build=(*config.on_build, one.trigger)),
        comment=f"ONBUILD {one.trigger}",
    )


def _workdir(config: ImageRunConfig, one: kinds.Workdir, scope: Scope) -> Change:
    path = scope.expand(one.path)
    if not path:
        raise InvalidRequest("cannot normalize nothing", hint="WORKDIR's path expanded to nothing.")
    joined = posixpath.normpath(posixpath.join("/", config.working_dir, path))
    joined = "/" + joined.lstrip("/")
    return Change(config=structs.replace(config, working_dir=joined), comment=f"WORKDIR {joined}")


def _maintainer(config: ImageRunConfig, one: kinds.Maintainer, _scope: Scope) -> Change:
    return Change(config=config, comment=f"MAINTAINER {one.author}", author=one.author)


def _quoted(words: tuple[str, ...]) -> str:
    return f"[{' '.join(go_quote(word) for word in words)}]"


def _sorted(mapping: dict[str, Any]) -> dict[str, Any]:
    """Keys in order, as Go writes maps: the same configuration has the same digest."""
    return dict(sorted(mapping.items()))


_CHANGES: Mapping[type, Callable[[ImageRunConfig, Any, Scope], Change]] = {
    kinds.Env: _env,
    kinds.Label: _label,
    kinds.Cmd: _cmd,
    kinds.Entrypoint: _entrypoint,
    kinds.Expose: _expose,
    kinds.Volume: _volume,
    kinds.User: _user,
    kinds.StopSignal: _stop_signal,
    kinds.Shell: _shell,
    kinds.Healthcheck: _healthcheck,
    kinds.OnBuild: _on_build,
    kinds.Workdir: _workdir,
    kinds.Maintainer: _maintainer,
}
