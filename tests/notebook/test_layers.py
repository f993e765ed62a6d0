"""The ledger of an image's bytes: from archives and layouts without any host, and from a host."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dockerlab.commands import layer_rules, layer_tables
from dockerlab.commands.layer_archives import is_path, read_path
from dockerlab.errors import Failed, InvalidRequest, NotFound
from dockerlab.notebook.layers import LayersView

EVIL = "<b>\n\x1b[31m"
LAYERS = [
    {"etc/": b"", "etc/motd": b"x" * 1000, "etc/old": b"y" * 500},
    {"etc/": b"", "etc/motd": b"x" * 1000, "etc/.wh.old": b"", EVIL: b"z" * 100},
]


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parts() -> tuple[bytes, list[bytes]]:
    layers = [tar_of(files) for files in LAYERS]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [
            {"created_by": "COPY one"},
            {"created_by": "ENV x", "empty_layer": True},
            {"created_by": "/bin/sh -c chmod 600 /etc/motd"},
        ],
    }
    return json.dumps(config).encode(), layers


def as_saved(folder: Path) -> Path:
    config, (first, second) = parts()
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["0.tar", "1.tar"]}]
    files = {"c.json": config, "0.tar": first, "1.tar": gzip.compress(second)}
    path = folder / "image.tar"
    path.write_bytes(tar_of({**files, "manifest.json": json.dumps(manifest).encode()}))
    return path


def as_layout(folder: Path) -> Path:
    config, layers = parts()
    blobs = folder / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(data: bytes) -> dict[str, object]:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    manifest = keep(
        json.dumps(
            {"config": keep(config), "layers": [keep(gzip.compress(layer)) for layer in layers]}
        ).encode()
    )
    nested = keep(json.dumps({"manifests": [manifest]}).encode())
    (folder / "layout" / "index.json").write_text(json.dumps({"manifests": [nested]}))
    return folder / "layout"


@pytest.mark.parametrize("make", [as_saved, as_layout])
def test_an_image_on_disk_needs_no_host(tmp_path, make):
    view = LayersView(read_path(str(make(tmp_path))), widgets=False)
    frame = view.df
    assert list(frame["size"]) == [1500, 1100]
    assert list(frame["contribution"]) == [0, 1100]
    assert list(frame["cumulative"]) == [1500, 2600]
    assert list(frame["hid"]) == [0, 1500]
    assert list(frame["instruction"]) == ["COPY one", "RUN chmod 600 /etc/motd"]
    ledger = view.ledger
    assert ledger.loc["shipped", "size"] == 2600
    assert ledger.loc["live", "size"] == 1100
    assert ledger.loc["waste", "size"] == 1500
    assert ledger.loc[["metadata_copy", "deleted"], "size"].sum() == 1500
    assert ledger["size"].isna().sum() == 1  # dive's efficiency is a share
    waste = view.waste
    assert list(waste["path"]) == ["etc/motd", "etc/old"]
    assert list(waste["cause"]) == ["metadata_copy", "deleted"]
    assert list(view.dive["path"]) == ["etc/motd", "etc/old"]
    assert "waste 1.5kB (metadata copy 1kB, deleted 500B)" in view.text()
    assert "waste 1.5kB" in view.html()
    assert "\x1b" not in view.text() + view.html()
    assert "<b>" not in view.html()


def test_an_image_without_layers(tmp_path):
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": []}]).encode()
    path = tmp_path / "empty.tar"
    path.write_bytes(tar_of({"c.json": config, "manifest.json": manifest}))
    view = LayersView(read_path(str(path)), widgets=False)
    assert len(view.df) == 0
    assert view.ledger.loc["waste", "percent"] == 0
    assert "efficiency 100 %" in view.text()
    view.check("efficiency == 1", "waste == 0B")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as an image"),
        (b"no tar at all", "can't be read as an image"),
        (tar_of({"a": b""}), "index.json' not found"),
        (tar_of({"manifest.json": b"[]"}), "can't be read as an image"),
        (tar_of({"manifest.json": b'[{"Config": "c", "Layers": []}]'}), "'c' not found"),
        (tar_of({"index.json": b'{"manifests": [{"digest": "sha256:../../x"}]}'}), "(?i)digest"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "bad.tar"
    path.write_bytes(content)
    with pytest.raises((Failed, InvalidRequest), match=message):
        read_path(str(path))


def test_a_layout_stays_in_its_folder(tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "layout").mkdir()
    manifest = [{"Config": "../secret", "Layers": []}]
    (tmp_path / "layout" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidRequest, match="leads out of the layout"):
        read_path(str(tmp_path / "layout"))


def test_paths_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.tar").touch()
    assert [is_path(word) for word in ("./a", "/a", "~/a", "here.tar")] == [True] * 4
    assert not any(is_path(word) for word in ("alpine", "host:5000/a/b", "gone.tar", "a:1.tar"))
    with pytest.raises(NotFound, match="no-such-place"):
        read_path("./no-such-place")


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("efficiency > 0.42", True),
        ("efficiency > 0.95", False),
        ("efficiency>=42%", True),
        ("waste <= 1.5kB", True),
        ("waste < 1KiB", False),
        ("deleted == 500", True),
        ("overwritten == 0", True),
        ("layers < 3", True),
        ("largest_layer != 1500B", False),
        ("dive_wasted_bytes > 2kB", True),
    ],
)
def test_rules(tmp_path, rule, holds):
    image = read_path(str(as_saved(tmp_path)))
    assert layer_rules.read(rule).holds(image) is holds


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("small", "invalid rule: 'small'"),
        ("efficiency > much", "invalid rule"),
        ("import os", "invalid rule"),
        ("efficency > 0.9", "there is no figure 'efficency'"),
        ("efficiency > 9MB", "not measured in MB"),
        ("waste < 5%", "not measured in %"),
    ],
)
def test_rules_that_are_none(rule, message):
    with pytest.raises(InvalidRequest, match=message):
        layer_rules.read(rule)


def test_a_broken_rule_fails_the_cell(docker, tmp_path):
    path = as_saved(tmp_path)
    assert docker(f"layers --assert 'waste < 2kB' {path}").df.loc[0, "removed"] == 0
    with pytest.raises(layer_rules.RuleBroken, match=r"efficiency is 0\.4230") as caught:
        docker(f"layers --assert 'layers < 9' --assert 'efficiency > 0.95' {path}")
    assert "etc/motd of layer 0, 1kB, metadata copy by layer 1" in caught.value.hint


def test_a_broken_rule_ends_the_command(tmp_path, environ):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dockerlab", "layers", *words, str(as_saved(tmp_path))],
            env={**environ, "DOCKER_HOST": "unix:///nowhere.sock"},  # nobody is asked
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    ended = run("--assert", "efficiency > 0.95")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "breaks 'efficiency > 0.95'" in ended.stderr
    ended = run("--assert", "waste < 1MB")
    assert ended.returncode == 0
    assert "shipped 2.6kB, live 1.1kB" in ended.stdout


def test_a_host_and_its_archive_tell_the_same(shell, docker, image, tmp_path):
    name = f"{image}-ledger"
    recipe = (
        f"FROM {image}\nRUN head -c 100000 /dev/urandom > /big\nRUN chown 1:1 /big\nRUN rm /big\n"
    )
    shell.run_cell_magic("dockerfile", f"-t {name}", recipe)
    try:
        told = docker(f"layers {name}")
        assert list(told.waste["cause"]) == ["deleted", "metadata_copy"] or list(
            told.waste["cause"]
        ) == ["metadata_copy", "deleted"]
        assert told.ledger.loc["waste", "size"] == 200_000
        docker(f"save -o {tmp_path}/it.tar {name}")
        saved = docker(f"layers {tmp_path}/it.tar")
        assert saved.result.identifier == told.result.identifier
        assert saved.df.drop(columns="created").equals(told.df.drop(columns="created"))
        both = [layer_tables.ledger_table(each.result).rows[:5] for each in (saved, told)]
        assert both[0] == both[1]
    finally:
        docker(f"rmi {name}")
