"""`login` and `logout`: credentials of registries, where docker's own CLI keeps them.

Knows:   ~/.docker/config.json, and the credential helper that it may name.
Refuses: passwords in a notebook's text: they are asked for, or come by standard input.
Source:  docs.docker.com/reference/cli/docker/login.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb, switch, text
from dockerlab.commands.results import Done
from dockerlab.commands.session import Session
from dockerlab.errors import Failed, InvalidRequest

_HUB = "https://index.docker.io/v1/"


def login(session: Session, args: Arguments) -> Done:
    """Prove who one is to a registry, and keep what proves it."""
    server = _server(args)
    user, password = args.text("username"), args.text("password")
    if args.on("password-stdin"):
        if not user:
            raise InvalidRequest("Must provide --username with --password-stdin")
        if args.given("password"):
            raise InvalidRequest("--password and --password-stdin are mutually exclusive")
        if session.patient_stdin is None:
            raise InvalidRequest(
                "there is no password on standard input", hint="In a notebook: leave the flag out"
            )
        password = session.patient_stdin.read().decode().rstrip("\r\n")
    elif args.given("password"):
        session.feedback.note("WARNING! Using --password via the CLI is insecure.")
    try:
        user = user or input("Username: ")
        password = password or getpass.getpass("Password: ")
    except (EOFError, NotImplementedError) as error:
        raise InvalidRequest(
            "Cannot perform an interactive login from a non TTY device",
            hint="Use -u NAME --password-stdin",
        ) from error
    with translated(session.host.url):
        answer = session.api.login(user, password=password, registry=server, reauth=True)
    _keep(server, user, password)
    session.host.forget()  # its clients have read the file already
    return Done(action="login", names=(str((answer or {}).get("Status") or "Login Succeeded"),))


def logout(session: Session, args: Arguments) -> Done:
    """Forget a registry's credentials."""
    server = _server(args)
    document = _document()
    helper = _helper(document, server)
    if helper is not None:
        helper.erase(server)
    document.get("auths", {}).pop(server, None)
    _write(document)
    session.host.forget()
    return Done(action="logout", names=(f"Removing login credentials for {server}",))


def _server(args: Arguments) -> str:
    name = args.words[0] if args.words else ""
    bare = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    return _HUB if bare in {"", "docker.io", "index.docker.io", "index.docker.io/v1"} else bare


def _path() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _document() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failed(f"{_path()} can't be read: {error}", hint="Repair it, or move it away") from (
            error
        )
    return found if isinstance(found, dict) else {}


def _helper(document: dict[str, Any], server: str) -> Any:
    name = (document.get("credHelpers") or {}).get(server) or document.get("credsStore")
    if not name:
        return None
    from docker.credentials import Store  # noqa: PLC0415 - docker takes 100 ms, and it is rare

    return Store(str(name))


def _keep(server: str, user: str, password: str) -> None:
    document = _document()
    helper = _helper(document, server)
    if helper is not None:
        helper.store(server, user, password)
        document.setdefault("auths", {})[server] = {}
    else:
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        document.setdefault("auths", {})[server] = {"auth": encoded}
    _write(document)


def _write(document: dict[str, Any]) -> None:
    """Replace the file at once; nobody else may read it, not even for a moment."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix="config.json.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file, indent="\t")
        Path(made).replace(path.resolve())
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


VERBS = (
    Verb(
        words=("login",),
        act=login,
        help="Authenticate to a registry",
        usage="[OPTIONS] [SERVER]",
        flags=(
            text("password", "p", "Password or Personal Access Token (PAT)"),
            switch("password-stdin", help="Take the Password or PAT from stdin"),
            text("username", "u", "Username"),
        ),
        most=1,
    ),
    Verb(
        words=("logout",),
        act=logout,
        help="Log out from a registry",
        usage="[SERVER]",
        most=1,
    ),
)
