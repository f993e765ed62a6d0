"""A real kernel: an interrupt ends a container at once, and every notebook runs."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Kernel:
    """One kernel, spoken to as a notebook would."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, *, until: str = "", timeout_s: float = 60) -> list[dict[str, Any]]:
        """Execute; returns the messages up to idle, or up to one that has `until` in it."""
        self.client.execute(code)
        return self.read(until=until, timeout_s=timeout_s)

    def read(self, *, until: str = "", timeout_s: float = 60) -> list[dict[str, Any]]:
        found, end = [], time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            found.append(message)
            if until and until in str(message["content"].get("text", "")):
                return found
            if message["content"].get("execution_state") == "idle":
                return found
        raise AssertionError(f"no end after {timeout_s} s: {found}")


@pytest.fixture
def kernel(environ: dict[str, str]) -> Iterator[Kernel]:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(env=environ, extra_arguments=["--log-level=ERROR"])
    found = Kernel(manager, client)
    try:
        found.run("%load_ext dockerlab")
        yield found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


def test_an_interrupt_stops_the_container(kernel, image, name):
    script = f"%%container --name {name} {image}\necho ready\nsleep 60"
    kernel.run(script, until="ready")
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    messages = kernel.read()
    took = time.monotonic() - began
    errors = [each["content"] for each in messages if each["msg_type"] == "error"]
    assert errors[0]["ename"] == "Interrupted"
    assert len(errors[0]["traceback"]) == 2
    assert took < 0.5, f"{took:.2f} s from the interrupt to idle"
    listed = kernel.run(f"%docker ps -a -q --filter name={name}")
    shown = [
        m["content"]["data"]["text/plain"] for m in listed if m["msg_type"] == "execute_result"
    ]
    assert shown == [""]


def test_an_interrupt_ends_the_program_and_keeps_the_container(kernel, image, name):
    kernel.run(f"%%container --name {name} --keep {image}\ntrue")
    kernel.run(f"%%container --name {name} --keep\necho ready\nsleep 60", until="ready")
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    messages = kernel.read()
    took = time.monotonic() - began
    errors = [each["content"] for each in messages if each["msg_type"] == "error"]
    assert "is kept" in errors[0]["evalue"]
    assert took < 0.5, f"{took:.2f} s from the interrupt to idle"
    listed = kernel.run(f"processes = %docker top {name}\n'sleep 60' in repr(processes)")
    shown = [
        m["content"]["data"]["text/plain"] for m in listed if m["msg_type"] == "execute_result"
    ]
    assert shown == ["False"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
@pytest.mark.usefixtures("image")
@pytest.mark.timeout(240)
def test_notebooks_run(path, environ):
    from dockerlab.notebook.demo import as_html, execute

    notebook, problem = execute(path, environ)
    assert problem == ""
    page = as_html(notebook, path.stem)
    assert "<table" in page
    if "%docker layers" in page or "stats --for" in page:
        assert "<svg" in page  # the picture of the layers, without a kernel
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_are_kept_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
