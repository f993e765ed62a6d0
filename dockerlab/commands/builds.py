"""Builds: a Dockerfile and a context become an image, step by step.

Knows:   how the classic builder's messages tell of steps, caches and failures.
Refuses: to read Dockerfiles; the host does. A context is packed by docker-py.
Source:  docs.docker.com/reference/cli/docker/image/build; engine-api "Build an image".
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dockerlab.commands.failures import hint_for, translated
from dockerlab.commands.grammar import Arguments, Flag, Verb, many, switch, text
from dockerlab.commands.results import BuildStep, Built, Done
from dockerlab.commands.session import Progress, Session
from dockerlab.commands.words import size
from dockerlab.errors import Failed, InvalidRequest, NotFound
from dockerlab.wire.sizes import parse_bytes

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_LAYER = re.compile(r" ---> ([0-9a-f]{12})\s*")
_BUILT = re.compile(r"Successfully built ([0-9a-f]+)")

BUILD_FLAGS: tuple[Flag, ...] = (
    many("add-host", help="Add a custom host-to-IP mapping (host:ip)"),
    many("build-arg", help="Set build-time variables"),
    many("cache-from", help="Images to consider as cache sources"),
    text("file", "f", "Name of the Dockerfile (default: PATH/Dockerfile)"),
    switch("force-rm", help="Always remove intermediate containers"),
    many("label", help="Set metadata for an image"),
    text("memory", "m", "Memory limit", metavar="bytes"),
    text("network", help="Set the networking mode for the RUN instructions"),
    switch("no-cache", help="Do not use cache when building the image"),
    text("platform", help="Set platform if server is multi-platform capable"),
    switch("pull", help="Always attempt to pull a newer version of the image"),
    switch("quiet", "q", "Suppress the build output and print image ID on success"),
    switch("rm", help="Remove intermediate containers after a successful build"),
    many("tag", "t", "Name and optionally a tag (format: name:tag)"),
    text("target", help="Set the target build stage to build"),
)


@dataclass(slots=True)
class _Step:
    """A step while it runs."""

    number: int
    total: int
    instruction: str
    started_ns: int
    cached: bool = False
    layer: str = ""
    output: list[str] = field(default_factory=list)

    def ended(self, now_ns: int) -> BuildStep:
        return BuildStep(
            number=self.number,
            total=self.total,
            instruction=self.instruction,
            cached=self.cached,
            layer=self.layer,
            duration_ns=now_ns - self.started_ns,
            output="".join(self.output),
        )


class Progression:
    """Turns the messages of a classic build into steps, in the order they come."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._running: _Step | None = None
        self.steps: list[BuildStep] = []
        self.image = ""

    def take(self, message: Mapping[str, Any]) -> None:
        """Read one message."""
        aux = message.get("aux") or {}
        if isinstance(aux, dict) and aux.get("ID"):
            self.image = str(aux["ID"])
        line = str(message.get("stream") or "")
        if match := _STEP.match(line.strip("\n")):
            self._close()
            self._running = _Step(int(match[1]), int(match[2]), match[3].strip(), self._clock_ns())
        elif match := _BUILT.match(line):
            self.image = self.image or match[1]
            self._close()
        elif self._running is not None and line:
            self._within(self._running, line)

    def end(self) -> tuple[BuildStep, ...]:
        self._close()
        return tuple(self.steps)

    def _within(self, step: _Step, line: str) -> None:
        if "Using cache" in line:
            step.cached = True
        elif match := _LAYER.fullmatch(line):
            step.layer = match[1]
        elif not line.startswith((" ---> ", "Removing intermediate container")) and (
            step.output or line.strip()
        ):
            step.output.append(line)

    def _close(self) -> None:
        if self._running is not None:
            self.steps.append(self._running.ended(self._clock_ns()))
            self._running = None


def build(session: Session, args: Arguments) -> Built:
    """Build from a folder, or from a Dockerfile on standard input (`-`)."""
    where = args.words[0]
    if where == "-":
        if session.patient_stdin is None:
            raise InvalidRequest("no Dockerfile on stdin here", hint="Use a %%dockerfile cell")
        return build_text(session, session.patient_stdin.read().decode(), "", args)
    named = args.text("file")
    path = Path(named) if named else Path(where) / "Dockerfile"
    if not Path(where).is_dir():
        raise NotFound(
            f'unable to prepare context: path "{where}" not found', hint="Name a folder, often ."
        )
    try:
        content = path.read_text()
    except OSError:
        raise NotFound(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: {path}: "
            "no such file or directory",
            hint="Name it with -f, or write one with %%dockerfile",
        ) from None
    return build_text(session, content, where, args)


