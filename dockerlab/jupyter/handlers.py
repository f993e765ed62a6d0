"""The bridge's routes: the host, its containers and images, their verbs, its events.

Knows:   how a request of the browser becomes one call of the Docker host, in a worker thread.
Refuses: to answer who is not logged in to this Jupyter Server, or whom its Authorizer refuses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from dockerlab.commands import hosts
from dockerlab.commands.failures import translated
from dockerlab.errors import DockerlabError
from dockerlab.jupyter.events import EventFeed
from dockerlab.jupyter.policy import permitted
from dockerlab.wire.status import status_of

_QUIET_S = 20


@cache
def _host() -> hosts.Host:
    """One host for all browsers of this server; connected at the first request."""
    return hosts.Host(hosts.choose())


@cache
def _feed() -> EventFeed:
    return EventFeed(_host())


class BridgeHandler(APIHandler):
    """Base: asks the host in a thread and tells failures in JSON."""

    auth_resource = "dockerlab"  # what a server's Authorizer knows the bridge as

    async def ask(self, call: Callable[[Any], Any]) -> Any:
        """Run `call` with docker-py's client, away from the server's loop."""

        def work() -> Any:
            host = _host()
            with translated(host.url):
                return call(host.api)

        try:
            return await asyncio.to_thread(work)
        except DockerlabError as error:
            self.set_status(status_of(error))
            self.finish({"message": error.message, "hint": error.hint})
            raise web.Finish from error


class HostHandler(BridgeHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer which host this is, and why that one."""
        version = await self.ask(lambda api: api.version())
        host = _host()
        components = version.get("Components") or [{}]
        self.finish(
            {
                "address": host.url,
                "why": host.choice.why,
                "name": (version.get("Platform") or {}).get("Name") or components[0].get("Name"),
                "version": version.get("Version", ""),
                "api": version.get("ApiVersion", ""),
            }
        )


class ContainersHandler(BridgeHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer all containers, as the Docker API lists them."""
        self.finish(json.dumps(await self.ask(lambda api: api.containers(all=True))))


class ImagesHandler(BridgeHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer all images, as the Docker API lists them."""
        self.finish(json.dumps(await self.ask(lambda api: api.images())))


class VerbHandler(BridgeHandler):
    @web.authenticated
    @authorized
    async def post(self, noun: str, name: str, verb: str) -> None:
        """Do one of the panel's verbs."""
        await self.ask(lambda api: permitted(noun, verb)(api, name))
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()


class EventsHandler(BridgeHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Stream one line of JSON for each event of the host, and an empty one when it is quiet."""
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("Cache-Control", "no-cache")
        with _feed().subscribed() as queue:
            await self.flush()
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), _QUIET_S)
                except TimeoutError:
                    event = None
                try:
                    self.write(json.dumps(event) + "\n" if event else "\n")
                    await self.flush()
                except StreamClosedError:
                    return


def routes(base_url: str) -> list[tuple[str, type[BridgeHandler]]]:
    """List the routes below a server's base URL."""
    name = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.:-]*)"
    table: dict[str, type[BridgeHandler]] = {
        "host": HostHandler,
        "containers": ContainersHandler,
        "images": ImagesHandler,
        "events": EventsHandler,
        rf"(?P<noun>containers|images)/{name}/(?P<verb>[a-z]+)": VerbHandler,
    }
    return [(url_path_join(base_url, "dockerlab", path), kind) for path, kind in table.items()]
