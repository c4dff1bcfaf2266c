import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.vocabulary import EntityRef, EntityType
from vault.errors import (
    BadInput,
    Conflict,
    DecryptionFailed,
    HostFailure,
    HostUnprotected,
    KeyStoreDamaged,
    KeyStoreMissing,
    NotFound,
)
from vault.keystore.envelope import unwrap, wrap
from vault.keystore.founding import init_store
from vault.keystore.keys import KeyInfo, KeyPurpose
from vault.keystore.lifecycle import KeyState
from vault.keystore.rows import wrap_context
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.store import PAGE, KeyStoreFile

PASSPHRASE = b"a passphrase for tests"
SEAL = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
INTENT = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)


def key_info(key_id: str = "key-1", owner: EntityRef = GUEST, version: int = 1) -> KeyInfo:
    return KeyInfo(
        id=key_id,
        version=version,
        purpose=KeyPurpose.DISK,
        owner=owner,
        state=KeyState.ACTIVE,
        kek_version=1,
        intent=INTENT,
        created_at=NOW,
    )


def opened_kek(store: KeyStoreFile) -> bytearray:
    (sealed,) = store.seals("passphrase", 1)
    return SEAL.open(sealed, bytearray(PASSPHRASE))


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_store(tmp_path / "keystore", SEAL, bytearray(PASSPHRASE))
    return tmp_path / "keystore"


@pytest.fixture
def store(folder: Path) -> Iterator[KeyStoreFile]:
    opened = KeyStoreFile(folder)
    yield opened
    opened.close()


# -- a new store -----------------------------------------------------------------------------


def test_a_new_store_holds_one_kek_version_in_one_seal(store: KeyStoreFile) -> None:
    (kek,) = store.kek_versions()
    assert (kek.version, kek.state, len(kek.check_value)) == (1, KeyState.ACTIVE, 32)
    assert store.seal_kinds() == ("passphrase",)
    assert len(opened_kek(store)) == 32


def test_the_kek_is_in_no_file_of_the_store(folder: Path, store: KeyStoreFile) -> None:
    kek = bytes(opened_kek(store))
    stored = everything_in(folder)
    assert kek not in stored
    assert kek.hex().encode() not in stored
    assert PASSPHRASE not in stored


def test_only_the_owner_may_reach_a_new_store_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        init_store(tmp_path / "keystore", SEAL, bytearray(PASSPHRASE))
    finally:
        os.umask(before)
    assert (tmp_path / "keystore").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keystore" / "keys.db").stat().st_mode & 0o777 == 0o600


def test_a_store_is_never_overwritten(folder: Path) -> None:
    before = everything_in(folder)
    with pytest.raises(Conflict, match="a key store"):
        init_store(folder, SEAL, bytearray(PASSPHRASE))
    assert everything_in(folder) == before


def test_a_passphrase_that_breaks_a_rule_leaves_no_store(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        init_store(tmp_path / "keystore", SEAL, bytearray(b"short"))
    assert list((tmp_path / "keystore").iterdir()) == []


def test_an_init_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "keystore"
    folder.mkdir(mode=0o700)
    (folder / "keys.db.part").write_bytes(b"half a store")
    init_store(folder, SEAL, bytearray(PASSPHRASE))
    assert [path.name for path in folder.iterdir()] == ["keys.db"]
    KeyStoreFile(folder).close()


def test_a_folder_without_a_parent_is_a_clear_failure(tmp_path: Path) -> None:
    with pytest.raises(HostFailure, match="cannot be made"):
        init_store(tmp_path / "no" / "keystore", SEAL, bytearray(PASSPHRASE))


# -- who may reach it ------------------------------------------------------------------------


def test_a_store_without_a_file_says_what_to_do_and_that_is_not_to_make_a_new_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(KeyStoreMissing, match="no key store") as missing:
        KeyStoreFile(tmp_path)
    assert missing.value.exit_code == 6
    assert "backup" in missing.value.hint


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o755, 0o770])
def test_a_folder_that_others_may_enter_is_refused_with_the_command(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(HostUnprotected, match=f"mode {mode:04o}") as refusal:
        KeyStoreFile(folder)
    assert f"chmod 700 {folder}" in refusal.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o700])
def test_a_file_that_others_may_read_is_refused_with_the_command(folder: Path, mode: int) -> None:
    (folder / "keys.db").chmod(mode)
    with pytest.raises(HostUnprotected) as refusal:
        KeyStoreFile(folder)
    assert f"chmod 600 {folder / 'keys.db'}" in refusal.value.hint


def test_a_loose_write_ahead_log_is_refused_too(folder: Path) -> None:
    (folder / "keys.db-wal").touch(mode=0o644)
    (folder / "keys.db-wal").chmod(0o644)
    with pytest.raises(HostUnprotected, match=r"keys\.db-wal"):
        KeyStoreFile(folder)


def test_a_store_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder / "keys.db", 65534, 65534)
    with pytest.raises(HostUnprotected, match="another user"):
        KeyStoreFile(folder)


