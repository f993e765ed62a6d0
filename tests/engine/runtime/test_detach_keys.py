"""The detach sequence, fed in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.runtime.detach_keys import DetachKeys


def feed(keys, chunks):
    found, passed = DetachKeys(keys), b""
    for chunk in chunks:
        data, detached = found.feed(chunk)
        passed += data
        if detached:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("keys", "typed", "passed", "detached"),
    [
        (b"\x10\x11", b"abc", b"abc", False),
        (b"\x10\x11", b"a\x10\x11b", b"a", True),
        (b"\x10\x11", b"a\x10b", b"a\x10b", False),
        (b"\x10\x11", b"\x10\x10\x11", b"\x10", True),
        (b"aab", b"aaab", b"a", True),
        (b"", b"\x10\x11", b"\x10\x11", False),
        (b"q", b"xyq", b"xy", True),
    ],
)
def test_sequences(keys, typed, passed, detached):
    assert feed(keys, [typed]) == (passed, detached)
    assert feed(keys, [typed[n : n + 1] for n in range(len(typed))]) == (passed, detached)


@given(st.binary(min_size=1, max_size=4), st.lists(st.binary(max_size=6), max_size=8))
def test_nothing_is_lost_and_every_sequence_found(keys, chunks):
    typed = b"".join(chunks)
    passed, detached = feed(keys, chunks)
    if detached:
        assert typed.startswith(passed + keys)
        assert keys not in (passed + keys)[:-1]
    else:
        assert keys not in typed
        held = typed[len(passed) :]
        assert typed.startswith(passed)
        assert keys.startswith(held)
