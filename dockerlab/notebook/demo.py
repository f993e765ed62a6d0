"""`make demo`: one notebook executed from top to bottom against a fresh engine.

Knows:   how to keep the person's own engine and containers out of it, and to leave nothing behind.
Refuses: to store widgets' state: an HTML page with it shows nothing where no kernel runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_CELL_TIMEOUT_S = 120
_BOLD, _DIM, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns 0 when every cell went well."""
    options = _parser().parse_args(argv)
    started = time.monotonic()
    kept = Path(options.html).parent / "registry"
    with surroundings(fresh=not options.host, kept=kept) as environ:
        notebook, problem = execute(options.notebook, environ, report=_tell)
    written = Path(options.html)
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(as_html(notebook, options.notebook.stem))
    took = f"{_styled(_DIM)}{time.monotonic() - started:.1f} s{_styled(_OFF)}"
    sys.stdout.write(
        f"\n{took}\nThe executed notebook: {written.resolve()}\n"
        f"To play with it yourself: make lab (JupyterLab with {options.notebook})\n"
    )
    if problem:
        sys.stderr.write(f"The demo stopped: {problem}\n")
    return 1 if problem else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dockerlab.notebook.demo", description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--html", required=True, help="where the executed notebook goes")
    parser.add_argument(
        "--host", action="store_true", help="use DOCKER_HOST as it is, instead of a fresh engine"
    )
    return parser


@contextlib.contextmanager
def surroundings(*, fresh: bool, kept: Path | None = None) -> Iterator[dict[str, str]]:
    """An environment with an engine of its own, which ends with it.

    Args:
        fresh: False leaves everything as it is: DOCKER_HOST says where the demo runs.
        kept: the registry's folder, for the next time: packing the starter image takes seconds.
    """
    environ = dict(os.environ)
    environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning that says nothing to a learner
    if not fresh:
        yield environ
        return
    folder = Path(tempfile.mkdtemp(prefix="dockerlab-demo-"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        environ.pop(name, None)
    environ |= {
        "DOCKERLAB_ROOT": str(folder / "root"),
        "DOCKERLAB_RUN": str(folder / "run"),
        "DOCKER_CONFIG": str(folder / "config"),  # no context of the person's own
    }
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        (folder / "root").mkdir(mode=0o700)
        (folder / "root" / "registry").symlink_to(kept.resolve())
    try:
        yield environ
    finally:
        for words in (("registry", "stop"), ("engine", "stop")):
            subprocess.run(
                [sys.executable, "-m", "dockerlab", *words],
                env=environ,
                capture_output=True,
                timeout=60,
                check=False,
            )
        shutil.rmtree(folder, ignore_errors=True)


def execute(path: Path, environ: Mapping[str, str], *, report: Any = None) -> tuple[Any, str]:
    """Execute a notebook; returns it with its outputs, and what stopped it ("" if nothing did)."""
    import nbformat  # noqa: PLC0415 - this program runs where Jupyter is
    from nbclient import NotebookClient  # noqa: PLC0415 - as above
    from nbclient.exceptions import CellExecutionError, CellTimeoutError  # noqa: PLC0415

    read: Callable[..., Any] = nbformat.read  # it has no types
    notebook = read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_CELL_TIMEOUT_S,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # a kernel on loopback warns of its loopback
        store_widget_state=False,
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_executed=report,
    )
    try:
        client.execute(env=dict(environ))
    except CellExecutionError as error:
        return notebook, f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return notebook, f"a cell took more than {_CELL_TIMEOUT_S} s"
    return notebook, ""


def as_html(notebook: Any, title: str) -> str:
    """The notebook as one page."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 - this program runs where Jupyter is

    exporter: Any = HTMLExporter
    page, _ = exporter().from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return str(page)


def _tell(*, cell: Any, **_: Any) -> None:
    """Print one executed cell: what was typed, what came."""
    if cell.cell_type != "code":
        return
    lines = [""]
    lines += [f"{_styled(_BOLD)}> {line}{_styled(_OFF)}" for line in cell.source.splitlines()]
    lines += filter(None, (_text(output).rstrip("\n") for output in cell.outputs))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return "\n".join(output.traceback)
    return str(output.get("data", {}).get("text/plain", ""))


def _styled(code: str) -> str:
    return code if sys.stdout.isatty() else ""


if __name__ == "__main__":
    sys.exit(main())
