"""Frames of a websocket, against the examples of RFC 6455 and at every border of a length."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.errors import InvalidRequest
from dockerlab.wire import websocket
from dockerlab.wire.websocket import BINARY, CLOSE, PING, Decoder, Frame


def _masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """What a client sends: the server's form with a mask."""
    plain = websocket.encode(opcode, payload)
    start = len(plain) - len(payload)
    mask = os.urandom(4)
    head = bytes((plain[0] if final else plain[0] & 0x7F, plain[1] | 0x80)) + plain[2:start]
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def test_the_answer_of_the_rfc():
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_frame_of_the_rfc():
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    assert list(Decoder().feed(hello)) == [Frame(websocket.TEXT, b"Hello")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_every_form_of_a_length(size):
    assert list(Decoder().feed(_masked(BINARY, b"x" * size))) == [Frame(BINARY, b"x" * size)]


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
def test_frames_come_whole_however_the_bytes_are_cut(payloads, step):
    data = b"".join(_masked(BINARY, one, final=False) for one in payloads)
    decoder = Decoder()
    found = [
        frame for at in range(0, len(data), step) for frame in decoder.feed(data[at : at + step])
    ]
    assert [frame.payload for frame in found] == payloads


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x01x",  # not masked
        b"\xc2\x81mask",  # a bit of an extension
        b"\x83\x81maskx",  # no such opcode
        b"\x82\xff" + b"\x7f" * 8,  # longer than anybody has memory for
        bytes((0x80 | PING, 0xFE)) + b"\x00\x7e",  # a long ping
    ],
)
def test_what_no_client_sends(data):
    with pytest.raises(InvalidRequest, match="protocol error"):
        list(Decoder().feed(data))


def test_close_has_a_reason():
    assert list(Decoder().feed(_masked(CLOSE, b"\x03\xe8"))) == [Frame(CLOSE, b"\x03\xe8")]
