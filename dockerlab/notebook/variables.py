"""Variables that go into a container's program, and come out of it: `-i NAME`, `-o NAME:json`.

Knows:   text, bytes, JSON, CSV and Parquet, and which of them a value wants by itself.
Refuses: pickles: what a container writes is data, and never code.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dockerlab.dockerfile.suggest import closest
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, NotFound

FORMATS = ("text", "bytes", "json", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as it is named on a line: NAME or NAME:FORMAT."""

    name: str
    form: str = ""


def read(typed: str) -> Variable:
    """Read NAME or NAME:FORMAT.

    Raises:
        InvalidRequest: it is no name, or no format.
    """
    name, colon, form = typed.partition(":")
    if not name.isidentifier():
        raise InvalidRequest(f"'{name}' is no name of a variable", hint="For example -i table:csv")
    if colon and form not in FORMATS:
        near = closest(form, FORMATS)
        raise InvalidRequest(
            f"'{form}' is no format",
            hint=f"Did you mean {near}?" if near else f"One of: {', '.join(FORMATS)}",
        )
    return Variable(name, form)


def encode(variable: Variable, variables: Mapping[str, Any]) -> bytes:
    """The value as a program reads it.

    Raises:
        NotFound: there is no such variable.
        InvalidRequest: it can't be written in that format.
    """
    if variable.name not in variables:
        near = closest(variable.name, (each for each in variables if not each.startswith("_")))
        raise NotFound(
            f"name '{variable.name}' is not defined",
            hint=f"Did you mean {near}?" if near else "Run the cell that makes it first",
        )
    value = variables[variable.name]
    if not hasattr(value, "to_csv") and hasattr(value, "df"):
        value = value.df  # a result of ours: its frame
    form = variable.form or _natural(value)
    try:
        return _ENCODERS[form](value)
    except DockerlabError:
        raise
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        raise InvalidRequest(
            f"{variable.name} can't be sent as {form}: {error}",
            hint="Turn it into text, bytes, a frame, or into what JSON has",
        ) from error


def decode(variable: Variable, data: bytes) -> Any:
    """What a program wrote, as a value; text where no format was named.

    Raises:
        Failed: it wrote something else.
    """
    form = variable.form or "text"
    try:
        return _DECODERS[form](data)
    except (ValueError, ImportError) as error:
        raise Failed(
            f"{variable.name} is not set: what the program wrote is no {form}: {error}",
            hint=f"Look at it as text: -o {variable.name}",
        ) from error


def _natural(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    return "csv" if hasattr(value, "to_csv") else "json"


def _csv(value: Any) -> bytes:
    named = any(name is not None for name in value.index.names)
    text: str = value.to_csv(index=named)
    return text.encode()


def _parquet(value: Any) -> bytes:
    buffer = io.BytesIO()
    value.to_parquet(buffer)
    return buffer.getvalue()


def _read_csv(data: bytes) -> Any:
    import pandas as pd  # noqa: PLC0415 - a while, when somebody asks for a frame

    return pd.read_csv(io.BytesIO(data))


def _read_parquet(data: bytes) -> Any:
    import pandas as pd  # noqa: PLC0415 - as above

    return pd.read_parquet(io.BytesIO(data))


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "text": lambda value: str(value).encode(),
    "bytes": bytes,
    "json": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "csv": _csv,
    "parquet": _parquet,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "text": lambda data: data.decode("utf-8", "replace"),
    "bytes": bytes,
    "json": json.loads,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