def test_a_link_in_the_stores_place_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "keys.db").rename(tmp_path / "elsewhere.db")
    (folder / "keys.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(HostUnprotected, match="not an ordinary file"):
        KeyStoreFile(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(HostUnprotected, match="not a folder"):
        KeyStoreFile(tmp_path / "link")


def test_two_processes_do_not_share_a_store(folder: Path, store: KeyStoreFile) -> None:
    assert store.seal_kinds()
    with pytest.raises(Conflict, match="Another process"):
        KeyStoreFile(folder)


# -- keys ------------------------------------------------------------------------------------


def test_a_stored_key_survives_the_end_of_the_process(folder: Path, store: KeyStoreFile) -> None:
    kek = opened_kek(store)
    store.add_key(key_info(), wrap(kek, b"the key", wrap_context(key_info())))
    store.close()
    again = KeyStoreFile(folder)
    stored = again.key("key-1")
    again.close()
    assert stored.info == key_info()
    assert stored.wrapped is not None
    assert unwrap(kek, stored.wrapped, stored.context) == b"the key"


def test_a_stored_key_is_in_the_main_file_as_soon_as_it_is_acknowledged(
    folder: Path, store: KeyStoreFile, tmp_path: Path
) -> None:
    store.add_key(key_info(), wrap(opened_kek(store), b"the key", wrap_context(key_info())))
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    shutil.copy(folder / "keys.db", copy / "keys.db")
    copied = KeyStoreFile(copy)
    assert copied.key("key-1").info == key_info()
    copied.close()


def test_swapping_two_wrapped_keys_in_the_file_opens_neither(folder: Path, store: KeyStoreFile) -> None:
    """PCI DSS 3.7.7, with a hand on the file itself."""
    kek = opened_kek(store)
    for key_id in ("key-1", "key-2"):
        info = key_info(key_id)
        store.add_key(info, wrap(kek, key_id.encode(), wrap_context(info)))
    store.close()
    with sqlite3.connect(folder / "keys.db") as attacker:
        rows = {
            key_id: (nonce, ciphertext)
            for key_id, nonce, ciphertext in attacker.execute("SELECT id, nonce, ciphertext FROM wrapped_key")
        }
        for key_id, other in (("key-1", "key-2"), ("key-2", "key-1")):
            attacker.execute(
                "UPDATE wrapped_key SET nonce = ?, ciphertext = ? WHERE id = ?",
                (*rows[other], key_id),
            )
    attacker.close()
    again = KeyStoreFile(folder)
    for key_id in ("key-1", "key-2"):
        stored = again.key(key_id)
        assert stored.wrapped is not None
        with pytest.raises(DecryptionFailed):
            unwrap(kek, stored.wrapped, stored.context)
    again.close()


def test_a_key_given_to_another_guest_in_the_file_does_not_open(folder: Path, store: KeyStoreFile) -> None:
    kek = opened_kek(store)
    store.add_key(key_info(), wrap(kek, b"the key", wrap_context(key_info())))
    store.close()
    with sqlite3.connect(folder / "keys.db") as attacker:
        attacker.execute("UPDATE wrapped_key SET owner = 'guest:mine'")
    attacker.close()
    again = KeyStoreFile(folder)
    stored = again.key("key-1")
    again.close()
    assert stored.wrapped is not None
    with pytest.raises(DecryptionFailed):
        unwrap(kek, stored.wrapped, stored.context)


def test_a_destroyed_keys_bytes_are_in_no_file_any_more(folder: Path, store: KeyStoreFile) -> None:
    wrapped = wrap(opened_kek(store), b"the key", wrap_context(key_info()))
    store.add_key(key_info(), wrapped)
    assert wrapped.ciphertext in everything_in(folder)
    store.destroy_key("key-1", 1, destroyed_at=NOW, intent=INTENT)
    assert wrapped.ciphertext not in everything_in(folder)
    assert wrapped.nonce not in everything_in(folder)
    stored = store.key("key-1")
    assert stored.wrapped is None
    assert stored.info == replace(key_info(), state=KeyState.DESTROYED, destroyed_at=NOW)
    assert (store.count(KeyState.ACTIVE), store.count(KeyState.DESTROYED)) == (0, 1)


def test_a_key_that_was_destroyed_meanwhile_is_not_destroyed_again(store: KeyStoreFile) -> None:
    store.add_key(key_info(), wrap(opened_kek(store), b"the key", wrap_context(key_info())))
    store.destroy_key("key-1", 1, destroyed_at=NOW, intent=INTENT)
    with pytest.raises(KeyStoreDamaged, match="did not take a change"):
        store.destroy_key("key-1", 1, destroyed_at=NOW, intent=INTENT)


def test_long_lists_come_in_pages_and_lose_nothing(store: KeyStoreFile) -> None:
    kek = opened_kek(store)
    names = [f"key-{number:04}" for number in range(PAGE // 2 + 1)]
    for name in names:
        for version in (1, 2):
            info = key_info(name, version=version)
            store.add_key(info, wrap(kek, b"k", wrap_context(info)))
    first = store.keys()
    second = store.keys(after=(first[-1].id, first[-1].version))
    assert len(first) == PAGE
    assert [(key.id, key.version) for key in [*first, *second]] == [(n, v) for n in names for v in (1, 2)]


def test_the_newest_version_of_a_key_is_the_key(store: KeyStoreFile) -> None:
    kek = opened_kek(store)
    for version in (2, 1, 3):
        info = key_info(version=version)
        store.add_key(info, wrap(kek, b"k", wrap_context(info)))
    assert store.key("key-1").info.version == 3


# -- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000], ids=len
)
def test_what_is_no_key_store_is_called_damaged(folder: Path, content: bytes) -> None:
    (folder / "keys.db").write_bytes(content)
    with pytest.raises(KeyStoreDamaged) as damage:
        KeyStoreFile(folder)
    assert damage.value.exit_code == 6


def test_a_truncated_store_is_called_damaged(folder: Path) -> None:
    content = (folder / "keys.db").read_bytes()
    (folder / "keys.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(KeyStoreDamaged):
        KeyStoreFile(folder)


def test_a_store_of_a_later_format_is_not_guessed_at(folder: Path) -> None:
    with sqlite3.connect(folder / "keys.db") as later:
        later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(KeyStoreDamaged, match="format 2"):
        KeyStoreFile(folder)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM store",
        "INSERT INTO store VALUES ('ff', '2026-01-01T00:00:00.000000Z')",
        "UPDATE store SET created_at = 'yesterday'",
    ],
)
def test_a_store_that_contradicts_itself_is_called_damaged(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "keys.db") as attacker:
        attacker.execute(statement)
    attacker.close()
    with pytest.raises(KeyStoreDamaged):
        KeyStoreFile(folder)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wrapped_key SET purpose = 'anything'",
        "UPDATE wrapped_key SET owner = 'nobody'",
        "UPDATE wrapped_key SET state = 'resurrected'",
        "UPDATE wrapped_key SET created_at = 'yesterday'",
    ],
)
def test_a_row_that_makes_no_sense_is_called_damaged(
    folder: Path, store: KeyStoreFile, statement: str
) -> None:
    store.add_key(key_info(), wrap(opened_kek(store), b"the key", wrap_context(key_info())))
    store.close()
    with sqlite3.connect(folder / "keys.db") as attacker:
        attacker.execute(statement)
    attacker.close()
    again = KeyStoreFile(folder)
    with pytest.raises(KeyStoreDamaged):
        again.key("key-1")
    again.close()


