"""What is demanded of passwords, and what can be learned from how long their check takes."""

import time

import pytest

from vault.errors import BadInput
from vault.identity.passwords import check_new_password, hash_password, password_matches

PASSWORD = "correct horse 1"


def check(password: str, former: list[str] | None = None) -> None:
    check_new_password(password, name="olga", min_length=12, former_hashes=former or [])


def least_s(password: str, password_hash: str | None) -> float:
    """The shortest of a few checks, in seconds."""
    taken = []
    for _ in range(4):
        began = time.perf_counter()
        password_matches(password, password_hash)
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_a_hash_is_argon2id_with_the_parameters_of_rfc_9106_and_a_salt_of_its_own() -> None:
    first = hash_password(PASSWORD)
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != hash_password(PASSWORD)
    assert password_matches(PASSWORD, first)
    assert not password_matches(PASSWORD + "x", first)


def test_an_account_that_does_not_exist_takes_as_long_as_a_wrong_password() -> None:
    known = hash_password(PASSWORD)
    wrong, nobody = least_s("wrong password 1", known), least_s("wrong password 1", None)
    assert 0.5 < wrong / nobody < 2.0
    assert nobody > 0.005  # Argon2id did run


def test_not_even_the_stand_in_password_opens_an_account_that_does_not_exist() -> None:
    assert not password_matches("no account has this password", None)


def test_a_damaged_hash_fits_nothing() -> None:
    assert not password_matches(PASSWORD, "$argon2id$damaged")
    assert not password_matches(PASSWORD, "")


@pytest.mark.parametrize("password", ["x" * 1025, "\ud800 lone surrogate 1", "correct horse \udfff1"])
def test_what_cannot_be_a_password_fits_nobody_and_breaks_nothing(password: str) -> None:
    assert not password_matches(password, hash_password(PASSWORD))
    assert not password_matches(password, None)


def test_the_same_keys_on_another_system_are_the_same_password() -> None:
    assert password_matches("Pa\u0301ssword number 1", hash_password("P\u00e1ssword number 1"))


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short 1", "too short"),
        ("e\u0301" * 6 + "1", "too short"),
        ("x1" * 600, "too long"),
        ("only letters here", "one letter and one digit"),
        ("123456789012345", "one letter and one digit"),
        ("____________1_", "one letter and one digit"),
        ("I am OLGA number 1", "account's name"),
        ("a lone \ud800 surrogate 1", "is none"),
    ],
)
def test_a_password_that_breaks_a_rule_is_refused_with_the_rule(password: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        check(password)
    assert password not in str(caught.value)


def test_none_of_the_last_four_is_taken_and_the_fifth_is() -> None:
    former = [hash_password(f"former passw0rd {number}") for number in range(5)]
    with pytest.raises(BadInput, match="last 4"):
        check("former passw0rd 1", former)
    check("former passw0rd 0", former)


def test_letters_of_every_script_count() -> None:
    check("\u043f\u0430\u0440\u043e\u043b\u044c \u0434\u043b\u0438\u043d\u043d\u044b\u0439 7")
