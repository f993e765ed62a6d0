"""The live chart of containers: samples are pushed as messages, never as a growing state.

Knows:   how a sample travels, and that the page may ask to stop from any thread.
Refuses: to draw; labextension/widgets/stats.ts does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from dockerlab.commands.stats import Sample
from dockerlab.notebook.widgets import drawing

_KEPT = 1200  # samples a page is sent to begin with


def chart(
    names: Sequence[str],
    samples: Sequence[Sample],
    stop: Callable[[], None],
    *,
    machine_bytes: int = 0,
) -> Any:
    """A chart of these containers; None where the front end was not built.

    Args:
        names: of the containers.
        samples: what is known so far.
        stop: called, from any thread, when the page asks to end.
        machine_bytes: the host's memory: a limit of that much is none, and is not drawn.
    """
    kind = _kind()
    if kind is None:
        return None
    first = [message(sample) for sample in samples]
    widget = kind(names=list(names), first=first, machine=machine_bytes)

    def heard(_: Any, content: Any, __: Any) -> None:
        if isinstance(content, dict) and content.get("kind") == "stop":
            stop()

    widget.on_msg(heard)
    return widget


def message(sample: Sample) -> dict[str, Any]:
    """One sample as the drawing reads it; times in milliseconds, as browsers count."""
    return {
        "kind": "sample",
        "name": sample.name,
        "time": sample.time_ns // 1_000_000,
        "cpu": round(sample.cpu_percent, 2),
        "memory": sample.memory_bytes,
        "limit": sample.memory_limit_bytes,
        "received": sample.received_bytes,
        "sent": sample.sent_bytes,
        "read": sample.read_bytes,
        "written": sample.written_bytes,
        "pids": sample.pids,
    }


@functools.cache
def _kind() -> Any:
    path = drawing("stats")
    if path is None:
        return None
    import anywidget  # noqa: PLC0415 - 200 ms, at first use
    import traitlets  # noqa: PLC0415 - comes with it

    class StatsWidget(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]  # no types
        """Carries the names and what was measured before the page was there."""

        _esm = path
        names = traitlets.List(traitlets.Unicode()).tag(sync=True)
        first: Any = traitlets.List().tag(sync=True)
        machine = traitlets.Int(0).tag(sync=True)
        ended = traitlets.Bool(False).tag(sync=True)

        def push(self, sample: Sample) -> None:
            """Send one sample; each container has one a second, well below what a page takes."""
            self.send(message(sample))

        def end(self, samples: Sequence[Sample]) -> None:
            """Keep what was measured, for pages that are drawn from now on."""
            self.first = [message(sample) for sample in samples[-_KEPT:]]
            self.ended = True

        def __repr__(self) -> str:
            return f"stats of {', '.join(self.names)}"

    return StatsWidget
