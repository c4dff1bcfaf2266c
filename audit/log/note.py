"""Signed notes and verifier keys (C2SP signed-note v1.0.0): text, and who signed it, as plain text.

Only Ed25519 (signature type 0x01) is made and checked; signatures of other keys are carried along, as the
specification asks. Text is ignored unless a trusted key signed it: `Note.verify` is the only way to its text.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteInvalid
from audit.ports import Signer

#: Signature type of Ed25519, in key ids and encoded keys.
ED25519 = b"\x01"

KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

#: Bounds on what is read, so that a hostile note cannot exhaust the reader; the specification asks for at
#: least 16 signatures, of which post-quantum ones take nearly 5 kB.
MAX_NOTE_BYTES = 1 << 18
MAX_SIGNATURES = 64

_DASH = "\u2014 "
_KEY_NAME = re.compile(r"[^\s+]+")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a signing key, with the name it signs under.

    Attributes:
        name: key name; for a log's own key the origin of the log.
        public: Ed25519 public key, 32 bytes.
    """

    #: Signature type of the keys of this class.
    TYPE: ClassVar[bytes] = ED25519
    _KIND: ClassVar[str] = "an Ed25519 key that signs notes"

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _KEY_NAME.fullmatch(self.name):
            raise NoteInvalid("A key name must not be empty, nor hold spaces or a plus sign.")
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise NoteInvalid("An Ed25519 public key has 32 bytes.")

    @property
    def id(self) -> bytes:
        """The key id: SHA-256(name || 0x0A || type || public key), first 4 bytes."""
        return sha256(self.name.encode() + b"\n" + self.TYPE + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """The key as C2SP writes it: `name+id+base64`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.TYPE + self.public).decode()}"

    @classmethod
    def parse(cls, untrusted: str) -> Self:
        """Read a key as C2SP writes it.

        Raises:
            NoteInvalid: it is not a key of this type in that form, or its id does not fit.
        """
        parts = untrusted.split("+", 2)
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise NoteInvalid("A verifier key is written name+id+base64.")
        encoded = _decode_base64(parts[2])
        if encoded[:1] != cls.TYPE:
            raise NoteInvalid(f"The verifier key is not {cls._KIND}.")
        key = cls(parts[0], encoded[1:])
        if key.id.hex() != parts[1]:
            raise NoteInvalid(
                "The verifier key's id does not fit its name and key; it may have been mistyped."
            )
        return key

    def verify(self, text: bytes, signature: bytes) -> None:
        """Check what this key wrote into a signature line: an Ed25519 signature (RFC 8032), 64 bytes.

        Raises:
            NoteInvalid: it is not this key's signature over the text.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError) as error:
            raise NoteInvalid(f"The signature of {self.name} does not fit the text.") from error


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who, and the bytes that the key's type defines."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures. Make one with `sign`, read one with `parse`."""

    untrusted_text: bytes
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return self.untrusted_text + b"\n" + "".join(str(each) for each in self.signatures).encode()

    @classmethod
    def sign(cls, text: bytes, signers: Iterable[Signer]) -> "Note":
        """Sign a text.

        Args:
            text: UTF-8, ends with a line feed, no other control characters.
            signers: keys to sign with, at least one.

        Raises:
            NoteInvalid: the text cannot be a note's.
        """
        signatures: list[Signature] = []
        for signer in signers:
            key = VerifierKey.parse(signer.vkey)
            signatures.append(Signature(key.name, key.id, signer.sign(text)))
        # The way back through the parser proves that what is handed out can be read.
        return cls.parse(bytes(cls(text, tuple(signatures))))

    @classmethod
    def parse(cls, untrusted: bytes) -> "Note":
        """Read a note without believing it.

        Raises:
            NoteInvalid: it does not have the form of a signed note.
        """
        if len(untrusted) > MAX_NOTE_BYTES:
            raise NoteInvalid("The signed note is longer than any should be.")
        try:
            whole = untrusted.decode()
        except UnicodeDecodeError as error:
            raise NoteInvalid("The signed note is not UTF-8.") from error
        if any(character < " " and character != "\n" for character in whole):
            raise NoteInvalid("The signed note holds control characters.")
        # The last empty line parts the text from the signatures: the text may hold empty lines, they may not.
        text, separator, lines = whole.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise NoteInvalid("The signed note has no signatures.")
        signatures = tuple(parse_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise NoteInvalid("The signed note has more signatures than any should have.")
        return cls(text.encode() + b"\n", signatures)

    def verify(self, keys: Iterable[VerifierKey]) -> bytes:
        """Check that every one of `keys` signed, and hand out the text.

        Signatures of other keys are ignored (C2SP signed-note, Signatures).

        Raises:
            NoteInvalid: a key's signature is missing or does not fit, or no key was given.
        """
        wanted = tuple(keys)
        if not wanted:
            raise NoteInvalid("No trusted key was given, so nothing can be believed.")
        for key in wanted:
            own = [each for each in self.signatures if (each.name, each.key_id) == (key.name, key.id)]
            if not own:
                raise NoteInvalid(f"The signature of {key.name} is missing.")
            for each in own:
                key.verify(self.untrusted_text, each.signature)
        return self.untrusted_text


def parse_signature(line: str) -> Signature:
    """Read one signature line, without its line feed and without believing it.

    Raises:
        NoteInvalid: it does not have the form of one.
    """
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not _KEY_NAME.fullmatch(name):
        raise NoteInvalid("A signature line does not have its form.")
    decoded = _decode_base64(encoded)
    if len(decoded) <= KEY_ID_BYTES:
        raise NoteInvalid("A signature line holds no signature.")
    return Signature(name, decoded[:KEY_ID_BYTES], decoded[KEY_ID_BYTES:])


def _decode_base64(encoded: str) -> bytes:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteInvalid("A part of the note is not in base64.") from error
    if base64.b64encode(decoded).decode() != encoded:
        raise NoteInvalid("A part of the note is base64, but not in its one proper form.")
    return decoded
