"""How an error looks in a notebook: what happened, what to do, and no traceback.

Knows:   IPython's hook `_render_traceback_`, which it asks of each exception it shows.
Refuses: to invent words; message and hint come with the error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dockerlab.commands.failures import spelled
from dockerlab.commands.results import Ran
from dockerlab.errors import DockerlabError, Failed

_P = ParamSpec("_P")
_T = TypeVar("_T")
_RED, _DIM, _OFF = "\x1b[31m", "\x1b[2m", "\x1b[0m"


class ProgramFailed(Failed):
    """A program in a container ended with a status other than 0; `result` has its output."""

    def __init__(self, result: Ran) -> None:
        super().__init__(
            f"the program ended with exit status {result.exit_code}",
            hint="Its own words stand above; --no-raise-error lets the notebook go on",
        )
        self.result = result


def lines(error: DockerlabError) -> list[str]:
    """The one or two lines that a learner sees."""
    found = [f"{_RED}{type(error).__name__}{_OFF}: {error.message}"]
    if error.hint:
        found.append(f"{_DIM}  → {spelled(error.hint, '%docker')}{_OFF}")
    return found


def shown(error: DockerlabError) -> DockerlabError:
    """Give an error its look in IPython. The instance carries it: the kinds know no notebook."""
    error.__dict__["_render_traceback_"] = lambda: lines(error)
    return error


def readable(act: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a magic fail in words."""

    @functools.wraps(act)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return act(*args, **kwargs)
        except DockerlabError as error:
            raise shown(error) from None
        except KeyboardInterrupt:
            raise shown(Failed("interrupted")) from None

    return guarded
