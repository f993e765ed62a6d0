"""The disk of our own registry: blobs by digest, and which repository knows which of them.

Knows:   blobs/, repositories/NAME/{_blobs,_manifests,_tags}, uploads/; every file appears whole.
Refuses: HTTP (server.py), and names that are not exactly the distribution specification's.
Source:  OCI distribution-spec 1.1, "Push", "Content Management", and its error codes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from dockerlab.errors import Conflict, DockerlabError

MAX_MANIFEST_BYTES: Final = 4 << 20
UPLOAD_IDLE_S: Final = 3600.0

_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_UPLOAD = re.compile(r"[0-9a-f]{32}")


class Refused(DockerlabError):
    """A refusal in the registry protocol's own vocabulary.

    Args:
        code: one of the error codes of the distribution specification, for example BLOB_UNKNOWN.
        message: what a person reads.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Upload:
    """Bytes on their way in. The hash runs along, so finishing does not read them again."""

    identity: str
    repository: str
    path: Path
    size: int = 0
    touched: float = field(default_factory=time.monotonic)
    hasher: hashlib._Hash = field(default_factory=hashlib.sha256)
    busy: bool = False
    failure: OSError | None = None

    def append(self, data: bytes) -> None:
        """Write one piece at the end. One request at a time; server.py sees to it."""
        with self.path.open("ab") as file:
            file.write(data)
        self.hasher.update(data)
        self.size += len(data)
        self.touched = time.monotonic()


