"""The image routes over HTTP, with a real store behind them and our own registry beside."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tornado.netutil import bind_sockets

from dockerlab.engine.api import image_transfers, images
from dockerlab.engine.api.app import App
from dockerlab.engine.model.image import ImageUser
from dockerlab.engine.registry.transport import Rules
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.transfers import Transfers
from dockerlab.engine.store.store import Store
from tests.engine.registry.conftest import Running
from tests.engine.registry.lying import lying
from tests.engine.registry.test_pull import ONE, TWO, Offer, tar_of


class Engine:
    def __init__(self, url: str, store: Store, events: Events) -> None:
        self.url, self.store, self.events = url, store, events
        self.users: dict[str, list[ImageUser]] = {}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=30, **options)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def said(self, path: str, **options: Any) -> list[dict[str, Any]]:
        answer = self.call("POST", path, **options)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.split("\r\n") if line]

    def pull(self, name: str, tag: str = "latest") -> list[dict[str, Any]]:
        return self.said("/images/create", params={"fromImage": name, "tag": tag})

    def actions(self) -> list[str]:
        return [event.action for event in self.events._last]

    def assert_clean(self) -> None:
        root = self.store.root
        assert list((root / "tmp").iterdir()) == []
        assert list((root / "partial").iterdir()) == []


@contextmanager
def engine_at(root: Path) -> Iterator[Engine]:
    store, sockets = Store.open(root), bind_sockets(0, "127.0.0.1")
    loop, told, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    events = Events()
    engine = Engine(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", store, events)

    async def serve() -> None:
        verbs = Images(store, events, lambda image_id: engine.users.get(image_id, []))
        transfers = Transfers(store, verbs, Rules(delay_s=0.01, tries=2))
        app = App([*image_transfers.routes(transfers, verbs), *images.routes(verbs)])
        app.server().add_sockets(sockets)
        ready.set()
        await told.wait()
        await app.close()
        await transfers.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="engine")
    thread.start()
    ready.wait()
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(told.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        store.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_at(tmp_path / "root") as made:
        yield made


def fill(registry: Running, name: str, tag: str, *tars: bytes) -> str:
    """Put an image into our registry, as its own storage has it."""
    offer = Offer()
    offer.image(tag, *tars)
    for data in offer.blobs.values():
        registry.storage.add_blob(name, data)
    media_type, raw = offer.manifests[tag]
    return registry.storage.put_manifest(name, tag, media_type, raw)


def test_a_pull_in_dockers_words(engine: Engine, registry: Running) -> None:
    digest = fill(registry, "lab/app", "1.0", ONE, TWO)
    name = f"{registry.address}/lab/app"
    said = engine.pull(name, "1.0")
    assert said[0] == {"status": "Pulling from lab/app", "id": "1.0"}
    assert said[-2] == {"status": f"Digest: {digest}"}
    assert said[-1] == {"status": f"Status: Downloaded newer image for {name}:1.0"}
    layers = [message for message in said if "progressDetail" in message]
    assert {len(message["id"]) for message in layers} == {12}
    assert [m["status"] for m in layers].count("Pull complete") == 2
    again = engine.pull(name, "1.0")
    assert again[-1] == {"status": f"Status: Image is up to date for {name}:1.0"}
    assert engine.actions() == ["pull", "pull"]

    (one,) = engine.get("/images/json")
    assert one["RepoTags"] == [f"{name}:1.0"]
    assert one["RepoDigests"] == [f"{name}@{digest}"]
    assert (one["SharedSize"], one["Containers"]) == (-1, -1)
    seen = engine.get(f"/images/{name}:1.0/json")
    assert seen["Id"] == one["Id"]
    assert len(seen["RootFS"]["Layers"]) == 2
    assert seen["Config"]["Cmd"] == ["/bin/sh"]
    assert "Hostname" not in seen["Config"]
    assert "Hostname" in engine.get(f"/v1.41/images/{one['Id'][7:19]}/json")["Config"]
    assert "VirtualSize" in engine.get("/v1.41/images/json")[0]
    assert "VirtualSize" not in one
    assert engine.get(f"/images/{name}@{digest}/json")["Id"] == one["Id"]
    assert engine.get(f"/distribution/{name}:1.0/json")["Descriptor"]["digest"] == digest
    assert engine.get("/images/search", term=f"{registry.address}/app")[0]["name"] == name
    engine.assert_clean()


def test_every_tag(engine: Engine, registry: Running) -> None:
    for tag in ("a", "b"):
        fill(registry, "lab/app", tag, ONE, tag.encode() + TWO[1:] if tag == "z" else TWO)
    engine.said("/images/create", params={"fromImage": f"{registry.address}/lab/app"})
    (one,) = engine.get("/images/json")
    assert len(one["RepoTags"]) == 2


@pytest.mark.parametrize(
    ("name", "tag", "status", "text"),
    [
        ("HOST/nothing", "1", 404, "repository HOST/nothing not found: name unknown: "),
        ("HOST/lab/app", "2", 404, "manifest for HOST/lab/app:2 not found: manifest unknown: "),
        ("HOST/lab/App", "1", 400, "invalid reference format: repository name (lab/App) must be"),
        ("a b", "1", 400, "invalid reference format"),
        ("127.0.0.1:1/x", "1", 500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect'),
        ("", "", 400, "invalid reference format"),
    ],
)
def test_errors_before_the_first_message_have_a_status(
    engine: Engine, registry: Running, *, name: str, tag: str, status: int, text: str
) -> None:
    fill(registry, "lab/app", "1", ONE)
    name, text = (part.replace("HOST", registry.address) for part in (name, text))
    answer = engine.call("POST", "/images/create", params={"fromImage": name, "tag": tag})
    assert answer.status_code == status
    assert answer.json()["message"].startswith(text)


def test_later_errors_are_in_band(engine: Engine) -> None:
    offer = Offer()
    offer.image("latest", ONE)
    offer.blobs = {
        name: data if data.startswith(b"{") else data[:-4] + b"wrong"[:4]
        for name, data in offer.blobs.items()
    }
    with lying(offer) as server:
        said = engine.pull(f"{server.address}/a")
    assert said[0]["status"] == "Pulling from a"
    assert said[-1]["error"] == said[-1]["errorDetail"]["message"]
    assert said[-1]["error"].startswith("filesystem layer verification failed for digest")
    assert engine.get("/images/json") == []
    engine.assert_clean()


def test_push_and_back_keeps_the_digest(engine: Engine, registry: Running, tmp_path: Path) -> None:
    digest = fill(registry, "lab/app", "1", ONE, TWO)
    name = f"{registry.address}/lab/app"
    engine.pull(name, "1")
    answer = engine.call(
        "POST",
        f"/images/{name}:1/tag",
        params={"repo": f"{registry.address}/other/app", "tag": "2"},
    )
    assert answer.status_code == 201
    said = engine.said(f"/images/{registry.address}/other/app/push", params={"tag": "2"})
    assert said[0] == {"status": f"The push refers to repository [{registry.address}/other/app]"}
    words = {message["status"] for message in said if message.get("id")}
    assert words >= {"Preparing", "Mounted from lab/app"}
    assert said[-2]["status"].startswith(f"2: digest: {digest} size: ")
    assert said[-1]["aux"]["Digest"] == digest
    assert registry.storage.manifest("other/app", "2")[0] == digest
    again = engine.said(f"/images/{registry.address}/other/app/push", params={"tag": "2"})
    assert "Layer already exists" in {message.get("status") for message in again}
    with engine_at(tmp_path / "second") as second:
        assert second.pull(f"{registry.address}/other/app", "2")[-2]["status"].endswith(digest)
    missing = engine.said(f"/images/{registry.address}/other/app/push", params={"tag": "3"})
    assert missing[-1]["error"] == (
        f"An image does not exist locally with the tag: {registry.address}/other/app"
    )
    rubbish = engine.call("POST", f"/images/{name}/push", headers={"X-Registry-Auth": "%%%"})
    assert rubbish.status_code == 400
    assert rubbish.json()["message"].startswith("bad parameters and missing X-Registry-Auth: ")


def test_an_imported_image_is_pushed_and_pulled(
    engine: Engine, registry: Running, tmp_path: Path
) -> None:
    name = f"{registry.address}/made"
    said = engine.said(
        "/images/create",
        params={
            "fromSrc": "-",
            "repo": name,
            "tag": "1",
            "message": "hello",
            "changes": ['CMD ["/a"]', "ENV A=1"],
        },
        data=tar_of({"a": b"a" * 300_000}),
    )
    image_id = said[-1]["status"]
    engine.said(f"/images/{name}/push", params={"tag": "1"})
    with engine_at(tmp_path / "second") as second:
        second.pull(name, "1")
        seen = second.get(f"/images/{name}:1/json")
        assert seen["Id"] == image_id
        assert (seen["Config"]["Cmd"], seen["Config"]["Env"]) == (["/a"], ["A=1"])
        assert seen["Comment"] == "hello"
        (step,) = second.get(f"/images/{name}:1/history")
        assert step["Comment"] == "hello"
        assert step["Size"] == 300_000


def test_save_and_load(engine: Engine, registry: Running, tmp_path: Path) -> None:
    fill(registry, "lab/app", "1", ONE, TWO)
    name = f"{registry.address}/lab/app:1"
    engine.pull(name.removesuffix(":1"), "1")
    archive = engine.call("GET", "/images/get", params={"names": name})
    assert archive.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        assert {"manifest.json", "index.json", "oci-layout"} <= set(tar.getnames())
    with engine_at(tmp_path / "second") as second:
        said = second.said("/images/load", params={"quiet": "0"}, data=archive.content)
        assert said[-1] == {"stream": f"Loaded image: {name}\n"}
        assert second.get(f"/images/{name}/json")["Id"] == engine.get(f"/images/{name}/json")["Id"]
    bad = engine.call("POST", "/images/load", data=b"no tar")
    assert bad.status_code == 400
    assert engine.call("GET", "/images/absent/get").status_code == 404
    engine.assert_clean()


def test_removal_and_its_conflicts(engine: Engine, registry: Running) -> None:
    fill(registry, "lab/app", "1", ONE)
    name = f"{registry.address}/lab/app"
    engine.pull(name, "1")
    image_id = engine.get("/images/json")[0]["Id"]
    engine.call("POST", f"/images/{name}:1/tag", params={"repo": "elsewhere", "tag": "x"})
    answer = engine.call("DELETE", f"/images/{image_id}")
    assert answer.status_code == 409
    assert "image is referenced in multiple repositories" in answer.json()["message"]
    assert engine.call("DELETE", "/images/elsewhere:x").json() == [{"Untagged": "elsewhere:x"}]
    engine.users[image_id] = [ImageUser(container_id="c" * 64, running=True)]
    answer = engine.call("DELETE", f"/images/{name}:1")
    assert answer.status_code == 409
    assert answer.json()["message"].startswith("conflict: unable to remove repository reference")
    engine.users.clear()
    removed = engine.call("DELETE", f"/images/{name}:1").json()
    assert removed[0] == {"Untagged": f"{name}:1"}
    assert removed[-1] == {"Deleted": image_id}
    assert (
        engine.call("DELETE", f"/images/{name}:1").json()["message"] == f"No such image: {name}:1"
    )
    assert list((engine.store.root / "layers").iterdir()) == []
    assert list((engine.store.root / "blobs/sha256").iterdir()) == []


def test_filters_and_prune(engine: Engine, registry: Running) -> None:
    fill(registry, "lab/app", "1", ONE)
    fill(registry, "lab/db", "1", TWO)
    for name in ("lab/app", "lab/db"):
        engine.pull(f"{registry.address}/{name}", "1")

    def listed(**filters: list[str]) -> list[str]:
        found = engine.get("/images/json", filters=json.dumps(filters))
        return sorted(tag.rpartition("/")[2] for one in found for tag in one["RepoTags"])

    assert listed() == ["app:1", "db:1"]
    assert listed(reference=[f"{registry.address}/lab/a*"]) == ["app:1"]
    assert listed(reference=["lab/a*"]) == []
    assert listed(dangling=["true"]) == []
    bad = engine.call("GET", "/images/json", params={"filters": '{"foo":["x"]}'})
    assert (bad.status_code, bad.json()["message"]) == (400, "invalid filter 'foo'")
    nothing = engine.call("POST", "/images/prune").json()
    assert nothing == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    users = engine.get(f"/images/{registry.address}/lab/db:1/json")["Id"]
    engine.users[users] = [ImageUser(container_id="c" * 64)]
    pruned = engine.call("POST", "/images/prune", params={"filters": '{"dangling":["false"]}'})
    assert pruned.json()["SpaceReclaimed"] > 0
    assert listed() == ["db:1"]


def test_basic_auth_reaches_the_registry(engine: Engine) -> None:
    offer = Offer()
    offer.image("latest", ONE)
    wanted = "Basic " + base64.b64encode(b"lab:secret").decode()

    def answer(seen: Any) -> Any:
        from tests.engine.registry.lying import Says

        if seen.headers.get("Authorization") != wanted:
            return Says(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return offer(seen)

    def header(password: str) -> dict[str, str]:
        document = {"username": "lab", "password": password}
        text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
        return {"X-Registry-Auth": text}

    with lying(answer) as server:
        params = {"fromImage": f"{server.address}/a", "tag": "latest"}
        denied = engine.call("POST", "/images/create", params=params)
        assert denied.status_code == 404
        assert "no basic auth credentials" in denied.json()["message"]
        wrong = engine.call("POST", "/images/create", params=params, headers=header("x"))
        assert wrong.status_code == 404
        assert "pull access denied" in wrong.json()["message"]
        engine.said("/images/create", params=params, headers=header("secret"))
