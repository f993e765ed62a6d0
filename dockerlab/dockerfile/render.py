"""Write a parsed Dockerfile back as text that reads the same.

Knows:   the canonical form of each instruction: one line, then its here-documents.
Refuses: to keep comments, continuations and blanks; they are not part of the meaning.
"""

from __future__ import annotations

from dockerlab.dockerfile.instructions import Instruction, OnBuild
from dockerlab.dockerfile.lines import Heredoc
from dockerlab.dockerfile.parse import Dockerfile


def render(read: Dockerfile) -> str:
    """The file in canonical form."""
    directives = read.directives
    lines = [
        f"# {name}={value}\n"
        for name, value, default in (
            ("syntax", directives.syntax, ""),
            ("escape", directives.escape, "\\"),
            ("check", directives.check, ""),
        )
        if value != default
    ]
    return "".join(lines + [_instruction(one) for one in read.instructions])


def _instruction(one: Instruction) -> str:
    if isinstance(one, OnBuild):
        return f"ONBUILD {one.trigger}\n"
    heredocs: tuple[Heredoc, ...] = getattr(one, "heredocs", ())
    if not heredocs and (command := getattr(one, "command", None)):
        heredocs = command.heredocs
    content = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in heredocs)
    return f"{one.source.text}\n{content}"
