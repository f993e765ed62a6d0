"""A mount written down, to be made later by somebody else.

Knows:   the words of mount(8) and where the mount shall appear.
Refuses: to mount; `runtime/init.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount below the container's root, in the words of mount(8).

    Attributes:
        kind: a file system type, or "bind".
        source: host path for binds, else the word shown in /proc/mounts.
        target: absolute path inside the container.
        options: as Docker lists them: "ro", "nosuid", "noexec", "nodev", "rbind", "rro",
            "rprivate", "rslave", "rshared", ...; everything unknown is data for the file system.
        make_source: "directory" creates a missing bind source; "" fails on it.
        within: host directory above the source that no link on the way may leave; "" trusts the
            source's path. Containers write below it, so it is looked at when mounting, not before.
        namespace: file of the mount namespace that the source is in; "" for the host's.
    """

    kind: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    make_source: Literal["", "directory"] = ""
    within: str = ""
    namespace: str = ""
