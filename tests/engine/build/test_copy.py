from __future__ import annotations

import io
import tarfile

import pytest

from dockerlab.engine.model.image import Image
from dockerlab.errors import DockerlabError, InvalidRequest

from .conftest import Lab, archive

FILES = {
    "one": b"1",
    "two": b"22",
    "d/": b"",
    "d/in": b"inner",
    "d/deep/": b"",
    "d/deep/x": b"x",
    "d/l": "in",
    "link": "one",
    "a.txt": b"a",
    "b.txt": b"b",
}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("COPY one /x", {"x": b"1"}),
        ("COPY one /new/dir/", {"new": None, "new/dir": None, "new/dir/one": b"1"}),
        ("COPY one two /m/", {"m": None, "m/one": b"1", "m/two": b"22"}),
        ("COPY one /tmp", {"tmp/one": b"1"}),
        ("COPY one /link", {"tmp/one": b"1"}),
        ("COPY one relative", {"relative": b"1"}),
        ("COPY one ./", {"one": b"1"}),
        ("COPY link /followed", {"followed": b"1"}),
        ("COPY *.txt /t/", {"t": None, "t/a.txt": b"a", "t/b.txt": b"b"}),
        ("COPY [ab].tx? /t/", {"t": None, "t/a.txt": b"a", "t/b.txt": b"b"}),
        (
            "COPY d /d",
            {"d": None, "d/in": b"inner", "d/deep": None, "d/deep/x": b"x", "d/l": "in"},
        ),
        ("COPY d/deep /e/", {"e": None, "e/x": b"x"}),
        ("COPY ./d/../one /y", {"y": b"1"}),
        ("COPY /one /y", {"y": b"1"}),
        ('COPY ["a.txt", "with blank"]', {"with blank": b"a"}),
        ("COPY <<name /h\nhello $BASE\nname", {"h": b"hello yes\n"}),
        (
            "COPY <<'one' <<two /h/\n$BASE\none\nb\ntwo",
            {"h": None, "h/one": b"$BASE\n", "h/two": b"b\n"},
        ),
        ("COPY one /../../up", {"up": b"1"}),
        ("COPY --chmod=600 one /x", {"x": b"1"}),
    ],
)
def test_where_things_go(lab: Lab, base: Image, line: str, wanted: dict[str, object]) -> None:
    image = lab.build(f"FROM base\n{line}\n", FILES)
    before, after = lab.tree(base), lab.tree(image)
    new = {path: value[3] for path, value in after.items() if path not in before}
    assert new == wanted


def test_owners_modes_and_times(lab: Lab, base: Image) -> None:
    special = tarfile.TarInfo("setuid")
    special.mode, special.uid, special.gid = 0o4755, 5, 6
    image = lab.build(
        "FROM base\nCOPY setuid /a\nCOPY --chown=builder:staff setuid /b/c/\n"
        "COPY --chown=builder setuid /d\nCOPY --chown=7:8 --chmod=u+rwx,go= one /e\n",
        {**FILES, "setuid": special},
    )
    tree = lab.tree(image)
    assert tree["a"][:3] == ("-rwxr-xr-x", 0, 0)
    assert tree["b"][:3] == ("drwxr-xr-x", 1000, 50)
    assert tree["b/c/setuid"][:3] == ("-rwxr-xr-x", 1000, 50)
    assert tree["d"][1:3] == (1000, 1000)
    assert tree["e"][:3] == ("-rwx------", 7, 8)


def test_between_stages_everything_is_kept(lab: Lab, base: Image) -> None:
    image = lab.build(
        "FROM base AS first\nCOPY --chown=3:4 --chmod=4711 one /x\n"
        "FROM scratch\nCOPY --from=first /x /y\nCOPY --from=0 / /all\nCOPY --from=base /etc /etc\n",
        FILES,
    )
    tree = lab.tree(image)
    assert tree["y"] == ("-rws--x--x", 3, 4, b"1")
    assert tree["all/x"] == ("-rws--x--x", 3, 4, b"1")
    assert tree["all/link"][3] == "tmp"
    assert "etc/passwd" in tree
    assert "dev/console" not in tree


def test_hard_links_of_a_directory_stay_links(lab: Lab, base: Image) -> None:
    link = tarfile.TarInfo("d/hard")
    link.type, link.linkname = tarfile.LNKTYPE, "d/in"
    image = lab.build("FROM base\nCOPY d /d\n", {**FILES, "d/hard": link})
    kinds = {entry.path: entry.kind for entry in lab.store.layers.entries(image.layers[-1])}
    assert sorted(kinds[name] for name in ("d/in", "d/hard")) == ["file", "hardlink"]


