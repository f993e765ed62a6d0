"""Find the program inside the container and become it, with Docker's words when that fails.

Knows:   the search in PATH, which failures are known before the exec and which only by it.
Refuses: anything heavy; runs in init, after the change of root and user.
Source:  Go os/exec LookPath, whose texts clients match on; runc's init.
"""

from __future__ import annotations

import errno
import os

_NOT_BY_EXEC = 255
"""What runc exits with when the exec itself fails: by then the container counts as started."""


class NotExecutable(Exception):
    """The program can't be started; the text is Docker's."""


def look_up(name: str, search: str) -> str:
    """Find the file of a command.

    Raises:
        NotExecutable: the words by which clients tell 126 from 127.
    """
    if "/" in name:
        problem = _problem(name)
        if problem:
            raise NotExecutable(f'exec: "{name}": {problem}')
        return name
    for directory in search.split(":"):
        path = f"{directory or '.'}/{name}"
        if not _problem(path) and path.startswith("/"):
            return path
    raise NotExecutable(f'exec: "{name}": executable file not found in $PATH')


def _problem(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"stat {path}: {_text(error)}"
    if mode & 0o170000 == 0o040000:
        return "is a directory"
    if not mode & 0o111 or not os.access(path, os.X_OK, effective_ids=True):
        return "permission denied"
    return ""


def execute(path: str, args: list[str], env: dict[str, str]) -> None:
    """Become the program. Where the kernel refuses, say so on its stderr and exit with 255."""
    try:
        os.execve(path, args, env)  # noqa: S606 - becoming the program is the point
    except OSError as error:
        message = f"exec {path}: {_text(error)}\n"
        os.write(2, message.encode(errors="replace"))
        os._exit(_NOT_BY_EXEC)


def _text(error: OSError) -> str:
    # Go's words: lower case, and its own for two of them.
    return os.strerror(error.errno or errno.EIO).lower()
