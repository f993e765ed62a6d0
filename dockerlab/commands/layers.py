"""The layers of an image: what each brought, changed and hid, and what became of its bytes.

Knows:   our own engine tells from its index; any other host's `save` has the same in it, and
         archives and OCI layouts on disk need no host at all.
Refuses: to read archives; `layer_archives.py` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from dockerlab.commands import layer_rules
from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb, many
from dockerlab.commands.images import archive
from dockerlab.commands.layer_archives import as_typed, is_path, read_archive, read_path
from dockerlab.commands.results import ImageLayers, Layer, LayerEntry
from dockerlab.commands.session import Session
from dockerlab.commands.words import read_time
from dockerlab.oci import layer_tar
from dockerlab.oci.dive_report import DiveReport
from dockerlab.oci.layer_report import Report

_SPOOL_BYTES = 64 * 1024 * 1024
_OWN_LAYERS = "/dockerlab/v1/images/{0}/layers"
_OWN_LEDGER = "/dockerlab/v1/images/{0}/ledger"


def layers(session: Session, args: Arguments) -> ImageLayers:
    """What each layer of an image did; rules are read first, and checked last."""
    rules = [layer_rules.read(text) for text in args.all("assert")]
    name = args.words[0]
    found = read_path(name) if is_path(name) else of_image(session, name)
    for line in layer_rules.check(found, rules):
        session.feedback.note(f"holds: {line}")
    return found


def of_image(session: Session, name: str) -> ImageLayers:
    """The layers of an image on the session's host."""
    with translated(session.host.url):
        identifier = str(session.api.inspect_image(name)["Id"])
    answer = session.streams.document(_OWN_LAYERS, name)
    ledger = session.streams.document(_OWN_LEDGER, name) if answer is not None else None
    if answer is not None and ledger is not None:
        return _told(name, identifier, answer, ledger)
    # Any other host: its archive has everything, and nothing else has the names of files.
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        for chunk in archive(session, [name]):
            spool.write(chunk)
        spool.seek(0)
        return read_archive(name, spool)


def _told(
    name: str, identifier: str, answer: Mapping[str, Any], ledger: Mapping[str, Any]
) -> ImageLayers:
    """Read our own engine's answers."""
    import msgspec  # noqa: PLC0415 - 10 ms, at first use

    return ImageLayers(
        image=name,
        identifier=identifier,
        layers=tuple(
            Layer(
                number=number,
                digest=str(layer.get("digest", "")),
                size_bytes=int(layer.get("size", 0)),
                instruction=as_typed(str(layer.get("instruction", ""))),
                created_ns=read_time(str(layer.get("created", ""))),
                entries=tuple(_told_entry(entry) for entry in layer.get("entries") or ()),
            )
            for number, layer in enumerate(answer.get("layers") or ())
        ),
        report=msgspec.convert(ledger["report"], Report),
        dive=msgspec.convert(ledger["dive"], DiveReport),
    )


def _told_entry(entry: Mapping[str, Any]) -> LayerEntry:
    return LayerEntry(
        path=str(entry["path"]),
        kind=str(entry.get("kind", layer_tar.FILE)),
        size=int(entry.get("size", 0)),
        mark=str(entry.get("mark", "added")),
        mode=int(entry.get("mode", 0)),
        link=str(entry.get("link", "")),
    )


VERBS = (
    Verb(
        words=("layers",),
        act=layers,
        help="Show what each layer of an image did, and what became of its bytes",
        usage="[OPTIONS] IMAGE|ARCHIVE|LAYOUT",
        flags=(many("assert", help="Fail unless this holds: 'efficiency > 0.95', 'waste < 10MB'"),),
        least=1,
        most=1,
        takes="image",
        aliases=(("image", "layers"),),
    ),
)
