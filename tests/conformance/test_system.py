"""The host as a whole, through every client."""

from __future__ import annotations

import time
from typing import Any


def test_version(client: Any) -> None:
    found = client.version()
    assert found["Os"] == "linux"
    assert tuple(map(int, found["ApiVersion"].split("."))) >= (1, 24)


def test_info(client: Any) -> None:
    found = client.info()
    assert found["OSType"] == "linux"
    assert found["NCPU"] > 0
    assert found["MemTotal"] > 0
    assert found["Swarm"]["LocalNodeState"] == "inactive"
    assert isinstance(found["Containers"], int)


def test_events_of_a_tag(client: Any, image: str) -> None:
    since = int(time.time()) - 1
    new = image.replace(":latest", ":events")
    client.tag(image, new)
    client.remove_image(new)
    until = int(time.time()) + 1
    found = client.events(since, until, {"type": "image"})
    actions = [event["Action"] for event in found]
    assert "tag" in actions
    assert "untag" in actions
    assert all(event["Type"] == "image" for event in found)
    assert client.events(since, until, {"type": "network", "event": "tag"}) == []
