"""Decide what happens after an exit: which restart policy starts again, and how long it waits.

Knows:   Docker's four policies, the back-off from 100 ms to a minute, who stands back after a stop.
Refuses: to wait or to start; `services/supervision.py` does both.
Source:  moby internal/restartmanager; docs.docker.com, "Start containers automatically".
"""

from __future__ import annotations

from dockerlab.engine.model.container import Container
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import RestartPolicy

FIRST_DELAY_MS = 100
LONGEST_DELAY_MS = 60_000
_STEADY_RUN_NS = 10 * 10**9
_NAMES = ("", "no", "always", "unless-stopped", "on-failure")


def check_policy(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Refuse a policy that Docker would refuse at create and update.

    Raises:
        InvalidRequest: an unknown name, a count where none belongs, or a policy beside `--rm`.
    """
    name, count = policy.name, policy.maximum_retry_count
    if name not in _NAMES:
        raise InvalidRequest(
            f"invalid restart policy: unknown policy '{name}'; use one of "
            "'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if count < 0:
        raise InvalidRequest("invalid restart policy: maximum retry count cannot be negative")
    if count and name != "on-failure":
        raise InvalidRequest(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if auto_remove and name not in {"", "no"}:
        raise InvalidRequest(
            "can't create 'AutoRemove' container with restart policy",
            hint="Choose one of --rm and --restart.",
        )


def wants_restart(container: Container, exit_code: int) -> bool:
    """Whether the policy starts it again after this exit."""
    policy, state = container.host.restart_policy, container.state
    if state.stopped_by_user:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            limit = policy.maximum_retry_count
            return exit_code != 0 and (limit == 0 or state.restart_count < limit)
        case _:
            return False


def wants_start_with_engine(container: Container) -> bool:
    """Whether the policy starts it when the engine itself starts."""
    match container.host.restart_policy.name:
        case "always":
            return container.state.started_ns > 0
        case "unless-stopped":
            return container.state.started_ns > 0 and not container.state.stopped_by_user
        case _:
            return False


def next_delay_ms(last_delay_ms: int, ran_ns: int) -> int:
    """How long to wait: doubled each time, from the start again after ten steady seconds."""
    if last_delay_ms == 0 or ran_ns >= _STEADY_RUN_NS:
        return FIRST_DELAY_MS
    return min(2 * last_delay_ms, LONGEST_DELAY_MS)
