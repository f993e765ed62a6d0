"""`%docker stats`: figures of running containers while they come, and what stays of them.

Knows:   one thread a container reads, one tells the widget, ten times a second at most.
Refuses: to keep the kernel busy when nobody looks: it ends with its containers, or when stopped.
"""

from __future__ import annotations

import html
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dockerlab.commands.results import Table, Watch
from dockerlab.commands.session import Session
from dockerlab.commands.stats import Sample, table, watch
from dockerlab.commands.tables import cells, plain
from dockerlab.notebook import style
from dockerlab.notebook.display import View, looks
from dockerlab.wire.sizes import human_memory

if TYPE_CHECKING:
    import pandas as pd

_WIDTH, _HEIGHT, _KEPT = 640, 120, 3600
_NEAR = 5  # a limit of at most so many times what was used is drawn
_FIRST_S = 3.0
_SHADES = ("#1565c0", "#ef6c00", "#2e7d32", "#ad1457", "#6a1b9a", "#00838f", "#9e9d24", "#4e342e")


class StatsView(View):
    """Samples of containers, growing for as long as the view watches."""

    def __init__(self, session: Session, request: Watch, *, widgets: bool) -> None:
        super().__init__(request)
        self._session = session
        self._widgets = widgets
        self._widget: Any = None
        self._handle: Any = None
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._changed = threading.Condition(self._lock)
        self._ended = threading.Event()
        self._streams: dict[str, Any] = {}
        self._left = len(request.names)

    @property
    def names(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self.result.names
        return names

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples so far."""
        with self._lock:
            return tuple(self._samples)

    @property
    def df(self) -> pd.DataFrame:
        """One row for each sample: time, container, and the figures with their units."""
        from dockerlab.notebook.frames import frame  # noqa: PLC0415 - pandas, at first use

        found = frame(table(self.samples)).reset_index()
        return found.set_index(["time", "name"])

    def start(self) -> None:
        """Begin to read; returns at once."""
        for name in self.names:
            threading.Thread(
                target=self._read, args=(name,), name=f"stats of {name}", daemon=True
            ).start()
        if not self.names:
            self._ended.set()
        if self.result.duration_s is not None:
            timer = threading.Timer(self.result.duration_s, self.stop)
            timer.daemon = True
            timer.start()

    def stop(self) -> None:
        """End the view; what was measured stays. Also from another thread."""
        if self._ended.is_set():
            return
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        if self._widget is not None:
            self._widget.end(self.samples)
        if self._handle is not None:
            data, metadata = self._repr_mimebundle_()
            self._handle.update(data, metadata=metadata, raw=True)

    def wait(self) -> None:
        """Stay until the view ends. In short steps: an interrupt must get through."""
        while not self._ended.wait(0.1):
            pass

    def show(self) -> None:
        """Show the view once; its picture is brought up to date when it ends."""
        if self._handle is not None:
            return
        with self._changed:
            # A first figure for whoever has no widgets; the host measures for a second.
            self._changed.wait_for(lambda: self._samples or self._ended.is_set(), _FIRST_S)
        data, metadata = self._repr_mimebundle_()
        self._handle = style.show(data, metadata)

    def _ipython_display_(self) -> None:
        self.show()

    def text(self) -> str:
        return plain(self._latest())

    def html(self) -> str:
        latest = self._latest()
        if not latest.rows:
            return '<span class="dim">no running containers</span>'
        titles, rows = cells(latest)
        return pictures(self.samples, self.names) + style.table(titles, rows, looks(latest))

    def widget(self) -> Any:
        if self._widgets and self._widget is None:
            from dockerlab.notebook.widgets.stats import chart  # noqa: PLC0415 - at first use

            # Weak: a widget lives as long as the kernel, the view need not.
            ours = weakref.WeakMethod(self.stop)

            def end() -> None:
                if (stop := ours()) is not None:
                    stop()

            self._widget = chart(
                self.names, self.samples, end, machine_bytes=self._session.api.info()["MemTotal"]
            )
        return self._widget

    def _latest(self) -> Table:
        last = {sample.identifier: sample for sample in self.samples}
        return table(tuple(last.values()))

    def _read(self, name: str) -> None:
        for sample in self._samples_of(name):
            with self._changed:
                self._samples.append(sample)
                del self._samples[:-_KEPT]
                self._changed.notify_all()
            if self._widget is not None:
                self._widget.push(sample)
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self.stop()

    def _samples_of(self, name: str) -> Iterator[Sample]:
        for sample in watch(self._session, name):
            if self._ended.is_set():
                return
            yield sample


def pictures(samples: Sequence[Sample], names: Sequence[str]) -> str:
    """CPU and memory over time, as two small charts that need no script."""
    if len(samples) < 2:
        return ""
    cpu = _chart("CPU", samples, [sample.cpu_percent for sample in samples], "{:.1f} %".format)
    used = [float(sample.memory_bytes) for sample in samples]
    limit = max(sample.memory_limit_bytes for sample in samples)
    memory = _chart("Memory", samples, used, human_memory, limit=limit)
    shown = list(dict.fromkeys(sample.name for sample in samples)) or list(names)
    legend = " &nbsp; ".join(
        f'<span style="color:{_SHADES[place % len(_SHADES)]}">&#9632;</span> {html.escape(name)}'
        for place, name in enumerate(shown)
    )
    return f"<div>{legend}</div>{cpu}{memory}"


def _chart(
    title: str,
    samples: Sequence[Sample],
    values: list[float],
    words: Callable[[float], str],
    *,
    limit: int = 0,
) -> str:
    first = min(sample.time_ns for sample in samples)
    length = max(sample.time_ns for sample in samples) - first or 1
    most = max(values)
    # A limit far above would press the line to the floor: then words must do.
    near = bool(limit) and limit < _NEAR * most
    top = (max(limit, most) if near else most) * 1.1 or 1.0
    left, right, low, high = 70, _WIDTH - 10, _HEIGHT - 18, 20

    def across(time_ns: int) -> float:
        return left + (right - left) * (time_ns - first) / length

    def up(value: float) -> float:
        return low - (low - high) * value / top

    lines: dict[str, list[str]] = {}
    for sample, value in zip(samples, values, strict=True):
        point = f"{across(sample.time_ns):.1f},{up(value):.1f}"
        lines.setdefault(sample.name, []).append(point)
    drawn = [_rule(left, right, up(value), words(value)) for value in (0.0, top / 2, top)]
    if near:
        drawn.append(_rule(left, right, up(limit), "limit", dashed=True))
    drawn += [
        f'<polyline fill="none" stroke="{_SHADES[place % len(_SHADES)]}" stroke-width="2" '
        f'points="{" ".join(points)}"/>'
        for place, points in enumerate(lines.values())
    ]
    seconds = round(length / 1e9)
    label = f"{title}: at most {words(most)}" + (f", limit {words(limit)}" if limit else "")
    return (
        f'<svg role="img" aria-label="{label}, over {seconds} seconds" width="100%" '
        f'style="display:block;max-width:{_WIDTH}px" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-size="11" fill="currentColor">'
        f'<text x="0" y="11" font-weight="600">{label}</text>{"".join(drawn)}'
        f'<text x="{left}" y="{_HEIGHT - 4}">0 s</text>'
        f'<text x="{right}" y="{_HEIGHT - 4}" text-anchor="end">{seconds} s</text></svg>'
    )


def _rule(left: float, right: float, y: float, words: str, *, dashed: bool = False) -> str:
    """A line across the chart with its value beside it."""
    style = 'stroke-dasharray="6 4"' if dashed else 'stroke-opacity="0.25"'
    return (
        f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" {style}/>'
        f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
    )
