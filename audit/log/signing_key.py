"""A signing key in a file only its owner can read: the log's, and by a class of its own a witness's.

The log's is apart from the key store on purpose: the log works, and signs, while that is sealed (D10). The file
holds one line in the form of Go's sumdb/note, `PRIVATE+KEY+name+id+base64`, so that other tools can use it.
"""

import base64
import binascii
import os
import stat
from pathlib import Path
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from audit.errors import LogKeyRefused, NoteInvalid, TargetExists
from audit.log.durable import sync_directory
from audit.log.note import VerifierKey

_PREFIX = "PRIVATE+KEY+"
_MAX_FILE_BYTES = 4096


class LogKey:
    """An Ed25519 key that signs checkpoints under a name; a `Signer`."""

    #: What its public half is, and what people call it.
    VERIFIER: ClassVar[type[VerifierKey]] = VerifierKey
    WHOSE: ClassVar[str] = "The log's signing key"
    KEEP: ClassVar[str] = "Keep it: witnesses know the log by it."

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._verifier = self.VERIFIER(
            name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vkey})"

    @property
    def name(self) -> str:
        """The name it signs under: the log's origin."""
        return self._verifier.name

    @property
    def vkey(self) -> str:
        """The public half as a C2SP verifier key."""
        return str(self._verifier)

    def sign(self, text: bytes) -> bytes:
        """Sign a note's text with Ed25519 (RFC 8032): 64 bytes."""
        return self._private.sign(text)

    @classmethod
    def create(cls, path: Path, name: str) -> Self:
        """Make a new random key and its file, mode 0600, durable when this returns.

        Args:
            path: the file to make, in a directory that exists.
            name: the log's origin; no spaces, no plus sign.

        Raises:
            TargetExists: the file is there already; a log's key is never replaced.
            LogKeyRefused: the name cannot be a key's, or the file cannot be written.
        """
        try:
            key = cls(name, Ed25519PrivateKey.generate())
        except NoteInvalid as error:
            raise LogKeyRefused(f"The name {name!r} cannot be used: {error.message}") from error
        seed = key._private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        line = f"{_PREFIX}{name}+{key._verifier.id.hex()}+{base64.b64encode(cls.VERIFIER.TYPE + seed).decode()}\n"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(descriptor)
            sync_directory(path.parent)
        except FileExistsError as error:
            raise TargetExists(f"{cls.WHOSE} is there already.", cls.KEEP) from error
        except OSError as error:
            raise LogKeyRefused(
                f"{cls.WHOSE} cannot be written: {error.strerror}.",
                "Look at the disk it lies on: its room, its rights.",
            ) from error
        return key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key from its file.

        Raises:
            LogKeyRefused: the file is missing, a link, somebody else's, readable by others, or holds no key.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                # Asked of the open descriptor, so the file cannot be exchanged between check and use.
                status = os.fstat(descriptor)
                untrusted = file.read(_MAX_FILE_BYTES)
        except OSError as error:
            raise LogKeyRefused(
                f"{cls.WHOSE} cannot be read: {error.strerror}.", f"Look at {path}, or restore it."
            ) from error
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise LogKeyRefused(
                f"{cls.WHOSE} can be read by others, or belongs to somebody else.",
                f"Make it the daemon's own: chmod 0600 {path}, and chown it.",
            )
        return cls._parse(untrusted)

    @classmethod
    def _parse(cls, untrusted: bytes) -> Self:
        try:
            line = untrusted.decode("ascii")
            name, key_id, encoded = line.removesuffix("\n").removeprefix(_PREFIX).split("+", 2)
            decoded = base64.b64decode(encoded, validate=True)
            if not line.startswith(_PREFIX) or decoded[:1] != cls.VERIFIER.TYPE:
                raise ValueError
            key = cls(name, Ed25519PrivateKey.from_private_bytes(decoded[1:]))
        except (ValueError, binascii.Error, NoteInvalid):
            # No cause is chained: its text could carry a part of the key.
            raise LogKeyRefused(f"{cls.WHOSE} file does not hold a key.", "Restore it.") from None
        if key._verifier.id.hex() != key_id:
            raise LogKeyRefused(f"{cls.WHOSE} file is damaged: its id does not fit.", "Restore it.")
        return key
