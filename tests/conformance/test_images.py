"""Images, through every client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_pull_list_inspect_history(client: Any, image: str) -> None:
    client.pull(image)
    assert image in client.images()
    found = client.inspect_image(image)
    assert found["Id"].startswith("sha256:")
    assert image in found["RepoTags"]
    assert found["Os"] == "linux"
    assert client.history(image) >= 1


def test_a_missing_image(client: Any, refused: Any, starter: str) -> None:
    with pytest.raises(refused, match=r"(?i)no such image"):
        client.inspect_image("conformance/missing:1")
    with pytest.raises(refused, match=r"(?i)manifest .*unknown|not found"):
        client.pull(starter.replace(":latest", ":missing"))


def test_tag_and_untag(client: Any, image: str) -> None:
    new = image.replace("starter:latest", "renamed:1.0")
    client.tag(image, new)
    assert new in client.images()
    assert client.inspect_image(new)["Id"] == client.inspect_image(image)["Id"]
    client.remove_image(new)
    assert new not in client.images()
    assert image in client.images()


def test_save_and_load(client: Any, image: str, tmp_path: Path) -> None:
    before = client.inspect_image(image)["Id"]
    copy = image.replace("starter:latest", "copied:1")
    client.tag(image, copy)
    client.save_and_load(copy, tmp_path / "image.tar")
    assert client.inspect_image(copy)["Id"] == before
    client.remove_image(copy)
