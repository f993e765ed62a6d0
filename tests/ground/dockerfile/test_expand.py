from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.dockerfile.expand import ExpandError, expand, expand_dollars, expand_words

TABLE = Path(__file__).parents[2] / "golden" / "tables" / "expand.txt"
VALUES = {
    "A": "a",
    "EMPTY": "",
    "PATH": "/usr/bin:/bin",
    "FILE": "archive.tar.gz",
    "TWO": "x  y",
    "REF": "$A",
}


def rows() -> list[tuple[str, str]]:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return [tuple(part.strip() for part in line.rsplit(" | ", 1)) for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(("text", "wanted"), rows())
def test_expand(text: str, wanted: str) -> None:
    try:
        result = expand(text, VALUES)
    except ExpandError as error:
        result = f"error: {error}"
    assert result == wanted.replace("<>", "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80 $A", ("80", "a")),
        ("$TWO", ("x", "y")),
        ('"$TWO" z', ("x  y", "z")),
        ("a$TWO b", ("ax", "y", "b")),
        ("a\\ b c", ("a b", "c")),
        ("$UNSET", ()),
        ('""', ("",)),
        ("  ", ()),
    ],
)
def test_expand_words(text: str, wanted: tuple[str, ...]) -> None:
    assert expand_words(text, VALUES) == wanted


def test_the_escape_character_is_the_files_own() -> None:
    assert expand("`$A \\x", VALUES, escape="`") == "$A \\x"


def test_here_documents_keep_quotes_and_other_escapes() -> None:
    text = """it's "$A" \\$A \\n ${A:-x}"""
    assert expand_dollars(text, VALUES) == """it's "a" $A \\n a"""


@given(st.text(alphabet="$A{}:-+?#%/*'\"\\ x@", max_size=40))
def test_any_text_expands_or_is_refused(text: str) -> None:
    for function in (expand, expand_words, expand_dollars):
        with contextlib.suppress(ExpandError):
            function(text, VALUES)
