"""The stream as clients read it: the messages of the classic builder, through the real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tornado.netutil import bind_unix_socket

from dockerlab.engine.api import builds as api
from dockerlab.engine.api.app import App
from dockerlab.engine.build.builder import Rooms
from dockerlab.engine.build.run import RunStep
from dockerlab.engine.model.image import Image
from dockerlab.engine.services.builds import Builds
from dockerlab.engine.services.events import Events

from .conftest import Lab, LocalImages, archive

Ask = Callable[..., tuple[int, list[dict[str, object]]]]


def _request(path: Path, target: str, body: bytes, headers: dict[str, str]) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = b""
        while data := client.recv(1 << 16):
            answer += data
    return answer


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return whole


@pytest.fixture
def ask(lab: Lab, base: Image) -> Ask:
    """Send a build to the routes; return the status and the messages."""

    def send(
        dockerfile: str,
        query: str = "",
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, list[dict[str, object]]]:
        if body is None:
            body = archive({"Dockerfile": dockerfile.encode(), "f": b"x"})

        async def serve() -> bytes:
            rooms = Rooms(
                store=lab.store, cache=lab.cache, runner=lab.runner, images=LocalImages(lab.store)
            )
            app = App(api.routes(Builds(rooms, Events(), lambda _: ())))
            path = lab.folder / "s"
            path.unlink(missing_ok=True)
            server = app.server()
            server.add_socket(bind_unix_socket(str(path)))
            try:
                return await asyncio.to_thread(
                    _request, path, f"/v1.41/build?{query}", body, headers or {}
                )
            finally:
                await app.close()

        answer = asyncio.run(serve())
        head, _, content = answer.partition(b"\r\n\r\n")
        if b"chunked" in head:
            content = _unchunked(content)
        return int(head.split()[1]), [json.loads(line) for line in content.splitlines() if line]

    return send


def _text(messages: list[dict[str, object]]) -> str:
    return "".join(str(message.get("stream", "")) for message in messages)


@pytest.mark.usefixtures("shell")
def test_a_build_word_for_word(ask: Ask, lab: Lab) -> None:
    status, messages = ask(
        "FROM base\nENV A=1\nRUN echo out; echo err >&2\n",
        "t=x&t=y:2&labels=%7B%22l%22%3A%22v%22%7D&buildargs=%7B%22N%22%3Anull%7D",
    )
    image = lab.store.images.resolve("x:latest")
    runs = [str(m["stream"])[17:29] for m in messages if "Running in" in str(m.get("stream"))]
    ids = [
        str(m["stream"])[6:18]
        for m in messages
        if str(m.get("stream")).startswith(" ---> ") and len(str(m["stream"])) == 19
    ]
    assert status == 200
    assert messages == [
        {"stream": "Step 1/4 : FROM base"},
        {"stream": "\n"},
        {"stream": f" ---> {ids[0]}\n"},
        {"stream": "Step 2/4 : ENV A=1"},
        {"stream": "\n"},
        {"stream": f" ---> Running in {runs[0]}\n"},
        {"stream": f" ---> Removed intermediate container {runs[0]}\n"},
        {"stream": f" ---> {ids[1]}\n"},
        {"stream": "Step 3/4 : RUN echo out; echo err >&2"},
        {"stream": "\n"},
        {"stream": f" ---> Running in {runs[1]}\n"},
        {"stream": "out\n"},
        {"stream": "\x1b[91merr\n\x1b[0m"},
        {"stream": f" ---> Removed intermediate container {runs[1]}\n"},
        {"stream": f" ---> {ids[2]}\n"},
        {"stream": "Step 4/4 : LABEL l=v"},
        {"stream": "\n"},
        {"stream": f" ---> Running in {runs[2]}\n"},
        {"stream": f" ---> Removed intermediate container {runs[2]}\n"},
        {"stream": f" ---> {ids[3]}\n"},
        {"aux": {"ID": image.id}},
        {"stream": "[Warning] One or more build-args [N] were not consumed\n"},
        {"stream": f"Successfully built {image.short_id}\n"},
        {"stream": "Successfully tagged x:latest\n"},
        {"stream": "Successfully tagged y:2\n"},
    ]


def test_the_second_time_it_says_cache(ask: Ask) -> None:
    ask("FROM base\nENV A=1\n")
    _, messages = ask("FROM base\nENV A=1\n")
    assert {"stream": " ---> Using cache\n"} in messages
    assert "Running in" not in _text(messages)


@pytest.mark.usefixtures("shell")
def test_a_failed_run_is_told_in_band(ask: Ask) -> None:
    status, messages = ask("FROM base\nRUN exit 3\n")
    text = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert status == 200
    assert messages[-1]["errorDetail"] == {"code": 3, "message": text}
    assert messages[-1]["error"] == text


@pytest.mark.usefixtures("shell")
def test_quiet_builds_say_an_id_or_everything(ask: Ask, lab: Lab) -> None:
    _, messages = ask("FROM base\nENV A=1\n", "q=1&t=quiet")
    assert messages == [{"stream": f"{lab.store.images.resolve('quiet').id}\n"}]
    _, messages = ask("FROM base\nRUN echo shown; exit 1\n", "q=1")
    assert "shown\n" in _text(messages)
    assert "error" in messages[-1]


@pytest.mark.parametrize(
    ("dockerfile", "query", "status", "message"),
    [
        ("FROM base\nFOO\n", "", 400, "dockerfile parse error on line 2: unknown instruction: FOO"),
        ("", "", 400, "the Dockerfile (Dockerfile) cannot be empty"),
        ("# c\n", "", 400, "failed to parse Dockerfile: file with no instructions"),
        ("FROM base\n", "target=zz", 400, 'target stage "zz" could not be found'),
        ("FROM base\n", "dockerfile=no", 500, "Cannot locate specified Dockerfile: no"),
        (
            "FROM base\n",
            "dockerfile=../x",
            400,
            "forbidden path outside the build context: ../x ()",
        ),
        ("FROM base\n", "squash=1", 400, "squash is only supported with experimental mode"),
        ("FROM base\n", "memory=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_early_errors_have_a_status(
    ask: Ask, dockerfile: str, query: str, status: int, message: str
) -> None:
    found, [document] = ask(dockerfile, query)
    assert (found, document["message"]) == (status, message)


def test_a_context_that_is_none(ask: Ask, lab: Lab) -> None:
    assert ask("", body=b"no archive" * 100)[0] == 400
    assert ask("", body=b"")[0] in {400, 500}
    assert not list((lab.folder / "root" / "tmp").glob("build-*"))


def test_structured_records(ask: Ask) -> None:
    _, records = ask(
        "FROM base\nENV A 1\nCOPY nosuch /\n", headers={"X-Dockerlab-Progress": "structured"}
    )
    [warning] = records[0]["warnings"]  # type: ignore[misc]
    assert (warning["rule"], warning["range"]) == ("LegacyKeyValueFormat", [2, 2])  # type: ignore[index]
    vertexes = [record["vertexes"][0] for record in records if "vertexes" in record]  # type: ignore[index]
    assert [v["name"] for v in vertexes[::2]] == ["FROM base", "ENV A 1", "COPY nosuch /"]
    assert vertexes[-1]["range"] == [3, 3]
    assert str(vertexes[-1]["error"]).startswith("COPY failed: file not found in build context")


def test_a_client_that_leaves_ends_its_step(lab: Lab, base: Image) -> None:
    class Endless:
        def __init__(self) -> None:
            self.begun, self.ended = asyncio.Event(), asyncio.Event()

        async def run(self, step: RunStep, output: Callable[[int, bytes], None]) -> int:
            output(1, b"begun\n")
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()
            return 0

    async def leave() -> None:
        runner = Endless()
        rooms = Rooms(
            store=lab.store, cache=lab.cache, runner=runner, images=LocalImages(lab.store)
        )
        app = App(api.routes(Builds(rooms, Events(), lambda _: ())))
        path = lab.folder / "s"
        app.server().add_socket(bind_unix_socket(str(path)))
        _, writer = await asyncio.open_unix_connection(str(path))
        body = archive({"Dockerfile": b"FROM base\nRUN x\n"})
        writer.write(b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await asyncio.wait_for(runner.begun.wait(), 20)
        writer.close()
        await asyncio.wait_for(runner.ended.wait(), 20)
        # The step's files go in a thread, after its end was heard of.
        async with asyncio.timeout(20):
            while any((lab.folder / "root" / "containers").iterdir()):  # noqa: ASYNC110 - files tell nobody
                await asyncio.sleep(0.01)
        await app.close()

    asyncio.run(leave())
    assert not list((lab.folder / "root" / "tmp").glob("build-*"))
