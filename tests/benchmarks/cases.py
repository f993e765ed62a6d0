"""What is measured: each case does the same work on any host and gives seconds by name.

Knows:   the work, how often, and the bar: how many times faster than Debian's dockerd we must be.
Refuses: to compare; `__main__.py`.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.hosts import IMAGES, MARK, Host, family, parent, proportional_kib

BUSYBOX = "busybox:latest"
PYTHON = "python:3"
# What nginx stands on: it stays, and only what is above is loaded.
BASE = "debian:bookworm-slim"
Figures = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One piece of work.

    Attributes:
        bars: how many times faster we must be, by figure; a figure without one is told only.
        above_floor: the CLI's own floor (`version`) is taken off both sides before the ratio.
        needs: images that must be there.
    """

    name: str
    work: Callable[[Host], Figures]
    bars: dict[str, float]
    rounds: int = 7
    above_floor: bool = False
    needs: tuple[str, ...] = (BUSYBOX,)


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def version(host: Host) -> Figures:
    return {"version": host.cli("version")}


def run(host: Host) -> Figures:
    name = f"{MARK}-run"
    return {"run": host.cli("run", "--rm", "--name", name, BUSYBOX, "true")}


def run_none(host: Host) -> Figures:
    words = ("run", "--rm", "--name", f"{MARK}-none", "--network", "none", BUSYBOX, "true")
    return {"run --network none": host.cli(*words)}


def life(host: Host) -> Figures:
    connection = host.api()
    begin = time.perf_counter()
    body = {"Image": BUSYBOX, "Cmd": ["true"]}
    made = connection.ask("POST", f"/containers/create?name={MARK}-life", body)["Id"]
    created = time.perf_counter()
    connection.ask("POST", f"/containers/{made}/start")
    started = time.perf_counter()
    connection.ask("POST", f"/containers/{made}/wait")
    waited = time.perf_counter()
    connection.ask("DELETE", f"/containers/{made}")
    end = time.perf_counter()
    connection.close()
    return {
        "create+start+wait+remove": end - begin,
        "  create": created - begin,
        "  start": started - created,
        "  wait": waited - started,
        "  remove": end - waited,
    }


def execute(host: Host) -> Figures:
    name = f"{MARK}-exec"
    host.cli("run", "-d", "--name", name, BUSYBOX, "sleep", "600")
    took = [host.cli("exec", name, "true") for _ in range(3)]
    host.cli("rm", "-f", name)
    return {"exec": sorted(took)[1]}


def many(host: Host) -> Figures:
    count, clients = 50, 8
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "600"]}

    def up(number: int) -> str:
        name = f"{MARK}-many{number}"
        made: str = host.ask("POST", f"/containers/create?name={name}", body)["Id"]
        host.ask("POST", f"/containers/{made}/start")
        return made

    with ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        made = list(pool.map(up, range(count)))
        started = time.perf_counter() - begin
    connection = host.api()
    connection.ask("GET", "/containers/json")
    lists = sorted(timed(lambda: connection.ask("GET", "/containers/json")) for _ in range(9))
    shims = {parent(host.ask("GET", f"/containers/{one}/json")["State"]["Pid"]) for one in made[:5]}
    memory = sum(map(proportional_kib, shims)) / 5
    begin = time.perf_counter()
    for container in made:
        connection.ask("DELETE", f"/containers/{container}?force=1")
    removed = (time.perf_counter() - begin) / count
    connection.close()
    return {
        "50 by 8 clients": started,
        "forced removal, each": removed,
        "list of 50": lists[4],
        "memory per container, MB": memory / 1000,
    }


def rest(host: Host) -> Figures:
    return {"memory at rest, MB": sum(map(proportional_kib, family(host.pid()))) / 1000}


def pull(host: Host) -> Figures:
    image = f"{host.registry}/{MARK}/python:3"
    # Gone with every name, so that its layers are pulled and not found.
    _forget(host, PYTHON)
    _forget(host, image)
    took = host.cli("pull", "-q", image)
    host.cli("tag", image, PYTHON)
    return {"pull python:3": took}


def _forget(host: Host, image: str) -> None:
    if host.ask("GET", f'/images/json?filters={{"reference":["{image}"]}}'):
        host.cli("rmi", "-f", image)


def load(host: Host) -> Figures:
    _forget(host, "nginx:latest")
    took = host.cli("load", "-q", "-i", str(IMAGES / "nginx_latest.tar"))
    return {"load nginx": took}


