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

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")
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
def browser_page(url: str) -> Iterator[Page]:
    """Open `url` in a fresh Chromium; nothing but this machine is asked for anything."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1500, "height": 950})
            page.set_default_timeout(30_000)
            page.goto(url)
            yield page
        finally:
            browser.close()


class Notebook:
    """The notebook that is open in the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self._evaluate("""async () => {
            const widget = window.jupyterapp.shell.currentWidget;
            await widget.sessionContext.ready;
        }""")

    def run_cell(self, index: int) -> None:
        """Run one cell to its end."""
        self._evaluate(
            """async index => {
                const {shell, commands} = window.jupyterapp;
                shell.currentWidget.content.activeCellIndex = index;
                await commands.execute('notebook:run-cell');
            }""",
            index,
        )

    def _evaluate(self, script: str, argument: Any = None) -> Any:
        # page.evaluate has no time limit of its own.
        limited = f"""argument => Promise.race([
            ({script})(argument),
            new Promise((_, no) => setTimeout(() => no(new Error('took too long')), 60000)),
        ])"""
        return self.page.evaluate(limited, argument)


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    document = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{index}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for index, source in enumerate(cells)
        ],
        # Without a kernelspec JupyterLab asks for a kernel and waits.
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(document))
