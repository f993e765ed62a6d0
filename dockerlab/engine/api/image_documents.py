"""Images as the API shows them: list items, inspect, history, removals.

Knows:   Docker's field names, and what a request's version changes in them.
Refuses: to look anything up; values come in whole.
Source:  API v1.50, ImageSummary, ImageInspect, HistoryResponseItem; api/docs/CHANGELOG.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dockerlab.engine.model.image import HistoryStep, Removal
from dockerlab.engine.model.listed_image import Listed
from dockerlab.oci.documents import ImageRunConfig
from dockerlab.wire.times import SECOND_NS, ZERO_TIME, rfc3339

_Tree = dict[str, Any]

_ALWAYS: Final[_Tree] = {
    "User": "",
    "Env": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "Labels": None,
}
# Fields of containers that older clients expect of an image, too.
_BEFORE_1_50: Final[_Tree] = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
    "OnBuild": None,
}


def summary(one: Listed, version: tuple[int, int]) -> _Tree:
    """One item of the list."""
    image = one.image
    tags, repo_digests = list(one.tags), list(one.repo_digests)
    if version < (1, 43) and not tags and not repo_digests:
        tags, repo_digests = ["<none>:<none>"], ["<none>@<none>"]
    tree: _Tree = {
        "Containers": one.containers,
        "Created": image.created_ns // SECOND_NS,
        "Id": image.id,
        "Labels": image.document.config.labels or None,
        "ParentId": image.parent,
        "RepoDigests": repo_digests,
        "RepoTags": tags,
        "SharedSize": one.shared_size,
        "Size": image.size,
    }
    if version < (1, 44):
        tree["VirtualSize"] = image.size
    return tree


def inspect(one: Listed, folders: Sequence[str], version: tuple[int, int]) -> _Tree:
    """All that is known of one image."""
    image, document = one.image, one.image.document
    tree: _Tree = {
        "Id": image.id,
        "RepoTags": list(one.tags),
        "RepoDigests": list(one.repo_digests),
        "Parent": image.parent,
        "Comment": _comment(one),
        "DockerVersion": document.docker_version or "",
        "Author": document.author or "",
        "Config": run_config(document.config, version),
        "Architecture": document.architecture,
        "Os": document.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": _folders(folders)},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(image.last_tagged_ns)},
    }
    if image.created_ns:
        tree["Created"] = rfc3339(image.created_ns)
    elif version < (1, 44):
        tree["Created"] = ZERO_TIME
    if document.variant:
        tree["Variant"] = document.variant
    if document.os_version:
        tree["OsVersion"] = document.os_version
    if version < (1, 44):
        tree["VirtualSize"] = image.size
    if version < (1, 45):
        tree["Container"] = ""
        tree["ContainerConfig"] = {**_BEFORE_1_50, **_ALWAYS}
    return tree


def run_config(config: ImageRunConfig, version: tuple[int, int]) -> _Tree:
    """How to run an image; what it does not say is there as null or "", as clients expect."""
    older = _BEFORE_1_50 if version < (1, 50) else {}
    return {**older, **_ALWAYS, **msgspec.to_builtins(config)}


def history(steps: Sequence[HistoryStep]) -> list[_Tree]:
    """The steps that made an image."""
    return [
        {
            "Id": step.image_id,
            "Created": step.created_ns // SECOND_NS,
            "CreatedBy": step.created_by,
            "Tags": list(step.tags) or None,
            "Size": step.size,
            "Comment": step.comment,
        }
        for step in steps
    ]


def removed(removal: Removal) -> list[_Tree]:
    """What a removal did, in order."""
    return [{step.kind.capitalize(): step.name} for step in removal.steps]


def _comment(one: Listed) -> str:
    document = one.image.document
    if document.comment:
        return str(document.comment)
    return document.history[-1].comment if document.history else ""


def _folders(folders: Sequence[str]) -> _Tree | None:
    if not folders:
        return None
    tree: _Tree = {"UpperDir": folders[-1]}
    if len(folders) > 1:
        tree["LowerDir"] = ":".join(reversed(folders[:-1]))
    return tree
