"""A real JupyterLab in a real Chromium, for the tests of this folder.

Knows:   how to start both without the outside world, and how to end both.
Refuses: to wait by the clock: it waits for the page's own signs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).parents[2] / "out" / "browser"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    "--metrics-recording-only",
]
_READY_S = 60
_LOADS = 3


@contextmanager
def jupyter_lab(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve `folder` by a JupyterLab of its own; gives the address with its token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    private = folder.parent / "jupyter"
    settings = private / "settings"
    popup = settings / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    popup.parent.mkdir(parents=True)
    popup.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        sys.executable, "-m", "jupyter", "lab", "--allow-root", "--no-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    own = {
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "IPYTHONDIR": str(private / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    log = (private / "log").open("wb")
    server = subprocess.Popen(
        command, env={**os.environ, **environ, **own}, stdout=log, stderr=log,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await(server, f"http://127.0.0.1:{port}/api/status?token={token}", private / "log")
        yield f"http://127.0.0.1:{port}/{{path}}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def _await(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    from time import monotonic, sleep

    end_s = monotonic() + _READY_S
    while monotonic() < end_s:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            sleep(0.05)  # a server that does not listen yet has no event to wait for
    raise RuntimeError(f"JupyterLab does not answer: {log.read_text()[-2000:]}")


@contextmanager
def browser_page(url: str, *, offline: bool = False) -> Iterator[Page]:
    """Open `url` in a fresh Chromium; nothing but this machine is asked for anything."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 860})
            page.set_default_timeout(20_000)
            page.context.set_offline(offline)
            page.goto(url)
            yield page
        finally:
            browser.close()


class Lab:
    """JupyterLab in a page: its notebooks, theme and messages."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.messages: list[str] = []
        page.on("console", lambda one: self.messages.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        # A browser drops its requests whenever the machine's networks change, and neighbours'
        # containers come and go: a page without its theme is loaded once more.
        for _ in range(_LOADS):
            page.wait_for_function("window.jupyterapp?.restored")
            self.evaluate("() => window.jupyterapp.restored")
            page.wait_for_function(
                "document.body.dataset.jpThemeName || document.querySelector('.jp-Dialog')"
            )
            if not page.locator(".jp-Dialog").count():
                break
            page.reload()

    @contextmanager
    def notebook(self, path: Path) -> Iterator[Notebook]:
        """Open a notebook; its kernel ends with the block."""
        self.evaluate(
            """async name => {
                const {commands, shell} = window.jupyterapp;
                const widget = await commands.execute('docmanager:open', {path: name});
                await widget.context.ready;
                await widget.sessionContext.ready;
                shell.activateById(widget.id);
            }""",
            path.name,
        )
        try:
            yield Notebook(self, self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)"))
        finally:
            self.evaluate("""async () => {
                const widget = window.jupyterapp.shell.currentWidget;
                await widget.sessionContext.shutdown();
                widget.dispose();
            }""")

    def theme(self, name: str) -> None:
        self.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {name}",
        )
        self.page.locator(f'body[data-jp-theme-name="JupyterLab {name}"]').wait_for(
            state="attached"
        )

    def errors(self) -> list[str]:
        """What the page complained about since it was opened."""
        return [one for one in self.messages if one.startswith("error:")]

    def evaluate(self, script: str, argument: Any = None) -> Any:
        # page.evaluate has no time limit of its own.
        limited = f"""argument => Promise.race([
            ({script})(argument),
            new Promise((_, no) => setTimeout(() => no(new Error('took too long')), 40000)),
        ])"""
        return self.page.evaluate(limited, argument)


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: Lab, panel: Locator) -> None:
        self.lab = lab
        self.cells = panel.locator(".jp-Cell")

    def run(self, index: int) -> Locator:
        """Run one cell to its end; returns it."""
        self.lab.evaluate(
            """async index => {
                const {shell, commands} = window.jupyterapp;
                shell.currentWidget.content.activeCellIndex = index;
                await commands.execute('notebook:run-cell');
            }""",
            index,
        )
        return self.cells.nth(index)

    def write(self, index: int, source: str) -> None:
        """Replace a cell's text, as an edit."""
        self.lab.evaluate(
            """([index, source]) => window.jupyterapp.shell.currentWidget
                .content.widgets[index].model.sharedModel.setSource(source)""",
            [index, source],
        )

    def active(self) -> int:
        """The number of the cell that has the frame."""
        return int(
            self.lab.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex")
        )

    def scroll_to(self, index: int) -> None:
        """Bring a cell to the upper edge."""
        self.cells.nth(index).evaluate("node => node.scrollIntoView({block: 'start'})")


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells; a cell that begins with ## is text."""
    document = {
        "cells": [_cell(index, source) for index, source in enumerate(cells)],
        # Without a kernelspec JupyterLab asks for a kernel and waits.
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(document))
    return path


def _cell(index: int, source: str) -> dict[str, Any]:
    cell = {"id": f"cell-{index}", "metadata": {}, "source": source}
    if source.startswith("## "):
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}
