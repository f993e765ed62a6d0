"""Removing an image: Docker's rules, in Docker's order and words.

Knows:   which names go first, which users and children forbid what, and what force overrides.
Refuses: the tables; `images.py` takes names away and drops what is left.
Source:  moby daemon/images/image_delete.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dockerlab.engine.model.image import ImageUser, RemovalStep
from dockerlab.errors import Conflict
from dockerlab.oci import digests, names
from dockerlab.oci.names import Reference

if TYPE_CHECKING:
    from dockerlab.engine.store.images import Images

Users = Callable[[str], Sequence[ImageUser]]
"""Says which containers were made from an image id."""


class Removing:
    """One removal: the rules of Docker, in their order."""

    def __init__(self, images: Images, users: Users, *, force: bool, prune_parents: bool) -> None:
        self._images, self._users = images, users
        self._force, self._prune_parents = force, prune_parents
        self.steps: list[RemovalStep] = []
        self.freed = 0

    def by_reference(self, image_id: str, name: str) -> None:
        """Take one name away; with the last one the image goes."""
        references = self._images.references_of(image_id)
        users = self._users(image_id)
        if users and not self._force and _is_single(references):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {users[0].container_id[:12]} is using its referenced image "
                f"{digests.short(image_id)}",
                hint="Remove the container first, or use force.",
            )
        gone = names.parse_complete(name)
        if gone.digest:
            gone = gone.with_digest(gone.digest)
        self._untag(image_id, gone)
        left = self._images.references_of(image_id)
        same = [r for r in left if r.name == gone.name]
        if not gone.digest and all(r.digest for r in same):
            for reference in same:
                self._untag(image_id, reference)
                left.remove(reference)
        if not left:
            self._delete(image_id, force=self._force, quiet=True)

    def by_id(self, image_id: str) -> None:
        """Remove the image with its names, if those are of one repository."""
        references = self._images.references_of(image_id)
        if _is_single(references):
            self._refuse_conflict(image_id, force=self._force, check_names=False)
            for reference in references:
                self._untag(image_id, reference)
        self._delete(image_id, force=self._force, quiet=False)

    def _untag(self, image_id: str, reference: Reference) -> None:
        self._images.untag_sync(reference)
        step = RemovalStep(kind="untagged", name=reference.familiar, image_id=image_id)
        self.steps.append(step)

    def _delete(self, image_id: str, *, force: bool, quiet: bool) -> None:
        try:
            self._refuse_conflict(image_id, force=force, check_names=True)
        except Conflict:
            # After an untag only what nobody could find again is worth an error.
            if quiet and (not self._images.is_dangling(image_id) or self._users(image_id)):
                return
            raise
        parent = self._images.parent_of(image_id)
        for reference in self._images.references_of(image_id):
            self._untag(image_id, reference)
        self.freed += self._images.drop(image_id)
        self.steps.append(RemovalStep(kind="deleted", name=image_id, image_id=image_id))
        if self._prune_parents and parent and self._images.get(parent):
            self._delete(parent, force=False, quiet=True)

    def _refuse_conflict(self, image_id: str, *, force: bool, check_names: bool) -> None:
        users = self._users(image_id)
        running = next((user for user in users if user.running), None)
        if self._images.children_of(image_id):
            raise _conflict(image_id, "cannot be forced", "image has dependent child images")
        if running:
            why = f"image is being used by running container {running.container_id[:12]}"
            raise _conflict(image_id, "cannot be forced", why)
        if force:
            return
        if check_names and self._images.references_of(image_id):
            why = "image is referenced in multiple repositories"
            raise _conflict(image_id, "must be forced", why)
        if users:
            why = f"image is being used by stopped container {users[0].container_id[:12]}"
            raise _conflict(image_id, "must be forced", why)


def _is_single(references: Sequence[Reference]) -> bool:
    """Tell whether there is at most one tag, and every digest is of its repository."""
    tags = [reference for reference in references if not reference.digest]
    return len(tags) <= 1 and len({reference.name for reference in references}) <= 1


def _conflict(image_id: str, how: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {digests.short(image_id)} ({how}) - {why}")
