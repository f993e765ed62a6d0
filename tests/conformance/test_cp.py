"""`docker cp`, by docker-py and by the CLI, on containers that run and that do not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.conformance.conftest import CLIS

docker = pytest.importorskip("docker")


@pytest.fixture(scope="module")
def api(host: str, starter: str) -> Iterator[Any]:
    client = docker.APIClient(base_url=host, timeout=60)
    if starter not in [tag for one in client.images() for tag in one["RepoTags"] or ()]:
        client.pull(starter)
    yield client
    client.close()


@pytest.fixture(params=["created", "running", "exited"])
def box(request: pytest.FixtureRequest, api: Any, starter: str, name: str) -> Iterator[str]:
    """A container with a volume, a read-only one and some files, in each state."""
    volume = f"{name}-ro"
    api.create_volume(volume)
    host = api.create_host_config(binds=[f"{volume}:/ro:ro"])
    words = ["sh", "-c", "trap exit TERM; sleep 60 & wait"]
    made = api.create_container(
        starter, words, name=name, volumes=["/vol", "/ro"], host_config=host
    )
    try:
        if request.param != "created":
            api.start(made["Id"])
        if request.param == "exited":
            api.stop(made["Id"], timeout=0)
        yield name
    finally:
        api.remove_container(name, force=True, v=True)
        api.remove_volume(volume)


def _tar(*entries: tuple[str, bytes | str | None], **facts: int) -> bytes:
    """Make a tar: bytes are a file, None a directory, text a symlink."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if content is None else 0o644
            for key, value in facts.items():
                setattr(info, key, value)
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _get(api: Any, name: str, path: str) -> tuple[dict[str, tarfile.TarInfo], dict[str, Any]]:
    pieces, found = api.get_archive(name, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        return {one.name: one for one in archive}, found


def _content(api: Any, name: str, path: str) -> bytes:
    pieces, _ = api.get_archive(name, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        file = archive.extractfile(archive.next())
        assert file is not None
        return file.read()


def _put(api: Any, name: str, path: str, data: bytes, **query: str) -> tuple[int, str]:
    url = api._url("/containers/{0}/archive", name)
    answer = api.put(url, params={"path": path, **query}, data=data)
    return answer.status_code, "" if answer.ok else answer.json()["message"]


def test_there_and_back(api, box):
    assert _put(api, box, "/tmp", _tar(("d", None), ("d/f", b"hi"), uid=7, gid=8)) == (200, "")
    entries, found = _get(api, box, "/tmp/d")
    assert list(entries) == ["d", "d/f"]
    assert (entries["d/f"].uid, entries["d/f"].gid, entries["d/f"].size) == (7, 8, 2)
    assert (found["name"], found["mode"]) == ("d", 1 << 31 | 0o755)
    assert _content(api, box, "/tmp/d/f") == b"hi"


def test_names_follow_the_path_asked_for(api, box):
    _put(api, box, "/tmp", _tar(("d", None), ("d/f", b"1")))
    assert list(_get(api, box, "/tmp/d/")[0]) == ["d", "d/f"]
    assert list(_get(api, box, "/tmp/d/.")[0]) == [".", "./f"]
    assert list(_get(api, box, "tmp/../tmp/d/f")[0]) == ["f"]
    assert _get(api, box, "/tmp/d/.")[1]["name"] == "."


def test_links_are_links_unless_the_path_goes_on(api, box):
    _put(api, box, "/tmp", _tar(("d", None), ("d/f", b"1"), ("l", "d"), ("abs", "/tmp/d")))
    entries, found = _get(api, box, "/tmp/l")
    assert entries["l"].linkname == "d"
    assert (found["linkTarget"], found["mode"] & 1 << 27) == ("/tmp/d", 1 << 27)
    assert list(_get(api, box, "/tmp/l/")[0]) == ["l", "l/f"]
    assert list(_get(api, box, "/tmp/abs/f")[0]) == ["f"]
    assert _put(api, box, "/tmp/abs", _tar(("g", b"2"))) == (200, "")
    assert _content(api, box, "/tmp/d/g") == b"2"


def test_volumes_are_there(api, box):
    assert _put(api, box, "/vol", _tar(("v", b"in the volume"))) == (200, "")
    assert _content(api, box, "/vol/v") == b"in the volume"
    assert not any("/vol/" in one["Path"] for one in api.diff(box) or ())


def test_read_only_is_said(api, box):
    code, said = _put(api, box, "/ro", _tar(("x", b"1")))
    assert (code in {400, 500}, said) == (True, "mounted volume is marked read-only")


def test_what_is_not_there(api, box):
    with pytest.raises(docker.errors.NotFound, match="Could not find the file /nope in container"):
        api.get_archive(box, "/nope")
    assert _put(api, box, "/nope", _tar(("x", b"1")))[0] == 404
    code, said = _put(api, box, "/etc/passwd", _tar(("x", b"1")))
    assert (code in {400, 500}, said) == (True, "extraction point is not a directory")
    assert _put(api, box, "", b"")[0] == 400


def test_kinds_are_kept_when_asked(api, box):
    _put(api, box, "/tmp", _tar(("d", None), ("f", b"1")))
    wish = {"noOverwriteDirNonDir": "1"}
    assert _put(api, box, "/tmp", _tar(("f", None)), **wish)[1].endswith(
        'cannot overwrite non-directory "/tmp/f" with directory "/tmp"'
    )
    assert _put(api, box, "/tmp", _tar(("d", b"1")), **wish)[1].endswith(
        'cannot overwrite directory "/tmp/d" with non-directory "/tmp"'
    )
    assert _put(api, box, "/tmp", _tar(("d", b"1"))) == (200, "")
    assert _content(api, box, "/tmp/d") == b"1"


def test_hostile_archives_stay_inside(api, box):
    assert _put(api, box, "/tmp", _tar(("../up", b"1")))[0] in {400, 500}
    assert _put(api, box, "/tmp", _tar(("l", "../../../x")))[0] in {400, 500}
    mark = f"/tmp/dockerlab-escaped-{os.getpid()}"
    _put(api, box, "/tmp", _tar(("out", "/"), (f"out{mark}", b"1")))
    assert not Path(mark).exists()
    assert _content(api, box, mark) == b"1"


def test_special_modes(api, box):
    _put(api, box, "/tmp", _tar(("s", b""), mode=0o6755))
    assert _get(api, box, "/tmp/s")[1]["mode"] == 1 << 23 | 1 << 22 | 0o755
    assert _get(api, box, "/tmp")[1]["mode"] == 1 << 31 | 1 << 20 | 0o777


def test_the_whole_root_has_no_kernel_files(api, box):
    entries, _ = _get(api, box, "/proc")
    assert list(entries) == ["proc"]


@pytest.fixture(params=CLIS.values())
def cli(request: pytest.FixtureRequest, host: str, tmp_path: Path) -> Any:
    if not Path(request.param).exists():
        pytest.skip(f"{request.param} is not on this machine")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": host}

    def run(*words: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [request.param, *words], env=environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_cli_decides_about_names(cli, box, tmp_path):
    folder = tmp_path / "from"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "f").write_bytes(b"x" * 3_000_000)
    (folder / "script").write_text("#!/bin/sh")
    (folder / "script").chmod(0o751)
    cli("cp", str(folder), f"{box}:/tmp/new")
    cli("cp", str(folder), f"{box}:/tmp/new")
    cli("cp", f"{folder}/.", f"{box}:/tmp")
    cli("cp", str(folder / "script"), f"{box}:/tmp/other")
    cli("cp", f"{box}:/tmp/new", str(tmp_path / "back"))
    assert (tmp_path / "back" / "from" / "sub" / "f").stat().st_size == 3_000_000
    assert (tmp_path / "back" / "sub" / "f").read_bytes() == b"x" * 3_000_000
    assert stat.S_IMODE((tmp_path / "back" / "script").stat().st_mode) == 0o751
    cli("cp", f"{box}:/tmp/other", str(tmp_path))
    assert (tmp_path / "other").read_text() == "#!/bin/sh"
    listing = cli("cp", f"{box}:/tmp/sub", "-")
    with tarfile.open(fileobj=io.BytesIO(listing)) as archive:
        assert archive.getnames() == ["sub", "sub/f"]
    cli("cp", "-", f"{box}:/tmp", stdin=_tar(("streamed", b"1")))
    cli("cp", "-L", f"{box}:/tmp/streamed", str(tmp_path / "streamed"))
    assert (tmp_path / "streamed").read_bytes() == b"1"


def test_the_root_itself(cli, box, tmp_path):
    cli("cp", f"{box}:/", str(tmp_path / "all"))
    assert (tmp_path / "all" / "etc" / "passwd").exists()
    assert not any((tmp_path / "all" / "proc").iterdir())


def _unread(host: str, name: str) -> None:
    """Ask for much, and leave without reading; then promise much, and send little."""
    for request in (
        f"GET /v1.41/containers/{name}/archive?path=/ HTTP/1.1\r\nHost: d\r\n\r\n",
        f"PUT /v1.41/containers/{name}/archive?path=/tmp HTTP/1.1\r\nHost: d\r\n"
        "Content-Length: 100000000\r\n\r\n" + "\0" * 400,
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(urlparse(host).path)
            connection.sendall(request.encode())


def test_clients_that_vanish_leave_no_descriptor(api, host, box, request):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("looks into our own engine")
    engine = request.getfixturevalue("engine")
    pid = json.loads((engine.run / "engine.pid").read_text())["pid"]

    def held() -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    api.get_archive(box, "/etc/passwd")
    before = held()
    for _ in range(10):
        _unread(host, box)
    deadline = time.monotonic() + 20
    while held() > before + 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert held() <= before + 3
    assert _put(api, box, "/tmp", _tar(("after", b"1"))) == (200, "")


def test_what_comes_out_is_what_went_in(api, box):
    data = os.urandom(1 << 20) * 30
    assert _put(api, box, "/tmp", _tar(("big", data))) == (200, "")
    assert hashlib.sha256(_content(api, box, "/tmp/big")).digest() == hashlib.sha256(data).digest()
