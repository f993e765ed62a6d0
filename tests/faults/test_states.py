"""Clients that start, stop, pause and remove at once: every answer fits some order of events.

The model is a set: what each container may be now. A move is asked for by several clients at once;
the host must answer each as Docker would in some order, and end where one of the orders ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.faults.engines import Stocked, docker

MOVES = ("start", "stop", "kill", "pause", "unpause", "restart", "remove", "remove by force")
GONE = "gone"


def after(state: str, move: str) -> tuple[str, int]:  # noqa: PLR0911 - a table
    """Docker's table: what a container becomes by a move, and the status of the answer."""
    if state == GONE:
        return GONE, 404
    running, paused = state == "running", state == "paused"
    match move:
        case "start":
            return ("paused", 409) if paused else ("running", 304 if running else 204)
        case "stop":
            return ("exited", 204) if running or paused else (state, 304)
        case "kill":
            return ("exited", 204) if running or paused else (state, 409)
        case "pause":
            return ("paused", 204) if running else (state, 409)
        case "unpause":
            return ("running", 204) if paused else (state, 500)
        case "restart":
            return "running", 204
        case "remove":
            return (state, 409) if running or paused else (GONE, 204)
        case _:
            return GONE, 204


def outcomes(state: str, moves: tuple[str, ...]) -> set[tuple[str, tuple[int, ...]]]:
    """Every end that these moves can have, in any order, with the answers each client gets."""
    found = set()
    for order in permutations(range(len(moves))):
        now, answers = state, [0] * len(moves)
        for index in order:
            now, answers[index] = after(now, moves[index])
        found.add((now, tuple(answers)))
    return found


class Host(RuleBasedStateMachine):
    """One container and the clients that push it around."""

    stocked: Stocked
    pool: ThreadPoolExecutor

    @initialize()
    def create(self) -> None:
        self.id = self.stocked.client.containers.create(self.stocked.image, ["sleep", "1000"]).id
        self.state = "created"

    @rule(moves=st.lists(st.sampled_from(MOVES), min_size=1, max_size=3))
    def push(self, moves: list[str]) -> None:
        answers = tuple(self.pool.map(self._answer, moves))
        may = outcomes(self.state, tuple(moves))
        found = self._look()
        # A removal under way, or an end, refuses others in words of its own, with the same status.
        assert any(end == found and all(map(alike, given, answers)) for end, given in may), (
            f"{self.state} {moves} -> {found} {answers}, not one of {sorted(may)}"
        )
        self.state = found

    @precondition(lambda self: self.state == GONE)
    @rule()
    def again(self) -> None:
        self.create()

    def teardown(self) -> None:
        if getattr(self, "state", GONE) != GONE:
            assert self._answer("remove by force") == 204

    def _answer(self, move: str) -> int:
        api = self.stocked.api
        path, query = {
            "remove": ("", "?v=1"),
            "remove by force": ("", "?force=1"),
            "stop": ("/stop", "?t=0"),
            "restart": ("/restart", "?t=0"),
        }.get(move, (f"/{move}", ""))
        url = f"{api.base_url}/v1.47/containers/{self.id}{path}{query}"
        answer = (api.delete if move.startswith("remove") else api.post)(url, timeout=30)
        assert not answer.content or answer.json()["message"]
        return int(answer.status_code)

    def _look(self) -> str:
        try:
            return str(self.stocked.state(self.id)["Status"])
        except docker.errors.NotFound:
            return GONE


def alike(wanted: int, given: int) -> bool:
    """Whether an answer is the one of an order, or says that another client was in the way."""
    return wanted == given or (given == 409 and wanted in {204, 304, 404, 500})


@pytest.fixture
def host(stocked: Stocked) -> Iterator[type[Host]]:
    with ThreadPoolExecutor(3) as pool:
        yield type("HostUnderTest", (Host,), {"stocked": stocked, "pool": pool})


def test_moves_in_parallel(host: Any, soak: bool) -> None:
    machine = host.TestCase
    machine.settings = settings(
        max_examples=300 if soak else 3,
        stateful_step_count=50 if soak else 10,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()
