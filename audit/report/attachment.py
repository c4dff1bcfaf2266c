"""A file that a report carries: kept packed, so that a table of every record costs its packed size only."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file carried inside the PDF; a table also lies beside it.

    Attributes:
        deflated: its content, as zlib packs it (RFC 1950).
        size_bytes, sha256: of the content as it comes out again.
        beside: whether it is also written beside the PDF, under the report's own name.
    """

    name: str
    description: str
    deflated: bytes = field(repr=False)
    size_bytes: int
    sha256: str
    beside: bool = False

    @classmethod
    def of(cls, name: str, description: str, data: bytes) -> "Attachment":
        """Pack a file that is at hand as a whole."""
        packing = Packing(name, description)
        packing.write(data)
        return packing.packed()

    def pieces(self) -> Iterator[bytes]:
        """The content, a piece at a time."""
        unpacker, packed = zlib.decompressobj(), self.deflated
        while packed:
            yield unpacker.decompress(packed, _CHUNK)
            packed = unpacker.unconsumed_tail
        yield unpacker.flush()


class Packing:
    """Packs a file while it is being written."""

    def __init__(self, name: str, description: str, *, beside: bool = False) -> None:
        self._name, self._description, self._beside = name, description, beside
        self._packer, self._digest = zlib.compressobj(6), sha256()
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        """Add to the file."""
        self._digest.update(data)
        self._size_bytes += len(data)
        self._parts.append(self._packer.compress(data))

    def packed(self) -> Attachment:
        """End the file and give it."""
        self._parts.append(self._packer.flush())
        return Attachment(
            self._name,
            self._description,
            b"".join(self._parts),
            self._size_bytes,
            self._digest.hexdigest(),
            self._beside,
        )
