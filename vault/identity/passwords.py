"""Passwords: what is demanded of them and how they are kept (Argon2id, RFC 9106).

The rules are PCI DSS 8.3.6 and 8.3.7: at least 12 characters, letters and digits, none of the last four.
"""

import re
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from vault.errors import BadInput

#: RFC 9106 section 4, second recommended option: 3 passes over 64 MiB with 4 lanes.
TIME_COST_PASSES = 3
MEMORY_COST_KIB = 64 * 1024
PARALLELISM_LANES = 4
#: PCI 8.3.7: a new password is none of the last four.
BARRED_FORMER_PASSWORDS = 4
_MAX_CHARACTERS = 1024

_hasher = PasswordHasher(
    time_cost=TIME_COST_PASSES, memory_cost=MEMORY_COST_KIB, parallelism=PARALLELISM_LANES
)
#: Verified against when the account does not exist, so that both cases take the same time.
_NOBODY = _hasher.hash("no account has this password")


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, with its parameters and a random salt."""
    return _hasher.hash(_normalised(password))


def password_matches(untrusted_password: str, password_hash: str | None) -> bool:
    """Say whether a password fits a hash; None (no such account) takes as long and never fits."""
    if len(untrusted_password) > _MAX_CHARACTERS or not _is_text(untrusted_password):
        return False
    try:
        fits = _hasher.verify(password_hash or _NOBODY, _normalised(untrusted_password))
    except (VerificationError, InvalidHashError):
        return False
    return fits and password_hash is not None


def check_new_password(password: str, *, name: str, min_length: int, former_hashes: list[str]) -> None:
    """Refuse a password that the rules do not allow.

    Raises:
        BadInput: with the rule it breaks.
    """
    if not _is_text(password):
        raise BadInput("The password holds a character that is none.")
    # What is hashed is the normalised text; typed characters may join into fewer.
    if min(len(password), len(_normalised(password))) < min_length:
        raise BadInput(f"The password is too short: at least {min_length} characters are needed.")
    if len(password) > _MAX_CHARACTERS:
        raise BadInput(f"The password is too long: at most {_MAX_CHARACTERS} characters are read.")
    if not re.search(r"\d", password) or not re.search(r"[^\W\d_]", password):
        raise BadInput("The password needs at least one letter and one digit.")
    if name.lower() in password.lower():
        raise BadInput("The password must not contain the account's name.")
    if any(password_matches(password, former) for former in former_hashes[-BARRED_FORMER_PASSWORDS:]):
        raise BadInput(f"The password is one of the last {BARRED_FORMER_PASSWORDS}; choose a new one.")


def _is_text(password: str) -> bool:
    """Whether every character can be written; a lone surrogate, which JSON can carry, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in password)


def _normalised(password: str) -> str:
    # NFKC, so that the same keys pressed on another system give the same password (RFC 8265).
    return unicodedata.normalize("NFKC", password)
