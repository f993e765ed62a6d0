"""Find the detach sequence in what a person types.

Knows:   that a sequence is never passed on, and a false start is passed on late.
Refuses: sockets and terminals; bytes in, bytes out.
Source:  Docker's attach, `--detach-keys`.
"""

from __future__ import annotations


class DetachKeys:
    """The state of one reader; feed it everything that is read."""

    __slots__ = ("_keys", "_matched")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what to pass on, and whether the sequence is complete (the rest is dropped)."""
        if not self._keys or (not self._matched and self._keys[0] not in data):
            return data, False
        passed = bytearray()
        for key in data:
            while self._matched and key != self._keys[self._matched]:
                # Give back the shortest start, so that a sequence like "aab" is found in "aaab".
                held = self._keys[: self._matched]
                passed += self._fall_back(held)
            if key != self._keys[self._matched]:
                passed.append(key)
                continue
            self._matched += 1
            if self._matched == len(self._keys):
                self._matched = 0
                return bytes(passed), True
        return bytes(passed), False

    def _fall_back(self, held: bytes) -> bytes:
        for cut in range(1, len(held) + 1):
            if self._keys.startswith(held[cut:]):
                self._matched = len(held) - cut
                return held[:cut]
        return held
