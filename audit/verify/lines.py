"""Files of lines, read in blocks: each byte is hashed for the manifest, no line is longer than a record may be."""

from collections.abc import Iterator
from hashlib import sha256
from typing import IO

from audit.log.shape import MAX_RECORD_BYTES

_BLOCK_BYTES = 1 << 20


class BadLine(Exception):
    """The line after those that were read is not one."""


class Lines:
    """Reads a file's lines, without their line feeds, some thousand at a time.

    Args:
        file: the file.

    Raises, while iterating:
        BadLine: the next line is too long, or the last has no line feed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = sha256()

    def __iter__(self) -> Iterator[list[bytes]]:
        rest = b""
        while block := self._read():
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if lines:
                yield lines
            if len(rest) > MAX_RECORD_BYTES:
                raise BadLine("It is longer than any should be.")
        if rest:
            raise BadLine("It does not end with a line feed.")

    def digest(self) -> str:
        """SHA-256 of the whole file, hex; reads what was not read yet."""
        while self._read():
            pass
        return self._digest.hexdigest()

    def _read(self) -> bytes:
        block = self._file.read(_BLOCK_BYTES)
        self._digest.update(block)
        return block
