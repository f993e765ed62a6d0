"""Which dockerlab this is.

Knows:   the version of the installed package.
Refuses: to guess for a clone that was never installed.
"""

from __future__ import annotations


def version() -> str:
    """Read the version of the installed package; "0+clone" when there is none."""
    from importlib import metadata  # noqa: PLC0415 - 20 ms, for few who ask

    try:
        return metadata.version("dockerlab")
    except metadata.PackageNotFoundError:
        return "0+clone"
