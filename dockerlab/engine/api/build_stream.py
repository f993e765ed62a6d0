"""What a build tells, as the messages clients read: Docker's classic text, or our records.

Knows:   the classic stream to the letter; records in the shape of BuildKit's SolveStatus.
Refuses: to know how the values came about.
Source:  transcripts of the classic builder; moby/buildkit client, SolveStatus.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from dockerlab.dockerfile.lint import Finding
from dockerlab.engine.build import progress
from dockerlab.oci import digests
from dockerlab.wire.times import rfc3339

_RED, _RESET = "\x1b[91m", "\x1b[0m"


class Rendering(Protocol):
    """Turns one value after the other into bytes of the stream.

    Attributes:
        holds: something was told that the stream has not shown.
    """

    @property
    def holds(self) -> bool: ...

    def render(self, event: progress.Progress) -> bytes: ...

    def failed(self, error: BaseException) -> bytes: ...


class Classic:
    """The stream that `docker build` prints as it comes."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._held: list[bytes] = []

    @property
    def holds(self) -> bool:
        """A quiet build has begun."""
        return bool(self._held)

    def render(self, event: progress.Progress) -> bytes:
        """Write an event; when quiet, all but the result is kept for the case of a failure."""
        if self._quiet and isinstance(event, progress.Built):
            return _line({"stream": f"{event.image_id}\n"})
        data = b"".join(_line(message) for message in _classic(event))
        if not self._quiet:
            return data
        self._held.append(data)
        return b""

    def failed(self, error: BaseException) -> bytes:
        """Write the error, after what a quiet build had held back."""
        held = b"".join(self._held)
        message = str(error) or type(error).__name__
        detail: dict[str, Any] = {"message": message}
        if (code := getattr(error, "code", 0)) and isinstance(code, int):
            detail = {"code": code, **detail}
        document: dict[str, Any] = {"errorDetail": detail, "error": message}
        if hint := getattr(error, "hint", ""):
            document["hint"] = hint
        return held + _line(document)


def _classic(event: progress.Progress) -> Iterator[dict[str, Any]]:
    match event:
        case progress.StepBegan(number=number, total=total, text=text):
            # The newline is a message of its own, as it always was.
            yield {"stream": f"Step {number}/{total} : {text}"}
            yield {"stream": "\n"}
        case progress.StageDone(image_id=image_id):
            yield {"aux": {"ID": image_id}}
        case progress.Pulling(message=message):
            yield message
        case progress.Built(image_id=image_id, tags=tags):
            yield {"stream": f"Successfully built {digests.short(image_id)}\n"}
            for tag in tags:
                yield {"stream": f"Successfully tagged {tag}\n"}
        case progress.Linted():
            return
        case _:
            yield {"stream": _classic_text(event)}


def _classic_text(event: progress.Progress) -> str:
    text = ""
    match event:
        case progress.CacheUsed():
            text = " ---> Using cache\n"
        case progress.Running(id=step_id):
            text = f" ---> Running in {step_id[:12]}\n"
        case progress.Output(stream=stream, data=data):
            text = data.decode("utf-8", "replace")
            text = text if stream == 1 else f"{_RED}{text}{_RESET}"
        case progress.Removed(id=step_id):
            text = f" ---> Removed intermediate container {step_id[:12]}\n"
        case progress.StepDone(image_id=image_id):
            text = f" ---> {digests.short(image_id)}\n"
        case progress.TriggersFound(count=count):
            text = f"# Executing {count} build trigger{'s' * (count > 1)}\n"
        case progress.Warned(text=warning):
            text = f"[Warning] {warning}\n"
    return text


class Structured:
    """Records of vertexes, logs and warnings: `{"vertexes": [...]}`, one JSON object a line."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._vertex: dict[str, Any] | None = None

    @property
    def holds(self) -> bool:
        """Nothing is held back."""
        return False

    def render(self, event: progress.Progress) -> bytes:
        """Write an event as the change it makes to the picture of the build."""
        now = rfc3339(self._now_ns())
        if isinstance(event, progress.StepBegan):
            self._vertex = _vertex(event, now)
        record = self._record(event, self._vertex or {}, now)
        return _line(record) if record else b""

    def _record(self, event: progress.Progress, vertex: dict[str, Any], now: str) -> dict[str, Any]:
        record: dict[str, Any] = {}
        match event:
            case progress.StepBegan():
                record = {"vertexes": [vertex]}
            case progress.CacheUsed():
                vertex["cached"] = True
            case progress.Output(stream=stream, data=data):
                log = {"vertex": vertex.get("digest"), "timestamp": now, "stream": stream}
                record = {"logs": [{**log, "data": base64.b64encode(data).decode()}]}
            case progress.StepDone(image_id=image_id):
                vertex |= {"completed": now, "image": image_id}
                record = {"vertexes": [vertex]}
            case progress.Pulling(message=message):
                record = {"pull": message, "vertex": vertex.get("digest")}
            case progress.Warned(text=text):
                record = {"warnings": [{"short": text}]}
            case progress.Linted(finding=finding):
                record = {"warnings": [_warning(finding)]}
            case progress.Built(image_id=image_id, tags=tags):
                record = {"result": {"ID": image_id, "tags": list(tags)}}
        return record

    def failed(self, error: BaseException) -> bytes:
        """Write the error at the step that it ended."""
        document: dict[str, Any] = {"message": str(error) or type(error).__name__}
        for name in ("hint", "code"):
            if value := getattr(error, name, None):
                document[name] = value
        if lines := getattr(error, "lines", None):
            document["range"] = [lines.first, lines.last]
        record: dict[str, Any] = {"error": document}
        if self._vertex is not None and "completed" not in self._vertex:
            self._vertex |= {"completed": rfc3339(self._now_ns()), "error": document["message"]}
            record["vertexes"] = [self._vertex]
        return _line(record)


def _warning(finding: Finding) -> dict[str, Any]:
    return {
        "short": f"{finding.rule.name}: {finding.text} (line {finding.lines})",
        "rule": finding.rule.name,
        "detail": finding.rule.sentence,
        "url": finding.rule.url,
        "range": [finding.lines.first, finding.lines.last],
    }


def _vertex(event: progress.StepBegan, now: str) -> dict[str, Any]:
    vertex: dict[str, Any] = {
        "digest": digests.of(f"{event.number}\0{event.stage}\0{event.text}".encode()),
        "name": event.text,
        "stage": event.stage,
        "number": event.number,
        "total": event.total,
        "started": now,
        "cached": False,
    }
    if event.lines is not None and event.lines.first:
        vertex["range"] = [event.lines.first, event.lines.last]
    return vertex


def _line(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document) + b"\r\n"
