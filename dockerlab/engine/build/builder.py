"""Conduct a build: stage after stage, until the target is an image.

Knows:   which stages are needed, base images, the numbering of steps, ONBUILD, the end.
Refuses: what a step does (`steps.py`), HTTP and streams; progress is told as values.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from dockerlab.dockerfile.instructions import Instruction, Label, OnBuild, Source
from dockerlab.dockerfile.lines import LineRange
from dockerlab.dockerfile.parse import Dockerfile, parse_trigger
from dockerlab.engine.build import progress
from dockerlab.engine.build.arguments import PREDEFINED, Arguments
from dockerlab.engine.build.cache_keys import BuildCache, start_key
from dockerlab.engine.build.context import Context
from dockerlab.engine.build.request import BuildRequest
from dockerlab.engine.build.run import StepRunner
from dockerlab.engine.build.stages import Graph, Stage, graph
from dockerlab.engine.build.state import State, begin
from dockerlab.engine.build.steps import Steps
from dockerlab.engine.model.image import Image
from dockerlab.engine.store.store import Store
from dockerlab.errors import Failed
from dockerlab.oci import platforms
from dockerlab.oci.documents import Platform


class BaseImages(Protocol):
    """Where FROM and `COPY --from=image` get images."""

    async def find(
        self,
        reference: str,
        *,
        platform: str,
        pull: bool,
        tell: Callable[[dict[str, object]], None],
    ) -> Image:
        """Give an image that is here, or pull it.

        Args:
            reference: as written, variables expanded.
            platform: "" for this machine's.
            pull: ask the registry even if it is here.
            tell: told of the pull's messages.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What a build works with."""

    store: Store
    cache: BuildCache
    runner: StepRunner
    images: BaseImages


