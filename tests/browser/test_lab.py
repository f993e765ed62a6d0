"""JupyterLab with everything in it, as a person sees it. Screenshots are kept in out/browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM, Notebook, browser_page, jupyter_lab, write_notebook

PICTURES = Path(__file__).parents[2] / "out" / "browser"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """The built front end must be in this environment; `make` puts it there."""
    shown = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    listing = shown.stdout + shown.stderr
    if "dockerlab" not in listing:
        pytest.skip("dockerlab is not installed in this environment: make test does it")
    line = next(line for line in listing.splitlines() if "dockerlab v" in line)
    assert "enabled" in line, listing
    assert "OK" in line, listing


@pytest.fixture(scope="module")
def lab(engine, starter, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with jupyter_lab(folder, engine.environment) as address:
        yield address, folder


def test_the_server_extension_is_enabled():
    shown = subprocess.run(
        [sys.executable, "-m", "jupyter", "server", "extension", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    listing = shown.stdout + shown.stderr
    line = next(line for line in listing.splitlines() if "dockerlab" in line and "enabled" in line)
    assert line, listing


def test_a_class_could_look_at_this(lab, engine, starter, docker_cli):
    """One walk: sidebar, a live container, a build, the layer explorer, in light and dark."""
    address, folder = lab
    name = f"browser-{os.getpid()}"
    write_notebook(
        folder / "walk.ipynb",
        "%load_ext dockerlab",
        f"%docker run -d --name {name} {starter} sh -c 'while true; do date; sleep 1; done'",
        f"%%dockerfile -t {name}\nFROM {starter}\nRUN mkdir /app && echo hello > /app/greeting\n"
        "RUN head -c 100000 /dev/zero > /app/big\nRUN rm /app/big\n",
        f"%docker layers {name}",
    )
    try:
        with browser_page(address.format(path="lab/tree/walk.ipynb")) as page:
            messages: list[str] = []
            page.on("console", lambda one: messages.append(f"{one.type}: {one.text}"))
            notebook = Notebook(page)
            page.get_by_role("tab", name="Containers and images").click()
            panel = page.locator("#dockerlab-panel")
            panel.get_by_text("dockerlab", exact=False).first.wait_for()

            notebook.run_cell(0)
            notebook.run_cell(1)
            panel.get_by_text(name, exact=True).wait_for()
            panel.get_by_role("img", name="running").first.wait_for()
            panel.get_by_text(starter, exact=True).wait_for()

            notebook.run_cell(2)
            panel.get_by_text(f"{name}:latest").wait_for()
            notebook.run_cell(3)
            tree = page.get_by_role("tree")
            tree.get_by_role("treeitem").first.wait_for()
            tree.scroll_into_view_if_needed()
            page.screenshot(path=PICTURES / "lab.png")
            page.locator(".jp-OutputArea-output", has=tree).last.screenshot(
                path=PICTURES / "layers.png"
            )

            panel.get_by_role("button", name=f"Stop {name}").click()
            panel.get_by_role("button", name=f"Start {name}").wait_for()
            state = docker_cli("inspect", "-f", "{{.State.Status}}", name)
            assert state.strip() == "exited"

            page.evaluate(
                "window.jupyterapp.commands.execute('apputils:change-theme',"
                " {theme: 'JupyterLab Dark'})"
            )
            page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
            page.screenshot(path=PICTURES / "dark.png")
            errors = [one for one in messages if one.startswith("error:")]
            assert not errors
    finally:
        docker_cli("rm", "-f", name)
        docker_cli("rmi", "-f", name)


def test_the_panel_only_does_what_the_panel_shows(lab):
    """The bridge is no door to the whole Docker API, and none at all without a login."""
    import urllib.error
    import urllib.request

    address, _ = lab
    url = address.format(path="dockerlab/containers").partition("?")[0]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    assert refused.value.code in {401, 403}
    token = address.partition("token=")[2].partition("&")[0]
    request = urllib.request.Request(
        f"{url}/x/exec", method="POST", headers={"Authorization": f"token {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    assert json.loads(refused.value.read())["message"] == "the panel may not exec containers"


@pytest.fixture(scope="module")
def docker_cli(engine):
    """The console command of our own, as the only client that is surely here."""

    def run(*words: str) -> str:
        return engine.command(*words).stdout

    return run
