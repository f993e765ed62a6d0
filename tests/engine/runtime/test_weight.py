"""The zygote stays light: what it must never import, and that it needs no site-packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = {
    "asyncio", "logging", "subprocess", "dataclasses", "inspect", "msgspec", "tornado", "pyroute2",
}  # fmt: skip
ROOT = Path(__file__).parents[3]
PROGRAM = f"""
import sys
sys.path.append({str(ROOT)!r})
import dockerlab.engine.runtime.zygote
print(*sys.modules)
"""


def test_the_zygote_is_light():
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM], capture_output=True, check=True, text=True
    )
    modules = set(run.stdout.split())
    assert modules & HEAVY == set()
    assert len(modules) < 130
