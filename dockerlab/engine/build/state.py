"""Where a stage is after each step: files, configuration, history; and its image document.

Knows:   how a step's result becomes the next state, and how a state is written as an image.
Refuses: the disk and the clock; both are handed in.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace

import msgspec

from dockerlab.engine.build.arguments import Arguments
from dockerlab.engine.build.config_steps import DEFAULT_PATH, Scope, environment
from dockerlab.engine.model.image import Image, Layer
from dockerlab.oci.documents import History, ImageConfig, ImageRunConfig, Platform, RootFS
from dockerlab.wire.times import rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One stage between two steps.

    Attributes:
        image_id: the image so far; "" for `FROM scratch` before its first step.
        key: the cache key so far.
        cmd_set: this stage has set CMD.
        probing: the cache may still be asked; the first miss ends it.
    """

    platform: Platform
    key: str
    arguments: Arguments
    escape: str
    image_id: str = ""
    config: ImageRunConfig = field(default_factory=ImageRunConfig)
    layers: tuple[Layer, ...] = ()
    history: tuple[History, ...] = ()
    author: str = ""
    cmd_set: bool = False
    probing: bool = True

    @property
    def scope(self) -> Scope:
        """What the next instruction's variables are read against: ENV beats ARG."""
        env = environment(self.config.env)
        return Scope(
            values={**self.arguments.visible(env), **env},
            escape=self.escape,
            cmd_set=self.cmd_set,
        )

    @property
    def run_env(self) -> tuple[str, ...]:
        """The environment of a RUN: arguments first, so that ENV wins."""
        arguments = self.arguments.visible(environment(self.config.env))
        return (*(f"{name}={value}" for name, value in arguments.items()), *self.config.env)

    def destination(self, path: str) -> str:
        """Make a destination absolute; a trailing slash keeps its meaning."""
        joined = posixpath.join("/", self.config.working_dir, path)
        is_folder = path.endswith("/") or posixpath.basename(path) in {".", ".."}
        return joined.rstrip("/") + "/" if is_folder else joined


def begin(
    image: Image | None,
    *,
    platform: Platform,
    key: str,
    arguments: Arguments,
    escape: str,
    probing: bool,
) -> State:
    """The state after a FROM; None is scratch."""
    state = State(platform=platform, key=key, arguments=arguments, escape=escape, probing=probing)
    if image is not None:
        state = adopt(state, image)
        state = replace(state, platform=image.document.platform)
    if "PATH" not in environment(state.config.env):
        env = (*state.config.env, DEFAULT_PATH)
        state = replace(state, config=msgspec.structs.replace(state.config, env=env))
    return state


def adopt(state: State, image: Image) -> State:
    """Go on from an image that is there already."""
    document = image.document
    return replace(
        state,
        image_id=image.id,
        config=document.config,
        layers=image.layers,
        history=document.history,
        author=document.author or "",
    )


def document(state: State, *, layer: Layer | None, created_by: str, now_ns: int) -> ImageConfig:
    """The image document after a step."""
    layers = (*state.layers, layer) if layer else state.layers
    step = History(
        created=rfc3339(now_ns),
        created_by=created_by,
        author=state.author,
        empty_layer=layer is None,
    )
    return ImageConfig(
        architecture=state.platform.architecture,
        os=state.platform.os or "linux",
        variant=state.platform.variant or msgspec.UNSET,
        created=rfc3339(now_ns),
        author=state.author or msgspec.UNSET,
        config=state.config,
        rootfs=RootFS(diff_ids=tuple(one.diff_id for one in layers)),
        history=(*state.history, step),
    )
