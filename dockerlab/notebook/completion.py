"""Completion in `%docker`, `%%container` and `%%dockerfile`: verbs, flags, names.

Knows:   names are asked for in the background and kept for two seconds.
Refuses: to wait for a host: one that is slow or dead completes nothing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dockerlab.commands.failures import translated
from dockerlab.errors import DockerlabError

if TYPE_CHECKING:
    from dockerlab.notebook.magics import DockerMagics

_FRESH_S = 2.0
_OURS = ("%%container", "%%dockerfile", "%%docker", "%docker")


class Names:
    """What there is on the host, as far as it was told lately."""

    def __init__(self, magics: DockerMagics) -> None:
        self._magics = magics
        self._known: dict[str, tuple[str, ...]] = {}
        self._asked = 0.0
        self._lock = threading.Lock()

    def of(self, kind: str) -> tuple[str, ...]:
        """The names known right now; newer ones are asked for by the way."""
        with self._lock:
            if time.monotonic() - self._asked > _FRESH_S:
                self._asked = time.monotonic()
                threading.Thread(target=self._ask, name="names to complete", daemon=True).start()
            if kind == "object":
                return self._known.get("container", ()) + self._known.get("image", ())
            return self._known.get(kind, ())

    def _ask(self) -> None:
        host = self._magics.connected
        if host is None:
            return  # nobody has used it yet: completion starts no engine
        try:
            with translated(host.url):
                api = host.api
                self._known = {
                    "image": _tags(api.images()),
                    "container": tuple(
                        str(each["Names"][0]).lstrip("/") for each in api.containers(all=True)
                    ),
                    "network": tuple(str(each["Name"]) for each in api.networks()),
                    "volume": tuple(
                        str(each["Name"]) for each in api.volumes().get("Volumes") or ()
                    ),
                }
        except DockerlabError:
            self._known = {}


def complete(magics: DockerMagics) -> Callable[[Any], Any]:
    """A matcher for IPython's completer."""
    from IPython.core.completer import SimpleCompletion, context_matcher  # noqa: PLC0415 - there

    names = Names(magics)

    @context_matcher(identifier="dockerlab")  # type: ignore[untyped-decorator, unused-ignore]
    def matcher(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor.lstrip()
        first = context.full_text.lstrip().split("\n", 1)[0]
        source = line if line.startswith(_OURS) else first
        if not source.startswith(_OURS):
            return {"completions": []}
        # IPython's own token would stop at : and /, which names are full of.
        typed = str(context.text_until_cursor)
        fragment = re.search(r"[^\s=]*$", typed)
        begun = fragment.group() if fragment else ""
        before = typed[: len(typed) - len(begun)].split()
        return {
            "completions": [
                SimpleCompletion(text=text, type="docker")
                for text in candidates(source, before, begun, names.of)
            ],
            "matched_fragment": begun,
            "suppress": True,
            "ordered": True,
        }

    found: Callable[[Any], Any] = matcher
    return found


def candidates(
    source: str, before: list[str], begun: str, names: Callable[[str], tuple[str, ...]]
) -> list[str]:
    """What may stand where the cursor is.

    Args:
        source: the magic's own line.
        before: the words before the one being typed, the magic included.
        begun: what is typed of it.
        names: tells the names of a kind of thing.
    """
    if source.startswith("%%dockerfile") and not (before and before[0] == "%%dockerfile"):
        wanted: Iterable[str] = names("image") if before[:1] == ["FROM"] else _INSTRUCTIONS
    elif source.startswith("%%container"):
        wanted = names("image") if before[:1] == ["%%container"] else ()
    else:
        wanted = _after_docker(before[1:], begun, names)
    return sorted({text for text in wanted if text.startswith(begun)})


def _after_docker(
    before: list[str], begun: str, names: Callable[[str], tuple[str, ...]]
) -> Iterable[str]:
    from dockerlab.commands.catalogue import VERBS, find  # noqa: PLC0415 - 60 ms, at first use

    try:
        verb = find(before)[0] if before else None
    except DockerlabError:
        verb = None
    if verb is None:
        known = [words for verb in VERBS for words in (verb.words, *verb.aliases)]
        depth = len(before)
        return [
            words[depth] for words in known if len(words) > depth and list(words[:depth]) == before
        ]
    if begun.startswith("-"):
        return [f"--{flag.name}" for flag in verb.flags]
    return names(verb.takes)


def _tags(images: Iterable[Any]) -> tuple[str, ...]:
    return tuple(
        str(tag)
        for image in images
        for tag in image.get("RepoTags") or ()
        if not tag.startswith("<none>")
    )


_INSTRUCTIONS = (
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
)
