"""Read a container's log options: where its output goes, and what is written with each record.

Knows:   max-size, max-file, labels, env and their expressions, tag; Docker's refusals.
Refuses: to write (`log_writer.py`), to read (`logs.py`).
Source:  docs.docker.com, "JSON File logging driver"; moby daemon/logger/{loginfo,log_tag}.go.
"""

from __future__ import annotations

import re

from dockerlab.engine.model.container import Container
from dockerlab.engine.runtime.spec import LogTarget
from dockerlab.errors import InvalidRequest
from dockerlab.wire.sizes import parse_bytes

_NO_LOG = "failed to initialize logging driver"
_TAG_WORD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def log_target(container: Container, directory: str) -> LogTarget:
    """Where the shim writes this container's output.

    Raises:
        InvalidRequest: a size or count that is no number.
    """
    log = container.host.log_config
    options = log.config
    size, count = options.get("max-size", ""), options.get("max-file", "1")
    try:
        bytes_ = 0 if size in {"", "-1"} else parse_bytes(size)
    except InvalidRequest as error:
        raise InvalidRequest(f"{_NO_LOG}: {error.message}", hint=error.hint) from None
    if not count.isdigit():
        raise InvalidRequest(f'{_NO_LOG}: strconv.Atoi: parsing "{count}": invalid syntax')
    if int(count) < 1:
        raise InvalidRequest(f"{_NO_LOG}: max-file cannot be less than 1")
    return LogTarget(
        driver=log.type,
        path=f"{directory}/{container.id}-json.log",
        max_bytes=bytes_,
        max_files=int(count),
        attrs=log_attributes(container) if log.type == "json-file" else {},
    )


def log_attributes(container: Container) -> dict[str, str]:
    """What the log options `labels`, `env`, their expressions and `tag` write with each record."""
    options = container.host.log_config.config
    variables = {
        key: value
        for key, assigned, value in (entry.partition("=") for entry in container.config.env)
        if assigned
    }
    found: dict[str, str] = {}
    for option, pairs in (("labels", container.labels), ("env", variables)):
        names = options.get(option, "").split(",")
        found |= {name: pairs[name] for name in names if name in pairs}
        if wanted := options.get(f"{option}-regex", ""):
            found |= {name: pairs[name] for name in pairs if _matches(wanted, name)}
    if tag := options.get("tag", ""):
        found["tag"] = _TAG_WORD.sub(lambda word: _tag_word(container, word), tag)
    return dict(sorted(found.items()))


def _matches(expression: str, name: str) -> bool:
    try:
        return re.search(expression, name) is not None
    except re.error as error:
        raise InvalidRequest(f"{_NO_LOG}: error parsing regexp: {error}") from None


def _tag_word(container: Container, word: re.Match[str]) -> str:
    image_id = container.image_id
    words = {
        "ID": container.short_id,
        "FullID": container.id,
        "Name": container.name,
        "ImageID": image_id.removeprefix("sha256:")[:12],
        "ImageFullID": image_id,
        "ImageName": container.image,
        "DaemonName": "docker",
    }
    return words.get(word[1], word[0])
