"""Find containers: by id, by name, by the start of an id; and keep names unique.

Knows:   every row, which name belongs to which id, the grip on each (`Live`).
Refuses: to change what a container does.
Source:  moby daemon/container.go (GetContainer), daemon/names.go.
"""

from __future__ import annotations

from dockerlab.engine.model.container import Container
from dockerlab.engine.services import names
from dockerlab.engine.services.live import Live
from dockerlab.engine.store.records import Table
from dockerlab.errors import Conflict, InvalidRequest, NotFound

_ATTEMPTS = 6


class Directory:
    """All containers of this engine."""

    def __init__(self, table: Table[Container]) -> None:
        self._table = table
        self._live: dict[str, Live] = {}
        self._ids = {one.name: one.id for one in table.values()}

    def all(self) -> list[Container]:
        """List every container, newest first."""
        return sorted(self._table.values(), key=lambda one: one.created_ns, reverse=True)

    def find(self, name: str) -> Container:
        """Find one by full id, by name with or without a slash, or by a unique start of its id.

        Raises:
            NotFound: there is none. InvalidRequest: several ids start so, or the name is empty.
        """
        bare = name.removeprefix("/")
        if not bare:
            raise InvalidRequest(f'invalid name or ID supplied: "{name}"')
        exact = self._table.get(bare) or self._table.get(self._ids.get(bare, ""))
        if exact is not None:
            return exact
        matches = [one for one in self._table.values() if one.id.startswith(bare)]
        if len(matches) > 1:
            raise InvalidRequest(
                f"multiple IDs found with provided prefix: {bare}", hint="Give more digits."
            )
        if not matches:
            raise NotFound(f"No such container: {name}", hint="docker ps -a lists all there are.")
        return matches[0]

    def get(self, container_id: str) -> Container:
        """Get the present row of a container that was found before.

        Raises:
            NotFound: it has been removed meanwhile.
        """
        row = self._table.get(container_id)
        if row is None:
            raise NotFound(f"No such container: {container_id}")
        return row

    def live(self, container_id: str) -> Live:
        """Get the engine's grip on a container."""
        return self._live.setdefault(container_id, Live())

    def reserve(self, name: str, container_id: str) -> str:
        """Take a name for a container, a generated one where none is given.

        Raises:
            Conflict: somebody has it. InvalidRequest: it can't be a name.
        """
        if name:
            wanted = names.checked(name)
            owner = self._ids.setdefault(wanted, container_id)
            if owner != container_id:
                raise Conflict(
                    f'Conflict. The container name "/{wanted}" is already in use by container '
                    f'"{owner}". You have to remove (or rename) that container to be able to '
                    "reuse that name.",
                    hint=f"docker rm -f {wanted}, or choose another name.",
                )
            return wanted
        for attempt in range(_ATTEMPTS):
            made_up = names.generated(attempt)
            if self._ids.setdefault(made_up, container_id) == container_id:
                return made_up
        return self.reserve(container_id[:12], container_id)

    def release(self, name: str) -> None:
        """Free a name."""
        self._ids.pop(name, None)

    def forget(self, container: Container) -> None:
        """Drop what memory holds of a removed container."""
        self.release(container.name)
        self._live.pop(container.id, None)
