"""What points at a person in the log is sealed to a key of that person (D3).

The public half lies in the state database, so sealing works while the key store is sealed; the private half
is wrapped by the key store. Erasing a person destroys one key, and leaves chain, proofs and replay whole.

HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
#: Binds a sealed text to this use, so that it cannot be moved to another field.
_INFO = b"strongroom/personal/v1"


def new_personal_key() -> tuple[bytearray, str]:
    """Make a key pair: 32 private bytes for the key store, the public half as base64 text."""
    private = X25519PrivateKey.generate()
    return bytearray(private.private_bytes_raw()), base64.b64encode(
        private.public_key().public_bytes_raw()
    ).decode()


def seal_to_person(public_key: str | None, text: str) -> str | None:
    """Seal a text to a person's key; None where there is no key.

    So nothing about a stranger is kept in the clear.
    """
    if public_key is None:
        return None
    key = X25519PublicKey.from_public_bytes(base64.b64decode(public_key))
    return base64.b64encode(_SUITE.encrypt(text.encode(), key, info=_INFO)).decode()


def open_for_person(private_key: bytes, sealed: str) -> str:
    """Open a sealed text with the private half (32 bytes) that the key store unwrapped."""
    key = X25519PrivateKey.from_private_bytes(private_key)
    return _SUITE.decrypt(base64.b64decode(sealed), key, info=_INFO).decode()
