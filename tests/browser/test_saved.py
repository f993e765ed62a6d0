"""A saved notebook shows its tables and pictures with neither kernel nor network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM, PICTURES, browser_page, write_notebook

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
    pytest.mark.filterwarnings("default"),
]


def test_a_saved_notebook_shows_tables_and_pictures(engine, starter, tmp_path):
    name = f"saved-{os.getpid()}"
    notebook = write_notebook(
        tmp_path / "saved.ipynb",
        "%load_ext dockerlab",
        f"%docker run -d --name {name} -m 64m {starter} sh -c 'while :; do seq 9999|sort -R; done'",
        "%docker ps",
        f"%docker layers {starter}",
        f"%docker stats --for 3s {name}",
    )
    page = tmp_path / "saved.html"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dockerlab.notebook.demo", notebook, "--html", page, "--host"],
            env=engine.environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        _look_at(page, name)
    finally:
        engine.command("rm", "-f", name)


def _look_at(saved: Path, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with browser_page(saved.as_uri(), offline=True) as page:
        containers, layers, stats = (page.locator(".dockerlab table").nth(at) for at in range(3))
        containers.get_by_role("cell", name=name).wait_for()
        number = layers.get_by_role("row").nth(1).get_by_role("cell")
        assert number.first.evaluate("node => getComputedStyle(node).textAlign") == "right"
        words = layers.get_by_text("dockerlab starter: shared libraries")
        assert words.evaluate("node => getComputedStyle(node).textAlign") in {"left", "start"}
        assert "monospace" in words.evaluate("node => getComputedStyle(node).fontFamily")
        stats.get_by_role("cell", name=name).wait_for()
        for picture in ("layers of", "CPU: at most", "Memory: at most"):
            assert page.locator(f'svg[role=img][aria-label*="{picture}"]').is_visible()
        stats.scroll_into_view_if_needed()
        page.screenshot(path=PICTURES / "saved.png", full_page=True)
