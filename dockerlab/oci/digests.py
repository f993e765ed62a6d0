"""Digests: the names of bytes.

Knows:   the grammar `algorithm:hex`, the algorithms we verify, chain ids.
Refuses: to read files; callers feed bytes to `hasher()`.
Source:  OCI image-spec descriptor.md "Digests"; config.md "Layer ChainID".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from dockerlab.errors import InvalidRequest

_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_FORM = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_LOWER_HEX = re.compile(r"[0-9a-f]+")

EMPTY_TAR = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""Diff id of a layer that changes nothing: 1024 zero bytes."""


def parse(text: str) -> str:
    """Check a digest that came from outside and return it.

    Every digest meets this before it becomes part of a path.

    Raises:
        InvalidRequest: in the words of Docker's digest library.
    """
    if _SHA256.fullmatch(text):
        return text
    if len(text) > 200 or not _FORM.fullmatch(text):
        raise InvalidRequest("invalid checksum digest format")
    algorithm, _, digits = text.partition(":")
    if algorithm not in _LENGTHS:
        raise InvalidRequest("unsupported digest algorithm", hint="Use sha256.")
    if len(digits) != _LENGTHS[algorithm]:
        raise InvalidRequest("invalid checksum digest length")
    if not _LOWER_HEX.fullmatch(digits):
        raise InvalidRequest("invalid checksum digest format")
    return text


def is_digest(text: str) -> bool:
    """Tell whether `parse` would accept the text."""
    try:
        parse(text)
    except InvalidRequest:
        return False
    return True


def hex_of(digest: str) -> str:
    """Return what follows the colon."""
    return digest.partition(":")[2]


def short(digest: str) -> str:
    """Return the twelve digits that people see."""
    return digest.partition(":")[2][:12]


def hasher(digest: str = "sha256:") -> hashlib._Hash:
    """Start a computation for the algorithm of `digest`."""
    return hashlib.new(digest.partition(":")[0])


def of(data: bytes) -> str:
    """Compute the sha256 digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_id(diff_ids: Sequence[str]) -> str:
    """Name a stack of layers, bottom first. One layer alone is named by its diff id."""
    return chain_ids(diff_ids)[-1] if diff_ids else ""


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Name every prefix of a stack of layers, bottom first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
