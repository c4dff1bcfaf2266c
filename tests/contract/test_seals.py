"""What every kind of seal must do: open with its secret, with nothing else, and only what it sealed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from vault.errors import DecryptionFailed, KeyStoreDamaged, UnsealFailed
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.seals.seal import Seal, SealContext, SealedKek

KEK = bytes(range(32))
CONTEXT = SealContext("00112233445566778899aabbccddeeff", 1)


@dataclass(frozen=True)
class Subject:
    """A seal, a secret that opens what it seals, and secrets that do not."""

    seal: Seal
    secret: bytes
    wrong: tuple[bytes, ...]

    def sealed(self) -> SealedKek:
        return self.seal.seal(bytearray(KEK), CONTEXT, bytearray(self.secret))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "passphrase": lambda: Subject(
        PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1)),
        b"twelve or more characters",
        (
            b"another passphrase",
            b"twelve or more characters\n",
            b"Twelve or more characters",
            b"",
            b"\xff\xfe",
        ),
    ),
}


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]()


def test_a_seal_says_the_kind_that_interfaces_names(subject: Subject) -> None:
    assert subject.seal.kind in {"passphrase", "shares", "pkcs11", "tpm2"}
    assert subject.sealed().kind == subject.seal.kind


def test_a_sealed_kek_opens_with_its_secret(subject: Subject) -> None:
    assert subject.seal.open(subject.sealed(), bytearray(subject.secret)) == KEK


def test_a_sealed_kek_opens_with_no_other_secret(subject: Subject) -> None:
    sealed = subject.sealed()
    for wrong in subject.wrong:
        with pytest.raises(UnsealFailed):
            subject.seal.open(sealed, bytearray(wrong))


def test_the_kek_is_nowhere_in_what_is_stored(subject: Subject) -> None:
    sealed = subject.sealed()
    assert KEK not in sealed.ciphertext
    assert KEK.hex() not in repr(sealed)


def test_two_seals_of_the_same_kek_share_nothing(subject: Subject) -> None:
    assert subject.sealed().ciphertext != subject.sealed().ciphertext


@pytest.mark.parametrize(
    "context",
    [SealContext("ffeeddccbbaa99887766554433221100", 1), SealContext(CONTEXT.store_id, 2)],
    ids=["another site's store", "another version of the KEK"],
)
def test_a_seal_moved_to_another_place_does_not_open(subject: Subject, context: SealContext) -> None:
    with pytest.raises(UnsealFailed):
        subject.seal.open(replace(subject.sealed(), context=context), bytearray(subject.secret))


def test_every_changed_bit_of_a_seal_is_found(subject: Subject) -> None:
    sealed = subject.sealed()
    for position in range(len(sealed.ciphertext)):
        changed = bytearray(sealed.ciphertext)
        changed[position] ^= 1
        with pytest.raises(UnsealFailed):
            subject.seal.open(replace(sealed, ciphertext=bytes(changed)), bytearray(subject.secret))


def test_a_truncated_seal_does_not_open(subject: Subject) -> None:
    sealed = subject.sealed()
    for length in (0, 1, 12, 27, len(sealed.ciphertext) - 1):
        with pytest.raises(UnsealFailed):
            subject.seal.open(
                replace(sealed, ciphertext=sealed.ciphertext[:length]), bytearray(subject.secret)
            )


def test_a_seal_without_parameters_is_a_damaged_store(subject: Subject) -> None:
    with pytest.raises(KeyStoreDamaged):
        subject.seal.open(replace(subject.sealed(), parameters={}), bytearray(subject.secret))


def test_an_error_never_holds_the_secret_or_the_cause(subject: Subject) -> None:
    with pytest.raises(UnsealFailed) as failure:
        subject.seal.open(subject.sealed(), bytearray(subject.wrong[0]))
    assert subject.wrong[0].decode() not in f"{failure.value} {failure.value.hint}"
    assert not isinstance(failure.value.__cause__, DecryptionFailed)
