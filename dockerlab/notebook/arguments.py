"""The line of a magic: split like a shell, Python variables filled in, our own options taken out.

Knows:   `{name}`, `{name.attribute}`, `{name[0]}`; what is no variable stays as it was typed.
Refuses: to run expressions with calls in them, and to touch a cell's body.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from dockerlab.commands.grammar import Flag, switch, text
from dockerlab.errors import InvalidRequest

# Not {{...}}: that is docker's own --format.
_VARIABLE = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)((?:\.\w+|\[[^\][{}()]*\])*)\}(?!\})")

NOTEBOOK_FLAGS: tuple[Flag, ...] = (
    text("out", help="Keep the program's standard output in this variable", metavar="VAR"),
    text("err", help="Keep the program's standard error in this variable", metavar="VAR"),
    switch("no-raise-error", help="Go on when the program ends with a status other than 0"),
)


def words(line: str, variables: Mapping[str, Any]) -> list[str]:
    """Split a line, with `{name}` filled in.

    Raises:
        InvalidRequest: a quote that never ends.
    """
    try:
        parts = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(
            f"the line can't be read: {str(error).lower()}", hint="Is a quote left open?"
        ) from None
    # After the split: a value with blanks in it stays one word.
    return [_filled(part, variables) for part in parts]


def _filled(part: str, variables: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            return match[0]
        found = variables[match[1]]
        for step in re.findall(r"\.\w+|\[[^\]]*\]", match[2]):
            found = _step(found, step, match[0])
        return str(found)

    return _VARIABLE.sub(value, part)


def _step(value: Any, step: str, whole: str) -> Any:
    try:
        if step.startswith("."):
            return getattr(value, step[1:])
        key = step[1:-1].strip()
        return value[int(key) if re.fullmatch(r"-?\d+", key) else key.strip("'\"")]
    except (AttributeError, LookupError, TypeError):
        raise InvalidRequest(f"{whole}: there is no {step} there") from None