MISSING = "COPY failed: file not found in build context or excluded by .dockerignore"
SEVERAL = (
    "When using COPY with more than one source file, the destination must be a directory "
    "and end with a /"
)
NOBODY = (
    "unable to convert uid/gid chown string to host mapping: can't find uid for user nobody: "
    "no such user: nobody"
)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (
            "COPY nosuch /",
            f"{MISSING}: stat nosuch: file does not exist",
            "",
        ),
        (
            "COPY tow /",
            f"{MISSING}: stat tow: file does not exist",
            "Did you mean two?",
        ),
        ("COPY ../x /", "COPY failed: forbidden path outside the build context: ../x ()", None),
        (
            "COPY d/../../x /",
            "COPY failed: forbidden path outside the build context: d/../../x ()",
            None,
        ),
        ("COPY *.none /", "COPY failed: no source files were specified", None),
        (
            "COPY one two /x",
            SEVERAL,
            "Write /x/",
        ),
        ("COPY d /etc/passwd", "cannot copy to non-directory: /etc/passwd", None),
        ("COPY --from=5 x /", "invalid from flag value 5: index out of bounds", None),
        (
            "COPY --chown=nobody one /",
            NOBODY,
            None,
        ),
        ("ENV A=${X", """failed to process "${X": syntax error: missing '}'""", None),
        ("EXPOSE 99999", "Invalid containerPort: 99999", None),
        ("STOPSIGNAL FOO", "Invalid signal: FOO", None),
    ],
)
def test_refusals(lab: Lab, base: Image, line: str, message: str, hint: str | None) -> None:
    with pytest.raises(DockerlabError) as caught:
        lab.build(f"FROM base\n{line}\n", FILES)
    assert str(caught.value) == message
    if hint is not None:
        assert caught.value.hint == hint


def test_links_in_the_context_do_not_lead_out(lab: Lab, base: Image) -> None:
    files = {**FILES, "out": "/etc/passwd", "updir": "../../../../etc", "absdir": "/etc"}
    for line in ("COPY out /", "COPY updir/passwd /", "COPY absdir/passwd /"):
        with pytest.raises(InvalidRequest):
            lab.build(f"FROM base\n{line}\n", files)
    # As parts of a tree they are copied as links.
    image = lab.build("FROM base\nCOPY . /c\n", files)
    assert lab.tree(image)["c/out"][3] == "/etc/passwd"


def test_links_in_the_image_do_not_lead_out(lab: Lab, base: Image) -> None:
    image = lab.build(
        "FROM base\nCOPY links /l\nCOPY one /l/abs/x\nCOPY one /l/up/y\n",
        {**FILES, "links/": b"", "links/abs": "/tmp", "links/up": "../../../../tmp"},
    )
    tree = lab.tree(image)
    assert tree["tmp/x"][3] == b"1"
    assert tree["tmp/y"][3] == b"1"


def test_add_unpacks_archives_and_copies_the_rest(lab: Lab, base: Image) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        info = tarfile.TarInfo("inside/setuid")
        info.mode, info.uid, info.gid = 0o4755, 11, 12
        tar.addfile(info)
    image = lab.build(
        "FROM base\nADD a.tar.xz /u\nCOPY a.tar.xz /c\nADD one /one\n",
        {**FILES, "a.tar.xz": inner.getvalue()},
    )
    tree = lab.tree(image)
    assert tree["u/inside/setuid"][:3] == ("-rwsr-xr-x", 11, 12)
    assert tree["c"][3] == inner.getvalue()
    assert tree["one"][3] == b"1"


def test_an_added_archive_cannot_climb_out(lab: Lab, base: Image) -> None:
    bad = archive({"../../evil": b"x"})
    with pytest.raises(InvalidRequest, match="outside of the root"):
        lab.build("FROM base\nADD bad.tar /u\n", {"bad.tar": bad})


def test_dockerignore_applies_again(lab: Lab, base: Image) -> None:
    files = {**FILES, ".dockerignore": b"*\n!d\nd/deep\n"}
    image = lab.build("FROM base\nCOPY . /c/\n", files)
    assert list(lab.tree(image, "c")) == ["d", "d/in", "d/l"]
    with pytest.raises(InvalidRequest) as caught:
        lab.build("FROM base\nCOPY one /\n", files)
    assert caught.value.hint == "It is excluded by .dockerignore line 1: *"
