"""The pipes between a program and its shim.

Knows:   which ends are whose.
Refuses: to read or write (`streams.py` does); anything heavy.
Source:  man 7 pipe.
"""

from __future__ import annotations

import os


class Pipes:
    """Both ends of each: `theirs` become 0, 1, 2; -1 keeps /dev/null."""

    def __init__(self, *, tty: bool, stdin: bool) -> None:
        self.theirs, self.ours = (-1, -1, -1), (-1, -1, -1)
        if tty:
            return
        stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC) if stdin else (-1, -1)
        stdout_read, stdout_write = os.pipe2(os.O_CLOEXEC)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        self.theirs = stdin_read, stdout_write, stderr_write
        self.ours = stdin_write, stdout_read, stderr_read

    def close_theirs(self) -> None:
        """Once the program has its ends, only it may hold them: their close is its end."""
        for descriptor in self.theirs:
            if descriptor >= 0:
                os.close(descriptor)
