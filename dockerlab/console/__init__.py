"""`dockerlab VERB ...` in a terminal: docker's verbs, tables, progress bars and exit codes.

Knows:   how docker prints each result, and which code it ends with.
Refuses: to know hosts or verbs; `commands/` does.
"""

from __future__ import annotations

import os
import sys

from dockerlab.errors import DockerlabError, InvalidRequest

# What `__main__` hands to the engine's house; whoever asks for help looks for it here.
_OURS = """
Of this machine:
  doctor              Say what this machine can do, and what would lift each limit
  engine              Start, stop, check or look for the engine: dockerlab engine --help
"""
_USAGE_ERROR = 125
_FAILED = 1
_INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Carry out one command line; returns docker's exit code for it."""
    try:
        return _main(argv)
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _main(argv: list[str]) -> int:
    from dockerlab.commands import catalogue, grammar  # noqa: PLC0415 - `dockerlab engine` is quick
    from dockerlab.console.run import carry_out  # noqa: PLC0415 - as above

    host = ""
    words = list(argv)
    while words[:1] and words[0] in {"-H", "--host"}:
        if len(words) < 2:
            return _tell(InvalidRequest(f"flag needs an argument: {words[0]}"), _USAGE_ERROR)
        host, words = words[1], words[2:]
    if not words or words[0] in {"--help", "-h", "help"}:
        sys.stdout.write(catalogue.overview("dockerlab") + "\n" + _OURS)
        return 0
    try:
        verb, rest = catalogue.find(words)
        if rest[:1] == ["--help"] or (not verb.leaves_rest and "--help" in rest):
            sys.stdout.write(grammar.usage(verb, "dockerlab") + "\n")
            return 0
        args = grammar.parse(verb, rest)
    except DockerlabError as error:
        return _tell(error, _USAGE_ERROR if words[0] in {"run", "create"} else _FAILED)
    try:
        return carry_out(verb, args, host)
    except DockerlabError as error:
        return _tell(error, _code(verb.words[0], error))


def _code(verb: str, error: DockerlabError) -> int:
    """The code docker ends with: run tells its own failures from the program's."""
    if verb not in {"run", "start", "exec"}:
        return _FAILED
    if "executable file not found" in error.message or "no such file or directory" in error.message:
        return 127
    if "permission denied" in error.message:
        return 126
    return _USAGE_ERROR if verb == "run" else _FAILED


def _tell(error: DockerlabError, code: int) -> int:
    sys.stderr.write(f"{error.message}\n")
    if error.hint:
        from dockerlab.commands.failures import spelled  # noqa: PLC0415 - there is no hurry now

        sys.stderr.write(f"  {spelled(error.hint, 'dockerlab')}\n")
    return code
