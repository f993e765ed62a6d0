"""Perform one instruction of a stage: ask the cache, else do it and keep the result.

Knows:   what each kind of step does to files and configuration, and what its cache key holds.
Refuses: to choose stages and to number steps (`builder.py`); to run processes (`run.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from dockerlab.dockerfile import instructions as kinds
from dockerlab.dockerfile.expand import ExpandError, expand_dollars
from dockerlab.dockerfile.lines import DockerfileError, Heredoc
from dockerlab.dockerfile.run_mounts import RunMount, parse_mount
from dockerlab.dockerfile.words import WordError
from dockerlab.engine.build import copy, progress, snapshots, sources
from dockerlab.engine.build import mounts as mounting
from dockerlab.engine.build.cache_keys import BuildCache, Key, step_key
from dockerlab.engine.build.config_steps import change, command_words, environment, nop, shell
from dockerlab.engine.build.context import Context
from dockerlab.engine.build.owners import Owner, find_owner
from dockerlab.engine.build.request import BuildRequest
from dockerlab.engine.build.run import RunStep, StepRunner
from dockerlab.engine.build.snapshots import entered
from dockerlab.engine.build.state import State, adopt, document
from dockerlab.engine.model.image import Image, Layer
from dockerlab.engine.model.rootfs import Overlay
from dockerlab.engine.store.store import Store
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, Unsupported
from dockerlab.oci.documents import render

FindSource = Callable[[str], Awaitable[Image | None]]


class CommandFailed(Failed):
    """A RUN ended with another code than 0, which clients exit with."""

    def __init__(self, words: tuple[str, ...], code: int) -> None:
        super().__init__(
            f"The command '{' '.join(words)}' returned a non-zero code: {code}",
            hint="What it wrote stands above.",
        )
        self.code = code


@dataclass(frozen=True, slots=True)
class _Command:
    """What one RUN runs, and under which id."""

    id: str
    words: tuple[str, ...]
    network: str
    privileged: bool


@dataclass(slots=True, kw_only=True)
class Steps:
    """The steps of one stage; `state` is where it stands."""

    store: Store
    cache: BuildCache
    runner: StepRunner
    request: BuildRequest
    context: Context
    state: State
    tell: progress.Listener
    find_source: FindSource
    now_ns: Callable[[], int]

    async def perform(self, one: kinds.Instruction) -> None:
        """Perform an instruction; `state` is the result.

        Raises:
            DockerlabError: in Docker's words.
        """
        if isinstance(one, kinds.Run):
            await self._run(one)
        elif isinstance(one, kinds.Copy | kinds.Add):
            await self._copy(one)
        elif isinstance(one, kinds.Arg):
            await self._arg(one)
        else:
            await self._configure(one)

    # Steps that change only the configuration; WORKDIR may make a directory

    async def _arg(self, one: kinds.Arg) -> None:
        scope = self.state.scope
        arguments = self.state.arguments
        shown: list[str] = []
        for name, default in one.pairs:
            value = None if default is None else scope.expand(default)
            arguments = arguments.declare(scope.expand(name), value)
            shown.append(name if value is None else f"{name}={value}")
        self.state = replace(self.state, arguments=arguments)
        await self._commit(nop(self.state.config, f"ARG {' '.join(shown)}"))

    async def _configure(self, one: kinds.Instruction) -> None:
        changed = change(self.state.config, one, self.state.scope)
        if changed is None:
            raise Unsupported(f"{one.keyword} is not supported here")
        self.state = replace(
            self.state,
            config=changed.config,
            author=self.state.author if changed.author is None else changed.author,
            cmd_set=self.state.cmd_set or isinstance(one, kinds.Cmd),
        )
        if isinstance(one, kinds.Workdir):
            # One blank here and two elsewhere: so it is written in every history.
            created_by = " ".join((*shell(changed.config), f"#(nop) {changed.comment}"))
            await self._commit(created_by, make=self._make_working_directory)
        else:
            await self._commit(nop(changed.config, changed.comment))

    def _make_working_directory(self) -> Layer | None:
        path = self.state.config.working_dir
        return snapshots.make_layer(
            self.store, self.state.layers, lambda root: snapshots.make_directory(root, path)
        )

    async def _commit(
        self, created_by: str, *, make: Callable[[], Layer | None] | None = None
    ) -> None:
        """End a step that runs nothing. Docker made a container for it, so an id is shown."""
        key = step_key(self.state.key, created_by, self.state.config)
        if await self._from_cache(key):
            return
        step_id = secrets.token_hex(32)
        self.tell(progress.Running(step_id))
        with self.store.layers.lease():
            layer = await asyncio.to_thread(make) if make else None
            await self._keep(key, created_by, layer)
        self._removed(step_id)

    # RUN

    async def _run(self, one: kinds.Run) -> None:
        _refuse_flags(device=one.devices)
        mounts, known = await self._mounts(one)
        network = one.network or self.request.network_mode
        run_by = shell(self.state.config)
        words = _script(one.command, run_by) or command_words(one.command, self.state.config)
        words = words or run_by
        recorded = self.state.arguments.recorded(environment(self.state.config.env))
        prefix = (f"|{len(recorded)}", *recorded) if recorded else ()
        created_by = " ".join((*prefix, *words))
        inputs = {"network": one.network, "security": one.security}
        if known.scripts:
            inputs["scripts"] = repr(sorted(known.scripts.items()))
        if mounts:
            inputs["mounts"] = await asyncio.to_thread(mounting.digest, mounts, known)
        key = step_key(self.state.key, created_by, self.state.config, inputs)
        if await self._from_cache(key):
            return
        step_id = secrets.token_hex(32)
        self.tell(progress.Running(step_id))
        step = _Command(step_id, words, network, one.security == "insecure")
        try:
            with self.store.layers.lease():
                layer = await self._run_in(step, mounts, known)
                await self._keep(key, created_by, layer)
        except DockerlabError:
            if self.request.force_remove:
                self._removed(step_id)
            raise
        self._removed(step_id)

    async def _run_in(
        self, command: _Command, mounts: Sequence[RunMount], known: mounting.MountSources
    ) -> Layer | None:
        config = self.state.config
        volumes = tuple(config.volumes)
        cwd = config.working_dir or "/"
        snapshot = snapshots.snapshot(self.store, command.id, self.state.layers)
        async with entered(snapshot) as rootfs:
            made = await asyncio.to_thread(self._mount_points, rootfs, volumes)
            async with entered(mounting.prepared(self.store, rootfs, cwd, mounts, known)) as places:
                code = await self.runner.run(
                    RunStep(
                        id=command.id,
                        rootfs=rootfs,
                        args=command.words,
                        env=self.state.run_env,
                        user=config.user,
                        cwd=cwd,
                        hostname=command.id[:12],
                        network_mode=command.network,
                        mounts=places,
                        resources=self.request.resources,
                        rlimits=self.request.rlimits,
                        extra_hosts=self.request.extra_hosts,
                        shm_size_bytes=self.request.shm_size_bytes,
                        privileged=command.privileged,
                    ),
                    lambda stream, data: self.tell(progress.Output(stream, data)),
                )
            if code:
                raise CommandFailed(command.words, code)
            await asyncio.to_thread(snapshots.drop, rootfs.upper, made)
            return await asyncio.to_thread(
                snapshots.keep, self.store, rootfs.upper, self.state.layers
            )

    async def _mounts(self, one: kinds.Run) -> tuple[list[RunMount], mounting.MountSources]:
        """Read the --mount flags, and find the images that they name."""
        scope = self.state.scope
        try:
            mounts = [parse_mount(scope.expand(text)) for text in one.mounts]
        except WordError as error:
            raise DockerfileError(str(error), one.source.lines) from None
        names = {mount.from_stage for mount in mounts if mount.from_stage}
        images = {name: await self.find_source(name) for name in names}
        scripts = {
            document.name: document.content
            for document in one.command.heredocs
            if document.content.startswith("#!")
        }
        known = mounting.MountSources(context=self.context, images=images, scripts=scripts)
        return mounts, known

    def _mount_points(self, rootfs: Overlay, volumes: tuple[str, ...]) -> dict[str, bool]:
        """Make the directories of volumes; say which were not there."""
        if not volumes:
            return {}
        with self.store.snapshots.merged(rootfs, writable=True) as root:
            return {path: snapshots.make_directory(root, path) for path in volumes}

    # COPY and ADD

    async def _copy(self, one: kinds.Copy | kinds.Add) -> None:
        _refuse_flags(exclude=one.excludes)
        if isinstance(one, kinds.Copy):
            _refuse_flags(parents=one.parents)
        scope = self.state.scope
        wanted = [scope.expand(text) for text in one.sources if not text.startswith("<<")]
        destination = self.state.destination(scope.expand(one.destination))
        chown = scope.expand(one.chown)
        files = {heredoc.name: self._content(heredoc) for heredoc in one.heredocs}
        copy.check_destination(one.keyword, one.sources, scope.expand(one.destination))
        if isinstance(one, kinds.Add) and any(_is_remote(text) for text in wanted):
            raise Unsupported(
                "ADD of a URL is not supported yet", hint="Fetch it in a RUN, or COPY a file."
            )
        from_stage = one.from_stage if isinstance(one, kinds.Copy) else ""
        from_image = bool(from_stage)
        async with entered(await self._origin(from_stage)) as root:
            place = sources.Place(
                root=root,
                is_context=not from_image,
                digests={} if from_image else self.context.digests,
                ignore=self.context.ignore,
            )
            found, digest = await asyncio.to_thread(_look, place, wanted, one.keyword, files)
            copy.check_destination(one.keyword, [*found, *files], destination)
            comment = (
                f"#(nop) {one.keyword} {f'--chown={chown} ' if chown else ''}{digest} in "
                f"{scope.expand(one.destination)} "
            )
            created_by = " ".join((*shell(self.state.config), comment))
            key = step_key(self.state.key, created_by, self.state.config, {"chmod": one.chmod})
            if await self._from_cache(key):
                return
            plan = copy.CopyPlan(
                keyword=one.keyword,
                sources=tuple(found),
                files=files,
                destination=destination,
                owner=None if from_image else Owner(),
                chmod=scope.expand(one.chmod),
                keep_special_bits=from_image,
                unpack=isinstance(one, kinds.Add) and one.unpack is not False,
            )
            with self.store.layers.lease():
                layer = await asyncio.to_thread(self._copy_layer, plan, chown, root)
                await self._keep(key, created_by, layer)

    async def _origin(self, from_stage: str) -> AbstractContextManager[int]:
        """Where sources are: the context, or the files of an image."""
        if not from_stage:
            return self.context.root()
        image = await self.find_source(from_stage)
        return snapshots.image_root(self.store, image.layers if image else ())

    def _copy_layer(self, plan: copy.CopyPlan, chown: str, source_root: int) -> Layer | None:
        def write(root: int) -> None:
            owned = plan
            if chown:
                owner = find_owner(root, chown)
                owned = replace(plan, owner=owner, archive_owner=owner)
            copy.perform(owned, source_root, root)

        return snapshots.make_layer(self.store, self.state.layers, write)

    def _content(self, heredoc: Heredoc) -> bytes:
        if not heredoc.expand:
            return heredoc.content.encode()
        scope = self.state.scope
        try:
            text = expand_dollars(heredoc.content, scope.values, escape=scope.escape)
        except ExpandError as error:
            raise InvalidRequest(f'failed to process "<<{heredoc.name}": {error}') from None
        return text.encode()

    # The cache, and images

    async def _from_cache(self, key: Key) -> bool:
        record = self.cache.find(key) if self.state.probing else None
        image = self.store.images.get(record.image_id) if record else None
        if image is None:
            self.state = replace(self.state, probing=False)
            return False
        await self.cache.used(key)
        self.state = replace(adopt(self.state, image), key=key.value)
        self.tell(progress.CacheUsed())
        return True

    async def _keep(self, key: Key, created_by: str, layer: Layer | None) -> None:
        """Write the state after a step as an image, and remember it."""
        config = document(self.state, layer=layer, created_by=created_by, now_ns=self.now_ns())
        layers = (*self.state.layers, layer) if layer else self.state.layers
        image = await self.store.images.put(render(config), layers, parent=self.state.image_id)
        await self.cache.add(
            key,
            image_id=image.id,
            parent=self.state.key,
            created_by=created_by,
            size=layer.size if layer else 0,
        )
        self.state = replace(adopt(self.state, image), key=key.value)

    def _removed(self, step_id: str) -> None:
        if self.request.remove or self.request.force_remove:
            self.tell(progress.Removed(step_id))


def _look(
    place: sources.Place, wanted: list[str], keyword: str, files: dict[str, bytes]
) -> tuple[list[sources.Found], str]:
    """Find all sources, and the text that stands for their content in the history."""
    found = [one for text in wanted for one in sources.find(place, text, keyword)]
    hashes = [
        ("dir:" if one.is_directory else "file:") + sources.digest(place, one) for one in found
    ]
    hashes += [
        "file:" + hashlib.sha256(os.fsencode(name) + b"\0" + content).hexdigest()
        for name, content in files.items()
    ]
    if len(hashes) == 1:
        return found, hashes[0]
    return found, "multi:" + hashlib.sha256(",".join(hashes).encode()).hexdigest()


def _script(command: kinds.Command, with_shell: tuple[str, ...]) -> tuple[str, ...] | None:
    """What a RUN with here-documents runs; None when it has none.

    A here-document alone is the script itself, executed as a file when it names its interpreter.
    Otherwise the shell reads the documents, as it would in a file.
    """
    if not command.heredocs:
        return None
    text = command.words[0] if command.words else ""
    only = command.heredocs[0]
    if len(command.heredocs) == 1 and text.lstrip("<-").strip("'\"") == only.name:
        if only.content.startswith("#!"):
            return (mounting.script_path(only.name),)
        return (*with_shell, only.content)
    documents = "".join(f"{one.content}{one.name}\n" for one in command.heredocs)
    return (*with_shell, f"{text}\n{documents}")


def _refuse_flags(**given: object) -> None:
    for name, value in given.items():
        if value:
            raise Unsupported(
                f"the --{name} option requires BuildKit. Refer to "
                "https://docs.docker.com/go/buildkit/ to learn how to build images with "
                "BuildKit enabled",
                hint=f"Leave --{name} out.",
            )


def _is_remote(text: str) -> bool:
    return text.startswith(("http://", "https://", "git@", "git://", "ssh://"))
