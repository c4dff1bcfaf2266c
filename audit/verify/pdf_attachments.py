"""The files inside a signed report, and the second opinion of a PDF library on its signature.

Only asked once `pdf_envelope` has found that the bytes are the signer's; a signer may still be hostile, so no file
is unpacked beyond the size its manifest states, and whatever the library stumbles over is a report that does not
hold.
"""

import zlib
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

#: Most bytes unpacked of one file; a report's largest table is far below.
_MAX_BYTES = 4 << 30
#: Most bytes kept of a file that is read and not only hashed.
_MAX_READ_BYTES = 256 << 20
_CHUNK = 1 << 20


class Attachments:
    """What a PDF carries, by name.

    Raises:
        Exception: of any kind, where the file is not shaped as our reports are.
    """

    def __init__(self, pdf: bytes) -> None:
        self._reader = PdfFileReader(BytesIO(pdf))
        names = self._reader.root["/Names"]["/EmbeddedFiles"]["/Names"]
        self._streams = {
            str(names[place]): names[place + 1]["/EF"]["/F"] for place in range(0, len(names), 2)
        }

    @property
    def names(self) -> frozenset[str]:
        """Names of the files."""
        return frozenset(self._streams)

    def read(self, name: str) -> bytes:
        """A file's content, up to a size at which it cannot be one of ours."""
        return b"".join(self._unpacked(name, _MAX_READ_BYTES))

    def digest(self, name: str) -> tuple[str, int]:
        """SHA-256 (hex) and length of a file's content, without holding it."""
        digest, length = sha256(), 0
        for piece in self._unpacked(name, _MAX_BYTES):
            digest.update(piece)
            length += len(piece)
        return digest.hexdigest(), length

    def _unpacked(self, name: str, limit: int) -> Iterator[bytes]:
        stream = self._streams[name]
        if stream["/Filter"] != "/FlateDecode":
            raise ValueError("an attached file is packed in another way than reports use")
        unpacker, packed, length = zlib.decompressobj(), stream.encoded_data, 0
        while packed:
            piece = unpacker.decompress(packed, _CHUNK)
            length += len(piece)
            if length > limit:
                raise ValueError("an attached file is larger than any of a report")
            yield piece
            packed = unpacker.unconsumed_tail
        yield unpacker.flush()
        if not unpacker.eof:
            raise ValueError("an attached file ends before its end")

    def signature_doubts(self, chain: tuple[x509.Certificate, ...]) -> list[str]:
        """What pyHanko finds wrong with the signature, over a chain whose top is taken as trusted."""
        signatures = self._reader.embedded_regular_signatures
        if len(signatures) != 1:
            return [f"{len(signatures)} signatures where there is one"]
        signature = signatures[0]
        top = asn1_x509.Certificate.load(chain[-1].public_bytes(serialization.Encoding.DER))
        context = ValidationContext(
            trust_roots=[top], allow_fetching=False, moment=signature.self_reported_timestamp
        )
        status = validate_pdf_signature(signature, context)
        found = {
            "it is not intact": status.intact,
            "it is not valid": status.valid,
            "its certificate is not in order": status.trusted,
            "it does not cover the whole file": status.coverage is SignatureCoverageLevel.ENTIRE_FILE,
            "something was changed afterwards": bool(status.docmdp_ok),
        }
        return [words for words, holds in found.items() if not holds]
