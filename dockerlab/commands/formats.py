"""The `--format` templates people use most: {{.Name}}, {{json .}}, {{.State.Status}}, table ...

Knows:   fields, paths, `json`, `join`, `upper`, `lower`, `println`-free text around them.
Refuses: Go's full language (range, if); it says so instead of printing something else.
Source:  docs.docker.com/engine/cli/formatting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dockerlab.errors import InvalidRequest

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_PLAIN = re.compile(r"(?:(json|upper|lower|len)\s+)?\.([\w.]*)")
_INDEX = re.compile(r'(?:(json)\s+)?\(?index\s+\.([\w.]*)((?:\s+(?:"[^"]*"|\d+))+)\)?')
_JOIN = re.compile(r'join\s+\.([\w.]+)\s+"([^"]*)"')


def fill(template: str, document: Mapping[str, Any]) -> str:
    """Write one document by a template.

    Raises:
        InvalidRequest: a field that is not there, or grammar beyond ours.
    """
    if template == "json":
        template = "{{json .}}"
    filled = _ACTION.sub(lambda match: _action(match[1], document), template)
    return filled.replace("\\t", "\t").replace("\\n", "\n")


def heading(template: str) -> str:
    """The title row of a `table` template: the fields' names in capitals."""
    return _ACTION.sub(lambda match: match[1].rpartition(".")[2].upper(), template).replace(
        "\\t", "\t"
    )


def _action(text: str, document: Mapping[str, Any]) -> str:
    if match := _PLAIN.fullmatch(text):
        return _shown(match[1] or "", _reach(document, match[2]))
    if match := _JOIN.fullmatch(text):
        return match[2].join(str(item) for item in _reach(document, match[1]) or ())
    if match := _INDEX.fullmatch(text):
        value = _reach(document, match[2])
        for quoted, number in re.findall(r'"([^"]*)"|(\d+)', match[3]):
            value = _step(value, int(number) if number else quoted)
        return _shown(match[1] or "", value)
    raise InvalidRequest(
        f"template parsing error: {{{{{text}}}}}",
        hint="Fields, json, join, index, upper, lower and len are understood here",
    )


def _shown(function: str, value: Any) -> str:
    if function == "json":
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if function == "len":
        return str(len(value or ()))
    shown = _go(value)
    return {"upper": shown.upper(), "lower": shown.lower()}.get(function, shown)


def _go(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_go(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_go(item) for item in value) + "]"
    return str(value)


def _reach(document: Any, path: str) -> Any:
    value = document
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidRequest(
                f"template: :1: can't evaluate field {name}",
                hint="See the fields that are there with --format json",
            )
        value = value[name]
    return value


def _step(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(key))
    if isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
        return value[key]
    raise InvalidRequest(f"error calling index: no {key!r} there")
