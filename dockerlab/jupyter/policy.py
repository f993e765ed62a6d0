"""What the browser may do to the host through the bridge.

Knows:   the verbs of the panel, each with the call it makes.
Refuses: everything else: the bridge is no open door to the whole Docker API, so nobody gets a
         privileged container or a mount of the server's disk through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dockerlab.errors import Forbidden

CONTAINER_VERBS: Mapping[str, Callable[[Any, str], Any]] = {
    "start": lambda api, name: api.start(name),
    "stop": lambda api, name: api.stop(name),
    "restart": lambda api, name: api.restart(name),
    "pause": lambda api, name: api.pause(name),
    "unpause": lambda api, name: api.unpause(name),
    "remove": lambda api, name: api.remove_container(name, force=True),
}
IMAGE_VERBS: Mapping[str, Callable[[Any, str], Any]] = {
    "remove": lambda api, name: api.remove_image(name),
}
NOUNS = {"containers": CONTAINER_VERBS, "images": IMAGE_VERBS}


def permitted(noun: str, verb: str) -> Callable[[Any, str], Any]:
    """Get the call behind a verb of the panel.

    Raises:
        Forbidden: the panel has no such verb.
    """
    call = NOUNS.get(noun, {}).get(verb)
    if call is None:
        raise Forbidden(
            f"the panel may not {verb} {noun}", hint="Use a notebook cell: %docker --help"
        )
    return call
