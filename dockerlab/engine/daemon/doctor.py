"""`dockerlab doctor`: what this machine allows, and what would lift what it does not.

Knows:   how the findings are printed.
Refuses: to find them; `engine/linux/` looks at the machine.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dockerlab.engine.linux import machine


def report() -> dict[str, Any]:
    """Look at the machine, and say what was found as plain values."""
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
    """Print the report; exit code 1 when containers can't run here."""
    found = report()
    if "--json" in argv:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(f"mode: {found.pop('mode')}\n")
        for name, value in found.items():
            text = ", ".join(value) if isinstance(value, list) else value
            sys.stdout.write(f"{name.replace('_', ' ')}: {text}\n")
    return 1 if found["no_containers"] else 0
