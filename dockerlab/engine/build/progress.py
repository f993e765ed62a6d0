"""What a build says while it runs, as values; `api/build_stream.py` turns them into streams.

Knows:   steps, their output and their results.
Refuses: JSON and the words of the classic stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dockerlab.dockerfile.lines import LineRange
from dockerlab.dockerfile.lint import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegan:
    """An instruction is looked at; `number` counts from 1 to `total`."""

    number: int
    total: int
    text: str
    stage: str
    lines: LineRange | None


@dataclass(frozen=True, slots=True)
class Running:
    """Nothing fitting is in the cache: the step is performed, under this id (64 hex digits)."""

    id: str


@dataclass(frozen=True, slots=True)
class CacheUsed:
    """The step's result was there already."""


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that the step's command wrote to stream 1 or 2."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Pulling:
    """A message of the pull of a base image, as that API words it."""

    message: dict[str, object]


@dataclass(frozen=True, slots=True)
class Removed:
    """What the step ran in is gone."""

    id: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """The image after the step; "" after `FROM scratch`."""

    image_id: str


@dataclass(frozen=True, slots=True)
class TriggersFound:
    """The base image brings ONBUILD instructions, which come next."""

    count: int


@dataclass(frozen=True, slots=True)
class StageDone:
    """The image that a stage came to."""

    image_id: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about this build that is worth knowing and stops nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Linted:
    """Something about the Dockerfile, by a rule; the classic stream has no place for it."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Built:
    """The end: the image, and the references that now mean it."""

    image_id: str
    tags: tuple[str, ...]


Progress = (
    StepBegan
    | Running
    | CacheUsed
    | Output
    | Pulling
    | Removed
    | StepDone
    | TriggersFound
    | StageDone
    | Warned
    | Linted
    | Built
)
Listener = Callable[[Progress], None]
