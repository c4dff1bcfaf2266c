from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import DecryptionFailed
from vault.keystore.envelope import (
    CHECK_VALUE_BYTES,
    KEK_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    WrapContext,
    WrappedKey,
    key_check_value,
    unwrap,
    verify_check_value,
    wipe,
    wrap,
)

KEK = bytearray(range(KEK_BYTES))
KEY = b"c2VjcmV0IGtleSBvZiBhIGRpc2sgaW4gYSB0ZXN0"
CONTEXT = WrapContext("key-1", 1, "disk", "guest:one", 1)


def test_a_wrapped_key_opens_in_its_own_context() -> None:
    assert unwrap(KEK, wrap(KEK, KEY, CONTEXT), CONTEXT) == KEY


@given(st.binary(max_size=4096))
def test_a_key_of_any_length_comes_back_as_it_was(key: bytes) -> None:
    wrapped = wrap(KEK, key, CONTEXT)
    assert len(wrapped.ciphertext) == len(key) + TAG_BYTES
    assert unwrap(KEK, wrapped, CONTEXT) == key


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTEXT, key_id="key-2"),
        replace(CONTEXT, version=2),
        replace(CONTEXT, purpose="person"),
        replace(CONTEXT, owner="guest:two"),
        replace(CONTEXT, kek_version=2),
    ],
    ids=["another key's id", "another version", "another purpose", "another owner", "another KEK version"],
)
def test_one_wrapped_key_cannot_stand_in_for_another(other: WrapContext) -> None:
    """PCI DSS 3.7.7: no substitution of keys."""
    with pytest.raises(DecryptionFailed):
        unwrap(KEK, wrap(KEK, KEY, CONTEXT), other)


def test_another_kek_opens_nothing() -> None:
    with pytest.raises(DecryptionFailed):
        unwrap(bytearray(KEK_BYTES), wrap(KEK, KEY, CONTEXT), CONTEXT)


def test_every_changed_byte_is_found() -> None:
    wrapped = wrap(KEK, KEY, CONTEXT)
    for position in range(len(wrapped.ciphertext)):
        changed = bytearray(wrapped.ciphertext)
        changed[position] ^= 0x80
        with pytest.raises(DecryptionFailed):
            unwrap(KEK, replace(wrapped, ciphertext=bytes(changed)), CONTEXT)
    for position in range(NONCE_BYTES):
        nonce = bytearray(wrapped.nonce)
        nonce[position] ^= 1
        with pytest.raises(DecryptionFailed):
            unwrap(KEK, replace(wrapped, nonce=bytes(nonce)), CONTEXT)


@pytest.mark.parametrize(
    "broken",
    [WrappedKey(b"", b"x" * 40), WrappedKey(b"x" * 11, b"x" * 40), WrappedKey(b"x" * 12, b"x" * 15)],
    ids=["no nonce", "a short nonce", "no room for a tag"],
)
def test_what_is_no_wrapped_key_fails_like_a_wrong_one(broken: WrappedKey) -> None:
    with pytest.raises(DecryptionFailed) as malformed:
        unwrap(KEK, broken, CONTEXT)
    with pytest.raises(DecryptionFailed) as wrong:
        unwrap(bytearray(KEK_BYTES), wrap(KEK, KEY, CONTEXT), CONTEXT)
    assert str(malformed.value) == str(wrong.value)
    assert malformed.value.code == wrong.value.code == "key.decryption_failed"
    assert wrong.value.__cause__ is None


def test_wrapping_twice_never_repeats_a_nonce() -> None:
    nonces = {wrap(KEK, KEY, CONTEXT).nonce for _ in range(1000)}
    assert len(nonces) == 1000
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}


def test_the_context_is_the_same_bytes_for_ever() -> None:
    """Stored keys open only as long as these bytes do not change."""
    assert CONTEXT.associated_data() == (
        b'{"kek_version":1,"key_id":"key-1","owner":"guest:one","purpose":"disk",'
        b'"use":"strongroom.wrapped-key","v":1,"version":1}'
    )


def test_a_wrapped_key_of_an_earlier_release_still_opens() -> None:
    wrapped = WrappedKey(
        bytes.fromhex("000102030405060708090a0b"),
        bytes.fromhex(
            "24308071a688942bc406e3e7d4ba3a1bd9bfc55cb93c0d0c5b5596e27c3e34d55843ecccf5995ca8"
            "968664d1460f94bba812dd6cafe2d46a"
        ),
    )
    assert unwrap(KEK, wrapped, CONTEXT) == KEY


def test_the_check_value_tells_the_right_kek_from_any_other() -> None:
    expected = key_check_value(KEK)
    assert len(expected) == CHECK_VALUE_BYTES
    verify_check_value(KEK, expected)
    for position in range(KEK_BYTES):
        other = bytearray(KEK)
        other[position] ^= 1
        with pytest.raises(DecryptionFailed):
            verify_check_value(other, expected)


def test_wiping_leaves_zeros_and_the_length() -> None:
    buffer = bytearray(KEY)
    wipe(buffer)
    assert buffer == bytes(len(KEY))