@dataclass(slots=True, kw_only=True)
class Builder:
    """One build; used once."""

    rooms: Rooms
    request: BuildRequest
    context: Context
    read: Dockerfile
    tell: progress.Listener
    _results: dict[int, Image | None] = field(default_factory=dict)
    _stage_arguments: dict[int, Arguments] = field(default_factory=dict)
    _declared: set[str] = field(default_factory=set)
    _number: int = 0
    _total: int = 0

    async def build(self) -> Image:
        """Build the target.

        Raises:
            DockerlabError: a step failed; what earlier steps made stays, as cache.
        """
        host = platforms.normalise(Platform(os="linux", architecture=os.uname().machine))
        predefined = _platform_arguments(host, self.request)
        stages = graph(self.read, self.request.build_args, predefined)
        target = stages.target(self.request.target)
        needed = stages.needed(target)
        labels = _labels(self.request.labels)
        self._total = (
            len(stages.arguments)
            + sum(1 + len(stage.instructions) for stage in needed)
            + len(labels)
        )
        for argument in stages.arguments:
            self._declared |= {name for name, _ in argument.pairs}
            self._began(argument, "")
        for stage in needed:
            extra = labels if stage is target else ()
            await self._stage(stages, stage, host, extra)
        image = self._results[target.number]
        if image is None:
            raise Failed(
                "No image was generated. Is your Dockerfile empty?",
                hint="FROM scratch alone makes nothing; add an instruction.",
            )
        self._warn_of_unused()
        return image

    async def _stage(
        self, stages: Graph, stage: Stage, host: Platform, extra: tuple[Instruction, ...]
    ) -> None:
        name = stage.name or str(stage.number)
        self._began(stage.begin, name)
        state = await self._begin(stages, stage, host)
        self.tell(progress.StepDone(state.image_id))
        steps = Steps(
            store=self.rooms.store,
            cache=self.rooms.cache,
            runner=self.rooms.runner,
            request=self.request,
            context=self.context,
            state=state,
            tell=self.tell,
            find_source=lambda text: self._source(stages, stage, text),
            now_ns=_clock(self.request.build_args),
        )
        await self._triggers(steps, stage)
        for instruction in (*stage.instructions, *extra):
            self._began(instruction, name)
            await steps.perform(instruction)
            self.tell(progress.StepDone(steps.state.image_id))
        self._declared |= set(steps.state.arguments.declared)
        self._stage_arguments[stage.number] = steps.state.arguments
        final = steps.state.image_id
        self._results[stage.number] = self.rooms.store.images.get(final) if final else None
        if final:
            self.tell(progress.StageDone(final))

    async def _begin(self, stages: Graph, stage: Stage, host: Platform) -> State:
        arguments = Arguments(given=self.request.build_args, outer=stages.values)
        platform = host
        image: Image | None = None
        if stage.base is not None:
            image = self._results[stage.base]
            arguments = self._stage_arguments[stage.base]
        elif stage.image != "scratch":
            wanted = stage.platform or self.request.platform
            image = await self._image(stage.image, wanted, pull=self.request.pull)
        elif stage.platform or self.request.platform:
            platform = platforms.parse(stage.platform or self.request.platform, host=host)
        key = start_key(image.id if image else "", stage.platform or self.request.platform)
        return begin(
            image,
            platform=platform,
            key=key,
            arguments=arguments,
            escape=self.read.directives.escape,
            probing=not self.request.no_cache,
        )

    async def _triggers(self, steps: Steps, stage: Stage) -> None:
        """Perform the ONBUILD instructions that the base image brings."""
        triggers = steps.state.config.on_build
        if not triggers:
            return
        config = msgspec.structs.replace(steps.state.config, on_build=())
        steps.state = replace(steps.state, config=config)
        self.tell(progress.TriggersFound(len(triggers)))
        for text in triggers:
            instruction = parse_trigger(text, stage.begin.source.lines)
            if not isinstance(instruction, OnBuild):
                await steps.perform(instruction)

    async def _source(self, stages: Graph, stage: Stage, text: str) -> Image | None:
        """Find what `--from` names: an earlier stage, or an image."""
        number = stages.find(text, before=stage.number)
        if number is not None:
            return self._results[number]
        if text.isdecimal():
            raise Failed(
                f"invalid from flag value {text}: index out of bounds",
                hint=f"This is stage {stage.number}; only earlier ones can be copied from.",
            )
        return await self._image(text, self.request.platform, pull=False)

    async def _image(self, reference: str, platform: str, *, pull: bool) -> Image:
        return await self.rooms.images.find(
            reference,
            platform=platform,
            pull=pull,
            tell=lambda message: self.tell(progress.Pulling(message)),
        )

    def _began(self, instruction: Instruction, stage: str) -> None:
        self._number += 1
        self.tell(
            progress.StepBegan(
                number=self._number,
                total=self._total,
                text=instruction.source.text,
                stage=stage,
                lines=instruction.source.lines,
            )
        )

    def _warn_of_unused(self) -> None:
        unused = set(self.request.build_args) - self._declared - PREDEFINED - _NEVER_DECLARED
        if unused:
            names = " ".join(sorted(unused))
            self.tell(progress.Warned(f"One or more build-args [{names}] were not consumed"))


_NEVER_DECLARED = frozenset({"SOURCE_DATE_EPOCH", "BUILDKIT_INLINE_CACHE", "BUILDKIT_SYNTAX"})


def _platform_arguments(host: Platform, request: BuildRequest) -> Mapping[str, str]:
    """TARGET... and BUILD... as BuildKit predefines them."""
    target = platforms.parse(request.platform, host=host) if request.platform else host
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", host), ("TARGET", target)):
        words = [platform.os, platform.architecture, platform.variant]
        values[f"{prefix}PLATFORM"] = "/".join(word for word in words if word)
        values[f"{prefix}OS"], values[f"{prefix}ARCH"], values[f"{prefix}VARIANT"] = words
    values["TARGETSTAGE"] = request.target or "default"
    return {name: request.build_args.get(name) or value for name, value in values.items()}


def _labels(labels: Mapping[str, str]) -> tuple[Label, ...]:
    """The labels of the request as instructions, one each, in order of their names."""
    nowhere = LineRange(0, 0)
    return tuple(
        Label(
            source=Source(text=f"LABEL {name}={value}", lines=nowhere),
            pairs=((_literal(name), _literal(value)),),
        )
        for name, value in sorted(labels.items())
    )


def _literal(text: str) -> str:
    """Quote a text so that expansion gives it back unchanged."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _clock(build_args: Mapping[str, str | None]) -> Callable[[], int]:
    """Time stops at SOURCE_DATE_EPOCH, where that is given: same inputs, same image."""
    epoch = build_args.get("SOURCE_DATE_EPOCH") or ""
    if epoch.isdecimal() and len(epoch) < 11:
        return lambda: int(epoch) * 1_000_000_000
    return time.time_ns
