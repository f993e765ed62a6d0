"""The bridge in a real Jupyter Server: who may ask it, and what."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

READ_ONLY = """
from jupyter_server.auth.authorizer import Authorizer

class ReadOnly(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return resource != "dockerlab" or action == "read"

c.ServerApp.authorizer_class = ReadOnly
others = ("jupyterlab", "jupyter_lsp", "notebook_shim", "jupyter_server_terminals")
c.ServerApp.jpserver_extensions = {"dockerlab": True} | dict.fromkeys(others, False)
c.ServerApp.allow_root = True
c.ServerApp.open_browser = False
"""


class Server:
    def __init__(self, folder, environ):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base, self.token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
        (folder / "jupyter_server_config.py").write_text(READ_ONLY)
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter_server", f"--ServerApp.port={port}",
                "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={folder}", f"--config={folder}/jupyter_server_config.py",
            ],
            env={**os.environ, **environ, "JUPYTER_CONFIG_DIR": str(folder)},
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def ask(self, path, *, method="GET", token=""):
        request = urllib.request.Request(f"{self.base}/{path}", method=method)
        if token:
            request.add_header("Authorization", f"token {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def wait(self):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                return self.ask("api")
            except OSError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.1)  # it says nowhere that it listens
        raise AssertionError("the server does not answer")

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    # A host that is never there: what is refused must be refused before it is asked.
    server = Server(folder, {"DOCKER_HOST": f"unix://{folder}/nobody.sock"})
    try:
        server.wait()
        yield server
    finally:
        server.end()


@pytest.mark.parametrize("path", ["host", "containers", "images", "events"])
def test_nobody_asks_without_a_token(server, path):
    status, _ = server.ask(f"dockerlab/{path}")
    assert status == 403


def test_who_may_read_is_answered(server):
    status, body = server.ask("dockerlab/containers", token=server.token)
    assert status == 503
    assert json.loads(body)["hint"]


def test_who_may_only_read_changes_nothing(server):
    status, body = server.ask("dockerlab/containers/web/remove", method="POST", token=server.token)
    assert status == 403
    assert b"not authorized to write on resource: dockerlab" in body
