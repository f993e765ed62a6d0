"""The messages that pull, push, load and build answer with, one JSON object each.

Knows:   the shapes clients parse, the legacy text of a progress bar, CR LF at each end.
Refuses: to know how fast they may come; whoever works throttles.
Source:  moby pkg/streamformatter, pkg/jsonmessage.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dockerlab.errors import DockerlabError
from dockerlab.wire.sizes import human_size
from dockerlab.wire.status import status_of

_BAR_CELLS = 50


def status(text: str, *, id: str = "") -> bytes:  # noqa: A002 - the protocol's word
    """A line of its own: `Pulling from library/alpine`, `Digest: sha256:...`."""
    return message({"status": text, "id": id} if id else {"status": text})


def layer(text: str, id: str) -> bytes:  # noqa: A002 - the protocol's word
    """The present state of one layer; the empty detail makes clients redraw its line."""
    return message({"status": text, "progressDetail": {}, "id": id})


def advance(text: str, id: str, current: int, total: int) -> bytes:  # noqa: A002
    """How far one layer is; `total` 0 means that nobody knows."""
    detail: dict[str, int] = {}
    if current:
        detail["current"] = current
    if total:
        detail["total"] = total
    return message(
        {"status": text, "progressDetail": detail, "progress": bar(current, total), "id": id}
    )


def stream(text: str) -> bytes:
    """Text to be printed as it is: a build's output, `Loaded image: x`."""
    return message({"stream": text})


def aux(document: Any, *, id: str = "") -> bytes:  # noqa: A002 - the protocol's word
    """A result for programs: the id of a built image, the digest of a pushed one."""
    tree: dict[str, Any] = {"progressDetail": {}} if not id else {"id": id}
    return message({**tree, "aux": document})


def error(failure: BaseException) -> bytes:
    """The end that went wrong; both keys, as old clients read `error` and new ones the detail."""
    text = str(failure) or type(failure).__name__
    detail: dict[str, Any] = {"message": text}
    if isinstance(failure, DockerlabError) and status_of(failure) == 401:
        detail = {"code": 401, "message": text}
    return message({"errorDetail": detail, "error": text})


def message(tree: dict[str, Any]) -> bytes:
    """Write one message."""
    return msgspec.json.encode(tree) + b"\r\n"


def bar(current: int, total: int) -> str:
    """Draw the legacy progress text: `[=====>     ]  1.2MB/3MB`."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    share = min(current * 100 // total // 2, _BAR_CELLS)
    spaces = " " * (_BAR_CELLS - share)
    numbers = f"{human_size(current):>8}/{human_size(total)}"
    if current > total:
        # More came than was promised: the total is not worth showing.
        numbers = f"{human_size(current):>8}"
    return f"[{'=' * share}>{spaces}] {numbers}"
