"""What the key process does with the KEK, in this process, and stores that rotation or damage left."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rfc8785

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.intents import IntentLog, IntentReader
from vault.clock import HostClock
from vault.errors import BadInput, DecryptionFailed, KeyUnavailable, Sealed, UnsealFailed
from vault.keystore.custody import KeyCustody
from vault.keystore.envelope import key_check_value
from vault.keystore.founding import init_store
from vault.keystore.keys import KeyPurpose
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.seals.seal import SealContext
from vault.keystore.store import KeyStoreFile
from vault.keystore.warrant import KEY_STORE, Warrants

FIRST, SECOND = b"the first custodian's passphrase", b"the second custodian's passphrase"
SEAL = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")

Open = Callable[[], KeyCustody]


@pytest.fixture
def log(tmp_path: Path) -> IntentLog:
    return IntentLog(tmp_path / "log")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_store(tmp_path / "keystore", SEAL, bytearray(FIRST))
    return tmp_path / "keystore"


@pytest.fixture
def open_custody(folder: Path, log: IntentLog) -> Iterator[Open]:
    opened: list[KeyCustody] = []

    def opener() -> KeyCustody:
        warrants = Warrants(IntentReader(log.path), HostClock())
        opened.append(KeyCustody(KeyStoreFile(folder), {"passphrase": SEAL}, warrants, sleep=lambda _s: None))
        return opened[-1]

    yield opener
    for custody in opened:
        custody.close()


def unseal(custody: KeyCustody, log: IntentLog, passphrase: bytes = FIRST) -> None:
    custody.unseal(log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE).intent, "passphrase", bytearray(passphrase))


def start_intent(log: IntentLog) -> str:
    return log.intend(Action.GUEST_START, GUEST).intent


def create_intent(log: IntentLog) -> str:
    return log.intend(Action.GUEST_CREATE, GUEST).intent


def put_seal(folder: Path, kek: bytearray, version: int, passphrase: bytes, seal_id: str) -> None:
    """What a change of seals, or a rotation of the KEK, will write."""
    with sqlite3.connect(folder / "keys.db") as database:
        ((store_id,),) = database.execute("SELECT id FROM store").fetchall()
        sealed = SEAL.seal(kek, SealContext(store_id, version), bytearray(passphrase))
        database.execute(
            "INSERT OR IGNORE INTO kek VALUES (?, 'active', ?, '2026-01-01T00:00:00.000000Z', NULL)",
            (version, key_check_value(kek)),
        )
        database.execute(
            "INSERT INTO seal VALUES (?, 'passphrase', ?, ?, ?, '2026-01-01T00:00:00.000000Z')",
            (seal_id, version, rfc8785.dumps(dict(sealed.parameters)).decode(), sealed.ciphertext),
        )
    database.close()


def opened_kek(folder: Path) -> bytearray:
    store = KeyStoreFile(folder)
    (sealed,) = store.seals("passphrase", 1)
    store.close()
    return SEAL.open(sealed, bytearray(FIRST))


def test_either_of_two_passphrase_seals_opens_the_store(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    put_seal(folder, opened_kek(folder), 1, SECOND, "second")
    custody = open_custody()
    for passphrase in (FIRST, SECOND):
        unseal(custody, log, passphrase)
        assert not custody.status(1).sealed
        custody.seal()
    with pytest.raises(UnsealFailed):
        unseal(custody, log, b"a third custodian's passphrase")


def test_a_store_with_two_kek_versions_opens_keys_of_both_and_wraps_under_the_newer(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    custody = open_custody()
    unseal(custody, log)
    intent = create_intent(log)
    old = custody.create_key(intent, GUEST, KeyPurpose.DISK)
    before = bytes(custody.unwrap_key(intent, old.id))
    custody.close()
    put_seal(folder, bytearray(b"k" * 32), 2, FIRST, "second-kek")
    rotated = open_custody()
    unseal(rotated, log)
    new = rotated.create_key(create_intent(log), GUEST, KeyPurpose.DISK)
    assert (old.kek_version, new.kek_version, rotated.status(1).kek_version) == (1, 2, 2)
    assert rotated.unwrap_key(start_intent(log), old.id) == before
    assert rotated.unwrap_key(start_intent(log), new.id) != before


def test_no_version_is_unsealed_unless_all_are(open_custody: Open, folder: Path, log: IntentLog) -> None:
    put_seal(folder, bytearray(b"k" * 32), 2, SECOND, "second-kek")
    custody = open_custody()
    with pytest.raises(UnsealFailed):
        unseal(custody, log, FIRST)
    assert custody.status(1).sealed
    with pytest.raises(Sealed):
        custody.create_key(create_intent(log), GUEST, KeyPurpose.DISK)


def test_a_seal_that_holds_another_kek_than_the_stores_is_found_by_the_check_value(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute("UPDATE kek SET check_value = ?", (b"x" * 32,))
    database.close()
    custody = open_custody()
    with pytest.raises(UnsealFailed, match="not to this store's root key"):
        unseal(custody, log)
    assert custody.status(1).sealed


def test_a_kek_version_without_a_seal_of_the_kind_says_so(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute(
            "INSERT INTO kek VALUES (2, 'active', ?, '2026-01-01T00:00:00.000000Z', NULL)", (b"x" * 32,)
        )
    database.close()
    with pytest.raises(UnsealFailed, match="no seal of this kind"):
        unseal(open_custody(), log)


def test_a_seal_of_another_sites_store_does_not_open_here(
    open_custody: Open, folder: Path, log: IntentLog, tmp_path: Path
) -> None:
    init_store(tmp_path / "other", SEAL, bytearray(FIRST))
    with sqlite3.connect(tmp_path / "other" / "keys.db") as other:
        ((parameters, ciphertext),) = other.execute("SELECT parameters, ciphertext FROM seal").fetchall()
    other.close()
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute("UPDATE seal SET parameters = ?, ciphertext = ?", (parameters, ciphertext))
    database.close()
    with pytest.raises(UnsealFailed):
        unseal(open_custody(), log)


def test_a_wrapped_key_put_in_anothers_place_while_running_does_not_open(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    custody = open_custody()
    unseal(custody, log)
    intent = create_intent(log)
    mine, theirs = (custody.create_key(intent, GUEST, KeyPurpose.DISK) for _ in range(2))
    custody.close()
    with sqlite3.connect(folder / "keys.db") as attacker:
        attacker.execute(
            "UPDATE wrapped_key SET nonce = (SELECT nonce FROM wrapped_key WHERE id = ?1),"
            " ciphertext = (SELECT ciphertext FROM wrapped_key WHERE id = ?1) WHERE id = ?2",
            (theirs.id, mine.id),
        )
    attacker.close()
    again = open_custody()
    unseal(again, log)
    with pytest.raises(DecryptionFailed):
        again.unwrap_key(start_intent(log), mine.id)
    assert again.unwrap_key(start_intent(log), theirs.id)


def test_a_key_that_is_suspended_is_not_handed_out(open_custody: Open, folder: Path, log: IntentLog) -> None:
    custody = open_custody()
    unseal(custody, log)
    key = custody.create_key(create_intent(log), GUEST, KeyPurpose.DISK)
    custody.close()
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute("UPDATE wrapped_key SET state = 'suspended'")
    database.close()
    again = open_custody()
    unseal(again, log)
    with pytest.raises(KeyUnavailable, match="is suspended"):
        again.unwrap_key(start_intent(log), key.id)


def test_a_key_under_a_kek_version_that_is_gone_is_unavailable(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    custody = open_custody()
    unseal(custody, log)
    key = custody.create_key(create_intent(log), GUEST, KeyPurpose.DISK)
    custody.close()
    put_seal(folder, bytearray(b"k" * 32), 2, FIRST, "second-kek")
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute("UPDATE kek SET state = 'destroyed' WHERE version = 1")
    database.close()
    again = open_custody()
    unseal(again, log)
    with pytest.raises(KeyUnavailable, match="version of the root key"):
        again.unwrap_key(start_intent(log), key.id)


def test_a_store_without_any_kek_never_says_that_it_is_unsealed(
    open_custody: Open, folder: Path, log: IntentLog
) -> None:
    with sqlite3.connect(folder / "keys.db") as database:
        database.execute("UPDATE kek SET state = 'destroyed'")
    database.close()
    custody = open_custody()
    with pytest.raises(UnsealFailed, match="no root key"):
        unseal(custody, log)
    assert custody.status(1).sealed
    assert custody.status(1).kek_version is None


def test_a_seal_this_process_cannot_open_is_named(open_custody: Open, log: IntentLog) -> None:
    with pytest.raises(BadInput, match="no seal of the kind 'tpm2'") as refusal:
        open_custody().unseal(log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE).intent, "tpm2", bytearray(FIRST))
    assert "passphrase" in refusal.value.hint


def test_sealing_zeroes_the_kek_in_place(open_custody: Open, log: IntentLog) -> None:
    custody = open_custody()
    unseal(custody, log)
    (kek,) = custody._keks.values()
    assert any(kek)
    custody.seal()
    assert not any(kek)
    custody.seal()
