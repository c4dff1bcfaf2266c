"""Cosignatures (C2SP tlog-cosignature, Ed25519): a witness's statement that a log had only grown, and when it said so.

The statement is about the whole text of the checkpoint: as of that time, the largest tree that the witness has seen of
this log has this root, and it extends every one that the witness saw before.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteInvalid
from audit.log.note import SIGNATURE_BYTES, Note, Signature, VerifierKey
from audit.log.signing_key import LogKey

#: Signature type of Ed25519 cosignatures, in key ids and encoded keys.
COSIGNATURE_V1 = b"\x04"

_TIME = struct.Struct(">Q")

# Dates that Python can show end with the year 9999; a witness that says more is not believed.
_LATEST_POSIX_S = 253402300799


@dataclass(frozen=True, slots=True)
class CosignerKey(VerifierKey):
    """The public half of a witness's key. It signs cosignatures and nothing else."""

    TYPE: ClassVar[bytes] = COSIGNATURE_V1
    _KIND: ClassVar[str] = "a witness's Ed25519 key (type 0x04)"

    def verify(self, text: bytes, signature: bytes) -> None:
        """Check what this key wrote into a signature line: `timestamped_signature`, 72 bytes.

        Raises:
            NoteInvalid: it is not this key's cosignature of the text.
        """
        at_posix_s = posix_time(signature)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(
                signature[_TIME.size :], _message(text, at_posix_s)
            )
        except (InvalidSignature, ValueError) as error:
            raise NoteInvalid(f"The cosignature of {self.name} does not fit the checkpoint.") from error

    def signed_at(self, note: Note) -> datetime:
        """When this witness cosigned a note, by its own clock; the newest where it did so more than once.

        Raises:
            NoteInvalid: it did not, or one of its cosignatures does not fit.
        """
        note.verify([self])
        own = [each.signature for each in note.signatures if (each.name, each.key_id) == (self.name, self.id)]
        return datetime.fromtimestamp(max(map(posix_time, own)), UTC)


class CosigningKey(LogKey):
    """A witness's private key in its file."""

    VERIFIER: ClassVar[type[VerifierKey]] = CosignerKey
    WHOSE: ClassVar[str] = "The witness's key"
    KEEP: ClassVar[str] = "Keep it: logs and auditors know the witness by it."

    def cosign(self, text: bytes, at: datetime) -> Signature:
        """Cosign a checkpoint. Only for a text whose consistency is proved and whose tree is stored.

        Args:
            text: the checkpoint's whole text, extension lines included.
            at: now, aware.
        """
        at_posix_s = int(at.timestamp())
        key = CosignerKey.parse(self.vkey)
        return Signature(key.name, key.id, _TIME.pack(at_posix_s) + self.sign(_message(text, at_posix_s)))


def posix_time(signature: bytes) -> int:
    """The time in a `timestamped_signature`, in seconds since 1970; believe it only with the signature.

    Raises:
        NoteInvalid: it does not have that form, or is later than any clock shows.
    """
    if len(signature) != _TIME.size + SIGNATURE_BYTES:
        raise NoteInvalid("A cosignature has a time of 8 bytes and a signature of 64.")
    (at_posix_s,) = _TIME.unpack_from(signature)
    if not 0 < at_posix_s <= _LATEST_POSIX_S:
        raise NoteInvalid("The time in a cosignature is none that a clock shows.")
    return int(at_posix_s)


def _message(text: bytes, at_posix_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_posix_s}\n".encode() + text
