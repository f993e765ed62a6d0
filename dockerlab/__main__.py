"""The `dockerlab` command: `engine`, `doctor` and `registry` here, docker's verbs in `console`.

Knows:   which house a first word belongs to.
Refuses: to import more than that house.
"""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Carry out one command line and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    first, rest = (words[0], words[1:]) if words else ("", [])
    match first:
        case "engine":
            from dockerlab.engine.daemon import command  # noqa: PLC0415 - one house at a time

            return command.run(rest)
        case "doctor":
            from dockerlab.engine.daemon.doctor import run as run_doctor  # noqa: PLC0415

            return run_doctor(rest)
        case "registry":
            from dockerlab.engine.registry import command as registry  # noqa: PLC0415

            return registry.run(rest)
        case _:
            from dockerlab import console  # noqa: PLC0415

            return console.main(words)


if __name__ == "__main__":
    sys.exit(main())
