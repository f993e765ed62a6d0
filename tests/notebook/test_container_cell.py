"""`%%container`: variables in and out, other interpreters, folders, a container that is kept."""

from __future__ import annotations

import pandas as pd
import pytest

from dockerlab.commands.cells import script_command
from dockerlab.errors import Conflict, DockerlabError, Failed, InvalidRequest, NotFound
from dockerlab.notebook.errors import ProgramFailed
from dockerlab.notebook.variables import Variable, decode, encode, read

TABLE = pd.DataFrame({"name": ["a", "b"], "size": [1, 2]})


@pytest.fixture
def cell(shell):
    """Run one `%%container` cell and return its result."""
    return lambda line, script: shell.run_cell_magic("container", line, script)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("häßlich\n", "häßlich\n".encode()),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        ([1, "ä", None], '[1, "ä", null]'.encode()),
        ({"a": 1.5}, b'{"a": 1.5}'),
        (7, b"7"),
        (TABLE, b"name,size\na,1\nb,2\n"),
        (TABLE.set_index("name"), b"name,size\na,1\nb,2\n"),
    ],
)
def test_what_a_value_is_sent_as(value, sent):
    assert encode(Variable("it"), {"it": value}) == sent


def test_a_named_format_wins():
    assert encode(read("it:json"), {"it": "text"}) == b'"text"'
    assert encode(read("it:text"), {"it": [1]}) == b"[1]"


@pytest.mark.parametrize(
    ("form", "data", "value"),
    [("", b"a\xff\n", "a�\n"), ("bytes", b"\xff", b"\xff"), ("json", b'{"a": [1]}', {"a": [1]})],
)
def test_what_comes_back(form, data, value):
    assert decode(Variable("it", form), data) == value


def test_frames_come_back():
    assert decode(read("it:csv"), encode(read("it"), {"it": TABLE})).equals(TABLE)


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda: read("2x"), InvalidRequest, "no name of a variable"),
        (lambda: read("x:jsn"), InvalidRequest, "'jsn' is no format"),
        (lambda: encode(Variable("taple"), {"table": 1}), NotFound, "'taple' is not defined"),
        (lambda: encode(Variable("x"), {"x": object()}), InvalidRequest, "can't be sent as json"),
        (lambda: encode(read("x:bytes"), {"x": "é"}), InvalidRequest, "can't be sent as bytes"),
        (lambda: encode(read("x:csv"), {"x": 1}), InvalidRequest, "can't be sent as csv"),
        (lambda: decode(read("x:json"), b"{"), Failed, "is no json"),
        (lambda: decode(read("x:csv"), b""), Failed, "is no csv"),
    ],
)
def test_what_cannot_be_sent_or_read(act, kind, message):
    with pytest.raises(kind, match=message) as caught:
        act()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("interpreter", "begins"),
    [
        ("python3", ("python3", "-c")),
        ("python3 -u", ("python3", "-u", "-c")),
        ("/usr/bin/perl", ("/usr/bin/perl", "-e")),
        ("node", ("node", "-e")),
    ],
)
def test_interpreters(interpreter, begins):
    assert script_command(interpreter, "x") == (*begins, "x")


def test_scripts_that_are_none():
    with pytest.raises(InvalidRequest, match="too long"):
        script_command("sh", "x" * 130_000)
    with pytest.raises(InvalidRequest, match="invalid --with"):
        script_command("'", "x")


def test_a_frame_goes_in_and_comes_out(shell, cell, image, capfd):
    shell.user_ns["table"] = TABLE
    cell(f"-i table -o result:csv {image}", "read title; echo $title; sort -r")
    assert list(shell.user_ns["result"]["name"]) == ["b", "a"]
    assert "size" not in capfd.readouterr().out  # it went into the variable


