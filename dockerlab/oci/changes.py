"""Changes of a file tree: whiteouts in archives, whiteouts of overlayfs, the lines of docker diff.

Knows:   the two ways to write "this was deleted" and "nothing shows from below".
Refuses: the disk; `engine/store/` reads and writes these marks.
Source:  OCI image-spec layer.md "Whiteouts"; Linux filesystems/overlayfs.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from dockerlab.errors import InvalidRequest
from dockerlab.oci.tar_fields import shown

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."


class Marker(StrEnum):
    """What a name in a layer archive says about the layers below."""

    NONE = ""
    WHITEOUT = "whiteout"
    OPAQUE = "opaque"
    SKIP = "skip"


class Kind(IntEnum):
    """What happened to a path; the numbers are the API's."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `docker diff`; `path` is absolute."""

    path: str
    kind: Kind


def marker_of(name: bytes) -> tuple[Marker, bytes]:
    """Read a cleaned name of a layer archive.

    Returns:
        The marker and what it speaks of: the deleted name, the opaque directory, or the name.

    Raises:
        InvalidRequest: a whiteout of nothing, of a directory itself, or of its parent.
    """
    if PREFIX not in name:
        return Marker.NONE, name
    folder, _, base = name.rpartition(b"/")
    for part in folder.split(b"/"):
        if part.startswith(_AUFS):
            return Marker.SKIP, name
        if part.startswith(PREFIX):
            raise InvalidRequest(f"invalid whiteout {shown(name)}: a whiteout holds nothing")
    if base == OPAQUE:
        return Marker.OPAQUE, folder
    if base.startswith(_AUFS):
        return Marker.SKIP, name
    if not base.startswith(PREFIX):
        return Marker.NONE, name
    hidden = base[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise InvalidRequest(f"invalid whiteout {shown(name)}")
    return Marker.WHITEOUT, folder + b"/" + hidden if folder else hidden


def whiteout_name(path: bytes) -> bytes:
    """Return the archive's name for "path was deleted"."""
    folder, slash, base = path.rpartition(b"/")
    return folder + slash + PREFIX + base


def opaque_name(path: bytes) -> bytes:
    """Return the archive's name for "nothing below path shows through"."""
    return path + b"/" + OPAQUE if path else OPAQUE
