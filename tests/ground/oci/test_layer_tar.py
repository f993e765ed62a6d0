"""The language of layer archives, against the standard library and against itself."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerlab.errors import DockerlabError, InvalidRequest
from dockerlab.oci import layer_tar, tar_writer
from dockerlab.oci.changes import Marker, marker_of, opaque_name, whiteout_name
from dockerlab.oci.layer_tar import Entry


def read(data):
    """Read a whole archive: entries, payloads, and the bytes put together again."""
    source = io.BytesIO(data)
    reader = layer_tar.Reader(source.read)
    entries, again = [], b""
    while (entry := reader.next()) is not None:
        payload = source.read(entry.payload)
        entries.append((entry, payload))
        again += reader.raw + payload
    return entries, again + reader.tail


def archive(members, form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_the_standard_library_writes(form):
    long = "d" * 90 if form == tarfile.USTAR_FORMAT else "d" * 200
    data = archive(
        [
            (member("./"), b""),
            (member("./dir/", type=tarfile.DIRTYPE, mode=0o1777), b""),
            (member(f"dir/{long}", size=5, uid=1000, gid=7, mtime=123), b"hello"),
            (member("link", type=tarfile.SYMTYPE, linkname="../../" + long), b""),
            (member("hard", type=tarfile.LNKTYPE, linkname=f"./dir/{long}"), b""),
            (member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
            (member("pipe", type=tarfile.FIFOTYPE), b""),
        ],
        form,
    )
    entries, again = read(data)
    assert again == data
    assert [(e.path, e.kind) for e, _ in entries[1:]] == [
        ("dir", "directory"),
        (f"dir/{long}", "file"),
        ("link", "symlink"),
        ("hard", "hardlink"),
        ("null", "character"),
        ("pipe", "fifo"),
    ]
    file, payload = entries[2]
    assert (payload, file.uid, file.gid, file.mtime_ns) == (b"hello", 1000, 7, 123 * 10**9)
    assert entries[1][0].mode == 0o1777
    assert entries[3][0].link == "../../" + long
    assert entries[4][0].link == f"dir/{long}"
    assert entries[5][0].device == (1, 3)


def test_pax_records_decide():
    info = member("x", size=1)
    info.pax_headers = {
        "path": "käse/\udcff",
        "mtime": "1.000000007",
        "uid": "3000000",
        "SCHILY.xattr.security.capability": "\x01",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
    }
    entries, _ = read(archive([(info, b"1")], tarfile.PAX_FORMAT))
    entry = entries[0][0]
    assert entry.mtime_ns == 1_000_000_007
    assert entry.uid == 3_000_000
    assert entry.xattrs == {b"security.capability": b"\x01"}
    assert entry.name == "käse/\udcff".encode("utf-8", "surrogateescape")


def test_gnu_numbers_beyond_octal():
    entries, _ = read(archive([(member("x", uid=1 << 31), b"")], tarfile.GNU_FORMAT))
    assert entries[0][0].uid == 1 << 31


def sparse(version):
    """The same sparse file (data at 512..1023 of 2048 bytes) in each of GNU's pax dialects."""
    info = member("GNUSparseFile.0/x")
    data = b"D" * 512
    if version == "1.0":
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "x",
            "GNU.sparse.realsize": "2048",
        }
        data = b"1\n512\n512\n".ljust(512, b"\0") + data
    else:
        info.pax_headers = {
            "GNU.sparse.size": "2048",
            "GNU.sparse.map": "512,512",
            "GNU.sparse.name": "x",
        }
    info.size = len(data)
    return archive([(info, data)], tarfile.PAX_FORMAT)


@pytest.mark.parametrize("version", ["0.1", "1.0"])
def test_sparse_files(version):
    entries, again = read(sparse(version))
    entry, payload = entries[0]
    assert (entry.name, entry.size, entry.pieces) == (b"x", 2048, ((512, 512),))
    assert payload == b"D" * 512
    assert again == sparse(version)


@pytest.mark.parametrize("numbers", ["512,512,0,1", "4096,512", "1,2,3", "0,511", "a,b"])
def test_sparse_maps_that_lie(numbers):
    info = member("x", size=512)
    info.pax_headers = {"GNU.sparse.size": "2048", "GNU.sparse.map": numbers}
    with pytest.raises(InvalidRequest):
        read(archive([(info, b"D" * 512)], tarfile.PAX_FORMAT))