def test_large_bytes_go_through(shell, cell, image):
    shell.user_ns["data"] = bytes(range(256)) * 8_000  # 2 MB, more than any pipe holds
    cell(f"-i data -o back:bytes {image}", "cat")
    assert shell.user_ns["back"] == shell.user_ns["data"]


def test_a_program_that_does_not_read(shell, cell, image):
    shell.user_ns["data"] = b"x" * 1_000_000
    assert cell(f"-i data {image}", "echo enough").stdout == "enough\n"


def test_a_result_of_ours_goes_in(shell, cell, docker, image):
    shell.user_ns["found"] = docker(f"images {image}")
    cell(f"-i found -o lines {image}", "cut -d, -f1")
    assert shell.user_ns["lines"].split() == ["repository", image]


def test_nothing_runs_when_a_variable_is_missing(shell, cell, docker, image):
    before = len(docker("ps -a"))
    shell.user_ns["table"] = TABLE
    with pytest.raises(NotFound) as caught:
        cell(f"-i taple {image}", "cat")
    assert caught.value.hint == "Did you mean table?"
    with pytest.raises(InvalidRequest, match="reads one variable"):
        cell(f"-i table -i table {image}", "cat")
    assert len(docker("ps -a")) == before


def test_a_failed_program_sets_nothing(shell, cell, image):
    with pytest.raises(ProgramFailed):
        cell(f"-o unset {image}", "echo half; exit 3")
    assert "unset" not in shell.user_ns
    with pytest.raises(Failed, match="is no json"):
        cell(f"-o unset:json {image}", "echo half")
    assert "unset" not in shell.user_ns


def test_another_interpreter(cell, image):
    assert cell(f"--with bash {image}", "a=(1 2 3); echo ${#a[@]}").stdout == "3\n"
    with pytest.raises(DockerlabError, match="executable file not found") as caught:
        cell(f"--with no-such-program {image}", "x")
    assert "program" in caught.value.hint


def test_a_mounted_folder(cell, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in").write_text("from outside\n")
    ran = cell(f"-v ./data:/data {image}", "cat /data/in; echo from inside > /data/out")
    assert ran.stdout == "from outside\n"
    assert (tmp_path / "data" / "out").read_text() == "from inside\n"


def test_a_container_is_kept_across_cells(shell, cell, docker, image, name):
    first = cell(f"--name {name} --keep -m 64m {image}", "echo here > /kept; echo $$")
    assert first.exit_code == 0
    again = cell(
        f"--name {name} --keep -m 64m -e WHO=me -w /tmp {image}", "cat /kept; echo $WHO; pwd"
    )
    assert again.stdout == "here\nme\n/tmp\n"
    docker(f"stop {name}")
    shell.user_ns["word"] = "in"
    cell(
        f"--name {name} --keep -i word -o out", "cat; cat /kept"
    )  # it is started, and needs no image
    assert shell.user_ns["out"] == "inhere\n"
    assert docker("ps").df.loc[name, "image"] == image
    with pytest.raises(ProgramFailed):
        cell(f"--name {name} --keep", "exit 5")


def test_a_kept_container_is_not_another(cell, docker, image, name):
    with pytest.raises(NotFound, match="No such container"):
        cell(f"--name {name} --keep", "true")
    with pytest.raises(InvalidRequest, match="--keep needs a name"):
        cell(f"--keep {image}", "true")
    cell(f"--name {name} --keep {image}", "true")
    with pytest.raises(Conflict, match="made with other options"):
        cell(f"--name {name} --keep -m 64m {image}", "true")
    with pytest.raises(Conflict, match=f"made of {image}, not of other"):
        cell(f"--name {name} --keep other", "true")
    docker(f"rm -f {name}")


def test_help_shows_what_a_cell_has(shell):
    shown = repr(shell.run_cell_magic("container", "--help", "-"))
    for flag in ("--with", "--keep", "--input", "--output", "--memory", "--volume"):
        assert flag in shown
    for flag in ("--detach", "--rm", "--entrypoint"):
        assert flag not in shown
