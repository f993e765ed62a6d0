"""The grammar and the words of docker's verbs: pure rules, by tables."""

from __future__ import annotations

import os

import pytest

from dockerlab.commands import catalogue, grammar, words
from dockerlab.commands.failures import hint_for, spelled
from dockerlab.commands.formats import fill
from dockerlab.commands.hosts import choose
from dockerlab.commands.run_options import create_document
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.notebook.arguments import words as split
from dockerlab.notebook.completion import candidates
from dockerlab.wire.times import log_stamp


def document(line: str) -> dict[str, object]:
    verb, rest = catalogue.find(["run", *split(line, {})])
    args = grammar.parse(verb, rest)
    return create_document(args, attached=True, environ={"HOME": "/me"}, working_folder="/work")


def test_flags_of_run():
    made = document("-it --rm -h lab -e A=1 -e HOME -e NONE -w /w -m 64m --cpus 0.5 alpine ls -l")
    host = made["HostConfig"]
    assert (made["Image"], made["Cmd"]) == ("alpine", ["ls", "-l"])
    assert made["Tty"]
    assert made["OpenStdin"]
    assert made["Env"] == ["A=1", "HOME=/me"]
    assert (made["Hostname"], made["WorkingDir"]) == ("lab", "/w")
    assert (host["Memory"], host["NanoCpus"], host["AutoRemove"]) == (64 << 20, 500_000_000, True)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("8080:80", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
        ("80", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("127.0.0.1:53:53/udp", {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}]}),
        ("127.0.0.1::80", {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ("[::1]:8080:80", {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]}),
        (
            "90-91:80-81",
            {
                "80/tcp": [{"HostIp": "", "HostPort": "90"}],
                "81/tcp": [{"HostIp": "", "HostPort": "91"}],
            },
        ),
    ],
)
def test_ports(typed, wanted):
    assert document(f"-p {typed} x")["HostConfig"]["PortBindings"] == wanted


def test_volumes_and_mounts():
    made = document(
        "-v ./here:/a -v named:/b:ro -v /c --mount type=bind,src=../up,dst=/d,readonly x"
    )
    assert made["HostConfig"]["Binds"] == ["/work/here:/a", "named:/b:ro"]
    assert made["Volumes"] == {"/c": {}}
    assert made["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/up", "Target": "/d", "ReadOnly": True}
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-p 99999:80 x", "invalid"),
        ("-p x:y:z:w x", "invalid"),
        ("--cpus many x", "failed to parse many"),
        ("-m huge x", "invalid size"),
        ("--ulimit x x", "invalid ulimit"),
        ("--pids-limit few x", "invalid syntax"),
        ("--restart on-failure:x y", "must be an integer"),
        ("--name", "flag needs an argument"),
        ("-Z x", "unknown shorthand flag: 'Z'"),
        ("", "requires at least 1 argument"),
    ],
)
def test_what_is_refused(line, message):
    with pytest.raises(InvalidRequest, match=message):
        document(line)


def test_every_verb_says_what_it_is():
    for verb in catalogue.VERBS:
        assert verb.help
        letters = [flag.letter for flag in verb.flags if flag.letter]
        assert len(letters) == len(set(letters)), verb.name


def test_two_words_and_one():
    assert catalogue.find(["container", "ls", "-a"])[0] is catalogue.find(["ps"])[0]
    with pytest.raises(InvalidRequest) as caught:
        catalogue.find(["network", "lz"])
    assert caught.value.hint == "Did you mean network ls?"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0B"), (999, "999B"), (3886916, "3.89MB"), (10**9, "1GB")]
)
def test_sizes(count, shown):
    assert words.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (60, "About a minute"),
        (3600, "About an hour"),
        (50 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages(seconds, shown):
    now = 2 * 10**18
    assert words.ago(now - seconds * 10**9, now) == f"{shown} ago"


def test_times_come_back():
    text = "2026-11-25T02:40:00.000000001Z"
    assert log_stamp(words.read_time(text)) == text
    assert words.read_time("2026-11-25T03:40:00.000000001+01:00") == words.read_time(text)
    assert words.read_time("0001-01-01T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{.Name}}: {{.State.Status}}", "web: running"),
        ("{{json .Tags}}", '["a","b"]'),
        ('{{join .Tags "+"}}', "a+b"),
        ('{{index .Labels "x.y"}}', "z"),
        ("{{upper .Name}}\\t{{len .Tags}}", "WEB\t2"),
        ("{{.State}}", "map[Status:running]"),
    ],
)
def test_templates(template, shown):
    known = {
        "Name": "web",
        "State": {"Status": "running"},
        "Tags": ["a", "b"],
        "Labels": {"x.y": "z"},
    }
    assert fill(template, known) == shown


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{range .Tags}}x{{end}}"])
def test_templates_beyond_ours(template):
    with pytest.raises(DockerlabError):
        fill(template, {"Tags": []})


def test_which_host(tmp_path):
    nobody = {"DOCKER_CONFIG": str(tmp_path)}
    assert choose("", nobody).kind == "own"
    assert choose("", {**nobody, "DOCKER_HOST": "tcp://x"}).url == "tcp://x"
    assert choose("unix:///y", {**nobody, "DOCKER_HOST": "tcp://x"}).url == "unix:///y"
    assert choose("dockerlab", {**nobody, "DOCKER_HOST": "tcp://x"}).kind == "own"
    with pytest.raises(NotFound, match='context "nope" not found'):
        choose("nope", nobody)


def test_variables_on_a_line():
    variables = {"name": "a b", "row": {"id": "7"}, "os": os}
    line = "run {name} {row[id]} {os.sep} '{{.Names}}' ${name} {no} {os.getcwd()}"
    assert split(line, variables) == [
        "run", "a b", "7", os.sep, "{{.Names}}", "$a b", "{no}", "{os.getcwd()}",
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="can't be read"):
        split("echo 'open", {})


@pytest.mark.parametrize(
    ("before", "begun", "wanted"),
    [
        ([], "im", ["image", "images"]),
        (["network"], "l", ["ls"]),
        (["run"], "py", ["python:3.12"]),
        (["ps"], "--no", ["--no-trunc"]),
    ],
)
def test_completion(before, begun, wanted):
    found = candidates("%docker", ["%docker", *before], begun, lambda kind: ("python:3.12",))
    assert [text for text in found if text in wanted] == wanted


def test_hints_are_spelled_for_the_place():
    hint = hint_for("No such image: x:latest")
    assert spelled(hint, "dockerlab") == "Fetch it first: dockerlab pull x:latest"
    assert spelled("docker ps -a lists all", "%docker") == "%docker ps -a lists all"
    assert spelled("a docker context", "%docker") == "a docker context"
