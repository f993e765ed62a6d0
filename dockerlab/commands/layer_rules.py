"""Rules about an image's bytes, for classes and CI: 'efficiency > 0.95', 'deleted <= 1MB'.

Knows:   the figures a rule can speak of, comparisons, and values: 0.95, 95%, 10MB, 4MiB.
Refuses: to ask for figures; `oci/layer_report.py` and `oci/dive_report.py` have them.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from dockerlab.commands.results import ImageLayers
from dockerlab.commands.words import size
from dockerlab.dockerfile.suggest import closest
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.oci.dive_report import DiveReport
from dockerlab.oci.layer_report import Cause, Report

_RULE = re.compile(
    r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|[kKMGT]?i?B)?\s*", re.ASCII
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_BYTES = {
    "": 1,
    "%": 0.01,
    **{f"{letter}B": 1000**power for power, letter in enumerate(("", "k", "M", "G", "T"))},
    **{f"{letter}iB": 1024**power for power, letter in enumerate(("k", "M", "G", "T"), 1)},
    "KB": 1000,
    "KiB": 1024,
}
_Figure = Callable[[ImageLayers, Report, DiveReport], float]


def _cause(cause: Cause) -> _Figure:
    return lambda _, report, __: report.by_cause.get(cause, 0)


_SHARES: dict[str, _Figure] = {
    "efficiency": lambda _, report, __: report.efficiency,
    "waste_share": lambda _, report, __: 1 - report.efficiency,
    "user_waste_share": lambda _, report, __: report.user_waste_percent / 100,
    "dive_efficiency": lambda _, __, dive: dive.efficiency,
    "dive_user_wasted_share": lambda _, __, dive: dive.wasted_user_percent,
}
_SIZES: dict[str, _Figure] = {
    "shipped": lambda _, report, __: report.shipped,
    "live": lambda _, report, __: report.live,
    "waste": lambda _, report, __: report.waste,
    "user_shipped": lambda _, report, __: report.user_shipped,
    "user_waste": lambda _, report, __: report.user_waste,
    **{cause.value: _cause(cause) for cause in Cause},
    "largest_layer": lambda image, _, __: max((one.size_bytes for one in image.layers), default=0),
    "dive_wasted_bytes": lambda _, __, dive: dive.wasted_bytes,
}
_COUNTS: dict[str, _Figure] = {
    "layers": lambda image, _, __: len(image.layers),
    "entries": lambda image, _, __: sum(len(layer.entries) for layer in image.layers),
}
FIGURES: dict[str, _Figure] = {**_SHARES, **_SIZES, **_COUNTS}


class RuleBroken(Failed):
    """An image is not as a rule wants it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One comparison."""

    text: str
    figure: str
    compare: str
    value: float

    def holds(self, image: ImageLayers) -> bool:
        return _COMPARE[self.compare](self.measured(image), self.value)

    def measured(self, image: ImageLayers) -> float:
        if image.report is None or image.dive is None:
            raise Failed(f"nobody counted the bytes of {image.image}")
        return FIGURES[self.figure](image, image.report, image.dive)

    def told(self, image: ImageLayers) -> str:
        """What was measured, in words."""
        measured = self.measured(image)
        if self.figure in _SIZES:
            return f"{self.figure} is {size(measured)} ({measured:.0f} bytes)"
        if self.figure in _COUNTS:
            return f"{self.figure} is {measured:.0f}"
        if math.isfinite(measured):
            # Towards zero: 0.94999 must not be told as 0.95.
            return f"{self.figure} is {math.floor(measured * 10_000) / 10_000:.4f}"
        return f"{self.figure} is {measured}"


def read(text: str) -> Rule:
    """Read a rule.

    Raises:
        InvalidRequest: it is none, or speaks of a figure that does not exist.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            f"invalid rule: '{text}'", hint="For example 'efficiency > 0.95' or 'waste < 10MB'"
        )
    figure, compare, value, unit = match[1], match[2], match[3], match[4] or ""
    if figure not in FIGURES:
        near = closest(figure, FIGURES)
        raise InvalidRequest(
            f"invalid rule: there is no figure '{figure}'",
            hint=f"Did you mean {near}?" if near else f"One of: {', '.join(FIGURES)}",
        )
    fits = "%" if figure in _SHARES else ("B" if figure in _SIZES else "")
    if unit and unit[-1] != fits:
        raise InvalidRequest(f"invalid rule: {figure} is not measured in {unit}")
    return Rule(text.strip(), figure, compare, float(value) * _BYTES[unit])


def check(image: ImageLayers, rules: list[Rule]) -> list[str]:
    """Hold an image to rules; returns what was measured for each.

    Raises:
        RuleBroken: the first sentence names every rule that is broken.
    """
    broken = [rule for rule in rules if not rule.holds(image)]
    if not broken:
        return [f"{rule.text}: {rule.told(image)}" for rule in rules]
    raise RuleBroken(
        "; ".join(f"{image.image} breaks '{rule.text}': {rule.told(image)}" for rule in broken),
        hint=_worst(image),
    )


def _worst(image: ImageLayers) -> str:
    dead = image.report.dead if image.report else ()
    if not dead:
        return "No byte of it is dead; see the layers: %docker layers " + image.image
    one = dead[0]
    return (
        f"The largest waste: /{one.path.lstrip('/')} of layer {one.layer}, {size(one.size)}, "
        f"{one.cause.replace('_', ' ')} by layer {one.hidden_by}"
    )
