"""The life of a container as one table: which move leads from which status to which.

Knows:   Docker's seven statuses, the moves between them, the words Docker refuses a move with.
Refuses: to do anything; `services/` asks here first and acts afterwards.
Source:  moby daemon/container/state.go; texts of daemon/{start,pause,delete,kill}.go.
"""

from __future__ import annotations

from enum import StrEnum

from dockerlab.errors import AlreadyDone, Conflict, DockerlabError, Failed


class Status(StrEnum):
    """What a container is, in the words of `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"

    @property
    def running(self) -> bool:
        """Whether Docker shows `State.Running` as true: paused and restarting count."""
        return self in {Status.RUNNING, Status.PAUSED, Status.RESTARTING}


class Move(StrEnum):
    """What can happen to a container."""

    START = "start"
    EXIT = "exit"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    AWAIT_RESTART = "await restart"
    REMOVE = "remove"
    FAIL_REMOVAL = "fail removal"


_TABLE: dict[Move, dict[Status, Status]] = {
    Move.START: {
        Status.CREATED: Status.RUNNING,
        Status.EXITED: Status.RUNNING,
        Status.RESTARTING: Status.RUNNING,
    },
    Move.EXIT: {
        Status.RUNNING: Status.EXITED,
        Status.PAUSED: Status.EXITED,
        Status.RESTARTING: Status.EXITED,
    },
    Move.PAUSE: {Status.RUNNING: Status.PAUSED},
    Move.UNPAUSE: {Status.PAUSED: Status.RUNNING},
    Move.AWAIT_RESTART: {
        Status.RUNNING: Status.RESTARTING,
        Status.PAUSED: Status.RESTARTING,
        Status.RESTARTING: Status.RESTARTING,
    },
    Move.REMOVE: {
        Status.CREATED: Status.REMOVING,
        Status.EXITED: Status.REMOVING,
        Status.DEAD: Status.REMOVING,
    },
    Move.FAIL_REMOVAL: {Status.REMOVING: Status.DEAD},
}


def after(status: Status, move: Move, *, name: str, container_id: str) -> Status:
    """Say what a container becomes by a move.

    Raises:
        AlreadyDone: it is there already (a start of a running container).
        Conflict, Failed: the move is not allowed now, in Docker's words.
    """
    try:
        return _TABLE[move][status]
    except KeyError:
        raise _refusal(status, move, name, container_id) from None


def _refusal(  # noqa: PLR0911 - a table of texts
    status: Status, move: Move, name: str, container_id: str
) -> DockerlabError:
    match move, status:
        case Move.START, Status.RUNNING:
            return AlreadyDone(f"container {name} is already running")
        case Move.START, Status.PAUSED:
            return Conflict(
                "cannot start a paused container, try unpause instead",
                hint=f"docker unpause {name}",
            )
        case Move.START, _:
            return Conflict(
                "container is marked for removal and cannot be started",
                hint="Create a new one: docker run ...",
            )
        case Move.PAUSE, Status.PAUSED:
            return Conflict(
                f"container {container_id} is already paused", hint=f"docker unpause {name}"
            )
        case Move.PAUSE, Status.RESTARTING:
            return Conflict(
                f"container {container_id} is restarting, wait until the container is running"
            )
        case Move.PAUSE, _:
            return not_running(container_id)
        case Move.UNPAUSE, _:
            return Failed(f"Container {container_id} is not paused")
        case Move.REMOVE, Status.PAUSED:
            return Conflict(
                f'cannot remove container "{name}": container is paused and must be unpaused first',
                hint=f"docker unpause {name}, or docker rm -f {name}",
            )
        case Move.REMOVE, Status.REMOVING:
            return Conflict(f"removal of container {name} is already in progress")
        case Move.REMOVE, _:
            return Conflict(
                f'cannot remove container "{name}": container is running: '
                "stop the container before removing or force remove",
                hint=f"docker rm -f {name}",
            )
        case _:
            return Failed(f"container {name} is {status}: cannot {move}")


def not_running(container_id: str) -> Conflict:
    """The refusal of everything that needs a running container."""
    return Conflict(f"container {container_id} is not running", hint="docker start it first.")
