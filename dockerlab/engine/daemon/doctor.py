"""`dockerlab doctor`: what this machine allows, and what would lift what it does not.

Knows:   which values a program gets, and that people get the text.
Refuses: to find out; `linux/probe.py` tries the machine, `linux/machine.py` reads it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from dockerlab.engine import config
from dockerlab.engine.linux import doctor, machine, probe
from dockerlab.engine.model.machine import Mode


def report() -> dict[str, Any]:
    """Look at the machine, and say what was found as plain values. Tries nothing."""
    found = machine.read()
    return {
        "mode": found.mode.value,
        "kernel": found.kernel,
        "operating_system": found.operating_system,
        "architecture": found.architecture,
        "cgroup_version": found.cgroup_version,
        "cgroup_supports": sorted(found.cgroup_supports),
        "seccomp": found.seccomp,
        "apparmor": found.apparmor,
        "forwarding": found.forwarding,
        "no_containers": found.no_containers,
    }


def run(argv: list[str]) -> int:
    """Try the machine and print what came of it; exit code 1 when containers can't run here."""
    tried = probe.examine(config.from_environment().root)
    if "--json" in argv:
        values = report() | {
            "mode": tried.mode.value,
            "headline": doctor.headline(tried),
            "no_containers": tried.because if tried.mode is Mode.IMAGES_ONLY else "",
            "findings": [asdict(finding) for finding in tried.findings],
        }
        sys.stdout.write(json.dumps(values) + "\n")
    else:
        sys.stdout.write(doctor.render(tried))
    return 1 if tried.mode is Mode.IMAGES_ONLY else 0
