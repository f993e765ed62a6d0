"""Golden folders: tests/golden/dockerfile/NAME/{Dockerfile,parsed.txt}; errors are golden too.

A new case is a new folder. To write its parsed.txt (then read it!):
    PYTHONPATH=. python tests/ground/dockerfile/test_parse.py NAME
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.dockerfile import instructions as kinds
from dockerlab.dockerfile.lines import DockerfileError, decode
from dockerlab.dockerfile.parse import Dockerfile, parse, parse_trigger
from dockerlab.dockerfile.render import render as write

GOLDEN = Path(__file__).parents[2] / "golden" / "dockerfile"


def render(data: bytes) -> str:
    """One paragraph per instruction, or the error with its hint."""
    try:
        read = parse(decode(data))
    except DockerfileError as error:
        return f"error on {error.lines}: {error}\nhint: {error.hint}\n"
    shown = [f"# {read.directives}"] if read.directives != type(read.directives)() else []
    for instruction in read.instructions:
        shown.append(f"{instruction.source.lines} {instruction.keyword}")
        for field in fields(instruction):
            value = getattr(instruction, field.name)
            if field.name != "source" and value != field.default:
                shown.append(f"    {field.name} = {value!r}")
    return "\n".join(shown) + "\n"


@pytest.mark.parametrize("case", sorted(GOLDEN.iterdir()), ids=lambda case: case.name)
def test_parse(case: Path) -> None:
    assert render((case / "Dockerfile").read_bytes()) == (case / "parsed.txt").read_text()


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    render(data)


KEYWORDS = "FROM RUN CMD COPY ADD ENV ARG LABEL HEALTHCHECK ONBUILD SHELL VOLUME <<EOF EOF"
MARKS = "\\ # -- --from= --mount= = ' \" [ ] , $ ${ } ` a"
SCRAPS = st.sampled_from([*f"{KEYWORDS} {MARKS}".split(), "\t", "\n", "\n", "\\\n"])


@given(st.lists(SCRAPS, max_size=40).map(" ".join))
def test_any_scraps_of_the_language_parse_or_are_refused(text: str) -> None:
    render(text.encode())


def _values(read: Dockerfile) -> tuple[kinds.Instruction, ...]:
    return read.instructions


@given(st.lists(SCRAPS, max_size=25).map(lambda scraps: "FROM a\n" + " ".join(scraps)))
def test_what_is_written_back_reads_the_same(text: str) -> None:
    try:
        read = parse(text)
    except DockerfileError:
        return
    assert _values(parse(write(read))) == _values(read)


@pytest.mark.parametrize("case", sorted(GOLDEN.iterdir()), ids=lambda case: case.name)
def test_golden_files_written_back_read_the_same(case: Path) -> None:
    try:
        read = parse(decode((case / "Dockerfile").read_bytes()))
    except DockerfileError:
        return
    assert _values(parse(write(read))) == _values(read)


def test_the_message_names_the_first_line_and_the_range_has_both() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\n\nFOO a \\\n b\n")
    assert str(caught.value) == "dockerfile parse error on line 3: unknown instruction: FOO"
    assert (caught.value.lines.first, caught.value.lines.last) == (3, 4)


def test_a_trigger_with_a_here_document_comes_back() -> None:
    read = parse("FROM a\nONBUILD COPY <<EOF /x\nhello\nEOF\n").instructions[1]
    assert isinstance(read, kinds.OnBuild)
    again = parse_trigger(read.trigger, read.source.lines)
    assert isinstance(again, kinds.Copy)
    assert again.heredocs[0].content == "hello\n"


if __name__ == "__main__":
    for name in sys.argv[1:] or [case.name for case in GOLDEN.iterdir()]:
        folder = GOLDEN / name
        (folder / "parsed.txt").write_text(render((folder / "Dockerfile").read_bytes()))
