from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.dockerfile.ignore import parse_ignore
from dockerlab.errors import InvalidRequest

TABLE = Path(__file__).parents[2] / "golden" / "tables" / "ignore.txt"


def rows() -> list[tuple[str, str, str]]:
    lines = TABLE.read_text().splitlines()[1:]
    return [tuple(line.split(" | ")) for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(("patterns", "path", "wanted"), rows())
def test_verdict(patterns: str, path: str, wanted: str) -> None:
    try:
        ignore = parse_ignore(patterns.replace(",", "\n"))
    except InvalidRequest:
        verdict = "error"
    else:
        verdict = "out" if ignore.excludes(path) else "in"
    assert verdict == wanted


def test_the_line_that_decided_is_known() -> None:
    ignore = parse_ignore("\ufeff# comment\n\n*.log\n!keep.log\n")
    assert (deciding := ignore.decided_by("x.log")) is not None
    assert (deciding.line, deciding.text) == (3, "*.log")
    assert (deciding := ignore.decided_by("keep.log")) is not None
    assert deciding.line == 4
    assert ignore.decided_by("other") is None


def test_excluded_folders_are_walked_only_for_what_comes_back() -> None:
    ignore = parse_ignore("a\nb\n!a/keep/x\n!**/y.txt\n")
    assert ignore.may_include_below("a")
    assert ignore.may_include_below("b")
    only = parse_ignore("a\nb\n!a/keep/x\n")
    assert only.may_include_below("a/keep")
    assert not only.may_include_below("b")
    assert not only.may_include_below("a/other")


@given(
    st.text(alphabet="ab*?[]!^-\\/.#\n ", max_size=30),
    st.text(alphabet="ab/.", min_size=1, max_size=10),
)
def test_any_file_decides_or_is_refused(text: str, path: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_ignore(text).excludes(path)
