"""What points at a person opens with that person's key and with no other."""

import pytest
from cryptography.exceptions import InvalidTag

from audit.log import shape
from vault.identity.personal import new_personal_key, open_for_person, seal_to_person

ADDRESS = "192.0.2.44"


def test_a_sealed_address_opens_with_the_persons_key_alone() -> None:
    private, public = new_personal_key()
    sealed = seal_to_person(public, ADDRESS)
    assert sealed is not None
    assert open_for_person(bytes(private), sealed) == ADDRESS
    other, _ = new_personal_key()
    with pytest.raises(InvalidTag):
        open_for_person(bytes(other), sealed)


def test_the_same_address_looks_different_each_time_so_that_nobody_can_compare() -> None:
    _, public = new_personal_key()
    first, second = seal_to_person(public, ADDRESS), seal_to_person(public, ADDRESS)
    assert first != second
    assert first is not None
    assert ADDRESS not in first


def test_an_altered_sealed_text_does_not_open() -> None:
    private, public = new_personal_key()
    sealed = seal_to_person(public, ADDRESS)
    assert sealed is not None
    altered = ("B" if sealed[0] != "B" else "C") + sealed[1:]
    with pytest.raises((InvalidTag, ValueError)):
        open_for_person(bytes(private), altered)


def test_of_somebody_without_a_key_nothing_is_kept() -> None:
    assert seal_to_person(None, ADDRESS) is None


@pytest.mark.parametrize("text", ["", "::1", "2001:db8:85a3:8d3:1319:8a2e:370:7348%eth0", "x" * 700])
def test_a_sealed_text_has_the_form_that_records_demand(text: str) -> None:
    _, public = new_personal_key()
    sealed = seal_to_person(public, text)
    assert shape.require("address", sealed) == sealed
