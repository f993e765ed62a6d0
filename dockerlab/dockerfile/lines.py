"""Cut the text of a Dockerfile into logical lines; the first of its four rooms.

Knows:   byte order mark, parser directives, comments, the escape character at a line's end,
         and here-documents; every logical line remembers which lines of the file it came from.
Refuses: to know a keyword, except that RUN, COPY and ADD may carry here-documents.
Source:  docs.docker.com/reference/dockerfile, "Format", "Parser directives", "Here-documents".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dockerlab.errors import InvalidRequest

# What Docker's own scanner refuses, too; nobody writes such a line by hand.
MAX_LINE_CHARS = 65_535

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"""(\d*)<<(-?)(['"]?)([^<>'"\s]+)(['"]?)""")
_TAKES_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, slots=True, order=True)
class LineRange:
    """First and last line of something in the file; lines count from 1."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


class DockerfileError(InvalidRequest):
    """The Dockerfile cannot be read; `lines` says where."""

    def __init__(self, reason: str, lines: LineRange, *, hint: str = "") -> None:
        super().__init__(f"dockerfile parse error on line {lines.first}: {reason}", hint=hint)
        self.reason = reason
        self.lines = lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A here-document: `<<NAME`, lines, and a line that is just NAME.

    Attributes:
        expand: variables in the content are replaced; false when the name was quoted.
        descriptor: the number before `<<`; 0 when there was none.
    """

    name: str
    content: str
    expand: bool = True
    descriptor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeredocOpening:
    """The word `<<NAME` that announces a here-document; its content follows further down."""

    name: str
    expand: bool
    descriptor: int
    drops_tabs: bool  # written <<-NAME: leading tabs of every line go


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalLine:
    """One instruction's text: continuations joined, comments gone, blanks trimmed."""

    text: str
    lines: LineRange
    heredocs: tuple[Heredoc, ...] = ()
    has_gap: bool = False  # an empty line stood between continued lines

    @property
    def keyword(self) -> str:
        """The first word, in capitals."""
        return self.text.split(maxsplit=1)[0].upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """The `# name=value` lines at the very top."""

    escape: str = "\\"
    syntax: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A Dockerfile after the first room."""

    directives: Directives
    logical: tuple[LogicalLine, ...]


def decode(data: bytes) -> str:
    """Turn the bytes of a file into text; bytes that are not UTF-8 become U+FFFD, as JSON needs."""
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")


def split(text: str) -> Lines:
    """Cut a Dockerfile into directives and logical lines.

    Raises:
        DockerfileError: a directive twice or with a wrong value, an endless here-document, a line
            too long, or nothing but comments.
    """
    physical = _physical_lines(text)
    directives, directive_count = _read_directives(physical)
    reader = _Reader(physical, directive_count, directives.escape)
    logical = tuple(reader.logical_lines())
    if not logical:
        raise DockerfileError(
            "file with no instructions",
            LineRange(max(1, len(physical)), max(1, len(physical))),
            hint="Start with a FROM line, for example: FROM debian",
        )
    return Lines(directives=directives, logical=logical)


def heredoc_openings(text: str) -> tuple[HeredocOpening, ...]:
    """Find the `<<NAME` words of a line, outside of quotes.

    `3<<EOF`, `<<-EOF`, `<<"EOF"` are openings; `a<<EOF` and `<<<x` are not.
    """
    openings = (_opening(word) for word in _bare_words(text))
    return tuple(opening for opening in openings if opening)


def _physical_lines(text: str) -> list[str]:
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_CHARS:
            raise DockerfileError(
                f"dockerfile line greater than maximum allowed size of {MAX_LINE_CHARS}",
                LineRange(number, number),
            )
    return [line.removesuffix("\r") for line in lines]


def _read_directives(physical: list[str]) -> tuple[Directives, int]:
    found: dict[str, str] = {}
    count = 0
    for number, line in enumerate(physical, start=1):
        match = _DIRECTIVE.fullmatch(line.lstrip())
        if match is None:
            break
        count = number
        name, value = match[1].lower(), match[2]
        if name not in {"escape", "syntax", "check"}:
            continue  # an unknown one is a comment, and does not end the directives
        if name in found:
            raise DockerfileError(
                f"only one {name} parser directive can be used", LineRange(number, number)
            )
        if name == "escape" and value not in {"\\", "`"}:
            raise DockerfileError(
                f"invalid escape token '{value}' does not match ` or \\",
                LineRange(number, number),
            )
        found[name] = value
    return Directives(**found), count


@dataclass(slots=True)
class _Reader:
    """A place in the physical lines; each method reads on from there."""

    physical: list[str]
    position: int
    escape: str
    _continued: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        # A doubled escape character is an escaped one, and continues nothing.
        token = re.escape(self.escape)
        self._continued = re.compile(rf"(?:^|(?<=[^{token}])){token}[ \t]*$")

    def logical_lines(self) -> Iterator[LogicalLine]:
        while self.position < len(self.physical):
            first = self.position + 1
            text, has_gap = self._joined()
            if not text:
                continue
            keyword = text.split(maxsplit=1)[0].upper()
            # ONBUILD RUN <<EOF: what counts is the instruction that will carry the content.
            if keyword == "ONBUILD":
                keyword = (text.split(maxsplit=2)[1:2] or [""])[0].upper()
            heredocs: tuple[Heredoc, ...] = ()
            if "<<" in text and keyword in _TAKES_HEREDOCS:
                heredocs = tuple(
                    self._content(opening, first) for opening in heredoc_openings(text)
                )
            yield LogicalLine(
                text=text,
                lines=LineRange(first, self.position),
                heredocs=heredocs,
                has_gap=has_gap,
            )

    def _joined(self) -> tuple[str, bool]:
        """Read one line and those it continues on; blanks of later lines stay as they are."""
        text, more = self._cut(self._take().lstrip())
        if text.startswith("#"):
            return "", False
        has_gap = False
        while more and self.position < len(self.physical):
            line = self._take()
            if line.lstrip().startswith("#"):
                continue
            if not line.strip():
                has_gap = True
                continue
            part, more = self._cut(line)
            text += part
        return text.strip(), has_gap

    def _take(self) -> str:
        self.position += 1
        return self.physical[self.position - 1]

    def _cut(self, line: str) -> tuple[str, bool]:
        """Take the continuation character off; say whether there was one."""
        if line.startswith("#"):
            return line, False
        match = self._continued.search(line)
        return (line[: match.start()], True) if match else (line, False)

    def _content(self, opening: HeredocOpening, first: int) -> Heredoc:
        """Read to the line that is the document's name."""
        content: list[str] = []
        while self.position < len(self.physical):
            line = self._take()
            if opening.drops_tabs:
                line = line.lstrip("\t")
            if line == opening.name:
                return Heredoc(
                    name=opening.name,
                    content="".join(part + "\n" for part in content),
                    expand=opening.expand,
                    descriptor=opening.descriptor,
                )
            content.append(line)
        raise DockerfileError(
            "unterminated heredoc",
            LineRange(first, self.position),
            hint=f"End it with a line that is just {opening.name}",
        )


def _bare_words(text: str) -> Iterator[str]:
    """Blank-separated words, quotes kept; a word that starts inside quotes is none of ours."""
    word, quote = "", ""
    for char in text:
        if not quote and char in " \t":
            if word:
                yield word
            word = ""
            continue
        if char in "'\"":
            quote = "" if quote == char else quote or char
        word += char
    if word:
        yield word


def _opening(word: str) -> HeredocOpening | None:
    match = _HEREDOC.fullmatch(word)
    if match is None or match[3] != match[5]:
        return None
    return HeredocOpening(
        name=match[4],
        expand=not match[3],
        descriptor=int(match[1] or 0),
        drops_tabs=match[2] == "-",
    )
