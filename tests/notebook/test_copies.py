"""cp, commit, export, import, login: through a real host, by docker's rules."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from dockerlab.commands import copies
from dockerlab.commands.copies import place
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, NotFound


@pytest.fixture
def box(docker, image, name):
    """A stopped container with a few files in it."""
    script = (
        "mkdir -p /d/sub; echo one > /d/one; echo two > /d/sub/two; ln -s one /d/link;"
        " ln -s /d /to-d; chmod 640 /d/one; mkdir /empty"
    )
    docker(f"run --name {name} {image} sh -c '{script}'")
    return name


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("web:/etc", ("web", "/etc")),
        ("./a:b", ("", "./a:b")),
        ("/a:b", ("", "/a:b")),
        ("file", ("", "file")),
        ("-", ("", "-")),
    ],
)
def test_which_side_it_is(typed, wanted):
    assert place(typed) == wanted


@pytest.mark.parametrize(
    "case",
    [
        ("/d/one", "here", {"here": "one\n"}),  # a name that is free
        ("/d/one", "folder", {"folder/one": "one\n"}),  # a folder that is there
        ("/d", "new", {"new/one": "one\n", "new/link": "one\n", "new/sub/two": "two\n"}),
        ("/d/sub", "folder", {"folder/sub/two": "two\n"}),
        ("/d/sub/.", "folder", {"folder/two": "two\n"}),  # what is in it
    ],
)
def test_out_of_a_container(docker, box, tmp_path, monkeypatch, case):
    source, target, wanted = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    docker(f"cp {box}:{source} {target}")
    assert tree(tmp_path) == wanted


def test_modes_and_links_out(docker, box, tmp_path):
    docker(f"cp {box}:/d {tmp_path}/it")
    assert stat.S_IMODE((tmp_path / "it" / "one").stat().st_mode) == 0o640
    assert (tmp_path / "it" / "link").is_symlink()
    docker(f"cp {box}:/d/link {tmp_path}/link")
    assert (tmp_path / "link").is_symlink()
    docker(f"cp -L {box}:/d/link {tmp_path}/file")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text() == "one\n"


@pytest.mark.parametrize(
    "case",
    [
        ("file", "/x", {"x": "hello\n"}),
        ("file", "/empty", {"empty/file": "hello\n"}),
        ("file", "/empty/", {"empty/file": "hello\n"}),
        ("file", "/d/one", {"d/one": "hello\n"}),
        ("file", "/to-d", {"d/file": "hello\n"}),  # a link to a folder is that folder
        ("dir", "/empty", {"empty/dir/inner": "in\n"}),
        ("dir/.", "/empty", {"empty/inner": "in\n"}),
        ("dir", "/new", {"new/inner": "in\n"}),
    ],
)
def test_into_a_container(docker, box, tmp_path, monkeypatch, case):
    source, target, wanted = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("hello\n")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inner").write_text("in\n")
    docker(f"cp {source} {box}:{target}")
    for path, content in wanted.items():
        docker(f"cp {box}:/{path} {tmp_path}/back")
        assert (tmp_path / "back").read_text() == content


@pytest.mark.parametrize(
    "case",
    [
        ("cp a b", "must specify at least one container source"),
        ("cp {0}:/d {0}:/e", "copying between containers is not supported"),
        ("cp ./no-such-file {0}:/d", "no such file or directory"),
        ("cp {0}:/nowhere .", "(?i)could not find the file /nowhere"),
        ("cp {0}:/d/one no-such-folder/", "no such directory"),
        ("cp {0}:/d/one no-such-folder/x", "does not exist"),
        ("cp {0}:/d file", "cannot copy directory"),
        ("cp file {0}:/new/", "no such directory"),
        ("cp . {0}:/d/one", "cannot copy directory"),
        ("cp file no-such-container:/x", "No such container"),
    ],
)
def test_what_cannot_be_copied(docker, box, tmp_path, monkeypatch, case):
    line, message = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DockerlabError, match=message):
        docker(line.format(box))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_an_archive_on_standard_input(shell, docker, box):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("from-a-tar"))
    # A cell's body is text; this archive happens to be ASCII.
    shell.run_cell_magic("docker", f"cp - {box}:/empty", buffer.getvalue().decode())
    assert "/empty/from-a-tar" in docker(f"diff {box}").df.index


def test_a_container_becomes_an_image(docker, box, image):
    made = docker(f'commit -m why -a me -c \'CMD ["cat", "/d/one"]\' {box} {image}-c:1')
    try:
        assert str(made).startswith("sha256:")
        assert docker(f"run --rm {image}-c:1").stdout == "one\n"
        assert docker(f"history {image}-c:1").df["comment"].iloc[0] == "why"
    finally:
        docker(f"rmi {image}-c:1")


def test_a_container_becomes_an_archive_and_an_image_of_one_layer(docker, box, image, tmp_path):
    docker(f"export -o {tmp_path}/all.tar {box}")
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert "d/one" in archive.getnames()
    made = docker(f"import -m imported {tmp_path}/all.tar {image}-i:1")
    try:
        assert str(made).startswith("sha256:")
        assert docker(f"run --rm {image}-i:1 cat /d/sub/two").stdout == "two\n"
        assert len(docker(f"layers {image}-i:1").df) == 1
    finally:
        docker(f"rmi {image}-i:1")
    with pytest.raises(NotFound):
        docker(f"export -o {tmp_path}/no/all.tar {box}")
    with pytest.raises(NotFound, match="no-such-file"):
        docker("import no-such-file x")


def test_login_keeps_what_docker_would(docker, registry, environ, capfd):
    file = Path(environ["DOCKER_CONFIG"]) / "config.json"
    before = file.read_bytes() if file.exists() else None
    try:
        shown = docker(f"login -u me -p secret {registry}")
        assert shown.text() == "Login Succeeded"
        assert "insecure" in capfd.readouterr().out
        assert json.loads(file.read_text())["auths"][registry] == {"auth": "bWU6c2VjcmV0"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        docker(f"logout {registry}")
        assert registry not in json.loads(file.read_text())["auths"]
        with pytest.raises(InvalidRequest, match="Must provide --username"):
            docker("login --password-stdin")
    finally:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(before)


def hostile(*members):
    """An archive of (name, what it is a link to or holds)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, value in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, 0
            if kind == tarfile.REGTYPE:
                member.size = len(value)
                archive.addfile(member, io.BytesIO(value))
            else:
                member.linkname = value
                archive.addfile(member)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "rest",
    [
        [("top/out/file", tarfile.REGTYPE, b"evil")],
        [("top/out/deep/file", tarfile.REGTYPE, b"evil")],
        [("top/hard", tarfile.LNKTYPE, "top/out/secret")],
        [("top/../../outside/file", tarfile.REGTYPE, b"evil")],
    ],
)
def test_no_archive_writes_outside(tmp_path, rest):
    outside, folder = tmp_path / "outside", tmp_path / "here"
    outside.mkdir()
    folder.mkdir()
    (outside / "secret").write_text("mine")
    link = ("top/out", tarfile.SYMTYPE, str(outside))
    with pytest.raises(Failed, match="leads out of"):
        copies._extract(hostile(link, *rest), folder, "got", keep_owner=False)
    assert tree(outside) == {"secret": "mine"}
    assert not (folder / "got/hard").exists()


def test_a_file_replaces_a_link_and_what_it_names_stays(tmp_path):
    (tmp_path / "secret").write_text("mine")
    folder = tmp_path / "here"
    folder.mkdir()
    members = [
        ("top", tarfile.SYMTYPE, str(tmp_path / "secret")),
        ("top", tarfile.REGTYPE, b"evil"),
    ]
    copies._extract(hostile(*members), folder, "got", keep_owner=False)
    assert (folder / "got").read_text() == "evil"
    assert (tmp_path / "secret").read_text() == "mine"
