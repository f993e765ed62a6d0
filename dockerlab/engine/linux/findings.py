"""What was found out about a machine, and which mode of the engine it amounts to.

Knows:   how much there is of one thing, what that means for people, what would change it.
Refuses: to look at the machine: `probe.py` does, `doctor.py` says it in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dockerlab.engine.model.machine import Mode

PRIVILEGED = "Run it as root on the host, or in a container started with --privileged."


class State(StrEnum):
    """How much of one thing there is."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about the machine.

    Attributes:
        meaning: what it does for, or takes from, whoever uses the engine.
        remedy: what would change that; "" if nothing needs to.
    """

    name: str
    state: State
    meaning: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, and the mode they amount to.

    Attributes:
        because: why the mode is no better; "" in full mode.
        lift: what would make it better; "" in full mode.
    """

    mode: Mode
    because: str
    lift: str
    findings: tuple[Finding, ...]


def judge(findings: tuple[Finding, ...], *, root: bool) -> Report:
    """Which mode the facts amount to; pure."""
    by_name = {finding.name: finding for finding in findings}
    needed = [by_name["namespaces"], by_name["proc"]]
    lacking = [finding for finding in needed if finding.state is State.MISSING]
    if root and not lacking:
        return Report(mode=Mode.FULL, because="", lift="", findings=findings)
    if not root and by_name["user namespaces"].state is not State.MISSING:
        return Report(
            mode=Mode.ROOTLESS, because="this user is not root", lift=PRIVILEGED,
            findings=findings,
        )  # fmt: skip
    first = lacking[0] if lacking else by_name["user namespaces"]
    return Report(
        mode=Mode.IMAGES_ONLY, because=first.meaning, lift=first.remedy or PRIVILEGED,
        findings=findings,
    )  # fmt: skip
