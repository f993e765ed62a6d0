"""Many short runs by several clients: afterwards the machine is as it was."""

from __future__ import annotations

import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dockerlab.engine.config import from_environment
from tests.faults.engines import Stocked, docker, idle_groups, until
from tests.leftovers import processes_of


def traces(stocked: Stocked) -> dict[str, Any]:
    """Everything of an engine that can be counted from outside."""
    settings = from_environment(stocked.engine.environment)
    root, run = stocked.engine.root, stocked.engine.run
    table = subprocess.run(
        ["nft", "list", "table", "inet", settings.table], capture_output=True, text=True, check=True
    )
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    inside = Path(f"/proc/{stocked.pid}/mountinfo").read_text().splitlines()
    # The writer's two files beside the database come and go.
    files = [str(one.relative_to(root)) for one in root.rglob("*") if "state.db-" not in one.name]
    return {
        "mounts": [line for line in (*mounts, *inside) if str(root) in line],
        "cables": sorted(
            one.name for one in Path(f"/sys/class/net/{settings.bridge}/brif").iterdir()
        ),
        "rules": table.stdout,
        "processes": Counter(name for _, name in processes_of(root)),
        "descriptors": Counter(kind_of(one) for one in Path(f"/proc/{stocked.pid}/fd").iterdir()),
        "files": sorted(files),
        "run": sorted(str(one.relative_to(run)) for one in run.rglob("*")),
    }


def kind_of(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink()).partition(":")[0]
    except OSError:
        return "gone"


def runs(stocked: Stocked, number: int) -> None:
    """One client's worth: with ports, with execs, refused, killed, followed."""
    with stocked.opened() as client:
        containers = client.containers
        assert containers.run(stocked.image, ["echo", "a"], remove=True) == b"a\n"
        ports = {"80/tcp": ("127.0.0.1", None)}
        assert containers.run(stocked.image, ["echo", "b"], remove=True, ports=ports) == b"b\n"
        some = containers.run(stocked.image, ["sleep", "100"], detach=True, name=f"some-{number}")
        assert some.exec_run(["echo", "c"]).output == b"c\n"
        assert some.exec_run(["no-such-program"]).exit_code in {126, 127}
        some.remove(force=True, v=True)
        refused = containers.create(stocked.image, ["no-such-program"])
        with pytest.raises(docker.errors.APIError, match="no-such-program"):
            refused.start()
        refused.remove()


def test_many_runs_leave_nothing(stocked: Stocked, soak: bool) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: runs(stocked, number), range(4)))  # what is made once
        groups = idle_groups()
        before = until(lambda: settled(stocked), "it rests")
        list(pool.map(lambda number: runs(stocked, number), range(200 if soak else 8)))
    until(lambda: not (idle_groups() - groups), "no control group is left")
    until(lambda: traces(stocked) == before, differences(before, traces(stocked)), 10)


def settled(stocked: Stocked) -> dict[str, Any] | None:
    """Traces, once cables of ended containers are away."""
    found = traces(stocked)
    return found if not found["cables"] and traces(stocked) == found else None


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    found = []
    for key, value in before.items():
        if after[key] == value:
            continue
        old, new = (
            (value.splitlines(), after[key].splitlines())
            if isinstance(value, str)
            else (list(value.items()), list(after[key].items()))
            if isinstance(value, Counter)
            else (value, after[key])
        )
        more, less = ([one for one in a if one not in b] for a, b in ((new, old), (old, new)))
        found.append(f"{key}: + {more} - {less}")
    return "; ".join(found)
