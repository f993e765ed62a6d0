"""The small documents: volumes, credentials, platforms, the answers many routes share.

Knows:   bodies of volume create and auth, and the platform as query parameters carry it.
Refuses: to keep a credential; `engine/registry/auth.py` uses it once.
Source:  Docker Engine API 1.50, VolumeCreateOptions, AuthConfig.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from dockerlab.wire.documents.base import Document


class VolumeCreate(Document, frozen=True, kw_only=True):
    """Body of POST /volumes/create; an empty name asks for a random one."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    cluster_volume_spec: dict[str, Any] | None = None


class AuthConfig(Document, frozen=True, kw_only=True, rename=None):
    """Credentials for one registry: body of POST /auth, content of X-Registry-Auth."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def __repr__(self) -> str:
        """Name the account, never a secret: documents end in logs and tracebacks."""
        return f"AuthConfig(username={self.username!r}, serveraddress={self.serveraddress!r})"


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A platform as inspect, history, push, save and load take it: a JSON object in the query."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
