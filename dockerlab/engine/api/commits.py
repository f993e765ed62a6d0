"""The route of `docker commit`.

Knows:   its query, and that a body without a single field says nothing.
Refuses: to make an image.
Source:  API v1.50, ImageCommit; moby daemon/server/router/container/container_routes.go.
"""

from __future__ import annotations

from typing import Protocol

from dockerlab.engine.api.reply import Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.commit_wish import CommitWish
from dockerlab.wire.documents import ContainerConfig


class Commits(Protocol):
    """What this route needs."""

    async def commit(self, name: str, wish: CommitWish) -> str: ...


def routes(commits: Commits) -> list[Route]:
    """List the routes."""

    async def commit(request: Request) -> Reply:
        query = request.query
        config = await request.json(ContainerConfig)
        wish = CommitWish(
            repository=query.text("repo"),
            tag=query.text("tag"),
            comment=query.text("comment"),
            author=query.text("author"),
            pause=not query.text("pause") or query.flag("pause"),
            changes=query.all("changes"),
            config=config if config != ContainerConfig() else None,
        )
        return Json({"Id": await commits.commit(query.text("container"), wish)}, 201)

    return [Route("POST", "/commit", commit)]