def raw_header(**changes):
    entry = Entry(b"x", layer_tar.FILE, 0o644)
    block = bytearray(tar_writer.header(entry))
    for where, value in changes.items():
        start = int(where[1:])
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HOSTILE = {
    "leaves by ..": raw_header(_0=b"../../etc/x"),
    "leaves by a way down": raw_header(_0=b"a/../../x"),
    "negative size": raw_header(_124=b"\xff" * 12),
    "size with a sign": raw_header(_124=b"-0000000001\0"),
    "size with letters": raw_header(_124=b"0x000000010\0"),
    "digits of base 10": raw_header(_124=b"00000000009\0"),
    "unknown type": raw_header(_156=b"Z"),
    "endless size": raw_header(_124=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7),
    "hard link out": raw_header(_156=b"1", _157=b"../../etc/shadow"),
    "hard link to the root": raw_header(_156=b"1", _157=b"./"),
    "symlink to nothing": raw_header(_156=b"2"),
    "endless pax header": raw_header(_156=b"x", _124=b"77777777777\0"),
    "pax without newline": raw_header(_156=b"x", _124=b"00000000010\0")
    + b"8 a=bcde".ljust(512, b"\0"),
    "pax length lies": raw_header(_156=b"x", _124=b"00000000010\0")
    + b"999 a=b\n".ljust(512, b"\0"),
    "not a tar": b"GIF89a" * 100,
    "half a header": b"x" * 100,
    "one zero block, then more": bytes(512) + raw_header(),
    "header cut off": raw_header(_156=b"x", _124=b"00000000010\0"),
    "id that chown ignores": raw_header(_108=b"\x80\0\0\0\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_refused(data):
    with pytest.raises(InvalidRequest):
        read(data)


def test_long_names_are_refused():
    for name in ("a/" * 2500 + "x", "b" * 256, "/".join(["c"] * 401)):
        with pytest.raises(InvalidRequest, match="file name too long"):
            read(archive([(member(name), b"")], tarfile.PAX_FORMAT))


def test_messages_carry_no_control_characters():
    with pytest.raises(InvalidRequest) as caught:
        layer_tar.clean(b"../\x1b[31m\n")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "marker", "what"),
    [
        (b"a/b", Marker.NONE, b"a/b"),
        (b"a/.wh.b", Marker.WHITEOUT, b"a/b"),
        (b".wh.b", Marker.WHITEOUT, b"b"),
        (b"a/.wh..wh..opq", Marker.OPAQUE, b"a"),
        (b".wh..wh.plnk/1.2", Marker.SKIP, b".wh..wh.plnk/1.2"),
        (b".wh..wh.aufs", Marker.SKIP, b".wh..wh.aufs"),
    ],
)
def test_markers(name, marker, what):
    assert marker_of(name) == (marker, what)


@pytest.mark.parametrize("name", [b".wh.", b"a/.wh..", b"a/.wh...", b".wh.../x", b".wh.a/x"])
def test_whiteouts_of_nothing_are_refused(name):
    with pytest.raises(InvalidRequest, match="invalid whiteout"):
        marker_of(name)


def test_marker_names():
    assert whiteout_name(b"a/b") == b"a/.wh.b"
    assert opaque_name(b"a") == b"a/.wh..wh..opq"


names = (
    st.binary(min_size=1, max_size=300)
    .map(
        lambda raw: b"/".join(
            p[:255] for p in raw.replace(b"\0", b"_").split(b"/") if p not in (b"", b".", b"..")
        )
    )
    .filter(bool)
)
kinds = st.sampled_from(["file", "directory", "symlink", "hardlink", "character", "block", "fifo"])


@st.composite
def entries(draw):
    kind = draw(kinds)
    size = draw(st.integers(0, 3000)) if kind == "file" else 0
    target = draw(names) if kind in ("symlink", "hardlink") else b""
    device = (draw(st.integers(0, 4095)), draw(st.integers(0, 99999)))
    return Entry(
        draw(names),
        kind,
        draw(st.integers(0, 0o7777)),
        size=size,
        payload=size,
        uid=draw(st.integers(0, 1 << 31)),
        gid=draw(st.integers(0, 1 << 31)),
        mtime_ns=draw(st.integers(0, 1 << 62)),
        target=target,
        device=device if kind in ("character", "block") else (0, 0),
        xattrs=draw(
            st.dictionaries(
                st.sampled_from([b"user.a", b"security.capability"]),
                st.binary(min_size=1, max_size=9),
                max_size=2,
            )
        ),
    )


@given(st.lists(entries(), max_size=4))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(written):
    data = b"".join(
        tar_writer.header(e) + b"p" * e.size + tar_writer.padding(e.size) for e in written
    )
    found, again = read(data + tar_writer.END)
    assert [entry for entry, _ in found] == written
    assert again == data + tar_writer.END


@given(st.binary(max_size=2000), st.integers(0, 511), st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_the_reader(noise, where, change):
    block = bytearray(raw_header() + noise)
    block[where : where + len(change)] = change
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:512]))
    for data in (bytes(block), noise):
        with suppress(DockerlabError):
            read(data)
