"""What a commit was asked to make of a container.

Knows:   the wishes of one request.
Refuses: HTTP, and to fulfil them; `services/commits.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dockerlab.wire.documents import ContainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWish:
    """What was asked for.

    Attributes:
        repository, tag: the image's name; "" for none.
        pause: nothing in the container runs while its files are read.
        changes: Dockerfile lines.
        config: takes the place of the container's own where it says something.
    """

    repository: str = ""
    tag: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: ContainerConfig | None = None
