"""Results as pandas frames with types one can calculate with.

Knows:   bytes and counts are integers, times UTC timestamps, lengths of time timedeltas.
Refuses: to be imported before somebody asks for a frame: pandas takes a while.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dockerlab.commands.layer_tables import layers_table
from dockerlab.commands.results import (
    Built,
    Cell,
    Column,
    Documents,
    ImageLayers,
    Kind,
    Logs,
    Ran,
    Table,
)

if TYPE_CHECKING:
    import pandas as pd

LOG_COLUMNS = (
    Column("time", Kind.TIME, help="when the program wrote it"),
    Column("stream", Kind.CATEGORY, help="stdout or stderr"),
    Column("line", Kind.TEXT, help="without its end"),
)
STEP_COLUMNS = (
    Column("step", Kind.COUNT, help="from 1"),
    Column("instruction", Kind.TEXT, help="as it was typed"),
    Column("cached", Kind.FLAG, help="the layer was there already"),
    Column("duration", Kind.DURATION),
    Column("layer", Kind.ID, help="the image after this step"),
    Column("output", Kind.TEXT, help="what the step printed"),
)
ENTRY_COLUMNS = (
    Column("layer", Kind.COUNT, help="from the bottom, beginning with 0"),
    Column("path", Kind.TEXT, help="without a slash in front"),
    Column("kind", Kind.CATEGORY, help="file, directory, symlink, hardlink, device, fifo"),
    Column("size", Kind.BYTES, help="of a removed folder: of everything in it"),
    Column("mark", Kind.CATEGORY, help="added, changed, removed, same"),
    Column("mode", Kind.COUNT, help="permission bits, as the archive has them"),
    Column("link", Kind.TEXT, help="target of a link"),
)
RAN_COLUMNS = (
    Column("container", Kind.ID, help="the whole id"),
    Column("image", Kind.TEXT),
    Column("exit_code", Kind.COUNT, help="0 is fine"),
    Column("duration", Kind.DURATION, help="from create to exit"),
    Column("stdout", Kind.TEXT, help="what it wrote, the first 8 MiB"),
    Column("stderr", Kind.TEXT, help="what it wrote, the first 8 MiB"),
)


@functools.singledispatch
def frame(result: Any) -> pd.DataFrame:
    """The result of a verb as a frame.

    Raises:
        TypeError: it has no table in it.
    """
    raise TypeError(f"there is no frame of a {type(result).__name__}")


@frame.register(Table)
def _table(result: Table) -> pd.DataFrame:
    return build(result.columns, result.rows, result.index)


@frame.register(Documents)
def _documents(result: Documents) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - see the file's header

    flat = pd.json_normalize([dict(document) for document in result.documents], sep=".")
    flat.index = pd.Index(result.names[: len(flat)], name="name")
    return flat


@frame.register(Logs)
def _logs(result: Logs) -> pd.DataFrame:
    return build(LOG_COLUMNS, [(line.time_ns, line.stream, line.text) for line in result.lines])


@frame.register(Built)
def _built(result: Built) -> pd.DataFrame:
    rows = [
        (step.number, step.instruction, step.cached, step.duration_ns, step.layer, step.output)
        for step in result.steps
    ]
    return build(STEP_COLUMNS, rows, "step")


@frame.register(Ran)
def _ran(result: Ran) -> pd.DataFrame:
    out, err = (data.decode("utf-8", "replace") for data in (result.stdout, result.stderr))
    row = (result.container, result.image, result.exit_code, result.duration_ns, out, err)
    return build(RAN_COLUMNS, [row])


@frame.register(ImageLayers)
def _layers(result: ImageLayers) -> pd.DataFrame:
    return frame(layers_table(result))


def entries(result: ImageLayers) -> pd.DataFrame:
    """Every path of every layer, bottom layer first."""
    return build(
        ENTRY_COLUMNS,
        [
            (layer.number, item.path, item.kind, item.size, item.mark, item.mode, item.link)
            for layer in result.layers
            for item in layer.entries
        ],
    )


def build(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], index: str = ""
) -> pd.DataFrame:
    """Rows as a frame whose columns have the types of their kinds."""
    import pandas as pd  # noqa: PLC0415 - see the file's header

    found = {
        column.name: _series([row[place] for row in rows], column)
        for place, column in enumerate(columns)
        if column.kind is not Kind.SHOWN
    }
    made = pd.DataFrame(found)
    return made.set_index(index) if index else made


def _series(values: list[Cell], column: Column) -> pd.Series[Any]:
    import pandas as pd  # noqa: PLC0415 - see the file's header

    kind = column.kind
    if kind in _INTEGERS:
        return pd.Series(values, dtype="Int64" if column.missing else "int64")
    if kind is Kind.TIME:
        moments: list[Any] = [value or None for value in values]
        times = pd.Series(pd.to_datetime(moments, unit="ns", utc=True))
        return times.astype("datetime64[ns, UTC]")
    if kind is Kind.DURATION:
        lengths: list[Any] = list(values)
        return pd.Series(pd.to_timedelta(lengths, unit="ns")).astype("timedelta64[ns]")
    if kind is Kind.LIST:
        lists: list[Any] = [list(value) for value in values if isinstance(value, tuple)]
        return pd.Series(lists, dtype="object")
    return pd.Series(values, dtype=_DTYPES.get(kind, "str"))


_INTEGERS = frozenset({Kind.BYTES, Kind.COUNT})
_DTYPES: dict[Kind, Any] = {Kind.CATEGORY: "category", Kind.PERCENT: "float64", Kind.FLAG: "bool"}
