"""The verbs on images that are here: find, list, tag, remove, prune; and their events.

Knows:   Docker's filters, which images a list shows, what each change announces.
Refuses: registries and archives (transfers.py), and the shape of answers (api/images.py).
Source:  moby daemon/images/{images,image_delete,image_prune,image_tag}.go.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final

from dockerlab.dockerfile.globs import name_regex
from dockerlab.engine.model.image import HistoryStep, Image, Removal
from dockerlab.engine.model.listed_image import Listed
from dockerlab.engine.services.events import Events
from dockerlab.engine.store.images import Users
from dockerlab.engine.store.store import Store
from dockerlab.errors import Conflict, InvalidRequest, NotFound
from dockerlab.oci import names, platforms
from dockerlab.oci.documents import Platform
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import parse_moment

_LIST_FILTERS: Final = frozenset(
    {"before", "dangling", "label", "label!", "reference", "since", "until"}
)
_PRUNE_FILTERS: Final = frozenset({"dangling", "label", "label!", "until"})


class Images:
    """The images of this host, for the API and for other services.

    Args:
        users: says which containers were made from an image.
    """

    def __init__(self, store: Store, events: Events, users: Users) -> None:
        self._store, self._events, self._users = store, events, users
        self._pruning = asyncio.Lock()

    # -- reading ------------------------------------------------------------------------------

    def find(self, name: str, platform: Platform | None = None) -> Image:
        """Find by reference, id or the beginning of an id.

        Raises:
            NotFound: no such image, or not for that platform.
        """
        image = self._store.images.resolve(name)
        if platform is not None and not platforms.matches(image.document.platform, platform):
            raise NotFound(
                f"image with reference {name} was found but does not provide the specified "
                f"platform ({platforms.render(platform)})",
                hint=f"This one is for {platforms.render(image.document.platform)}.",
            )
        return image

    def listed(self, image: Image) -> Listed:
        """An image together with its names."""
        return Listed(
            image=image,
            tags=tuple(self._store.images.tags_of(image.id)),
            repo_digests=tuple(self._store.images.repo_digests_of(image.id)),
        )

    def history(self, image: Image) -> list[HistoryStep]:
        """The steps that made an image, newest first."""
        return self._store.images.history(image)

    def folders(self, image: Image) -> list[str]:
        """Where the layers of an image are unpacked, bottom first."""
        return [str(self._store.layers.path(layer) / "fs") for layer in image.layers]

    def layers_size(self) -> int:
        """Bytes of all layers of all images, each once."""
        return self._store.images.layers_size()

    def list(
        self,
        filters: Filters | None = None,
        *,
        everything: bool = False,
        shared_size: bool = False,
        containers: bool = False,
    ) -> list[Listed]:
        """List images, newest first.

        Args:
            filters: as the API has them.
            everything: also nameless images that others are built on.
            shared_size: compute it.
            containers: count them.
        """
        wanted = filters or Filters()
        wanted.check(_LIST_FILTERS)
        passes = self._test(wanted)
        patterns = [_pattern(text) for text in wanted.get("reference")]
        found = []
        for image in self._store.images.list():
            one = self.listed(image)
            if not passes(image) or not self._is_shown(one, wanted, everything=everything):
                continue
            if patterns:
                tags = tuple(tag for tag in one.tags if any(p(tag) for p in patterns))
                digests = tuple(d for d in one.repo_digests if any(p(d) for p in patterns))
                if not tags and not digests:
                    continue
                one = Listed(image=image, tags=tags, repo_digests=digests)
            found.append(
                Listed(
                    image=image,
                    tags=one.tags,
                    repo_digests=one.repo_digests,
                    shared_size=self._store.images.shared_size(image) if shared_size else -1,
                    containers=len(self._users(image.id)) if containers else -1,
                )
            )
        return found

    def _is_shown(self, one: Listed, filters: Filters, *, everything: bool) -> bool:
        nameless = not one.tags and not one.repo_digests
        has_children = bool(nameless and self._store.images.children_of(one.image.id))
        if "dangling" in filters:
            return filters.flag("dangling") == (not one.tags) and not has_children
        return everything or not has_children

    def _test(self, filters: Filters) -> Callable[[Image], bool]:
        """One question for each image: does it pass the filters on age and labels?"""
        until_text = filters.one("until")
        until_ns = parse_moment(until_text, time.time_ns()) if until_text else None
        before = [self.find(name).created_ns for name in filters.get("before")]
        since = [self.find(name).created_ns for name in filters.get("since")]

        def passes(image: Image) -> bool:
            labels = image.document.config.labels
            return (
                (until_ns is None or image.created_ns < until_ns)
                and all(image.created_ns < moment for moment in before)
                and all(image.created_ns > moment for moment in since)
                and filters.labels(labels)
                and filters.labels(labels, "label!")
            )

        return passes

    # -- changing -----------------------------------------------------------------------------

    async def tag(self, name: str, repo: str, tag: str) -> None:
        """Give an image one more name.

        Raises:
            InvalidRequest: that is no name; NotFound: no such image.
        """
        reference = names.parse_repository(repo, tag)
        image = self.find(name)
        await self._store.images.tag(image.id, reference)
        self.announce("tag", image, reference.familiar)

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> Removal:
        """Take a name away and, with the last one, the image.

        Raises:
            Conflict: it is needed, in Docker's words.
        """
        labels = {image.id: image for image in self._store.images.list()}
        removal = await self._store.images.remove(
            name, users=self._users, force=force, prune_parents=prune
        )
        self._announce_removal(removal, labels)
        return removal

    async def prune(self, filters: Filters) -> Removal:
        """Remove what no container was made from: nameless images, or all with dangling=false.

        Raises:
            Conflict: another prune is running.
        """
        filters.check(_PRUNE_FILTERS)
        dangling = filters.flag("dangling", default=True)
        passes = self._test(filters)
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            labels = {image.id: image for image in self._store.images.list()}
            removal = await self._store.images.prune(
                users=self._users, dangling=dangling, wanted=passes
            )
        self._announce_removal(removal, labels)
        self._events.emit("image", "prune", "", {"reclaimed": str(removal.freed_bytes)})
        return removal

    def announce(self, action: str, image: Image, name: str = "", actor: str = "") -> None:
        """Emit one event about an image; labels come along, as clients filter by them."""
        attributes = {**image.document.config.labels, "name": name or image.id}
        self._events.emit("image", action, actor or image.id, attributes)

    def _announce_removal(self, removal: Removal, before: dict[str, Image]) -> None:
        for step in removal.steps:
            image = before.get(step.image_id)
            if image is not None:
                self.announce("untag" if step.kind == "untagged" else "delete", image)


def _pattern(text: str) -> Callable[[str], bool]:
    """A shell pattern on a familiar name, with or without its tag; `*` stops at slashes."""
    try:
        parts = [re.compile(name_regex(part), re.DOTALL) for part in text.split("/")]
    except ValueError:
        raise InvalidRequest(f"invalid filter 'reference=[{text}]': syntax error in pattern") from (
            None
        )

    def matches(name: str) -> bool:
        found = name.split("/")
        return len(found) == len(parts) and all(
            part.fullmatch(piece) for part, piece in zip(parts, found, strict=True)
        )

    def matches_either(name: str) -> bool:
        whole = names.parse(name)
        return matches(whole.familiar) or matches(whole.familiar_name)

    return matches_either
