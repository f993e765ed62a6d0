"""The starter image: reproducible, complete, and packed from links, caches and scripts rightly."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.registry import elf
from dockerlab.engine.registry.libraries import Libraries, MissingLibrary, parse_cache
from dockerlab.engine.registry.starter import REPOSITORY, publish
from dockerlab.engine.registry.starter_files import plan
from dockerlab.engine.registry.storage import Storage
from dockerlab.errors import Unsupported


def make_elf(*needed: str, interpreter: str = "", runpath: str = "", machine: int = 62) -> bytes:
    """A 64-bit little-endian ELF file with nothing in it but what the loader reads."""
    strings = bytearray(b"\0")
    places = {}
    for text in (*needed, runpath):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    head = 64 + 3 * 56
    text_at = head
    interpreter_at = text_at + len(strings)
    dynamic_at = interpreter_at + len(interpreter) + 1
    entries = [(1, places[text]) for text in needed] + [(5, 0x1000 + text_at)]
    entries += [(29, places[runpath])] if runpath else []
    dynamic = b"".join(struct.pack("<qQ", tag, value) for tag, value in [*entries, (0, 0)])
    size = dynamic_at + len(dynamic)
    segments = [(1, 0, 0x1000, size), (2, dynamic_at, 0x1000 + dynamic_at, len(dynamic))]
    segments += [(3, interpreter_at, 0, len(interpreter) + 1)] if interpreter else [(0, 0, 0, 0)]
    table = b"".join(struct.pack("<IIQQQQQQ", k, 0, o, a, 0, n, n, 8) for k, o, a, n in segments)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 3, machine, 1, 0, 64, 0)
    header += struct.pack("<IHHHHHH", 0, 64, 56, 3, 0, 0, 0)
    return header + table + bytes(strings) + interpreter.encode() + b"\0" + dynamic


def test_elf_is_read() -> None:
    image = elf.parse(make_elf("libc.so.6", "libm.so.6", interpreter="/lib/ld", runpath="/a:/b"))
    assert image is not None
    assert image == elf.Elf(
        machine=62,
        bits=64,
        interpreter="/lib/ld",
        needed=("libc.so.6", "libm.so.6"),
        search=("/a", "/b"),
    )


@given(st.binary(max_size=400))
def test_broken_elf_is_no_elf(tail: bytes) -> None:
    elf.parse(b"\x7fELF\x02\x01" + tail)
    elf.parse(b"\x7fELF\x01\x02" + tail)
    parse_cache(b"glibc-ld.so.cache1.1" + tail)


def put(root: Path, path: str, data: bytes, mode: int = 0o755) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    (root / path).chmod(mode)


@pytest.fixture
def musl(tmp_path: Path) -> Path:
    """A root as Alpine has it: one busybox, links to it, musl as loader and libc."""
    root = tmp_path / "root"
    loader = "/lib/ld-musl-x86_64.so.1"
    put(root, "lib/ld-musl-x86_64.so.1", make_elf())
    (root / "lib/libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    put(root, "bin/busybox", make_elf("libc.musl-x86_64.so.1", interpreter=loader), 0o4755)
    for name in ("sh", "ls", "cat"):
        (root / "bin" / name).symlink_to("/bin/busybox")
    put(root, "bin/awk", make_elf("libabsent.so.1", interpreter=loader))
    put(root, "bin/which", b"#!/bin/sh\necho $1\n")
    put(root, "bin/watch", b"#!/usr/bin/perl\n")
    put(root, "etc/secret", b"not for images", 0o600)
    return root


def test_plan_of_a_musl_root(musl: Path) -> None:
    base, libraries, tools = plan(musl)
    assert {f.name: f.target for f in libraries.files if f.kind != "directory"} == {
        "lib/ld-musl-x86_64.so.1": "",
        "lib/libc.musl-x86_64.so.1": "ld-musl-x86_64.so.1",
    }
    found = {file.name: file for file in tools.files if file.kind != "directory"}
    assert set(found) == {"bin/busybox", "bin/sh", "bin/ls", "bin/cat", "bin/which"}
    assert found["bin/sh"].target == "/bin/busybox"
    assert found["bin/busybox"].mode == 0o755  # set-id bits stay at home
    assert next(file.name for file in tools.files) == "bin"
    modes = {file.name: file.mode for file in base.files}
    assert (modes["tmp"], modes["root"], modes["bin"]) == (0o1777, 0o700, 0o755)


def test_libraries_by_runpath_and_machine(musl: Path) -> None:
    put(musl, "opt/x/bin/tool", make_elf("libx.so", runpath="$ORIGIN/../lib"))
    put(musl, "opt/x/lib/libx.so", make_elf(machine=183))
    with pytest.raises(MissingLibrary):
        Libraries(musl).closure("/opt/x/bin/tool")
    put(musl, "opt/x/lib/libx.so", make_elf())
    assert Libraries(musl).closure("/opt/x/bin/tool")[1:] == ["/opt/x/bin/../lib/libx.so"]


def test_links_that_loop_do_not_hang(musl: Path) -> None:
    (musl / "bin" / "tar").symlink_to("gzip")
    (musl / "bin" / "gzip").symlink_to("tar")
    assert "bin/tar" not in {file.name for file in plan(musl)[2].files}


def test_a_root_without_a_shell_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no /bin/sh"):
        plan(tmp_path)


def test_same_files_same_digests(musl: Path, tmp_path: Path) -> None:
    one, two = Storage(tmp_path / "one"), Storage(tmp_path / "two")
    first = publish(one, musl)
    assert publish(one, musl) == first
    assert publish(two, musl) == first
    put(musl, "bin/busybox", (musl / "bin/busybox").read_bytes() + b"newer")
    assert publish(one, musl) != first
    one.close()
    two.close()


def test_image_is_whole(musl: Path, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    publish(storage, musl)
    _, _, raw = storage.manifest(REPOSITORY, "latest")
    manifest = json.loads(raw)

    def blob(descriptor: dict[str, str]) -> bytes:
        with storage.open_blob(REPOSITORY, descriptor["digest"]) as file:
            return file.read()

    config = json.loads(blob(manifest["config"]))
    assert config["config"]["Cmd"] == ["/bin/sh"]
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 3
    assert sum(not step.get("empty_layer") for step in config["history"]) == 3
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(layer)))) as archive:
            seen = {"."}
            for entry in archive:
                assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 1767225600)
                assert str(Path(entry.name).parent) in seen  # every folder has its own entry
                seen.add(entry.name)
    storage.close()
