"""Packets between the processes of a start."""

from __future__ import annotations

import os
import socket

import pytest

from dockerlab.engine.runtime import packets


@pytest.fixture
def pair():
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield one, two
    one.close()
    two.close()


def test_documents_and_descriptors(pair):
    one, two = pair
    reading, writing = os.pipe()
    packets.send(one, {"a": "\udc80"}, (reading, writing))
    document, descriptors = packets.receive(two)
    assert document == {"a": "\udc80"}
    assert not any(os.get_inheritable(descriptor) for descriptor in descriptors)
    os.write(descriptors[1], b"x")
    assert os.read(reading, 1) == b"x"
    for descriptor in (reading, writing, *descriptors):
        os.close(descriptor)


def test_the_end(pair):
    one, two = pair
    one.close()
    assert packets.receive(two) == (None, [])


def test_last_words_of_one_who_did_not_listen(pair):
    one, two = pair
    packets.send(one, "last words")
    packets.send(two, "never read")
    one.close()
    assert packets.receive(two) == ("last words", [])
    assert packets.receive(two) == (None, [])


def test_sealed_memory_cannot_be_changed():
    descriptor = packets.seal("test", b"words" * 100_000)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    assert packets.unseal(descriptor) == b"words" * 100_000
