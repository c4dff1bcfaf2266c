"""The key store flipped, cut, taken away: a clear refusal, never another key, and the right file works again."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.errors import StrongroomError
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.intents import IntentLog
from tests.syscall_faults import failing
from vault.errors import HostFailure, KeyStoreDamaged, KeyStoreMissing, Sealed
from vault.keystore.client import KeyProcessClient
from vault.keystore.envelope import unwrap, wrap
from vault.keystore.founding import init_store
from vault.keystore.rows import wrap_context
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.store import KeyStoreFile
from vault.keystore.warrant import KEY_STORE

MODULE = "tests.fakes.key_process"
PASSPHRASE = b"a passphrase for tests"
SEAL = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
PAGE_BYTES = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_store(tmp_path / "keystore", SEAL, bytearray(PASSPHRASE))
    return tmp_path / "keystore"


@pytest.fixture
def log(tmp_path: Path) -> IntentLog:
    return IntentLog(tmp_path / "log")


@pytest.fixture
def client(folder: Path, log: IntentLog) -> Iterator[KeyProcessClient]:
    started = KeyProcessClient(folder, log.path, module=MODULE).start()
    yield started
    started.close()


def unseal(client: KeyProcessClient, log: IntentLog) -> None:
    client.unseal(log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE))


def make_key(client: KeyProcessClient, log: IntentLog) -> str:
    return client.create_key(log.intend(Action.GUEST_CREATE, GUEST), GUEST).id


def open_key(client: KeyProcessClient, log: IntentLog, key_id: str) -> bytes:
    with client.unwrap_key(log.intend(Action.GUEST_START, GUEST), GUEST, key_id) as passphrase:
        return bytes(passphrase.reveal())


def filled(folder: Path) -> None:
    """A store with enough keys that every kind of page is in it."""
    from tests.unit.keystore.test_store import key_info  # noqa: PLC0415 - the same keys as there

    store = KeyStoreFile(folder)
    (sealed,) = store.seals("passphrase", 1)
    kek = SEAL.open(sealed, bytearray(PASSPHRASE))
    for number in range(30):
        info = key_info(f"key-{number}")
        store.add_key(info, wrap(kek, b"the key %d" % number, wrap_context(info)))
    store.close()


def keys_in(folder: Path) -> dict[str, bytes]:
    """Every key that the store gives back.

    Raises:
        StrongroomError: one of them, or the store, does not open.
    """
    store = KeyStoreFile(folder)
    with contextlib.closing(store):
        (sealed,) = store.seals("passphrase", 1)
        kek = SEAL.open(sealed, bytearray(PASSPHRASE))
        found = {}
        for number in range(30):
            key = store.key(f"key-{number}")
            assert key.wrapped is not None
            found[key.info.id] = bytes(unwrap(kek, key.wrapped, key.context))
        return found


def outcome_of(folder: Path) -> tuple[dict[str, bytes], int | None]:
    """What the store gives back, or the exit code of its refusal."""
    try:
        return keys_in(folder), None
    except StrongroomError as error:
        return {}, int(error.exit_code)


def test_no_flipped_byte_of_any_page_gives_another_key(folder: Path) -> None:
    filled(folder)
    good = (folder / "keys.db").read_bytes()
    right = keys_in(folder)
    pages = len(good) // PAGE_BYTES
    assert pages >= 6
    refused: set[tuple[int, int, int]] = set()
    for page in range(pages):
        at = page * PAGE_BYTES
        for start, length in ((0, PAGE_BYTES), (0, 8), (100, 1), (2048, 1), (PAGE_BYTES - 40, 1)):
            bad = bytearray(good)
            for place in range(at + start, at + start + length):
                bad[place] ^= 0xFF
            (folder / "keys.db").write_bytes(bad)
            found, code = outcome_of(folder)
            if code is None:
                assert found == right, "only a byte that nothing is in may pass"
            else:
                assert code in {4, 6}, "4: a key whose row is not found under its id any more"
                refused.add((page, start, length))
            (folder / "keys.db").write_bytes(good)
    assert {page for page, _, length in refused if length == PAGE_BYTES} == set(range(pages))
    assert len(refused) >= 2 * pages, "single bytes are found as well"
    assert keys_in(folder) == right


def test_a_store_cut_short_anywhere_is_damaged(folder: Path) -> None:
    filled(folder)
    good = (folder / "keys.db").read_bytes()
    for kept_bytes in range(0, len(good), PAGE_BYTES // 2):
        (folder / "keys.db").write_bytes(good[:kept_bytes])
        with pytest.raises(KeyStoreDamaged) as refused:
            KeyStoreFile(folder)
        assert refused.value.exit_code == 6
        assert "Restore it from its backup" in refused.value.hint
    (folder / "keys.db").write_bytes(good)
    assert len(keys_in(folder)) == 30


@pytest.mark.parametrize("harm", ["removed", "replaced", "folder moved"])
def test_a_store_taken_away_while_it_is_open_seals_itself_and_opens_again_once_it_is_back(
    client: KeyProcessClient, log: IntentLog, folder: Path, harm: str
) -> None:
    unseal(client, log)
    key_id = make_key(client, log)
    right = open_key(client, log, key_id)
    aside = folder.with_name("aside")
    if harm == "folder moved":
        folder.rename(aside)
    else:
        shutil.copytree(folder, aside)
        (folder / "keys.db").unlink()
        if harm == "replaced":
            shutil.copy(aside / "keys.db", folder)
    with pytest.raises(KeyStoreMissing, match="removed or replaced") as refused:
        open_key(client, log, key_id)
    assert refused.value.exit_code == 6
    status = client.status()
    assert (status.sealed, status.running) == (True, False)
    with pytest.raises(Sealed):
        open_key(client, log, key_id)
    if harm == "folder moved":
        with pytest.raises(KeyStoreMissing, match="no key store"):
            unseal(client, log)
        aside.rename(folder)
    elif harm == "removed":
        shutil.copy(aside / "keys.db", folder)
    unseal(client, log)
    assert open_key(client, log, key_id) == right


@pytest.mark.real
def test_a_device_pulled_out_seals_the_store_and_plugged_in_again_it_opens(
    tmp_path: Path, log: IntentLog
) -> None:
    medium, place = tmp_path / "medium", tmp_path / "device"
    for made in (medium, place):
        made.mkdir(mode=0o700)
    subprocess.run(["mount", "--bind", str(medium), str(place)], check=True)
    init_store(place / "keystore", SEAL, bytearray(PASSPHRASE))
    client = KeyProcessClient(place / "keystore", log.path, module=MODULE).start()
    try:
        unseal(client, log)
        key_id = make_key(client, log)
        right = open_key(client, log, key_id)
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        with pytest.raises(KeyStoreMissing) as refused:
            open_key(client, log, key_id)
        assert "Attach its device again" in refused.value.hint
        assert client.status().sealed
        subprocess.run(["mount", "--bind", str(medium), str(place)], check=True)
        unseal(client, log)
        assert open_key(client, log, key_id) == right
    finally:
        client.close()
        subprocess.run(["umount", "--lazy", str(place)], check=False)


@pytest.mark.real
def test_a_store_whose_device_fails_gives_no_key_makes_none_and_goes_on_afterwards(
    client: KeyProcessClient, log: IntentLog
) -> None:
    unseal(client, log)
    key_id = make_key(client, log)
    right = open_key(client, log, key_id)
    pid = client.status().pid
    assert pid is not None
    with failing(pid, "pwrite64,fdatasync,fsync", "EIO"), pytest.raises(HostFailure) as refused:
        make_key(client, log)
    assert refused.value.exit_code == 10
    assert [key.id for key in client.list_keys(GUEST)] == [key_id], "what was not acknowledged is not there"
    assert open_key(client, log, key_id) == right
    assert make_key(client, log) != key_id
