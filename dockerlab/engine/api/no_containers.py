"""The routes of nouns that need a kernel we may not use: lists are empty, all else says why.

Knows:   which lists clients read in passing, and that a refusal should say what would lift it.
Refuses: to pretend; a container that can't run is not created either.
"""

from __future__ import annotations

from dockerlab.engine.api.reply import Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.errors import NotFound, Unavailable

_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")


def routes(why: str) -> list[Route]:
    """List the routes.

    Args:
        why: what keeps containers from running here, in doctor's words.
    """
    handlers = _Handlers(why)
    closed = [
        Route(method, pattern, handlers.refuse)
        for pattern in (
            "/containers/create",
            "/networks/create",
            "/volumes/create",
            "/build",
            "/commit",
        )
        for method in ("POST",)
    ]
    empty = [
        Route("GET", "/containers/json", handlers.empty),
        Route("GET", "/networks", handlers.empty),
        Route("GET", "/volumes", handlers.no_volumes),
    ]
    missing = [
        Route(method, f"/{noun}/{{name}}", handlers.missing)
        for noun in ("containers", "exec", "networks", "volumes")
        for method in _METHODS
    ]
    return [*closed, *empty, *missing]


class _Handlers:
    def __init__(self, why: str) -> None:
        self._why = why

    async def refuse(self, request: Request) -> Reply:
        del request
        raise Unavailable(
            f"containers can't run here: {self._why}",
            hint="Images work: pull, inspect, history, layers. More: dockerlab doctor",
        )

    async def empty(self, request: Request) -> Reply:
        del request
        return Json([])

    async def no_volumes(self, request: Request) -> Reply:
        del request
        return Json({"Volumes": [], "Warnings": None})

    async def missing(self, request: Request) -> Reply:
        name = request.params["name"].partition("/")[0]
        noun = request.path.split("/", 2)[1]
        text = {
            "containers": f"No such container: {name}",
            "exec": f"No such exec instance: {name}",
            "networks": f"network {name} not found",
            "volumes": f"get {name}: no such volume",
        }[noun]
        raise NotFound(text, hint=f"containers can't run here: {self._why}")
