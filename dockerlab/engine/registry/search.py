"""Finding repositories by a word: Docker Hub's index, or any registry's own catalog.

Knows:   the old search of the Hub, and that other registries only list what they have.
Refuses: to rank; what comes first is the registry's choice, or the alphabet's.
Source:  moby registry/search.go; OCI distribution-spec, catalog.
"""

from __future__ import annotations

from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from dockerlab.engine.registry.auth import ANONYMOUS, Credentials
from dockerlab.engine.registry.transport import HUB, Registry, Rules
from dockerlab.errors import Failed

T = TypeVar("T")

_HUB_INDEX: Final = "index.docker.io"


class Found(msgspec.Struct, frozen=True):
    """One repository, with the fields of Docker's search."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct):
    results: list[Found] = []


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


def search(
    term: str, limit: int, credentials: Credentials = ANONYMOUS, rules: Rules | None = None
) -> list[Found]:
    """Find repositories; `localhost:5000/word` asks that registry instead of the Hub.

    Raises:
        Failed: nobody answers, or not with a list.
    """
    host, slash, word = term.partition("/")
    elsewhere = bool(slash) and (host == "localhost" or "." in host or ":" in host)
    if not elsewhere or host == HUB:
        path = f"/v1/search?q={quote(word if elsewhere else term)}&n={limit}"
        return _ask(Registry(_HUB_INDEX, credentials, rules), path, _Results).results[:limit]
    path = "/v2/_catalog?n=1000"
    names = _ask(Registry(host, credentials, rules), path, _Catalog).repositories or []
    return [Found(f"{host}/{name}") for name in names if word in name][:limit]


def _ask(registry: Registry, path: str, kind: type[T]) -> T:
    try:
        answer = registry.document(path, scopes=("registry:catalog:*",))
        if answer.status != 200:
            raise Failed(answer.text)
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise Failed(f"{registry.domain} does not answer with a list") from error
    finally:
        registry.close()
