"""The `changes` of commit and import: Dockerfile lines that make a configuration.

Knows:   which instructions may stand there.
Refuses: to know the instructions themselves (dockerfile/, build/config_steps.py).
Source:  moby builder/dockerfile/builder.go, BuildFromConfig.
"""

from __future__ import annotations

from collections.abc import Sequence

from dockerlab.dockerfile.lines import DockerfileError, split
from dockerlab.dockerfile.parse import parse_line
from dockerlab.engine.build.config_steps import Scope, change, environment
from dockerlab.errors import InvalidRequest
from dockerlab.oci.documents import ImageRunConfig

_ALLOWED = frozenset(
    {"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL"}
    | {"USER", "VOLUME", "WORKDIR"}
)


def changed(config: ImageRunConfig, changes: Sequence[str]) -> ImageRunConfig:
    """Apply Dockerfile lines to a configuration.

    Raises:
        InvalidRequest: no such instruction, or none that may stand here.
    """
    cmd_set = False
    for text in changes:
        for line in split(text).logical:
            word = line.text.split(maxsplit=1)[0].upper()
            if word not in _ALLOWED:
                raise InvalidRequest(
                    f"{word.lower()} is not a valid change command",
                    hint=f"Allowed are {', '.join(sorted(_ALLOWED))}.",
                )
            scope = Scope(values=environment(config.env), escape="\\", cmd_set=cmd_set)
            try:
                found = change(config, parse_line(line), scope)
            except DockerfileError as error:
                # There is no file here whose line could be named.
                raise InvalidRequest(error.reason, hint=error.hint) from None
            if found is not None:
                config = found.config
            cmd_set = cmd_set or word == "CMD"
    return config
