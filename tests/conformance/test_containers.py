"""Containers, through every client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def sleeper(client: Any, image: str, name: str) -> Iterator[str]:
    """A container that runs until it is told to end."""
    client.create(image, ["sleep", "1000"], name)
    client.start(name)
    yield name
    client.remove(name, force=True)


def test_run(client: Any, image: str) -> None:
    assert client.run(image, ["echo", "hello"]) == (0, "hello\n")


def test_run_has_its_own_hostname_and_first_process(client: Any, image: str) -> None:
    code, output = client.run(image, ["sh", "-c", "echo $$"])
    assert (code, output) == (0, "1\n")


def test_exit_codes(client: Any, image: str) -> None:
    assert client.run(image, ["sh", "-c", "exit 7"])[0] == 7


def test_stdin(client: Any, image: str) -> None:
    assert client.run(image, ["cat"], stdin="to and fro\n") == (0, "to and fro\n")


def test_a_missing_program(client: Any, image: str, name: str, refused: Any) -> None:
    client.create(image, ["/no/such/program"], name)
    try:
        with pytest.raises(refused, match="no such file or directory"):
            client.start(name)
        state = client.inspect(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("created", 127)
    finally:
        client.remove(name)


def test_life(client: Any, image: str, name: str) -> None:
    identity = client.create(image, ["sh", "-c", "echo out; echo err >&2; exit 3"], name)
    assert client.inspect(name)["Id"] == identity
    assert client.inspect(name)["State"]["Status"] == "created"
    client.start(name)
    assert client.wait(name) == 3
    found = client.inspect(name)
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 3)
    assert "out\n" in client.logs(name)
    assert name in client.names()
    client.remove(name)
    assert name not in client.names()


def test_a_name_is_taken(client: Any, image: str, sleeper: str, refused: Any) -> None:
    with pytest.raises(refused, match=r"Conflict\. The container name .* is already in use"):
        client.create(image, ["true"], sleeper)


def test_exec(client: Any, sleeper: str) -> None:
    assert client.exec(sleeper, ["echo", "inside"]) == (0, "inside\n")
    assert client.exec(sleeper, ["sh", "-c", "exit 4"])[0] == 4


def test_stop(client: Any, sleeper: str) -> None:
    assert client.inspect(sleeper)["State"]["Running"] is True
    client.stop(sleeper)
    state = client.inspect(sleeper)["State"]
    assert state["Running"] is False
    assert state["ExitCode"] in {137, 143}


def test_a_running_one_is_not_removed(client: Any, sleeper: str, refused: Any) -> None:
    with pytest.raises(refused, match="container is running: stop the container before removing"):
        client.remove(sleeper)


def test_a_missing_one(client: Any, refused: Any) -> None:
    with pytest.raises(refused, match="No such container"):
        client.inspect("conformance-missing")
