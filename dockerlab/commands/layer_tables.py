"""An image's layers and its ledger as tables and as sentences.

Knows:   three sizes of each layer, the account of all bytes, dive's score beside it.
Refuses: to count; `oci/layer_report.py` did.
"""

from __future__ import annotations

from itertools import accumulate

from dockerlab.commands.results import Column, ImageLayers, Kind, Table
from dockerlab.commands.tables import plain
from dockerlab.commands.words import size
from dockerlab.oci.layer_report import LayerFigures

LAYERS = (
    Column("number", Kind.COUNT, "LAYER", "Number", help="from the bottom, beginning with 0"),
    Column("size", Kind.BYTES, "STORED", "Size", help="stored: all files in the layer's archive"),
    Column(
        "contribution",
        Kind.BYTES,
        "CONTRIBUTES",
        "Contribution",
        help="of those, what can still be seen in the image",
    ),
    Column(
        "cumulative",
        Kind.BYTES,
        "CUMULATIVE",
        "Cumulative",
        help="stored by this layer and all below it",
    ),
    Column(
        "hid", Kind.BYTES, "HID", "Hid", help="files of any layer that this one deleted or replaced"
    ),
    Column("entries", Kind.COUNT, "ENTRIES", "Entries", help="paths that the layer speaks of"),
    Column("added", Kind.COUNT, "ADDED", "Added", help="paths that were not there below"),
    Column("changed", Kind.COUNT, "CHANGED", "Changed", help="paths that were there below"),
    Column("removed", Kind.COUNT, "REMOVED", "Removed", help="paths that it hides"),
    Column(
        "instruction", Kind.TEXT, "INSTRUCTION", "Instruction", width=60, help="as it was typed"
    ),
    Column("digest", Kind.ID, "DIGEST", "Digest", help="diff ID: of the uncompressed archive"),
    Column("created", Kind.TIME, "", "Created", help="when the step was done"),
)
LEDGER = (
    Column("figure", Kind.TEXT, "FIGURE", "Figure"),
    Column("size", Kind.BYTES, "SIZE", "Size", missing=True, help="missing: the figure is a share"),
    Column(
        "percent",
        Kind.PERCENT,
        "SHARE",
        "Share",
        help="of the bytes shipped; user figures: of those above the base; dive's: its own",
    ),
)
WASTE = (
    Column("path", Kind.TEXT, "PATH", "Path", help="without a slash in front"),
    Column("size", Kind.BYTES, "SIZE", "Size"),
    Column(
        "cause",
        Kind.CATEGORY,
        "CAUSE",
        "Cause",
        help="deleted, overwritten, metadata_copy (same content again), duplicate_entry",
    ),
    Column("layer", Kind.COUNT, "LAYER", "Layer", help="who shipped it"),
    Column("hidden_by", Kind.COUNT, "HIDDEN BY", "HiddenBy", help="the layer that hid it"),
    Column("instruction", Kind.TEXT, "INSTRUCTION", "Instruction", width=60, help="that hid it"),
)
DIVE = (
    Column("path", Kind.TEXT, "PATH", "Path", help="without a slash in front"),
    Column("size", Kind.BYTES, "SIZE", "Size", help="of all its copies, the one in use included"),
    Column("count", Kind.COUNT, "COUNT", "Count", help="layers that have the path"),
)
_UNCOUNTED = LayerFigures(shipped=0, dead=0, hid=0)


def layers_table(result: ImageLayers) -> Table:
    """One row for each layer, bottom first."""
    figures = result.report.layers if result.report else (_UNCOUNTED,) * len(result.layers)
    sums = accumulate(layer.size_bytes for layer in result.layers)
    return Table(
        noun="layers",
        columns=LAYERS,
        rows=tuple(
            (
                layer.number,
                layer.size_bytes,
                layer.size_bytes - counted.dead,
                total,
                counted.hid,
                len(layer.entries),
                layer.count("added"),
                layer.count("changed"),
                layer.count("removed"),
                layer.instruction,
                layer.digest,
                layer.created_ns,
            )
            for layer, counted, total in zip(result.layers, figures, sums, strict=True)
        ),
        taken_ns=0,
        index="number",
    )


def ledger_table(result: ImageLayers) -> Table:
    """The account of an image's bytes: shipped = live + waste, waste = the sum of its causes."""
    rows: list[tuple[str, int | None, float]] = []
    if result.report and result.dive:
        report, dive = result.report, result.dive
        whole = report.shipped or 1
        rows = [
            ("shipped", report.shipped, 100.0 if report.shipped else 0.0),
            ("live", report.live, 100 * report.efficiency),
            ("waste", report.waste, 100 * report.waste / whole),
            *(
                (cause.value, count, 100 * count / whole)
                for cause, count in report.by_cause.items()
            ),
            ("user_shipped", report.user_shipped, 100 * report.user_shipped / whole),
            ("user_waste", report.user_waste, report.user_waste_percent),
            ("dive_efficiency", None, 100 * dive.efficiency),
            ("dive_wasted_bytes", dive.wasted_bytes, 100 * dive.wasted_user_percent),
        ]
    return Table(noun="figures", columns=LEDGER, rows=tuple(rows), taken_ns=0, index="figure")


def waste_table(result: ImageLayers) -> Table:
    """One row for each file whose bytes nobody can see, largest first."""
    steps = [layer.instruction for layer in result.layers]
    dead = result.report.dead if result.report else ()
    return Table(
        noun="waste",
        columns=WASTE,
        rows=tuple(
            (one.path, one.size, one.cause.value, one.layer, one.hidden_by, steps[one.hidden_by])
            for one in dead
        ),
        taken_ns=0,
    )


def dive_table(result: ImageLayers) -> Table:
    """The paths that dive calls inefficient, largest first."""
    found = result.dive.inefficient if result.dive else ()
    rows = tuple((one.path.lstrip("/"), one.size, one.count) for one in found)
    return Table(noun="inefficient", columns=DIVE, rows=rows, taken_ns=0)


def summary(result: ImageLayers) -> str:
    """The account in one line."""
    report, dive = result.report, result.dive
    if report is None or dive is None:
        return ""
    causes = ", ".join(
        f"{cause.replace('_', ' ')} {size(count)}" for cause, count in report.by_cause.items()
    )
    waste = f"waste {size(report.waste)}" + (f" ({causes})" if causes else "")
    parts = [
        f"shipped {size(report.shipped)}",
        f"live {size(report.live)}",
        waste,
        f"efficiency {_percent(report.efficiency)}",
    ]
    if report.base_layers:
        parts.append(
            f"above its base of {report.base_layers} layers: {size(report.user_waste)} of waste"
        )
    return f"{', '.join(parts)}; dive says {dive.printed_percent} %"


def text(result: ImageLayers) -> str:
    """The table with its account below."""
    return "\n".join(part for part in (plain(layers_table(result)), summary(result)) if part)


def _percent(share: float) -> str:
    # Towards zero: 99.996 % is not all of it.
    return f"{int(share * 1000) / 10:g} %"
