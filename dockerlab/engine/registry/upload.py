"""Bringing one blob to a registry by the shortest way.

Knows:   what is there already, mounts from other repositories, upload sessions, refusals.
Refuses: to know images (push.py).
Source:  OCI distribution-spec "Push".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode, urljoin

import requests

from dockerlab.engine.model.image import Blob
from dockerlab.engine.registry.download import CHUNK_BYTES
from dockerlab.engine.registry.remote_errors import RegistryAnswer, answer_of, denied
from dockerlab.engine.registry.transport import BrokenConnection, Registry
from dockerlab.engine.store.blobs import Blobs
from dockerlab.errors import DockerlabError, Failed, Unauthenticated
from dockerlab.oci.names import Reference

StatusReport = Callable[[str, int, int], None]
"""Told a status, bytes so far, bytes in all; may raise to end the upload."""


class Uploads:
    """One repository to push to; all methods block, and are safe in threads."""

    def __init__(self, registry: Registry, reference: Reference, blobs: Blobs) -> None:
        self._registry, self._reference, self._blobs = registry, reference, blobs
        self._path = f"/v2/{reference.path}"
        self._scopes = (f"repository:{reference.path}:pull,push",)

    def send(self, blob: Blob, report: StatusReport) -> str:
        """Bring a kept blob there; returns how it got there, in Docker's words."""
        if self._has(blob):
            return "Layer already exists"
        location = None
        for source in self._mountable(blob):
            location, mounted = self._mount(blob, source)
            if mounted:
                return f"Mounted from {source}"
            if location:
                break
        self._upload(blob, location, lambda: Body.of_file(self._blobs, blob, report))
        return "Pushed"

    def send_bytes(self, blob: Blob, data: bytes) -> None:
        """Bring a small blob there: a configuration."""
        if not self._has(blob):
            self._upload(blob, None, lambda: Body.of(data))

    def put_manifest(self, tag: str, media_type: str, raw: bytes) -> None:
        """Make a tag name a manifest whose parts are all there."""
        url = f"{self._path}/manifests/{quote(tag)}"
        answer = self._ask("PUT", url, headers={"Content-Type": media_type}, data=raw)
        if answer.status not in {200, 201, 202}:
            raise self._refusal(answer)

    def _has(self, blob: Blob) -> bool:
        return self._ask("HEAD", f"{self._path}/blobs/{blob.digest}").status == 200

    def _mountable(self, blob: Blob) -> list[str]:
        """Repositories of this registry that are known to hold the blob."""
        domain = self._reference.domain + "/"
        return [
            source.removeprefix(domain)
            for source in reversed(blob.sources)
            if source.startswith(domain) and source != self._reference.name
        ][:3]

    def _mount(self, blob: Blob, source: str) -> tuple[str | None, bool]:
        query = urlencode({"mount": blob.digest, "from": source})
        scopes = (*self._scopes, f"repository:{source}:pull")
        answer = self._ask("POST", f"{self._path}/blobs/uploads/?{query}", scopes=scopes)
        if answer.status == 201:
            return None, True
        return (answer.headers.get("Location") if answer.status == 202 else None), False

    def _upload(self, blob: Blob, location: str | None, body: Callable[[], Body]) -> None:
        if location is None:
            answer = self._ask("POST", f"{self._path}/blobs/uploads/")
            if answer.status != 202:
                raise self._refusal(answer)
            location = answer.headers.get("Location", "")
        place = urljoin(self._registry.base() + self._path + "/blobs/uploads/", location)
        headers = {"Content-Type": "application/octet-stream"}
        if blob.size:
            answer = self._ask("PATCH", place, headers=headers, data=body)
            if answer.status not in {202, 204}:
                raise self._refusal(answer)
            place = urljoin(place, answer.headers.get("Location", place))
        # What the place carries in its query belongs to the registry.
        place += ("&" if "?" in place else "?") + urlencode({"digest": blob.digest})
        answer = self._ask("PUT", place, headers=headers, data=b"")
        if answer.status not in {201, 204}:
            raise self._refusal(answer)

    def _ask(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: dict[str, str] | None = None,
        data: bytes | Callable[[], Body] | None = None,
    ) -> RegistryAnswer:
        try:
            with self._registry.open(
                method, url, scopes=scopes or self._scopes, headers=headers, data=data
            ) as response:
                answer = answer_of(response, _start_of(response))
        except Unauthenticated as error:
            raise denied("push", self._reference, error.message) from error
        if answer.status == 429 or answer.status >= 500:
            raise BrokenConnection(answer.text)
        return answer

    def _refusal(self, answer: RegistryAnswer) -> DockerlabError:
        if answer.status in {401, 403}:
            return denied("push", self._reference, answer.text)
        return Failed(answer.text, hint=f"That is what {self._reference.domain} answered.")


class Body:
    """A body with a known length, handed to the socket piece by piece."""

    def __init__(self, size: int, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._size, self._pieces = size, pieces

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(len(data), lambda: iter([data]))

    @classmethod
    def of_file(cls, blobs: Blobs, blob: Blob, report: StatusReport) -> Body:
        def pieces() -> Iterator[bytes]:
            sent, shown = 0, 0.0
            with blobs.open(blob.digest) as file:
                while data := file.read(CHUNK_BYTES):
                    yield data
                    sent += len(data)
                    if time.monotonic() - shown > 0.1:
                        shown = time.monotonic()
                        report("Pushing", sent, blob.size)

        return cls(blob.size, pieces)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()


def _start_of(response: requests.Response) -> bytes:
    """Enough of an answer to say what went wrong."""
    return response.raw.read(64 << 10, decode_content=True) or b""
