"""The engine's own log: one JSON object per line, bounded in size.

Knows:   time, level, place, message, traceback.
Refuses: containers' logs; `runtime/log_writer.py` writes those.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from pathlib import Path

from dockerlab.wire.times import rfc3339

_MAX_BYTES = 8 << 20
_FILES = 2


class JsonLines(logging.Formatter):
    """Writes a record as one line; a traceback is one field of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        document = {
            "time": rfc3339(int(record.created * 1e9)),
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("dockerlab.engine."),
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def begin(path: Path, level: str, *, to_stderr: bool) -> None:
    """Send everything logged in this process to the file, and to the terminal if one watches."""
    root = logging.getLogger()
    root.setLevel({"debug": logging.DEBUG, "warning": logging.WARNING}.get(level, logging.INFO))
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=_MAX_BYTES, backupCount=_FILES - 1, encoding="utf-8", errors="replace"
    )
    file.setFormatter(JsonLines())
    root.addHandler(file)
    if to_stderr:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root.addHandler(terminal)
    for chatty in ("asyncio", "tornado.access", "tornado.general", "urllib3", "pyroute2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
