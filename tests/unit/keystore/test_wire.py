import socket
import struct
from collections.abc import Iterator

import pytest

from vault.keystore.wire import (
    MAX_DOCUMENT_BYTES,
    MAX_SECRET_BYTES,
    Frame,
    WireClosedError,
    WireViolationError,
    receive,
    send,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def test_a_document_and_a_secret_arrive_as_they_were_sent(pair: Pair) -> None:
    send(pair[0], Frame({"command": "unseal", "n": 1}, bytearray(b"\0secret\xff")))
    frame = receive(pair[1])
    assert frame.document == {"command": "unseal", "n": 1}
    assert frame.secret == b"\0secret\xff"


def test_a_frame_shows_no_secret() -> None:
    assert "hunter2" not in repr(Frame({"a": 1}, bytearray(b"hunter2")))


def test_what_is_too_large_is_not_sent(pair: Pair) -> None:
    for frame in (Frame({"a": "x" * MAX_DOCUMENT_BYTES}), Frame({}, bytearray(MAX_SECRET_BYTES + 1))):
        with pytest.raises(WireViolationError):
            send(pair[0], frame)
    pair[0].close()
    with pytest.raises(WireClosedError):
        receive(pair[1])


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">II", MAX_DOCUMENT_BYTES + 1, 0),
        struct.pack(">II", 2, MAX_SECRET_BYTES + 1) + b"{}",
        struct.pack(">II", 2**32 - 1, 2**32 - 1),
        struct.pack(">II", 3, 0) + b"{x}",
        struct.pack(">II", 2, 0) + b"\xff\xff",
        struct.pack(">II", 2, 1) + b"[]s",
    ],
    ids=["long document", "long secret", "absurd lengths", "no JSON", "no text", "no object"],
)
def test_what_is_no_frame_is_refused_before_it_is_read_in(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    with pytest.raises(WireViolationError):
        receive(pair[1])


@pytest.mark.parametrize("sent", [b"", b"\0\0", struct.pack(">II", 10, 0) + b"{"])
def test_a_side_that_goes_away_in_the_middle_is_gone(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(WireClosedError):
        receive(pair[1])


def test_sending_to_a_side_that_is_gone_says_so(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(WireClosedError):
        send(pair[0], Frame({"a": 1}))
