"""The passphrase seal: Argon2id turns a passphrase into a key, AES-256-GCM wraps the KEK under that.

The passphrase is the one secret of a site that a person may have made up, so here alone hardness counts.
"""

import secrets
import unicodedata
from dataclasses import dataclass

from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from vault.errors import BadInput, DecryptionFailed, UnsealFailed
from vault.keystore.envelope import NONCE_BYTES, WrappedKey, open_bytes, seal_bytes, wipe
from vault.keystore.seals.seal import (
    SealContext,
    SealedKek,
    bytes_parameter,
    damaged_parameter,
    int_parameter,
    text_of,
)

KIND = "passphrase"
#: Characters after normalisation. PCI DSS 8.3.6 asks as many of a user's password.
MIN_CHARACTERS = 12
#: UTF-8 bytes; only so that nobody feeds the key process a film.
MAX_BYTES = 1024
#: Salt of 128 bits (RFC 9106 section 3.1 and 4).
SALT_BYTES = 16
#: Tag (output) of 256 bits (RFC 9106 section 4).
TAG_LENGTH_BYTES = 32
# What a store's file may ask of this host at most; a hostile file must not take the memory of the whole host.
_MAX_PASSES = 64
_MAX_MEMORY_KIB = 4 * 1024 * 1024
_MAX_LANES = 64


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Argon2id's cost, in the names of RFC 9106 section 3.1; the default is its second recommended option.

    Attributes:
        passes_t: passes over the memory.
        memory_m_kib: memory in KiB (2^16 KiB are 64 MiB).
        lanes_p: degree of parallelism.
    """

    passes_t: int = 3
    memory_m_kib: int = 2**16
    lanes_p: int = 4


#: RFC 9106 section 4, second recommended option: for memory-constrained environments, t=3, p=4, m=64 MiB.
RFC_9106_SECOND_OPTION = Argon2Parameters()


class PassphraseSeal:
    """Seals with a passphrase.

    Rules for a new passphrase: UTF-8 text, at least 12 characters, at most 1,024 bytes, no control character.
    It is normalised to NFC (RFC 8265, OpaqueString), so the same text typed on another keyboard is the same
    passphrase. Whoever reads a passphrase from a file strips exactly one trailing newline first; a newline
    that is left is refused here, so that a passphrase never depends on how its file was written.
    """

    def __init__(self, cost: Argon2Parameters = RFC_9106_SECOND_OPTION) -> None:
        """Take the cost of new seals; opening uses the cost that the seal was made with."""
        self._cost = cost

    @property
    def kind(self) -> str:
        """`passphrase`."""
        return KIND

    def seal(self, kek: bytearray, context: SealContext, untrusted_secret: bytearray) -> SealedKek:
        """Seal the KEK under a passphrase; see the class for its rules.

        Raises:
            BadInput: the passphrase breaks a rule.
        """
        passphrase = _normalised(untrusted_secret)
        salt = secrets.token_bytes(SALT_BYTES)
        parameters: dict[str, int | str] = {
            "kdf": "argon2id",
            "version": ARGON2_VERSION,
            "t": self._cost.passes_t,
            "m_kib": self._cost.memory_m_kib,
            "p": self._cost.lanes_p,
            "salt": text_of(salt),
        }
        unsealed = SealedKek(KIND, context, parameters, b"")
        key = _derive(passphrase, salt, self._cost)
        try:
            wrapped = seal_bytes(key, kek, unsealed.associated_data())
        finally:
            wipe(key)
        return SealedKek(KIND, context, parameters, wrapped.nonce + wrapped.ciphertext)

    def open(self, sealed: SealedKek, untrusted_secret: bytearray) -> bytearray:
        """Open the seal; the caller wipes the KEK.

        Raises:
            UnsealFailed: wrong passphrase, or a changed blob.
            KeyStoreDamaged: impossible parameters.
        """
        cost, salt = _read_parameters(sealed)
        try:
            passphrase = _normalised(untrusted_secret)
        except BadInput:
            # A passphrase that breaks the rules cannot be the one; saying which rule would help only a
            # guesser.
            raise _wrong() from None
        key = _derive(passphrase, salt, cost)
        wrapped = WrappedKey(sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:])
        try:
            return open_bytes(key, wrapped, sealed.associated_data())
        except DecryptionFailed:
            raise _wrong() from None
        finally:
            wipe(key)


def _normalised(untrusted_secret: bytearray) -> bytes:
    hint = "Use at least 12 characters of UTF-8 text; take the newline at the end of a file away first."
    if len(untrusted_secret) > MAX_BYTES:
        raise BadInput("The passphrase is longer than 1,024 bytes.", hint)
    try:
        text = unicodedata.normalize("NFC", untrusted_secret.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadInput("The passphrase is not UTF-8 text.", hint) from None
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadInput("The passphrase holds a newline or another control character.", hint)
    if len(text) < MIN_CHARACTERS:
        raise BadInput(f"The passphrase has fewer than {MIN_CHARACTERS} characters.", hint)
    return text.encode("utf-8")


def _read_parameters(sealed: SealedKek) -> tuple[Argon2Parameters, bytes]:
    if sealed.parameters.get("kdf") != "argon2id":
        raise damaged_parameter("kdf")
    int_parameter(sealed, "version", ARGON2_VERSION, ARGON2_VERSION)
    lanes = int_parameter(sealed, "p", 1, _MAX_LANES)
    cost = Argon2Parameters(
        passes_t=int_parameter(sealed, "t", 1, _MAX_PASSES),
        memory_m_kib=int_parameter(sealed, "m_kib", 8 * lanes, _MAX_MEMORY_KIB),
        lanes_p=lanes,
    )
    return cost, bytes_parameter(sealed, "salt", SALT_BYTES)


def _derive(passphrase: bytes, salt: bytes, cost: Argon2Parameters) -> bytearray:
    return bytearray(
        hash_secret_raw(
            secret=passphrase,
            salt=salt,
            time_cost=cost.passes_t,
            memory_cost=cost.memory_m_kib,
            parallelism=cost.lanes_p,
            hash_len=TAG_LENGTH_BYTES,
            type=Type.ID,
        )
    )


def _wrong() -> UnsealFailed:
    return UnsealFailed(
        "The passphrase does not open the key store.",
        "Try again with the right passphrase; each failure makes the next try wait a little.",
    )
