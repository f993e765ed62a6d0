"""What `%load_ext dockerlab` costs, by what it imports: a clock lies on a busy machine."""

from __future__ import annotations

import subprocess
import sys

HEAVY = frozenset(
    ("docker", "pandas", "ipywidgets", "anywidget", "requests", "rich", "tornado.web", "msgspec")
)
PROGRAM = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "dockerlab")
print(*sorted(set(sys.modules) - before))
"""


def test_loading_imports_nothing_heavy(environ):
    # A host by name: loading must not wait for it, nor start anything.
    settings = {**environ, "DOCKER_HOST": "unix:///nowhere.sock"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=settings, capture_output=True, text=True, check=True
    )
    said, _, modules = ran.stdout.partition("\n")
    loaded = set(modules.split())
    assert "dockerlab.notebook.magics" in loaded
    assert not loaded & HEAVY
    assert said == "dockerlab: Docker host: unix:///nowhere.sock (DOCKER_HOST says so)"
