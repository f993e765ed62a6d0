"""`%docker layers`: the table, the picture and the explorer of an image's layers.

Knows:   what a saved notebook keeps: a table and an SVG bar of the layers.
Refuses: to read images; `commands/layers.py` did.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dockerlab.commands import layer_rules, layer_tables
from dockerlab.commands.results import ImageLayers, Table
from dockerlab.commands.tables import cells
from dockerlab.commands.words import size
from dockerlab.notebook import style
from dockerlab.notebook.display import View, looks
from dockerlab.notebook.errors import readable

if TYPE_CHECKING:
    import pandas as pd

_WIDTH, _HEIGHT = 640, 28
_SHADES = ("#1565c0", "#00838f", "#2e7d32", "#9e9d24", "#ef6c00", "#ad1457", "#6a1b9a", "#4e342e")


class LayersView(View):
    """The layers of one image; `.df` one row a layer, `.entries` one row a path."""

    result: ImageLayers

    def __init__(self, result: ImageLayers, *, widgets: bool) -> None:
        super().__init__(result)
        self._widgets = widgets
        self._widget: Any = None

    @property
    def entries(self) -> pd.DataFrame:
        """Every path of every layer."""
        from dockerlab.notebook.frames import entries  # noqa: PLC0415 - pandas, at first use

        return entries(self.result)

    @property
    def ledger(self) -> pd.DataFrame:
        """What became of all bytes: shipped, live, waste by its causes, dive's figures."""
        return self._frame(layer_tables.ledger_table(self.result))

    @property
    def waste(self) -> pd.DataFrame:
        """Every file whose bytes nobody can see: who shipped it, who hid it, and how."""
        return self._frame(layer_tables.waste_table(self.result))

    @property
    def dive(self) -> pd.DataFrame:
        """The paths that the tool dive would list, with its sizes."""
        return self._frame(layer_tables.dive_table(self.result))

    def check(self, *rules: str) -> LayersView:
        """Fail unless each rule holds: `layers.check("efficiency > 0.95")`."""
        check_rules(self.result, rules)
        return self

    def text(self) -> str:
        return layer_tables.text(self.result)

    def html(self) -> str:
        table = layer_tables.layers_table(self.result)
        titles, rows = cells(table)
        account = f"<div>{html.escape(layer_tables.summary(self.result))}</div>"
        return picture(self.result) + account + style.table(titles, rows, looks(table))

    def _frame(self, table: Table) -> pd.DataFrame:
        from dockerlab.notebook.frames import frame  # noqa: PLC0415 - pandas, at first use

        return frame(table)

    def widget(self) -> Any:
        if self._widgets and self._widget is None:
            from dockerlab.notebook.widgets.layers import explorer  # noqa: PLC0415 - as above

            self._widget = explorer(self.result)
        return self._widget


@readable
def check_rules(result: ImageLayers, rules: Sequence[str]) -> None:
    """Hold an image to rules, and fail in words."""
    layer_rules.check(result, [layer_rules.read(rule) for rule in rules])


def picture(result: ImageLayers) -> str:
    """The layers side by side, as wide as they weigh."""
    total = sum(layer.size_bytes for layer in result.layers) or 1
    left, bars = 0.0, []
    for layer in result.layers:
        width = max(2.0, _WIDTH * layer.size_bytes / total)
        shade = _SHADES[layer.number % len(_SHADES)]
        title = f"layer {layer.number}: {size(layer.size_bytes)}, {layer.instruction}"
        bars.append(
            f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="{_HEIGHT}" fill="{shade}">'
            f"<title>{html.escape(title)}</title></rect>"
        )
        if width > 60:
            bars.append(
                f'<text x="{left + 6:.1f}" y="18" font-size="12" fill="#fff">'
                f"{layer.number}: {html.escape(size(layer.size_bytes))}</text>"
            )
        left += width
    label = f"{len(result.layers)} layers of {result.image}, {size(total)} together"
    return (
        f"<div>{html.escape(label)}</div>"
        f'<svg role="img" aria-label="{html.escape(label, quote=True)}" width="100%" '
        f'style="max-width:{_WIDTH}px" viewBox="0 0 {max(left, 1):.1f} {_HEIGHT}">'
        f"{''.join(bars)}</svg>"
    )
