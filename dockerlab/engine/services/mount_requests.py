"""Decide which mounts a create request means: binds, Mounts, image volumes become one list.

Knows:   Docker's three ways to ask, which one wins, its refusals.
Refuses: the disk and the rows; `volumes.py` makes what is named here.
Source:  moby daemon/volumes.go, daemon/volume/mounts/{linux_parser,validate}.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dockerlab.engine.model.volume import MountPoint
from dockerlab.errors import InvalidRequest, Unsupported
from dockerlab.wire.binds import parse_bind
from dockerlab.wire.documents import HostConfig, MountDocument

# What Docker writes for a local volume without a mode, with or without SELinux.
_SHARED_LABEL = "z"
_LOCAL = frozenset({"", "local"})
_PROPAGATIONS = {"", "private", "rprivate", "shared", "rshared", "slave", "rslave"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One mount as asked for.

    Attributes:
        kind: "bind", "volume" or "tmpfs".
        source: host path, name of a volume, or "" for one without a name.
        mode: for tmpfs its options, else what stood behind the last colon.
        make_source: make a missing host directory; otherwise its absence is an error.
        point: the finished mount of another container, for `--volumes-from`.
    """

    kind: str
    target: str
    source: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    copy: bool = True
    make_source: bool = False
    subpath: str = ""
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    point: MountPoint | None = None


def decide(
    host: HostConfig, image_volumes: Iterable[str], inherited: Iterable[tuple[MountPoint, str]]
) -> list[Wish]:
    """List the mounts of a new container.

    Args:
        host: binds, Mounts and tmpfs as asked for.
        image_volumes: paths that become volumes where nothing else is mounted.
        inherited: mount points of other containers, each with its mode ("ro" or "rw").

    Raises:
        InvalidRequest: in Docker's words.
    """
    wanted: dict[str, Wish] = {}
    for point, mode in inherited:
        wanted[point.destination] = _inherited(point, mode)
    own = [_of_bind(text, host.volume_driver) for text in host.binds]
    own += [_of_document(one) for one in host.mounts]
    seen = {posixpath.normpath(target) for target in host.tmpfs}
    for wish in own:
        if wish.target in seen:
            raise InvalidRequest(
                f"Duplicate mount point: {wish.target}", hint="Mount one thing at a path."
            )
        seen.add(wish.target)
        wanted[wish.target] = wish
    for target in image_volumes:
        clean = posixpath.normpath(target)
        if clean not in seen:
            wanted.setdefault(clean, Wish(kind="volume", target=clean, driver=host.volume_driver))
    return list(wanted.values())


def _inherited(point: MountPoint, mode: str) -> Wish:
    return Wish(
        kind=point.type,
        target=point.destination,
        rw=point.rw and "ro" not in mode.split(","),
        copy=False,
        point=point,
    )


def _of_bind(text: str, driver: str) -> Wish:
    bind = parse_bind(text)
    return Wish(
        kind="volume" if bind.is_volume else "bind",
        target=bind.target,
        source=bind.source,
        mode=bind.mode or (_SHARED_LABEL if bind.is_volume and driver in _LOCAL else ""),
        rw=not bind.read_only,
        propagation=bind.propagation,
        copy=not bind.no_copy,
        make_source=True,
        driver=driver if bind.is_volume else "",
    )


def _of_document(document: MountDocument) -> Wish:
    kind = document.type
    target = _target(document)
    match kind:
        case "bind":
            return _of_bind_document(document, target)
        case "volume":
            return _of_volume_document(document, target)
        case "tmpfs":
            if document.source:
                raise _invalid(kind, "field Source must not be specified")
            return Wish(kind=kind, target=target, mode=_tmpfs_mode(document), copy=False)
        case "image" | "npipe" | "cluster":
            raise Unsupported(f"mounts of type {kind} are not supported by this engine")
        case _:
            raise _invalid(kind, "mount type unknown")


def _of_bind_document(document: MountDocument, target: str) -> Wish:
    if not document.source:
        raise _invalid("bind", "field Source must not be empty")
    if document.volume_options is not None:
        raise _invalid("bind", "field VolumeOptions must not be specified")
    if not document.source.startswith("/"):
        raise _invalid(
            "bind", f"invalid mount path: '{document.source}' mount path must be absolute"
        )
    options = document.bind_options
    propagation = options.propagation if options else ""
    if propagation not in _PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    return Wish(
        kind="bind",
        target=target,
        source=posixpath.normpath(document.source),
        rw=not document.read_only,
        propagation=propagation,
        copy=False,
        make_source=bool(options and options.create_mountpoint),
    )


def _of_volume_document(document: MountDocument, target: str) -> Wish:
    if document.bind_options is not None:
        raise _invalid("volume", "field BindOptions must not be specified")
    options = document.volume_options
    driver = options.driver_config if options else None
    subpath = options.subpath if options else ""
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise _invalid("volume", f"subpath must be a relative path within the volume: {subpath}")
    return Wish(
        kind="volume",
        target=target,
        source=document.source,
        mode=_SHARED_LABEL if (driver.name if driver else "") in _LOCAL else "",
        rw=not document.read_only,
        copy=not (options and options.no_copy) and not subpath,
        subpath=subpath,
        driver=driver.name if driver else "",
        options=driver.options if driver else {},
        labels=options.labels if options else {},
    )


def _target(document: MountDocument) -> str:
    if not document.target:
        raise _invalid(document.type, "field Target must not be empty")
    if not document.target.startswith("/"):
        raise _invalid(
            document.type, f"invalid mount path: '{document.target}' mount path must be absolute"
        )
    clean = posixpath.normpath(document.target)
    if clean in {"/", "//"}:
        raise _invalid(document.type, "invalid specification: destination can't be '/'")
    return clean


def _tmpfs_mode(document: MountDocument) -> str:
    words: list[str] = ["ro"] if document.read_only else []
    options = document.tmpfs_options
    if options is not None:
        if options.size_bytes < 0:
            raise _invalid("tmpfs", "field SizeBytes must not be negative")
        words += [f"size={options.size_bytes}"] if options.size_bytes else []
        words += [f"mode={options.mode:o}"] if options.mode else []
        words += ["=".join(pair) for pair in options.options]
    return ",".join(words)


def _invalid(kind: str, why: str) -> InvalidRequest:
    return InvalidRequest(f'invalid mount config for type "{kind}": {why}')


def users(name: str, containers: Iterable[tuple[str, Sequence[MountPoint]]]) -> list[str]:
    """List the ids of the containers that have a volume, running or not."""
    return [
        container_id
        for container_id, points in containers
        if any(point.type == "volume" and point.name == name for point in points)
    ]