@pytest.mark.parametrize("parameters", ["no JSON", "[]", "7"])
def test_a_seal_whose_parameters_are_no_object_is_called_damaged(folder: Path, parameters: str) -> None:
    with sqlite3.connect(folder / "keys.db") as attacker:
        attacker.execute("UPDATE seal SET parameters = ?", (parameters,))
    attacker.close()
    store = KeyStoreFile(folder)
    with pytest.raises(KeyStoreDamaged):
        store.seals("passphrase", 1)
    store.close()


def test_a_store_that_is_replaced_while_open_acknowledges_nothing(
    folder: Path, store: KeyStoreFile, tmp_path: Path
) -> None:
    shutil.copy(folder / "keys.db", tmp_path / "other.db")
    (tmp_path / "other.db").rename(folder / "keys.db")
    with pytest.raises(KeyStoreDamaged, match="removed or replaced"):
        store.add_key(key_info(), wrap(opened_kek(store), b"the key", wrap_context(key_info())))


def test_a_store_that_is_removed_while_open_acknowledges_nothing(folder: Path, store: KeyStoreFile) -> None:
    kek = opened_kek(store)
    (folder / "keys.db").unlink()
    with pytest.raises(KeyStoreDamaged, match="removed or replaced"):
        store.add_key(key_info(), wrap(kek, b"the key", wrap_context(key_info())))


def test_a_store_on_a_full_device_refuses_the_key_and_goes_on(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    device = tmp_path / "device"
    device.mkdir()
    assert os.system(f"mount -t tmpfs -o size=256k,mode=0700 tmpfs {device}") == 0  # noqa: S605 - our own path
    request.addfinalizer(lambda: os.system(f"umount {device}"))  # noqa: S605
    init_store(device / "keystore", SEAL, bytearray(PASSPHRASE))
    store = KeyStoreFile(device / "keystore")
    kek = opened_kek(store)
    free_bytes = os.statvfs(device).f_bavail * os.statvfs(device).f_frsize
    filler = device / "filler"
    filler.write_bytes(bytes(free_bytes))
    large = wrap(kek, bytes(20_000), wrap_context(key_info()))
    with pytest.raises(HostFailure, match="could not be read or written"):
        store.add_key(key_info(), large)
    filler.unlink()
    with pytest.raises(NotFound):
        store.key("key-1")
    store.add_key(key_info("key-x"), wrap(kek, b"the key", wrap_context(key_info("key-x"))))
    assert store.key("key-x").wrapped is not None
    store.close()


def test_closing_twice_is_harmless(store: KeyStoreFile) -> None:
    store.close()
    store.close()
