"""Where a container's root file system comes from; a written-down mount, not yet mounted.

Knows:   lower layers by short names (mount options are cut at a page), upper and work directories.
Refuses: to mount; `runtime/init.py` does, inside the container's own mount namespace.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An overlayfs of image layers under one writable directory.

    Attributes:
        layers_dir: absolute path of the layer store; `lowers` are relative to it.
        lowers: for example ("7/fs", "3/fs"), topmost first; empty for `FROM scratch`.
        upper: absolute path that receives every change.
        work: absolute path, empty, on the same file system as `upper`.
        volatile: skip the sync at unmount (throw-away containers and build steps).
    """

    layers_dir: str
    lowers: tuple[str, ...]
    upper: str
    work: str
    volatile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A plain directory as root: snapshots as copies, where overlay is not to be had."""

    path: str


Rootfs = Overlay | Directory


def drawn(rootfs: Rootfs) -> dict[str, str]:
    """The directories of a root, by the names that `GraphDriver.Data` has for them."""
    if isinstance(rootfs, Directory):
        return {"dir": rootfs.path}
    return {
        "LowerDir": ":".join(f"{rootfs.layers_dir}/{lower}" for lower in rootfs.lowers),
        # Where Docker mounts; our overlay is in the container's own mount namespace only.
        "MergedDir": rootfs.upper.removesuffix("upper") + "merged",
        "UpperDir": rootfs.upper,
        "WorkDir": rootfs.work,
    }
