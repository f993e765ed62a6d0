"""Volumes, and the places in containers where they and other mounts appear.

Knows:   the row of one volume; one mount point as `inspect` lists it.
Refuses: the disk; `services/volumes.py` makes, fills and removes what is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANONYMOUS_LABEL = "com.docker.volume.anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of the `local` driver: its row in `state.db`.

    Attributes:
        made_for: id of the container that it was made with; "" once it stands for itself.
    """

    name: str
    created_ns: int
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    driver: str = "local"
    made_for: str = ""

    @property
    def anonymous(self) -> bool:
        """Whether nobody gave it a name: it then goes with `rm -v`, `--rm` and prune."""
        return ANONYMOUS_LABEL in self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """Something that appears in a container.

    Attributes:
        type: "bind", "volume" or "tmpfs".
        name: of the volume; "" for the other types.
        source: absolute host path; "" for tmpfs.
        within: of a part of a volume: the volume's data, which no link on the way may leave.
        mode: what the user wrote behind the last colon of `-v`; for tmpfs its mount options.
        propagation: "rprivate", "rslave", "rshared" or one of them without the r.
        owned: made for this container, without a name: removed with it when asked to.
    """

    type: str
    destination: str
    name: str = ""
    source: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    owned: bool = False
    within: str = ""
