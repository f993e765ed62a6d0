"""Which containers a list or a prune is about.

Knows:   every filter of `docker ps` and of `docker container prune`.
Refuses: to draw or to remove.
Source:  moby daemon/list.go, daemon/prune.go; API v1.50 ContainerList.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.seen import Seen
from dockerlab.errors import DockerlabError, InvalidRequest
from dockerlab.wire.filters import Filters
from dockerlab.wire.ports import exposed_range
from dockerlab.wire.times import parse_moment

_LIST_KEYS = frozenset(
    {
        *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation"),
        *("label", "name", "network", "publish", "since", "status", "volume"),
    }
)
_PRUNE_KEYS = frozenset({"until", "label", "label!"})
_AT_REST = frozenset({Status.CREATED, Status.EXITED, Status.DEAD})


class Selection:
    """Chooses containers by filters."""

    def __init__(
        self,
        find: Callable[[str], Container],
        ancestors: Callable[[str], set[str]],
        seen: Callable[[Container], Seen],
    ) -> None:
        self._find, self._ancestors, self._seen = find, ancestors, seen

    def listed(
        self, everything: Iterable[Container], filters: Filters, *, every: bool, limit: int
    ) -> Sequence[Container]:
        """Choose what `GET /containers/json` shows; `everything` is newest first.

        Raises:
            InvalidRequest: a filter Docker does not have. NotFound: before, since: no such one.
        """
        filters.check(_LIST_KEYS)
        self._check(filters)
        any_state = every or any(key in filters for key in ("status", "exited", "before", "since"))
        ancestors = self._images(filters)
        bounds = self._bounds(filters)
        chosen = [
            one
            for one in everything
            if (any_state or one.state.status.running)
            and bounds[0] < one.created_ns < bounds[1]
            and (ancestors is None or one.image_id in ancestors)
            and self._matches(one, filters)
        ]
        return chosen[:limit] if limit > 0 else chosen

    @staticmethod
    def prunable(everything: Iterable[Container], filters: Filters) -> list[Container]:
        """Choose what `POST /containers/prune` removes."""
        filters.check(_PRUNE_KEYS)
        until = filters.one("until")
        until_ns = parse_moment(until, time.time_ns()) if until else 0
        return [
            one
            for one in everything
            if one.state.status in _AT_REST
            and (not until_ns or one.created_ns < until_ns)
            and filters.labels(one.labels)
            and filters.labels(one.labels, "label!")
        ]

    def _matches(self, one: Container, filters: Filters) -> bool:
        state = one.state
        return (
            filters.pattern("name", one.name, f"/{one.name}")
            and filters.pattern("id", one.id)
            and filters.exact("status", state.status.value)
            and not filters.flag("is-task")
            and ("exited" not in filters or self._exited(one, filters))
            and filters.labels(one.labels)
            and filters.exact("isolation", one.host.isolation)
            and self._reachable(one, filters)
            and ("health" not in filters or filters.exact("health", self._health(one)))
            and filters.exact(
                "volume",
                *(point.name or point.source for point in one.mounts),
                *(point.destination for point in one.mounts),
            )
        )

    @staticmethod
    def _exited(one: Container, filters: Filters) -> bool:
        codes = {int(code) for code in filters.get("exited")}
        ended = one.state.finished_ns > 0 and not one.state.status.running
        return ended and one.state.exit_code in codes

    def _health(self, one: Container) -> str:
        health = self._seen(one).health
        return health["Status"] if health else "none"

    def _reachable(self, one: Container, filters: Filters) -> bool:
        if not any(key in filters for key in ("network", "publish", "expose")):
            return True
        seen = self._seen(one)
        networks = [*seen.endpoints, *(place.network_id for place in seen.endpoints.values())]
        published = [
            f"{binding.host_port}/{port.partition('/')[2]}"
            for port, bindings in seen.ports.items()
            for binding in bindings or ()
        ]
        exposed = [*seen.ports, *one.config.exposed_ports]
        return (
            filters.prefix("network", *networks)
            and ("publish" not in filters or _any_port(filters.get("publish"), published))
            and ("expose" not in filters or _any_port(filters.get("expose"), exposed))
        )

    def _images(self, filters: Filters) -> set[str] | None:
        if "ancestor" not in filters:
            return None
        found: set[str] = set()
        for name in filters.get("ancestor"):
            try:
                found |= self._ancestors(name)
            except DockerlabError:
                continue
        return found

    def _bounds(self, filters: Filters) -> tuple[int, int]:
        after = self._find(filters.one("since")).created_ns if "since" in filters else -1
        before = self._find(filters.one("before")).created_ns if "before" in filters else 2**63
        return after, before

    @staticmethod
    def _check(filters: Filters) -> None:
        for status in filters.get("status"):
            if status not in list(Status):
                raise InvalidRequest(
                    f"invalid filter 'status={status}': invalid value for state ({status}): must "
                    f"be one of {', '.join(Status)}"
                )
        for code in filters.get("exited"):
            if not code.lstrip("-").isdigit():
                raise InvalidRequest(f'strconv.Atoi: parsing "{code}": invalid syntax')
        for health in filters.get("health"):
            if health not in {"none", "starting", "healthy", "unhealthy"}:
                raise InvalidRequest(
                    f"Unrecognised filter value for health: {health}",
                    hint="none, starting, healthy or unhealthy.",
                )
        filters.flag("is-task")
        for key in ("publish", "expose"):
            for port in filters.get(key):
                try:
                    exposed_range(port)
                except InvalidRequest as error:
                    raise InvalidRequest(
                        f"error while looking up for {key} {port}: {error.message}", hint=error.hint
                    ) from None


def _any_port(wanted: Iterable[str], have: Iterable[str]) -> bool:
    ports = [exposed_range(port) for port in have]
    return any(
        protocol == kind and first <= port <= last
        for first, last, protocol in map(exposed_range, wanted)
        for port, _, kind in ports
    )