def save(host: Host) -> Figures:
    return {"save python:3": host.cli("save", PYTHON)}


def _build(host: Host, dockerfile: str, files: dict[str, bytes], *words: str) -> float:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {"Dockerfile": dockerfile.encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with tempfile.TemporaryFile() as context:
        context.write(packed.getvalue())
        context.seek(0)
        return host.cli("build", "-q", "-t", f"{MARK}-built", *words, "-", stdin=context)


def cached(host: Host) -> Figures:
    text = f"FROM {BUSYBOX}\n" + "".join(f"ENV A{n}={n}\n" for n in range(20))
    _build(host, text, {})
    return {"build, 20 cached steps": _build(host, text, {})}


def runs(host: Host) -> Figures:
    text = f"FROM {BUSYBOX}\n" + "RUN true\n" * 10
    return {"build, 10 RUN true": _build(host, text, {}, "--no-cache")}


def copies(host: Host) -> Figures:
    files = {f"d{n % 100}/f{n}": b"x" * 400 for n in range(10_000)}
    text = f"FROM {BUSYBOX}\nCOPY . /data\n"
    return {"build, COPY of 10,000 files": _build(host, text, files, "--no-cache")}


def bulk(host: Host) -> Figures:
    name = f"{MARK}-bulk"
    words = ("run", "--rm", "--name", name, BUSYBOX, "head", "-c", "100000000", "/dev/zero")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        return {"100 MB through run": host.cli(*words, stdout=reader.stdin)}


def _lines(host: Host, driver: str) -> Figures:
    name = f"{MARK}-lines"
    # As long as a usual line of a web server's log is half of.
    command = "yes 'a line of some words, as programs write them' | head -n 500000"
    body = {
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", command],
        "HostConfig": {"LogConfig": {"Type": driver}},
    }
    made = host.ask("POST", f"/containers/create?name={name}", body)["Id"]

    def write() -> None:
        host.ask("POST", f"/containers/{made}/start")
        host.ask("POST", f"/containers/{made}/wait")

    written = timed(write)
    read = host.cli("logs", made)
    host.ask("DELETE", f"/containers/{made}")
    suffix = "" if driver == "json-file" else f", {driver}"
    return {f"500,000 lines written{suffix}": written, f"500,000 lines read{suffix}": read}


def lines(host: Host) -> Figures:
    return _lines(host, "json-file")


def lines_local(host: Host) -> Figures:
    return _lines(host, "local")


def copy_out(host: Host) -> Figures:
    name = f"{MARK}-cp"
    words = ("run", "--name", name, BUSYBOX, "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=100")
    host.cli(*words)
    took = host.cli("cp", f"{name}:/file", "-")
    host.cli("rm", name)
    return {"cp of 100 MB out": took}


CASES = (
    Case("version", version, {}, rounds=11),
    Case("run", run, {"run": 5}, rounds=11),
    Case("run-none", run_none, {"run --network none": 6}, rounds=11),
    Case("life", life, {"create+start+wait+remove": 8}, rounds=11),
    Case("exec", execute, {"exec": 4}, above_floor=True),
    Case("rest", rest, {"memory at rest, MB": 1.9}, rounds=1),
    Case(
        "many",
        many,
        {
            "50 by 8 clients": 8,
            "forced removal, each": 4,
            "list of 50": 1,
            "memory per container, MB": 4.9,
        },
        rounds=3,
    ),
    Case("pull", pull, {"pull python:3": 1.5}, rounds=3, needs=(PYTHON,)),
    Case("load", load, {"load nginx": 1.2}, rounds=3, needs=("nginx:latest", BASE)),
    Case("save", save, {"save python:3": 12}, rounds=3, needs=(PYTHON,)),
    Case("cached", cached, {"build, 20 cached steps": 1}, rounds=5),
    Case("runs", runs, {"build, 10 RUN true": 8}, rounds=3),
    Case("copies", copies, {"build, COPY of 10,000 files": 4}, rounds=2),
    Case("bulk", bulk, {"100 MB through run": 2}, rounds=3),
    Case("lines", lines, {"500,000 lines written": 1, "500,000 lines read": 1.3}, rounds=3),
    Case(
        "lines-local",
        lines_local,
        {"500,000 lines written, local": 2, "500,000 lines read, local": 2},
        rounds=3,
    ),
    Case("cp", copy_out, {"cp of 100 MB out": 1}, rounds=3),
)


def image_file(image: str) -> Path:
    return IMAGES / f"{image.replace(':', '_')}.tar"
