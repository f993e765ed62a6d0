"""A small engine in a process of its own: starts one container, says its pid, waits for its end."""

from __future__ import annotations

import asyncio
import json
import sys

from dockerlab.engine.linux import capabilities, cgroups
from dockerlab.engine.model.rootfs import Overlay
from dockerlab.engine.runtime import defaults
from dockerlab.engine.runtime.launcher import Launcher
from dockerlab.engine.runtime.spec import Spec


async def main(facts):
    launcher = Launcher(cgroups.detect())
    await launcher.start()
    rootfs = Overlay(
        layers_dir=facts.pop("layers_dir"),
        lowers=("1/fs",),
        upper=facts.pop("upper"),
        work=facts.pop("work"),
    )
    facts["args"] = tuple(facts["args"])
    spec = Spec(
        rootfs=rootfs,
        env=("PATH=/bin",),
        capabilities=capabilities.DEFAULT,
        mounts=(defaults.PROC, defaults.DEV, defaults.PTS),
        stdin_open=True,
        **facts,
    )
    process = await launcher.launch(spec)
    await process.go()
    print(process.pid, flush=True)  # noqa: T201 - the test reads it
    await process.wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
