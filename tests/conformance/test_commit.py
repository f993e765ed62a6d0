"""`docker commit`: files, configuration, history, pause and events."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.raw import wait_for_output

docker = pytest.importorskip("docker")


@pytest.fixture(scope="module")
def api(host: str, starter: str) -> Iterator[Any]:
    client = docker.APIClient(base_url=host, timeout=60)
    if starter not in [tag for one in client.images() for tag in one["RepoTags"] or ()]:
        client.pull(starter)
    yield client
    client.close()


@pytest.fixture
def box(api: Any, host: str, starter: str, name: str) -> Iterator[str]:
    """A container that has changed its files and then waits."""
    words = ["sh", "-c", "echo new > /new; rm /etc/group; echo v > /vol/v; echo ok; sleep 60"]
    made = api.create_container(
        starter, words, name=name, environment=["A=1"], labels={"l": "1"}, volumes=["/vol"]
    )
    try:
        api.start(made["Id"])
        wait_for_output(host, made["Id"])
        yield name
    finally:
        api.remove_container(name, force=True, v=True)


@pytest.fixture
def repository(api: Any, name: str) -> Iterator[str]:
    yield f"{name}-image"
    for image in api.images(f"{name}-image"):
        api.remove_image(image["Id"], force=True)


def _output(api: Any, image: str, *words: str) -> str:
    made = api.create_container(image, words)
    try:
        api.start(made["Id"])
        api.wait(made["Id"])
        return api.logs(made["Id"]).decode()
    finally:
        api.remove_container(made["Id"], v=True)


def test_files_are_in_a_layer_of_their_own(api, box, repository, starter):
    made = api.commit(box, repository, "one")
    inspected = api.inspect_image(made["Id"])
    below = api.inspect_image(starter)["RootFS"]["Layers"]
    assert inspected["RootFS"]["Layers"][:-1] == below
    script = "{ cat /new; ls /etc/group /vol/v; ls -d /vol; } 2> /dev/null"
    shown = _output(api, f"{repository}:one", "sh", "-c", script)
    assert shown.split() == ["new", "/vol"]


def test_changes_and_what_the_container_was(api, box, repository):
    lines = ["ENV B=2 C=$A", 'CMD ["a"]', 'ENTRYPOINT ["e"]', "LABEL x=y", "EXPOSE 81"]
    made = api.commit(box, repository, "two", message="why", author="me", changes=lines)
    inspected = api.inspect_image(made["Id"])
    config = inspected["Config"]
    assert [one for one in config["Env"] if one[0] in "ABC"] == ["A=1", "B=2", "C=1"]
    assert (config["Cmd"], config["Entrypoint"]) == (["a"], ["e"])
    assert config["Labels"]["x"] == "y"
    assert config["Labels"]["l"] == "1"
    assert "81/tcp" in config["ExposedPorts"]
    assert "/vol" in config["Volumes"]
    assert (inspected["Comment"], inspected["Author"]) == ("why", "me")
    newest = api.history(made["Id"])[0]
    assert newest["CreatedBy"].startswith("sh -c echo new")
    assert (newest["Comment"], newest["Tags"]) == ("why", [f"{repository}:two"])


def test_nothing_changed_is_no_layer(api, starter, name, repository):
    api.create_container(starter, ["true"], name=name)
    try:
        made = api.commit(name, repository)
    finally:
        api.remove_container(name)
    layers = api.inspect_image(starter)["RootFS"]["Layers"]
    assert api.inspect_image(made["Id"])["RootFS"]["Layers"] == layers
    assert api.history(made["Id"])[0]["Size"] == 0


def test_it_is_paused_meanwhile_and_told(api, box, repository):
    since = time.time()
    api.commit(box, repository)
    api.commit(box, repository, pause=False)
    assert api.inspect_container(box)["State"]["Status"] == "running"
    events = api.events(since=since, until=time.time() + 1, decode=True, filters={"container": box})
    # The image's name begins with the container's, which is all that the filter looks at.
    actions = [event["Action"] for event in events if event["Type"] == "container"]
    assert actions == ["pause", "commit", "unpause", "commit"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"changes": ["RUN x"]}, "run is not a valid change command"),
        ({"changes": ["ENV a"]}, "ENV must have two arguments"),
        ({"repo": "UPPER"}, "must be lowercase"),
        ({"container": "no-such"}, "No such container: no-such"),
    ],
)
def test_refusals_make_nothing(api, box, query, said):
    before = len(api.images(all=True))
    answer = api.post(api._url("/commit"), params={"container": box, **query})
    assert answer.status_code >= 400
    assert said in answer.json()["message"]
    if not os.environ.get("CONFORMANCE_HOST"):
        assert len(api.images(all=True)) == before