def build_text(session: Session, dockerfile: str, context: str, args: Arguments) -> Built:
    """Build a Dockerfile given as text, with a folder as its context ("": an empty one)."""
    started = time.time_ns()
    progression = Progression(time.time_ns)
    with _packed(dockerfile, context) as (archive, name):
        messages = session.streams.documents(
            "post",
            "/build",
            params=_params(args, name),
            data=archive,
            headers={"Content-Type": "application/tar", **session.streams.all_credentials()},
        )
        try:
            for message in messages:
                progression.take(message)
                if message.get("error"):
                    raise _failure(message)
                _tell(session, message)
        except KeyboardInterrupt:
            # Closing the connection is how a client cancels a classic build.
            messages.close()
            raise Failed(
                "interrupted; the build was cancelled", hint="What was built so far is cached"
            ) from None
    steps = progression.end()
    return Built(
        image=progression.image,
        names=args.all("tag"),
        steps=steps,
        duration_ns=time.time_ns() - started,
    )


def _params(args: Arguments, dockerfile: str) -> dict[str, Any]:
    params: dict[str, Any] = {
        "dockerfile": dockerfile,
        "t": list(args.all("tag")),
        "rm": int(args.on("rm") or not args.given("rm")),
        "forcerm": int(args.on("force-rm")),
        "nocache": int(args.on("no-cache")),
        "pull": int(args.on("pull")),
        "buildargs": json.dumps(_arguments(args.all("build-arg"))),
        "labels": json.dumps(dict(_pair(item) for item in args.all("label"))),
    }
    for flag, key in (("target", "target"), ("network", "networkmode"), ("platform", "platform")):
        if args.given(flag):
            params[key] = args.text(flag)
    if args.given("memory"):
        params["memory"] = parse_bytes(args.text("memory"))
    if args.all("cache-from"):
        params["cachefrom"] = json.dumps(args.all("cache-from"))
    if args.all("add-host"):
        params["extrahosts"] = ",".join(args.all("add-host"))
    return params


def _arguments(items: tuple[str, ...]) -> dict[str, str | None]:
    # A name alone passes the caller's own variable on, as docker does.
    return {
        name: value if equals else os.environ.get(name)
        for name, equals, value in (item.partition("=") for item in items)
    }


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


@contextlib.contextmanager
def _packed(dockerfile: str, context: str) -> Iterator[tuple[BinaryIO, str]]:
    """The context as a tar file, with the Dockerfile in it under a name nobody else uses."""
    from docker.utils import build as packing  # noqa: PLC0415 - 100 ms, at first use

    name = f".dockerfile.{os.getpid()}.{time.monotonic_ns()}"
    with contextlib.ExitStack() as stack:
        if not context:
            context = stack.enter_context(tempfile.TemporaryDirectory(prefix="dockerlab-build-"))
        ignored = Path(context) / ".dockerignore"
        patterns = _ignored(ignored.read_text()) if ignored.is_file() else []
        try:
            archive = packing.tar(
                context,
                exclude=[*patterns, f"!{name}"] if patterns else None,
                dockerfile=(name, dockerfile),
                gzip=False,
            )
        except OSError as error:
            raise InvalidRequest(
                f"error checking context: {error}", hint="Is every file there readable?"
            ) from None
        stack.callback(archive.close)
        yield archive, name


def _ignored(content: str) -> list[str]:
    lines = (line.strip() for line in content.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _failure(message: Mapping[str, Any]) -> Failed:
    detail = message.get("errorDetail") or {}
    text_of_error = str(detail.get("message") or message["error"]).strip()
    hint = hint_for(text_of_error)
    if "returned a non-zero code" in text_of_error:
        hint = "The command's own words stand above; the steps before it are cached"
    return Failed(text_of_error, hint=hint or "The steps before it are cached")


def _tell(session: Session, message: Mapping[str, Any]) -> None:
    detail = message.get("progressDetail") or {}
    session.feedback.progress(
        Progress(
            status=str(message.get("status") or ""),
            subject=str(message.get("id") or ""),
            current=int(detail.get("current") or 0),
            total=int(detail.get("total") or 0),
            text=str(message.get("stream") or ""),
        )
    )


def prune(session: Session, args: Arguments) -> Done:
    """Empty the build cache."""
    with translated(session.host.url):
        answer = session.api.prune_builds(all=args.on("all") or None)
    return Done(
        action="builder prune",
        names=tuple(answer.get("CachesDeleted") or ()),
        note=f"Total: {size(answer.get('SpaceReclaimed') or 0)}",
        identifiers=True,
    )


VERBS = (
    Verb(
        words=("build",),
        act=build,
        help="Build an image from a Dockerfile",
        usage="[OPTIONS] PATH | -",
        flags=BUILD_FLAGS,
        least=1,
        most=1,
        aliases=(("image", "build"), ("builder", "build")),
    ),
    Verb(
        words=("builder", "prune"),
        act=prune,
        help="Remove build cache",
        usage="[OPTIONS]",
        flags=(
            switch("all", "a", "Remove all unused build cache, not just dangling ones"),
            switch("force", "f", "Do not prompt for confirmation"),
        ),
        most=0,
    ),
)
