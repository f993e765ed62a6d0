"""The house keeps its form: small files that say what they refuse, and two halves that can part."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "dockerlab"
STOP_LINES = 500
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    path
    for folder in ("src", "widgets")
    for path in (PROJECT / "labextension" / folder).rglob("*.ts")
)


def test_no_file_grows_without_end() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in (*SOURCES, *SCRIPTS)}
    long = [f"{path.relative_to(PROJECT)}: {n}" for path, n in sizes.items() if n > STOP_LINES]
    assert not long, "find the second noun"


def test_every_module_says_what_it_knows_and_refuses() -> None:
    silent = []
    for path in SOURCES:
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        told = "Knows:" in text and "Refuses:" in text
        if not told and path.name != "__init__.py":
            silent.append(str(path.relative_to(PROJECT)))
    assert not silent


def test_the_notebook_house_stands_without_the_engine() -> None:
    """Every module of the notebook side can be imported when `dockerlab.engine` is not there."""
    script = """
import importlib, pkgutil, sys
sys.modules["dockerlab.engine"] = None
import dockerlab
for room in ("commands", "notebook", "console", "jupyter"):
    package = importlib.import_module(f"dockerlab.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"dockerlab.{room}."):
        importlib.import_module(module.name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_that_is_committed_reaches_outside() -> None:
    """The project stands alone: no path beside it, no package registry's host name."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("no git here")
    outside = ("/work/" + "shared", "registry.npmjs" + ".org", "pypi" + ".org/simple")
    found = [
        f"{name}: {word}"
        for name in tracked.stdout.splitlines()
        if (path := PROJECT / name).is_file() and path.suffix not in {".png", ".gz", ".tar"}
        for word in outside
        if word in path.read_text("utf-8", "replace")
    ]
    assert not found
