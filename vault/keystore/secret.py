"""Secrets on their way through the daemon: bytes that do not show themselves and can be wiped.

Python may leave copies that nothing can reach and wipe (a `bytes` made on the way into a library), so wiping
shortens the time a secret lies about; it is no guarantee. What guarantees is that the KEK never enters this
process.
"""

from types import TracebackType
from typing import NoReturn, Self

from vault.errors import KeyUnavailable
from vault.keystore.envelope import wipe


class SecretBytes:
    """A secret that neither `repr`, `str`, a traceback nor a pickle shows. Use it as a context manager."""

    __slots__ = ("_bytes", "_wiped")

    def __init__(self, secret: bytes | bytearray) -> None:
        """Take the secret over; a `bytearray` is taken itself, not copied, and is wiped with this object."""
        self._bytes = secret if isinstance(secret, bytearray) else bytearray(secret)
        self._wiped = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'wiped' if self._wiped else 'hidden'})"

    def __len__(self) -> int:
        return len(self._bytes)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def reveal(self) -> bytes:
        """The secret itself, for the one library call that needs it.

        Raises:
            KeyUnavailable: it has been wiped.
        """
        if self._wiped:
            raise KeyUnavailable("A key was used after it had been wiped.")
        return bytes(self._bytes)

    def wipe(self) -> None:
        """Overwrite the secret with zeros; it cannot be revealed any more."""
        wipe(self._bytes)
        self._wiped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


class DiskPassphrase(SecretBytes):
    """A disk's passphrase: 256 random bits as base64url text, 43 characters, no newline (decision D6).

    QEMU wants UTF-8 text and takes a trailing newline for a part of it (FACTS), so other bytes are refused.
    """

    __slots__ = ()

    def __init__(self, secret: bytes | bytearray) -> None:
        """Take the passphrase over.

        Raises:
            KeyUnavailable: it is empty or not one line of printable ASCII.
        """
        super().__init__(secret)
        if not secret or any(not 0x21 <= byte <= 0x7E for byte in secret):
            self.wipe()
            raise KeyUnavailable("A disk's passphrase is not one line of printable text.")
