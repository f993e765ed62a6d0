"""Say in words what the machine gives and what would lift it.

Knows:   how a report reads: the mode first, then each fact with its remedy below it.
Refuses: to try anything; `probe.py` did.
"""

from __future__ import annotations

from dockerlab.engine.linux.findings import Report
from dockerlab.engine.model.machine import Mode

_GIVES = {
    Mode.FULL: "containers, builds, networks and images all work here",
    Mode.ROOTLESS: "containers run without root, in namespaces of this user",
    Mode.IMAGES_ONLY: "pull, push, load, save and layers work; containers do not",
}


def headline(report: Report) -> str:
    """One line: the mode, and what would lift it."""
    text = f"{report.mode}: {_GIVES[report.mode]}"
    return f"{text}, because {report.because}. {report.lift}" if report.because else f"{text}."


def render(report: Report) -> str:
    """The whole text of `dockerlab doctor`."""
    width = max(len(finding.name) for finding in report.findings)
    lines = [headline(report), ""]
    for finding in report.findings:
        lines.append(f"{finding.state:<8} {finding.name:<{width}}  {finding.meaning}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    return "\n".join(lines) + "\n"