class Storage:
    """One folder that one registry process owns. All methods block and are safe in threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._repositories = root / "repositories"
        self._uploads = root / "uploads"
        # Held while links and blobs change together, so that freeing a blob that nobody
        # names can not race with a push that is just about to name it.
        self._links = threading.Lock()
        self._sessions: dict[str, Upload] = {}
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise Conflict(
                f"the registry storage {root} is in use by another process",
                hint="Stop it (dockerlab registry stop) or give another folder: --storage DIR",
            ) from None
        shutil.rmtree(self._uploads, ignore_errors=True)  # sessions end with their process
        for folder in (self._blobs, self._repositories, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        self._lock.close()

    # -- blobs -----------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: str) -> int:
        """Size of a blob that this repository has."""
        link = self._folder(repository) / "_blobs" / _hex(digest)
        try:
            link.stat()
            return (self._blobs / link.name).stat().st_size
        except FileNotFoundError:
            raise Refused("BLOB_UNKNOWN", f"blob unknown to registry: {digest}") from None

    def open_blob(self, repository: str, digest: str) -> BinaryIO:
        self.blob_size(repository, digest)
        return (self._blobs / _hex(digest)).open("rb")

    def has_blob(self, repository: str, digest: str) -> bool:
        try:
            self.blob_size(repository, digest)
        except Refused:
            return False
        return True

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Make a blob of another repository known in this one; False if it isn't there."""
        with self._links:
            if not self.has_blob(source, digest):
                return False
            self._link(repository, "_blobs", digest, b"")
        return True

    def delete_blob(self, repository: str, digest: str) -> None:
        with self._links:
            self.blob_size(repository, digest)
            (self._folder(repository) / "_blobs" / _hex(digest)).unlink()
            self._free(digest)

    # -- uploads ---------------------------------------------------------------------------

    def start_upload(self, repository: str) -> Upload:
        self._folder(repository)
        self._drop_idle_uploads()
        identity = secrets.token_hex(16)
        upload = Upload(identity, repository, self._uploads / identity)
        upload.path.touch()
        self._sessions[identity] = upload
        return upload

    def upload(self, repository: str, identity: str) -> Upload:
        found = self._sessions.get(identity) if _UPLOAD.fullmatch(identity) else None
        if found is None or found.repository != repository:
            raise Refused("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return found

    def cancel_upload(self, upload: Upload) -> None:
        self._sessions.pop(upload.identity, None)
        upload.path.unlink(missing_ok=True)

    def check_upload(self, upload: Upload) -> None:
        """End a session whose bytes could not be written."""
        if upload.failure is not None:
            self.cancel_upload(upload)
            raise Refused("UNKNOWN", f"can not store the upload: {upload.failure.strerror}")

    def finish_upload(self, upload: Upload, digest: str) -> None:
        """Verify and publish. A wrong digest ends the session, as its bytes are of no use."""
        self.check_upload(upload)
        expected = _hex(digest)
        if upload.hasher.hexdigest() != expected:
            self.cancel_upload(upload)
            raise Refused("DIGEST_INVALID", "provided digest did not match uploaded content")
        _sync(upload.path)
        with self._links:
            upload.path.replace(self._blobs / expected)
            self._link(upload.repository, "_blobs", digest, b"")
        self._sessions.pop(upload.identity, None)

    def add_blob(self, repository: str, data: bytes) -> str:
        """Store bytes that are at hand (the starter image); returns their digest."""
        upload = self.start_upload(repository)
        upload.append(data)
        digest = "sha256:" + upload.hasher.hexdigest()
        self.finish_upload(upload, digest)
        return digest

    def _drop_idle_uploads(self) -> None:
        limit = time.monotonic() - UPLOAD_IDLE_S
        for upload in [u for u in self._sessions.values() if u.touched < limit and not u.busy]:
            self.cancel_upload(upload)

    # -- manifests and tags ----------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> tuple[str, str, bytes]:
        """Digest, media type and raw bytes of a manifest named by tag or digest."""
        folder = self._folder(repository)
        if not folder.is_dir():
            raise Refused("NAME_UNKNOWN", "repository name not known to registry")
        try:
            digest = reference
            if ":" not in reference:
                digest = (folder / "_tags" / _tag(reference)).read_text()
            media_type = (folder / "_manifests" / _hex(digest)).read_text()
            return digest, media_type, (self._blobs / _hex(digest)).read_bytes()
        except FileNotFoundError:
            raise Refused("MANIFEST_UNKNOWN", "manifest unknown") from None

    def has_manifest(self, repository: str, digest: str) -> bool:
        return (self._folder(repository) / "_manifests" / _hex(digest)).exists()

    def put_manifest(self, repository: str, reference: str, media_type: str, raw: bytes) -> str:
        """Keep a manifest (checked by the caller) and point the tag at it; returns its digest."""
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        if ":" in reference:
            if reference != digest:
                raise Refused("DIGEST_INVALID", "provided digest did not match uploaded content")
        else:
            _tag(reference)
        temporary = self._uploads / secrets.token_hex(16)
        temporary.write_bytes(raw)
        _sync(temporary)
        with self._links:
            temporary.replace(self._blobs / _hex(digest))
            self._link(repository, "_manifests", digest, media_type.encode())
            if ":" not in reference:
                self._write(self._folder(repository) / "_tags" / reference, digest.encode())
        return digest

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Forget a tag, or a manifest together with every tag that names it."""
        folder = self._folder(repository)
        with self._links:
            digest, _, _ = self.manifest(repository, reference)
            if ":" not in reference:
                (folder / "_tags" / reference).unlink()
                return
            for tag in self.tags(repository):
                if (folder / "_tags" / tag).read_text() == digest:
                    (folder / "_tags" / tag).unlink()
            (folder / "_manifests" / _hex(digest)).unlink()
            self._free(digest)

    def tags(self, repository: str) -> list[str]:
        folder = self._folder(repository)
        if not folder.is_dir():
            raise Refused("NAME_UNKNOWN", "repository name not known to registry")
        with suppress(FileNotFoundError):
            return sorted(path.name for path in (folder / "_tags").iterdir())
        return []

    def repositories(self) -> list[str]:
        return sorted(self._walk(self._repositories, ""))

    def _walk(self, folder: Path, name: str) -> Iterator[str]:
        for entry in os.scandir(folder):
            # A path component never starts with "_", so our own folders can't be repositories.
            if entry.name == "_manifests":
                yield name.rstrip("/")
            elif entry.is_dir() and not entry.name.startswith("_"):
                yield from self._walk(Path(entry.path), f"{name}{entry.name}/")

    # -- files -----------------------------------------------------------------------------

    def _folder(self, repository: str) -> Path:
        if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
            raise Refused("NAME_INVALID", f"invalid repository name: {repository[:300]}")
        return self._repositories / repository

    def _link(self, repository: str, kind: str, digest: str, content: bytes) -> None:
        self._write(self._folder(repository) / kind / _hex(digest), content)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._uploads / secrets.token_hex(16)
        temporary.write_bytes(content)
        temporary.replace(path)

    def _free(self, digest: str) -> None:
        """Give the bytes back once no repository names them any more (`_links` is held)."""
        name = _hex(digest)
        for repository in self._walk_all():
            if (repository / "_blobs" / name).exists():
                return
            if (repository / "_manifests" / name).exists():
                return
        (self._blobs / name).unlink(missing_ok=True)

    def _walk_all(self) -> Iterator[Path]:
        for path, folders, _ in os.walk(self._repositories):
            if any(kind in folders for kind in ("_blobs", "_manifests")):
                yield Path(path)
            folders[:] = [name for name in folders if not name.startswith("_")]


def _hex(digest: str) -> str:
    """The file name of a digest; refuses whatever is not exactly a sha256 digest."""
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise Refused("DIGEST_INVALID", f"invalid or unsupported digest: {digest[:200]}")
    return found[1]


def _tag(name: str) -> str:
    if not _TAG.fullmatch(name):
        raise Refused("MANIFEST_INVALID", f"invalid tag: {name[:200]}")
    return name


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
