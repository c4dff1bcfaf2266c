"""The envelope: one key wrapped under the key-encryption key (KEK), bound to what it is for.

A wrapped key opens only with the KEK that wrapped it *and* with the very key id, version, purpose, owner and
KEK version it was wrapped for, so one wrapped key cannot stand in for another (PCI DSS 3.7.7, decision D8).
Every failure is the same `DecryptionFailed`: which part did not fit is nobody's business.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.errors import DecryptionFailed

#: AES-256 (FIPS 197).
KEK_BYTES = 32
#: The nonce length GCM is made for (NIST SP 800-38D, section 8.2).
NONCE_BYTES = 12
#: Full-length tag (NIST SP 800-38D, section 5.2.1.2).
TAG_BYTES = 16
#: HMAC-SHA-256.
CHECK_VALUE_BYTES = 32
_CHECK_VALUE_LABEL = b"strongroom/kek-check-value/v1"


@dataclass(frozen=True, slots=True)
class WrapContext:
    """What a wrapped key is bound to.

    Attributes:
        key_id: the key's random id.
        version: the key's version, from 1.
        purpose: what the key protects: `disk`, `seed`, `person`.
        owner: the entity the key belongs to, as records write it, such as `guest:…`.
        kek_version: version of the KEK that wraps, from 1.
    """

    key_id: str
    version: int
    purpose: str
    owner: str
    kek_version: int

    def associated_data(self) -> bytes:
        """The context as RFC 8785 bytes: the same context is the same bytes, for ever."""
        return rfc8785.dumps(
            {
                "use": "strongroom.wrapped-key",
                "v": 1,
                "key_id": self.key_id,
                "version": self.version,
                "purpose": self.purpose,
                "owner": self.owner,
                "kek_version": self.kek_version,
            }
        )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key under its KEK: nonce (12 bytes) and ciphertext (the key's length and 16 bytes of tag)."""

    nonce: bytes
    ciphertext: bytes


def wrap(kek: bytearray, key: bytes | bytearray, context: WrapContext) -> WrappedKey:
    """Wrap `key` under `kek` with AES-256-GCM (NIST SP 800-38D), bound to `context`.

    Args:
        kek: 32 bytes.
        key: any length; disk passphrases are 43 bytes of text, personal keys 32 bytes.
        context: what the wrapped key is bound to.
    """
    return seal_bytes(kek, key, context.associated_data())


def unwrap(kek: bytearray, wrapped: WrappedKey, context: WrapContext) -> bytearray:
    """Open a wrapped key; the caller wipes what is returned.

    Raises:
        DecryptionFailed: wrong KEK, another context, or changed bytes; one error for all of them.
    """
    return open_bytes(kek, wrapped, context.associated_data())


def seal_bytes(key: bytes | bytearray, plaintext: bytes | bytearray, associated_data: bytes) -> WrappedKey:
    """Encrypt with AES-256-GCM under a nonce of this call's own; seals use it for the KEK itself."""
    # A random 96-bit nonce is safe here: NIST SP 800-38D section 8.3 allows 2^32 of them under one key, and a
    # KEK wraps one key at a time, at human pace; a passphrase seal's key is used once, its salt being fresh.
    nonce = secrets.token_bytes(NONCE_BYTES)
    return WrappedKey(nonce, AESGCM(key).encrypt(nonce, plaintext, associated_data))


def open_bytes(key: bytes | bytearray, sealed: WrappedKey, associated_data: bytes) -> bytearray:
    """Decrypt into memory of ours that can be wiped.

    Raises:
        DecryptionFailed: it does not open, for whatever cause.
    """
    if len(sealed.nonce) != NONCE_BYTES or len(sealed.ciphertext) < TAG_BYTES:
        raise _failed()
    plaintext = bytearray(len(sealed.ciphertext) - TAG_BYTES)
    try:
        AESGCM(key).decrypt_into(sealed.nonce, sealed.ciphertext, associated_data, plaintext)
    except InvalidTag:
        raise _failed() from None
    return plaintext


def key_check_value(kek: bytes | bytearray) -> bytes:
    """A value that tells whether a KEK is the right one, and nothing else about it.

    HMAC-SHA-256 over a fixed label, as in HKDF-Expand (RFC 5869 section 2.3): the KEK is 256 random bits, so
    the value cannot be turned back, and no AES block under the KEK is given away as the older check values
    do.
    """
    return hmac.new(kek, _CHECK_VALUE_LABEL, hashlib.sha256).digest()


def verify_check_value(kek: bytes | bytearray, expected: bytes) -> None:
    """Check in constant time that `kek` is the one whose check value is `expected` (32 bytes).

    Raises:
        DecryptionFailed: it is not.
    """
    if not hmac.compare_digest(key_check_value(kek), expected):
        raise _failed()


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros in place."""
    buffer[:] = bytes(len(buffer))


def _failed() -> DecryptionFailed:
    return DecryptionFailed(
        "A wrapped key did not open.", "Check that the key store belongs to this site and is undamaged."
    )
