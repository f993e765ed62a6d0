"""What results look like: text, HTML, and nothing that a name could break."""

from __future__ import annotations

import re

from dockerlab.commands.results import (
    Documents,
    ImageLayers,
    Layer,
    LayerEntry,
    LogLine,
    Logs,
    Table,
)
from dockerlab.commands.stats import Sample
from dockerlab.commands.system import DISK_USE
from dockerlab.notebook.display import view
from dockerlab.notebook.layers import picture
from dockerlab.notebook.stats import pictures

EVIL = '<img src=x onerror="alert(1)">'


def html_of(result) -> str:
    data, _ = view(result)._repr_mimebundle_()
    return data["text/html"]


def table(name: str) -> Table:
    return Table(noun="x", columns=DISK_USE, rows=((name, 1, 0, 1500, 0),), taken_ns=0)


def layers(path: str, instruction: str = "RUN x") -> ImageLayers:
    entry = LayerEntry(path=path, kind="file", size=5, mark="added")
    layer = Layer(number=0, digest="sha256:" + "a" * 64, size_bytes=5, instruction=instruction)
    return ImageLayers(
        image=EVIL, identifier="", layers=(layer, Layer(**fields(layer), entries=(entry,)))
    )


def fields(layer: Layer) -> dict[str, object]:
    return {
        "number": 1,
        "digest": layer.digest,
        "size_bytes": layer.size_bytes,
        "instruction": layer.instruction,
    }


def test_tables_are_escaped():
    shown = html_of(table(EVIL))
    assert EVIL not in shown
    assert "&lt;img" in shown
    assert "1.5kB" in shown


def test_tables_look_right_without_a_style_sheet():
    shown = html_of(table("text"))
    assert '<td style="text-align:left">text</td>' in shown
    assert re.search(r'<td style="text-align:right[^"]*">1.5kB</td>', shown)


def test_documents_are_escaped():
    shown = html_of(Documents(noun="x", names=(EVIL,), documents=({EVIL: [EVIL]},)))
    assert "<img" not in shown


def test_logs_are_escaped_and_control_characters_shown():
    shown = html_of(Logs(container="c", lines=(LogLine("stderr", 1, f"{EVIL}\x1b[2J\r"),)))
    assert "<img" not in shown
    assert "\x1b" not in shown


def test_layers_are_escaped():
    assert "<img" not in html_of(layers(EVIL, EVIL))
    assert "<svg" in picture(layers("a"))


def test_control_characters_never_reach_a_terminal():
    assert "\x1b" not in view(table("a\x1b[31mb\n")).text()


def test_stats_leave_a_picture():
    samples = [
        Sample(identifier="a", name=EVIL, time_ns=second * 10**9, cpu_percent=second)
        for second in (1, 2)
    ]
    shown = pictures(samples, [EVIL])
    assert shown.count("<svg") == 2
    assert "<img" not in shown
