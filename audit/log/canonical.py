"""Canonical JSON: the one byte form of a value, RFC 8785 restricted to what records may hold.

Records hold null, booleans, integers up to 2^53-1, NFC text, lists, and objects with text keys. Floats are
not among them: their text form is where canonical JSON implementations differ. What a value may be is checked
here and nowhere else, both when bytes are made and when they are read.
"""

import json
import unicodedata
from collections.abc import Mapping

import rfc8785

from audit.errors import NotCanonical

#: Largest integer every JSON reader keeps exactly (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
MAX_INTEGER = 2**53 - 1

#: Deepest nesting; far above what records need, far below what would exhaust a reader's stack.
MAX_DEPTH = 32

_encode_fast = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def encode(value: object) -> bytes:
    """Make the canonical bytes of a value.

    Args:
        value: null, bool, int, str, list or tuple, or mapping with str keys, nested up to `MAX_DEPTH`.

    Raises:
        NotCanonical: the value holds something records may not hold.
    """
    plain = _plain(value, 0)
    text = _encode_fast(plain)
    if text.isascii():
        # json.dumps sorts keys by code point, RFC 8785 by UTF-16 code unit. In ASCII the two agree, and this is
        # five times faster; the property test in tests/unit/audit_log compares them.
        return text.encode()
    return rfc8785.dumps(plain)


def parse(untrusted: bytes) -> object:
    """Read canonical bytes, and nothing but canonical bytes.

    Because the value is encoded again and compared, duplicate keys, white space, other escapes, other key
    orders and other number forms are all refused.

    Raises:
        NotCanonical: the bytes are not the canonical form of a value.
    """
    try:
        value: object = json.loads(untrusted.decode())
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise NotCanonical("The bytes are not JSON in UTF-8.") from error
    if encode(value) != untrusted:
        raise NotCanonical("The bytes are JSON, but not in the canonical form of RFC 8785.")
    return value


_Plain = bool | int | str | None | list["_Plain"] | dict[str, "_Plain"]


def _plain(value: object, depth: int) -> _Plain:
    """Copy a value into plain JSON types, checking it."""
    if isinstance(value, str):
        return value if value.isascii() else _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise NotCanonical("An integer lies beyond 2^53-1, where JSON readers no longer agree.")
        return int(value)
    depth += 1
    if depth > MAX_DEPTH:
        raise NotCanonical(f"The value is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, list | tuple):
        return [_plain(each, depth) for each in value]
    if isinstance(value, Mapping):
        return {_key(key): _plain(each, depth) for key, each in value.items()}
    raise NotCanonical(f"A value of type {type(value).__name__} has no place in a record.")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise NotCanonical("The keys of an object must be text.")
    return key if key.isascii() else _text(key)


def _text(text: str) -> str:
    """Check text: encodable (no lone surrogate) and in Normalization Form C (Unicode Annex 15)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("The text holds a lone surrogate, which UTF-8 cannot carry.") from error
    if not unicodedata.is_normalized("NFC", text):
        raise NotCanonical("The text is not in Unicode Normalization Form C.")
    return text
