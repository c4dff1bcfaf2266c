"""What a seal is: a way to keep the KEK so that it opens only with what a custodian brings.

A seal turns the KEK into a blob that may lie on a disk, and back. Passphrase, shares, PKCS#11 and TPM differ
in nothing else, as far as the store and the key process are concerned.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import rfc8785

from vault.errors import KeyStoreDamaged


@dataclass(frozen=True, slots=True)
class SealContext:
    """What a sealed KEK is bound to, so that a blob of another site or of an older KEK does not open here.

    Attributes:
        store_id: the key store's random id.
        kek_version: from 1.
    """

    store_id: str
    kek_version: int


@dataclass(frozen=True, slots=True)
class SealedKek:
    """A KEK in its seal.

    Attributes:
        kind: the seal's kind (INTERFACES: `passphrase`, `shares`, `pkcs11`, `tpm2`).
        context: what it is bound to.
        parameters: what the seal needs to open it again, not secret; whole numbers and text.
        ciphertext: the wrapped KEK.
    """

    kind: str
    context: SealContext
    parameters: Mapping[str, int | str]
    ciphertext: bytes

    def associated_data(self) -> bytes:
        """Kind, context and parameters as RFC 8785 bytes: changed parameters open nothing."""
        return rfc8785.dumps(
            {
                "use": "strongroom.sealed-kek",
                "v": 1,
                "kind": self.kind,
                "store_id": self.context.store_id,
                "kek_version": self.context.kek_version,
                "parameters": dict(self.parameters),
            }
        )


class Seal(Protocol):
    """One kind of seal. Objects hold no secret; each call brings its own."""

    @property
    def kind(self) -> str:
        """The kind, as INTERFACES names it."""

    def seal(self, kek: bytearray, context: SealContext, untrusted_secret: bytearray) -> SealedKek:
        """Seal a KEK.

        Args:
            kek: 32 bytes.
            context: what to bind it to.
            untrusted_secret: what will open it again: a passphrase, a PIN. Not yet known to be any good.

        Raises:
            BadInput: the secret breaks the seal's rules; the sentence says which.
        """

    def open(self, sealed: SealedKek, untrusted_secret: bytearray) -> bytearray:
        """Open a seal; the caller wipes the KEK.

        Raises:
            UnsealFailed: the secret is not the one, or the blob is not what it was. One error for both.
            KeyStoreDamaged: the blob's parameters are no parameters of this seal.
        """


def text_of(value: bytes) -> str:
    """Bytes as a seal's parameters hold them: base64."""
    return base64.b64encode(value).decode("ascii")


def bytes_parameter(sealed: SealedKek, name: str, length: int) -> bytes:
    """A parameter that must be `length` bytes.

    Raises:
        KeyStoreDamaged: it is not.
    """
    value = sealed.parameters.get(name)
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length:
        raise damaged_parameter(name)
    return decoded


def int_parameter(sealed: SealedKek, name: str, low: int, high: int) -> int:
    """A parameter that must be a whole number from `low` to `high`.

    Raises:
        KeyStoreDamaged: it is not.
    """
    value = sealed.parameters.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise damaged_parameter(name)
    return value


def damaged_parameter(name: str) -> KeyStoreDamaged:
    """The error of a seal whose parameter `name` cannot be."""
    return KeyStoreDamaged(
        f"The key store's seal has an impossible parameter ({name}).",
        "Restore the key store from its backup.",
    )
