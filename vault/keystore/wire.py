"""How daemon and key process talk: frames of one JSON document and one run of secret bytes.

A frame is two big-endian 32-bit lengths, then the document, then the secret. The secret travels beside the
JSON, not in it, so that it never becomes an immutable Python string and can be wiped. Both lengths are
limited before anything is read, because a frame is untrusted until it is parsed.
"""

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from vault.keystore.envelope import wipe

#: A page of 200 keys is about 80 KB.
MAX_DOCUMENT_BYTES = 256 * 1024
#: A passphrase is at most 1 KiB, a personal key at most 4 KiB.
MAX_SECRET_BYTES = 8 * 1024
_LENGTHS = struct.Struct(">II")


class WireClosedError(Exception):
    """The other side is gone."""


class WireViolationError(Exception):
    """The other side sent what is no frame; nothing after it can be trusted."""


@dataclass(slots=True)
class Frame:
    """One message. `secret` is hidden from `repr` and wiped by whoever took it."""

    document: dict[str, Any]
    secret: bytearray = field(default_factory=bytearray, repr=False)


def send(connection: socket.socket, frame: Frame) -> None:
    """Send a frame.

    Raises:
        WireViolationError: it is too large; nothing was sent.
        WireClosedError: the other side is gone.
        TimeoutError: it does not read.
    """
    document = json.dumps(frame.document, separators=(",", ":")).encode("utf-8")
    if len(document) > MAX_DOCUMENT_BYTES or len(frame.secret) > MAX_SECRET_BYTES:
        raise WireViolationError("a message is too large")
    try:
        connection.sendall(_LENGTHS.pack(len(document), len(frame.secret)) + document)
        if frame.secret:
            connection.sendall(frame.secret)
    except (BrokenPipeError, ConnectionError) as error:
        raise WireClosedError from error


def receive(connection: socket.socket) -> Frame:
    """Receive a frame.

    Raises:
        WireClosedError: the other side is gone.
        WireViolationError: what came is no frame.
        TimeoutError: nothing came in time.
    """
    document_length, secret_length = _LENGTHS.unpack(_receive_exactly(connection, _LENGTHS.size))
    if document_length > MAX_DOCUMENT_BYTES or secret_length > MAX_SECRET_BYTES:
        raise WireViolationError("a message is too large")
    untrusted = _receive_exactly(connection, document_length)
    secret = _receive_exactly(connection, secret_length)
    try:
        document = json.loads(untrusted)
    except ValueError as error:
        wipe(secret)
        raise WireViolationError("a message is not JSON") from error
    if not isinstance(document, dict):
        wipe(secret)
        raise WireViolationError("a message is not an object")
    return Frame(document, secret)


def _receive_exactly(connection: socket.socket, length: int) -> bytearray:
    buffer = bytearray(length)
    view = memoryview(buffer)
    received = 0
    while received < length:
        try:
            count = connection.recv_into(view[received:])
        except ConnectionError as error:
            raise WireClosedError from error
        if count == 0:
            raise WireClosedError
        received += count
    return buffer
