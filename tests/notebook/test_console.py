"""`dockerlab VERB` in a terminal: what goes to which stream, and docker's exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def run(environ):
    def act(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dockerlab", *words],
            env=environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return act


def test_streams_and_exit_code(run, image):
    ended = run("run", "--rm", image, "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (ended.returncode, ended.stdout, ended.stderr) == (4, "out\n", "err\n")


def test_standard_input_reaches_the_program(run, image):
    assert run("run", "-i", "--rm", image, "cat", stdin="hello\n").stdout == "hello\n"


def test_a_missing_program_is_127_and_leaves_nothing(run, image, name):
    ended = run("run", "--rm", "--name", name, image, "nosuch")
    assert ended.returncode == 127
    assert "executable file not found" in ended.stderr
    assert run("ps", "-a", "-q", "--filter", f"name={name}").stdout == ""


def test_usage_is_125(run):
    ended = run("run", "--nmae", "x", "y")
    assert ended.returncode == 125
    assert "unknown flag: --nmae" in ended.stderr
    assert "Did you mean --name?" in ended.stderr


def test_lists_in_all_forms(run, image):
    assert run("images", "-q", image).stdout.strip()
    repository = run("images", "--format", "{{.Repository}}", image).stdout
    assert repository == f"{image}\n"
    row = json.loads(run("images", "--format", "json", image).stdout)
    assert row["Tag"] == "latest"
    assert run("images", image).stdout.startswith("REPOSITORY")
    assert json.loads(run("inspect", image).stdout)[0]["RepoTags"]


def test_nobody_reads_on(environ, image):
    """`dockerlab ... | head -1` ends quietly."""
    shown = subprocess.run(
        f"{sys.executable} -m dockerlab inspect {image} | head -1",
        shell=True,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stderr == ""


@pytest.mark.parametrize("words", [("stop", "no-such-container"), ("rmi", "no-such-image")])
def test_what_is_not_there(run, words):
    ended = run(*words)
    assert ended.returncode == 1
    assert ended.stderr.startswith("No such ")
