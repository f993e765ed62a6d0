"""What an engine has once its nouns are there.

Knows:   what `serve` needs of them.
Refuses: to know which nouns there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.container import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class Furnished:
    """The nouns, put together.

    Attributes:
        containers: all of them, to be counted.
        clean: ends containers and removes what is ours in the kernel.
        rest: brings up what takes longest to import, and gives its routes.
    """

    routes: list[Route]
    containers: Callable[[], Iterable[Container]]
    clean: Callable[[], Awaitable[None]]
    rest: Callable[[], Awaitable[list[Route]]]
