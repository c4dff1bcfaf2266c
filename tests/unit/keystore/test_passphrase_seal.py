from dataclasses import replace

import pytest

from vault.errors import BadInput, KeyStoreDamaged, UnsealFailed
from vault.keystore.seals.passphrase import (
    RFC_9106_SECOND_OPTION,
    Argon2Parameters,
    PassphraseSeal,
)
from vault.keystore.seals.seal import SealContext, SealedKek

KEK = bytes(range(32))
CONTEXT = SealContext("00112233445566778899aabbccddeeff", 1)
CHEAP = Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1)
SEAL = PassphraseSeal(CHEAP)


def sealed_with(passphrase: str) -> SealedKek:
    return SEAL.seal(bytearray(KEK), CONTEXT, bytearray(passphrase.encode()))


def test_the_default_cost_is_rfc_9106s_second_recommended_option() -> None:
    assert (
        RFC_9106_SECOND_OPTION.passes_t,
        RFC_9106_SECOND_OPTION.memory_m_kib,
        RFC_9106_SECOND_OPTION.lanes_p,
    ) == (3, 64 * 1024, 4)
    sealed = PassphraseSeal().seal(bytearray(KEK), CONTEXT, bytearray(b"twelve characters"))
    assert {name: sealed.parameters[name] for name in ("kdf", "version", "t", "m_kib", "p")} == {
        "kdf": "argon2id",
        "version": 19,
        "t": 3,
        "m_kib": 65536,
        "p": 4,
    }


def test_a_seal_opens_with_the_cost_it_was_made_with_whatever_the_default_is() -> None:
    assert PassphraseSeal().open(sealed_with("twelve characters"), bytearray(b"twelve characters")) == KEK


@pytest.mark.parametrize(
    ("passphrase", "rule"),
    [
        (b"eleven char", "fewer than 12"),
        ("\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc".encode(), "fewer than 12"),  # 12 bytes, 6 characters
        (b"a trailing newline\n", "newline"),
        (b"carriage\r return too", "control character"),
        (b"nul \0 in the middle", "control character"),
        (b"\xff\xfe not UTF-8 at all", "not UTF-8"),
        (b"x" * 1025, "longer than 1,024"),
        (b"", "fewer than 12"),
    ],
)
def test_a_new_passphrase_that_breaks_a_rule_is_refused_with_the_rule(passphrase: bytes, rule: str) -> None:
    with pytest.raises(BadInput, match=rule) as refusal:
        SEAL.seal(bytearray(KEK), CONTEXT, bytearray(passphrase))
    assert "newline at the end of a file" in refusal.value.hint


def test_the_same_text_from_another_keyboard_is_the_same_passphrase() -> None:
    composed, decomposed = "Schl\u00fcsselbund 7", "Schlu\u0308sselbund 7"
    assert SEAL.open(sealed_with(composed), bytearray(decomposed.encode())) == KEK


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kdf", "argon2i"),
        ("version", 16),
        ("t", 0),
        ("t", 65),
        ("t", True),
        ("t", "3"),
        ("m_kib", 7),
        ("m_kib", 2**40),
        ("p", 0),
        ("p", 65),
        ("salt", "AAAA"),
        ("salt", "not base64!"),
        ("salt", 7),
    ],
)
def test_impossible_parameters_are_a_damaged_store_and_cost_nothing(name: str, value: int | str) -> None:
    """A hostile file must not take the memory of the whole host before anything is checked."""
    sealed = sealed_with("twelve characters")
    with pytest.raises(KeyStoreDamaged, match=name):
        SEAL.open(
            replace(sealed, parameters={**sealed.parameters, name: value}), bytearray(b"twelve characters")
        )


@pytest.mark.parametrize(("name", "value"), [("t", 2), ("m_kib", 128), ("salt", "A" * 22 + "==")])
def test_possible_but_changed_parameters_open_nothing(name: str, value: int | str) -> None:
    sealed = sealed_with("twelve characters")
    with pytest.raises(UnsealFailed):
        SEAL.open(
            replace(sealed, parameters={**sealed.parameters, name: value}), bytearray(b"twelve characters")
        )
