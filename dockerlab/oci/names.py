"""References: how images are named, and Docker's way to complete a short name.

Knows:   the grammar, the normal form (docker.io/library/alpine:latest), the familiar one (alpine).
Refuses: to look anything up; `engine/store/images.py` resolves names.
Source:  distribution/reference regexp.go, normalize.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from dockerlab.errors import InvalidRequest
from dockerlab.oci import digests

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_PATH = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_HOST}(?::[0-9]+)?)/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>[^@]+))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A complete name; `tag` and `digest` are "" when the text had none."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository: docker.io/library/alpine."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: alpine."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        head, _, rest = self.path.partition("/")
        return rest if head == "library" and rest and "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as people write it: alpine:3.20, alpine@sha256:..."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix

    def complete(self) -> Reference:
        """Add `:latest` where neither tag nor digest was given."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Point at another tag of the same repository.

        Raises:
            InvalidRequest: `invalid tag format`.
        """
        if not re.fullmatch(_TAG, tag):
            raise InvalidRequest(
                "invalid tag format", hint="Letters, digits, _ . and -, 128 at most"
            )
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> Reference:
        """Point at one manifest of the same repository."""
        return replace(self, tag="", digest=digests.parse(digest))


def parse(text: str) -> Reference:
    """Read what a person typed into a complete name; tag and digest stay empty if absent.

    Raises:
        InvalidRequest: in Docker's words, which clients show.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidRequest(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    if len(text) > _MAX_TEXT:
        raise InvalidRequest("invalid reference format")
    domain, remainder = _split_domain(text)
    remote = remainder.partition(":")[0]
    if remote != remote.lower():
        raise InvalidRequest(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidRequest("invalid reference format", hint="Write NAME[:TAG] or NAME@sha256:HEX")
    if len(match["path"]) > MAX_PATH:
        raise InvalidRequest(f"repository name must not be more than {MAX_PATH} characters")
    return Reference(
        domain=match["domain"],
        path=match["path"],
        tag=match["tag"] or "",
        digest=_digest(match["digest"] or ""),
    )


@lru_cache(maxsize=1024)
def parse_complete(text: str) -> Reference:
    """Like `parse`, with `:latest` added where nothing was said."""
    return parse(text).complete()


def parse_repository(repo: str, tag: str = "") -> Reference:
    """Join the API's `repo=` and `tag=` parameters; a tag inside `repo` counts if `tag` is empty.

    Raises:
        InvalidRequest: also for the tag `sha256`, which would read as a digest.
    """
    reference = parse(repo)
    if reference.digest:
        raise InvalidRequest("refusing to create a tag with a digest reference")
    reference = reference.with_tag(tag) if tag else reference.complete()
    if reference.familiar_name == "sha256":
        raise InvalidRequest(
            "refusing to create an ambiguous tag using digest algorithm as name",
            hint="Choose another repository name.",
        )
    return reference


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    looks_like_host = first == "localhost" or "." in first or ":" in first or first != first.lower()
    domain, remainder = (first, rest) if slash and looks_like_host else (DEFAULT_DOMAIN, text)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder


def _digest(text: str) -> str:
    if not text:
        return ""
    try:
        return digests.parse(text)
    except InvalidRequest as error:
        if error.message == "unsupported digest algorithm":
            raise
        raise InvalidRequest("invalid reference format") from error
