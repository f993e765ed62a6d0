"""Measure our engine beside a real dockerd.

    python -m tests.benchmarks [NAME...] [--rounds N] [--seconds S]

The same work on both, turn by turn in one loop, so that whatever else the machine does meets both.
The table has the median of each, the least, the ratio of the medians and the bar. Without a
reference ($DOCKERLAB_ANCHOR) only our own figures are told.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import hosts
from tests.benchmarks.cases import CASES, PYTHON, Case, image_file
from tests.conftest import discard_engine, new_engine

START = "start"
_print = functools.partial(print, flush=True)


def main() -> int:
    names = [START, *(case.name for case in CASES)]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="of every case, instead of its own number")
    parser.add_argument("--seconds", type=float, default=600, help="begin no round after these")
    parser.add_argument("--alone", action="store_true", help="without a reference")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {names}")
    deadline = time.monotonic() + options.seconds
    chosen = [case for case in CASES if not options.names or case.name in options.names]
    hosts.docker()
    _say_head()
    if not options.names or START in options.names:
        _engine_start(options.rounds or 7)
    if not chosen:
        return 0
    with ExitStack() as stack:
        engine = new_engine()
        stack.callback(discard_engine, engine)
        engine.start()
        compared = [hosts.ours(engine)]
        program = None if options.alone else hosts.find_anchor()
        if program is None:
            _print("no real dockerd here ($DOCKERLAB_ANCHOR): our own figures only")
        else:
            anchor, started = hosts.start_anchor(program)
            compared.append(anchor)
            if started:
                stack.callback(subprocess.run, [program, "stop"], check=True)
        for host in compared:
            stack.callback(host.clean)
        _furnish(chosen, compared, stack)
        measured: dict[str, list[list[float]]] = {}
        for case in chosen:
            missing = [image for image in case.needs if not image_file(image).exists()]
            if missing:
                _print(f"{case.name}: no archive of {', '.join(missing)} in {hosts.IMAGES}")
                continue
            _rounds(case, compared, options.rounds or case.rounds, deadline, measured)
            _tell(case, measured)
    return 0


def _furnish(chosen: list[Case], compared: list[hosts.Host], stack: ExitStack) -> None:
    """Give every host the images that are needed; push what is pulled later."""
    wanted = sorted({image for case in chosen for image in case.needs})
    for host in compared:
        for image in wanted:
            if image_file(image).exists():
                host.cli("load", "-q", "-i", str(image_file(image)))
    if not any(case.name == "pull" for case in chosen) or not image_file(PYTHON).exists():
        return
    storage = Path(tempfile.mkdtemp(prefix="dockerlab-bench-"))
    stack.callback(shutil.rmtree, storage)
    first, *others = compared
    first.serve_registry(storage / "0")
    name = f"{first.registry}/{hosts.MARK}/python:3"
    first.cli("tag", PYTHON, name)
    first.cli("push", "-q", name)
    # A registry has its folder for itself; the blobs shall be the same.
    for number, host in enumerate(others, 1):
        shutil.copytree(storage / "0", storage / str(number))
        host.serve_registry(storage / str(number))


def _rounds(
    case: Case,
    compared: list[hosts.Host],
    rounds: int,
    deadline: float,
    measured: dict[str, list[list[float]]],
) -> None:
    for number in range(rounds + 1):
        for index, host in enumerate(compared):
            figures = case.work(host)
            # The first round warms caches up.
            if number or rounds == 1:
                for name, value in figures.items():
                    measured.setdefault(name, [[] for _ in compared])[index].append(value)
        if time.monotonic() > deadline and number:
            break


def _say_head() -> None:
    _print(f"{'':31} {'dockerlab':>18} {'dockerd':>18} {'times':>7} {'bar':>5}")
    _print(f"{'':31} {'median (least)':>18} {'median (least)':>18}")


def _tell(case: Case, measured: dict[str, list[list[float]]]) -> None:
    """One line for each figure of a case."""
    floors = measured.get("version")
    for name in [name for name in measured if name not in _told]:
        _told.add(name)
        sides = measured[name]
        text = " ".join(f"{_value(name, side):>18}" for side in sides)
        verdict = ""
        if len(sides) == 2 and all(sides):
            mine, theirs = (statistics.median(side) for side in sides)
            if case.above_floor and floors:
                mine -= statistics.median(floors[0])
                theirs -= statistics.median(floors[1])
            ratio = theirs / max(mine, 1e-9)
            bar = case.bars.get(name)
            verdict = f"{ratio:7.1f} " + (
                f"{bar:5g} {'' if ratio >= bar else 'MISSED'}" if bar else ""
            )
            if case.above_floor and floors:
                verdict += " (above the CLI's floor)"
        _print(f"{name:31} {text} {verdict}".rstrip())


_told: set[str] = set()


def _value(name: str, figures: list[float]) -> str:
    middle, least = statistics.median(figures), min(figures)
    if name.endswith("MB"):
        return f"{middle:.1f} ({least:.1f})"
    return f"{middle * 1000:.1f} ({least * 1000:.1f}) ms"


def _engine_start(rounds: int) -> None:
    """Our engine on a fresh root, then again on the same: first ping, and ready."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        engine = new_engine()
        try:
            for again in ("", ", again"):
                begin = time.perf_counter()
                command = subprocess.Popen(
                    [sys.executable, "-m", "dockerlab", "engine", "start", "--json"],
                    env=engine.environment,
                    cwd="/",
                    stdout=subprocess.PIPE,
                )
                while not _answers(engine.socket):
                    time.sleep(0.002)
                figures.setdefault(f"engine start to ping{again}", []).append(
                    time.perf_counter() - begin
                )
                command.communicate()
                figures.setdefault(f"engine start to ready{again}", []).append(
                    time.perf_counter() - begin
                )
                engine.stop()
        finally:
            discard_engine(engine)
    for name, values in figures.items():
        bar = "bar 300 ms" if name.startswith("engine start to ping") else "bar 500 ms"
        _print(f"{name:31} {_value(name, values[1:]):>18}  {bar}")


def _answers(path: Path) -> bool:
    connection = hosts.Connection(str(path))
    try:
        connection.ask("GET", "/_ping")
    except OSError:
        return False
    finally:
        connection.close()
    return True


if __name__ == "__main__":
    sys.exit(main())
