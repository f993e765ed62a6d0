"""What docker-py raises becomes one of our kinds, with a word on what to do.

Knows:   which texts of hosts deserve which hint; how a connection fails.
Refuses: to show anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dockerlab.errors import DockerlabError, Failed, InvalidRequest, Unavailable
from dockerlab.wire import status

_HINTS: tuple[tuple[str, str], ...] = (
    (r"No such image: ([^\s@]+)", r"Fetch it first: %docker pull \1"),
    (r"No such (?:container|exec instance)", "See what there is: %docker ps -a"),
    (r"[Nn]o such volume|get [^:]+: no such volume", "See what there is: %docker volume ls"),
    (r"network \S+ not found|No such network", "See what there is: %docker network ls"),
    (
        r'container name "/?([^"]+)" is already in use',
        r"Remove that one (%docker rm -f \1), or choose another --name",
    ),
    (r"port is already allocated|address already in use", "Publish another port: -p OTHER:PORT"),
    (r"[Cc]ontainer (\S+) is not running", r"Start it first: %docker start \1"),
    (r"[Cc]ontainer (\S+) is paused", r"Wake it first: %docker unpause \1"),
    (r"cannot remove a running container|You cannot remove a running", "Stop it first, or use -f"),
    (r"image is being used by|is using its referenced image", "Remove that container, or use -f"),
    (r"executable file not found", "Check the spelling; does the image have that program?"),
    (r"permission denied.*exec|exec.*permission denied", "Is the file executable (chmod +x)?"),
    (
        r"pull access denied|repository does not exist|manifest unknown|manifest for \S+ not found",
        "Check the name and tag; a private registry may want a login",
    ),
    (
        r"connection refused|no such host|is unreachable|dial tcp|i/o timeout|TLS handshake",
        "Is the registry up, and its name right? On this machine: %docker registry start",
    ),
    (r"has active endpoints|has dependent child", "Remove what uses it first"),
    (r"invalid reference format", "Write NAME[:TAG], in small letters"),
    (r"dockerfile parse error|unknown instruction", "The line number is in the message"),
)


def hint_for(message: str) -> str:
    """What a learner can do about a host's message; "" when there is nothing wise to say."""
    for pattern, hint in _HINTS:
        match = re.search(pattern, message)
        if match:
            return match.expand(hint)
    return ""


def spelled(hint: str, program: str) -> str:
    """A hint with its commands as they are typed here: `%docker ps`, or `dockerlab ps`."""
    return re.sub(rf"(?<![\w%/.])%?docker (?=(?:{_TYPED})\b)", f"{program} ", hint)


_TYPED = "run|create|pull|push|ps|logs|images|image|rm|rmi|start|stop|unpause|exec|inspect|build"
_TYPED += "|network|volume|port|tag|load|info|version|top|system|registry|host"


def reported(message: str) -> Failed:
    """An error that came as a message inside a stream."""
    return Failed(message, hint=hint_for(message))


@contextmanager
def translated(where: str = "the Docker host") -> Iterator[None]:
    """Turn whatever docker-py raises inside into one of our kinds."""
    from docker import errors as docker_errors  # noqa: PLC0415 - 100 ms, at first use
    from requests import exceptions  # noqa: PLC0415 - comes with docker

    try:
        yield
    except DockerlabError:
        raise
    except docker_errors.APIError as error:
        raise _from_api(error) from error
    except exceptions.ReadTimeout as error:
        raise Unavailable(
            f"{where} did not answer in time", hint="Is it busy? Try again, or ask %docker info"
        ) from error
    except exceptions.ConnectionError as error:
        raise unreachable(where) from error
    except (docker_errors.DockerException, exceptions.RequestException, ValueError) as error:
        message = str(error)
        if "Connection" in message or "server API version" in message:
            raise unreachable(where) from error
        raise InvalidRequest(message, hint=hint_for(message)) from error


def unreachable(where: str) -> Unavailable:
    """Docker's own words for a host that is not there."""
    return Unavailable(
        f"Cannot connect to the Docker daemon at {where}. Is the docker daemon running?",
        hint="Choose another host (%docker host NAME), or use ours: %docker host dockerlab",
    )


def _from_api(error: object) -> DockerlabError:
    explanation = getattr(error, "explanation", None) or str(error)
    message = str(explanation).strip()
    kind = status.kind(int(getattr(error, "status_code", 0) or 0))
    hint = ""
    response = getattr(error, "response", None)
    if response is not None:
        try:
            document = response.json()
        except ValueError:
            document = {}
        if isinstance(document, dict):
            hint = str(document.get("hint") or "")
    return kind(message, hint=hint or hint_for(message))
