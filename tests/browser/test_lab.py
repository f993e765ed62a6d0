"""JupyterLab with everything in it, as a person sees it. Screenshots are kept in out/browser."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_path

from tests.browser.lab import CHROMIUM, PICTURES, Lab, browser_page, jupyter_lab, write_notebook
from tests.browser.stage import Stage, stage_engine

AXE = Path(__file__).parents[2] / "labextension/node_modules/axe-core/axe.min.js"
WORK = "while :; do seq 100000 | sort -R | tail -1; sleep 1; done"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)"),
    pytest.mark.filterwarnings("default"),
]


# One lab, one page, one engine for this file: a page costs five seconds, and playwright's loop
# would get in the way of other files' tests.
@pytest.fixture(scope="module")
def stage(registry) -> Iterator[Stage]:
    with stage_engine(registry) as stage:
        yield stage


@pytest.fixture(scope="module")
def served(stage, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    if not _installed():
        pytest.skip("dockerlab is not installed in this environment: make test does it")
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    with jupyter_lab(folder, stage.engine.environment) as address:
        yield address, folder


@pytest.fixture(scope="module")
def opened(served) -> Iterator[Lab]:
    address, _ = served
    with browser_page(address.format(path="lab")) as page:
        lab = Lab(page)
        page.get_by_role("tab", name="Containers and images").click()
        yield lab


@pytest.fixture
def lab(opened) -> Iterator[Lab]:
    """The lab in its light theme, and no complaint of the page in the end."""
    opened.messages.clear()
    yield opened
    opened.theme("Light")
    assert not opened.errors()


@pytest.fixture
def folder(served) -> Path:
    return served[1]


def _installed() -> bool:
    """Whether the built front end is where JupyterLab looks for it; `make` puts it there."""
    return any(
        Path(place, "labextensions/dockerlab/package.json").exists() for place in jupyter_path()
    )


def accessible(lab: Lab, selector: str) -> None:
    """Let axe look for serious faults below `selector`."""
    if not AXE.exists():
        return  # a wheel's environment has no node_modules; `make` has
    if not lab.page.evaluate("'axe' in window"):
        lab.page.add_script_tag(path=AXE)
    found = lab.evaluate(
        """async selector => (await axe.run(selector)).violations
            .filter(one => ['serious', 'critical'].includes(one.impact))
            .map(one => one.id + ': ' + one.nodes.map(node => node.html).slice(0, 3).join(' '))
        """,
        selector,
    )
    assert not found, "\n".join(found)


def test_both_extensions_are_enabled(served):
    asked = [
        subprocess.Popen(
            [sys.executable, "-m", "jupyter", *words, "list"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for words in (["labextension"], ["server", "extension"])
    ]  # fmt: skip
    lab, server = (process.communicate(timeout=60)[0] for process in asked)
    assert any(
        "dockerlab v" in line and "enabled" in line and "OK" in line for line in lab.splitlines()
    ), lab
    assert any("dockerlab" in line and "enabled" in line for line in server.splitlines()), server


def test_the_sidebar_follows_the_host(lab, stage):
    panel = lab.page.locator("#dockerlab-panel")
    panel.get_by_text("starter:latest", exact=True).wait_for()
    host = panel.locator(".dockerlab-Host")
    assert "dockerlab" in host.inner_text()
    name = "a-very-long-name-for-a-container-that-only-sleeps-on-and-on"
    with stage.container(name, "sleep", "300"):
        row = panel.locator(".dockerlab-Row", has_text=name)
        row.get_by_role("img", name="running").wait_for()
        status = row.locator(".dockerlab-Status")
        assert status.inner_text().startswith("Up")
        assert status.evaluate("node => node.scrollWidth <= node.clientWidth")

        # By keyboard: the buttons of a row are there as soon as one has the focus.
        pause = row.get_by_role("button", name=f"Pause {name}")
        pause.focus()
        actions = row.locator(".dockerlab-Actions")
        assert actions.evaluate("node => getComputedStyle(node).opacity") == "1"
        lab.page.keyboard.press("Enter")
        row.get_by_role("img", name="paused").wait_for()
        row.get_by_role("button", name=f"Unpause {name}").click()
        row.get_by_role("img", name="running").wait_for()
        accessible(lab, "#dockerlab-panel")

        # A click on a row does nothing; removing asks, and the safe answer is the first.
        row.locator(".dockerlab-Title").click()
        row.get_by_role("button", name=f"Remove {name}").click()
        dialog = lab.page.locator(".jp-Dialog")
        dialog.get_by_text("is running").wait_for()
        lab.page.keyboard.press("Enter")
        dialog.wait_for(state="detached")
        assert stage.docker("inspect", "-f", "{{.State.Status}}", name).strip() == "running"
        row.get_by_role("button", name=f"Remove {name}").click()
        dialog.get_by_role("button", name="Remove").click()
        row.wait_for(state="detached")
        assert name not in stage.docker("ps", "-a")

    heading = panel.get_by_role("button", name="Images")
    heading.click()
    panel.get_by_text("starter:latest", exact=True).wait_for(state="detached")
    assert heading.get_attribute("aria-expanded") == "false"
    heading.click()
    panel.get_by_text("starter:latest", exact=True).wait_for()


def test_a_host_that_goes_and_comes_back(lab, stage):
    panel = lab.page.locator("#dockerlab-panel")
    panel.get_by_text("starter:latest", exact=True).wait_for()
    stage.engine.stop(clean=False)
    try:
        alert = panel.get_by_role("alert")
        alert.get_by_text("Cannot connect to the Docker daemon").wait_for()
        assert alert.locator(".dockerlab-Hint").inner_text()
        accessible(lab, "#dockerlab-panel")
        lab.page.screenshot(path=PICTURES / "no-host.png")
    finally:
        stage.engine.start()
    retry = alert.get_by_role("button", name="Try again")
    if retry.is_visible():  # it may have found the host by itself
        retry.click()
    alert.wait_for(state="detached")
    panel.get_by_text("starter:latest", exact=True).wait_for()
    lab.messages.clear()  # the browser itself complains of answers that are errors


def test_the_layer_explorer(lab, stage, folder):
    """Marks by sign and word, keys, filters; names that would break a page or an eye."""
    notebook = write_notebook(
        folder / "explorer.ipynb",
        "%load_ext dockerlab",
        "%%dockerfile -t explored\nFROM starter\n"
        "RUN mkdir -p /app/deep && echo 1 > /app/one && echo 2 > /app/two && echo 3 > /app/deep/x\n"
        'RUN echo changed > /app/one && rm /app/two && touch "/app/$(printf "a\\tb<b>")"\n',
        "%docker layers explored",
    )
    try:
        with lab.notebook(notebook) as opened:
            opened.run(0)
            opened.run(1)
            cell = opened.run(2)
            layers = cell.get_by_role("listbox", name="Layers of explored")
            last = layers.get_by_role("option").last
            assert last.locator(".dl-counts").inner_text().split() == [
                "+1",
                "~1",
                "\N{MINUS SIGN}1",
            ]
            tree = cell.get_by_role("tree")
            tree.get_by_role("treeitem", name="changed: one").wait_for()  # opened by itself
            removed = tree.get_by_role("treeitem", name="removed: two")
            assert "line-through" in removed.locator(".dl-name").evaluate(
                "node => getComputedStyle(node).textDecorationLine"
            )
            assert tree.get_by_role("treeitem", name="added: a\\tb<b>").count() == 1
            totals = cell.get_by_role("status")
            assert "+ 1 added" in totals.inner_text()

            # The keys belong to the widget while it has the focus.
            tree.focus()
            for key in ("Home", "ArrowLeft"):
                lab.page.keyboard.press(key)
            assert tree.get_by_role("treeitem").count() == 1
            lab.page.keyboard.press("Enter")
            lab.page.keyboard.press("End")
            assert tree.get_by_role("treeitem", selected=True).count() == 1
            layers.focus()
            lab.page.keyboard.press("ArrowUp")
            tree.get_by_role("treeitem", name="added: deep/").wait_for()
            assert opened.active() == 2

            # Everything up to this layer: more rows than there are elements on the page.
            cell.get_by_label("with the layers below").check()
            tree.get_by_role("treeitem", name="usr/,").wait_for()
            cell.get_by_role("searchbox").fill("bin/")
            assert 20 < tree.get_by_role("treeitem").count() < 60
            cell.get_by_role("searchbox").fill("")
            cell.get_by_role("button", name="added").click()
            tree.get_by_role("treeitem", name="added: one").wait_for()
            assert tree.get_by_role("treeitem", name="usr/,").count() == 0
            accessible(lab, ".dl-layers")
            lab.theme("Dark")
            accessible(lab, ".dl-layers")
    finally:
        stage.docker("rmi", "-f", "explored")


def test_charts_end_with_their_container(lab, stage, folder):
    notebook = write_notebook(folder / "stats.ipynb", "%load_ext dockerlab", "%docker stats web")
    with (
        stage.container("web", "sh", "-c", WORK, options=("-m", "64m")),
        lab.notebook(notebook) as opened,
    ):
        opened.run(0)
        cell = opened.run(1)
        cell.get_by_role("status").get_by_text("live").wait_for()
        assert cell.locator(".dl-chart canvas").count() == 4
        cell.get_by_role("rowheader", name="web", exact=True).wait_for()
        accessible(lab, ".dl-stats")
        cell.get_by_text("live · 8 s").wait_for()
        cell.locator(".dockerlab-widget").screenshot(path=PICTURES / "stats.png")
        lab.theme("Dark")
        accessible(lab, ".dl-stats")
        cell.locator(".dockerlab-widget").screenshot(path=PICTURES / "stats-dark.png")
        stage.docker("kill", "web")
        cell.get_by_text("the figures stay").wait_for()
        assert cell.get_by_role("button", name="Stop watching").is_disabled()


def test_dockerfile_cells_have_colours_of_their_own(lab, folder):
    text = "%%dockerfile -t x\nFROM starter\nRUN echo hello\n"
    notebook = write_notebook(folder / "colours.ipynb", text, "import os\nFROM = None")
    colours = """node => Object.fromEntries([...node.querySelectorAll('.cm-line span')]
        .map(span => [span.textContent, getComputedStyle(span).color]))"""
    with lab.notebook(notebook) as opened:
        magic, python = opened.cells.nth(0), opened.cells.nth(1)
        magic.locator(".cm-line span", has_text="FROM").wait_for()
        python.locator(".cm-line span", has_text="import").wait_for()
        keyword = python.evaluate(colours)["import"]
        assert magic.evaluate(colours)["FROM"] == keyword
        assert magic.evaluate(colours)["RUN"] == keyword
        assert python.evaluate(colours).get("FROM") != keyword

        opened.write(0, "import os\nFROM = None")
        magic.locator(".cm-line span", has_text="import").wait_for()
        assert magic.evaluate(colours) == python.evaluate(colours)
        opened.write(1, text)
        python.locator(".cm-line span", has_text="RUN").wait_for()
        assert python.evaluate(colours)["RUN"] == keyword


def test_the_story_of_the_pictures(lab, stage, folder):
    """What README.md shows: `make pictures` keeps these screenshots in docs/images."""
    port = _free_port(8080)
    notebook = write_notebook(
        folder / "first-container.ipynb",
        "%load_ext dockerlab",
        "%%dockerfile -t hello\nFROM starter\nRUN mkdir /app && echo hello > /app/greeting\n"
        "RUN head -c 3000000 /dev/urandom > /app/data && date > /app/built\n"
        "RUN rm /app/data && echo good morning > /app/greeting && seq 1000 > /app/numbers\n"
        'CMD ["cat", "/app/greeting"]\n',
        "## A container, and what an image is made of",
        f'%docker run -d --name web -p {port}:80 -m 64m starter sh -c "{WORK}"',
        "%docker ps",
        "%docker layers hello",
    )
    with stage.removed("web", image="hello"), lab.notebook(notebook) as opened:
        for index in (0, 1, 3):
            opened.run(index)
        panel = lab.page.locator("#dockerlab-panel")
        panel.get_by_text(re.compile(r"Up \d seconds")).wait_for()
        opened.run(4)
        layers = opened.run(5)
        layers.get_by_role("treeitem", name="removed: data").wait_for()
        panel.get_by_text("hello:latest", exact=True).wait_for()
        for theme, suffix in (("Light", ""), ("Dark", "-dark")):
            lab.theme(theme)
            opened.scroll_to(2)
            lab.page.mouse.move(1, 500)  # no row under it
            lab.page.screenshot(path=PICTURES / f"lab{suffix}.png")
            widget = layers.locator(".dockerlab-widget")
            widget.screenshot(path=PICTURES / f"layers{suffix}.png")
            opened.scroll_to(1)
            lab.page.screenshot(path=PICTURES / f"build{suffix}.png")


def _free_port(wanted: int) -> int:
    """The port that reads well, or any other one where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("no port is free")


def test_the_panel_only_does_what_the_panel_shows(served):
    """The bridge is no door to the whole Docker API, and none at all without a login."""
    address, _ = served
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
