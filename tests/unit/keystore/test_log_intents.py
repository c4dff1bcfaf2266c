"""The key process over the real audit log: the same log writer, store and reader as the daemon's."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.log.bundle_files import bundle_digest
from audit.log.database import create_database
from audit.log.record import Draft, Kind, Record
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import permit_for
from vault.clock import HostClock
from vault.errors import IntentRefused, KeyUnavailable
from vault.keystore.client import KeyProcessClient
from vault.keystore.founding import init_store
from vault.keystore.log_intents import LogIntents
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.warrant import KEY_STORE, Command, Warrants
from vault.permit import Permit

PASSPHRASE = b"a passphrase for tests"
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
ALICE = "account:5f1d6a52-1c1f-4c39-9c52-000000000001"
BUNDLE = {"base.cedar": b"permit(principal, action, resource);\n"}


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def writer(tmp_path: Path, log_path: Path) -> Iterator[LogWriter]:
    key = LogKey.create(tmp_path / "log.key", "strongroom.example/log")
    create_database(log_path, origin="strongroom.example/log", vkey=key.vkey)
    opened = LogWriter(SqliteLogStore(log_path), HostClock(), key)
    opened.add_bundle(bundle_digest(BUNDLE), BUNDLE)
    opened.declare_recovered()
    yield opened
    opened.close()


def draft(kind: Kind, action: Action, resource: EntityRef, decision: str | None = "allow") -> Draft:
    return Draft(
        kind=kind,
        principal=ALICE,
        action=action,
        resource=str(resource),
        decision=decision,
        policies=("base.operator",) if decision == "allow" else (),
        bundle=bundle_digest(BUNDLE) if decision else None,
        inputs=b'{"context":{},"entities":[]}',
        result=None if kind is Kind.INTENT else {"code": "policy.denied", "facts": {}},
    )


def intend(writer: LogWriter, action: Action, resource: EntityRef) -> Permit:
    return permit_for(action, resource, writer.append(draft(Kind.INTENT, action, resource)).id)


def conclude(writer: LogWriter, permit: Permit) -> Record:
    return writer.append(
        Draft(
            kind=Kind.OUTCOME,
            principal=ALICE,
            action=permit.action,
            resource=str(permit.resource),
            result={"code": "ok", "facts": {}},
            intent=permit.intent,
        )
    )


def test_a_key_is_made_used_and_destroyed_only_along_the_real_log(
    writer: LogWriter, log_path: Path, tmp_path: Path
) -> None:
    cheap = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
    init_store(tmp_path / "keystore", cheap, bytearray(PASSPHRASE))
    keys = KeyProcessClient(tmp_path / "keystore", log_path).start()
    try:
        unsealing = intend(writer, Action.KEYSTORE_UNSEAL, KEY_STORE)
        keys.unseal(unsealing, bytearray(PASSPHRASE))
        conclude(writer, unsealing)

        creating = intend(writer, Action.GUEST_CREATE, GUEST)
        key = keys.create_key(creating, GUEST)
        made = keys.unwrap_key(creating, GUEST, key.id).reveal()
        conclude(writer, creating)
        with pytest.raises(IntentRefused, match="already has its outcome"):
            keys.unwrap_key(creating, GUEST, key.id)

        starting = intend(writer, Action.GUEST_START, GUEST)
        assert keys.unwrap_key(starting, GUEST, key.id).reveal() == made
        conclude(writer, starting)

        refused = writer.append(draft(Kind.DENIED, Action.GUEST_START, GUEST, "deny"))
        with pytest.raises(IntentRefused, match="no such intent"):
            keys.unwrap_key(permit_for(Action.GUEST_START, GUEST, refused.id), GUEST, key.id)

        deleting = intend(writer, Action.GUEST_DELETE, GUEST)
        keys.destroy_key(deleting, GUEST, key.id)
        with pytest.raises(KeyUnavailable):
            keys.unwrap_key(intend(writer, Action.GUEST_START, GUEST), GUEST, key.id)
    finally:
        keys.close()


def test_the_key_process_starts_without_a_log_and_then_touches_no_key(tmp_path: Path) -> None:
    cheap = PassphraseSeal(Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1))
    init_store(tmp_path / "keystore", cheap, bytearray(PASSPHRASE))
    keys = KeyProcessClient(tmp_path / "keystore", tmp_path / "no log").start()
    try:
        assert keys.status().sealed
        with pytest.raises(KeyUnavailable, match="cannot read the audit log"):
            keys.unseal(permit_for(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE))
        assert keys.status().sealed
    finally:
        keys.close()


def test_a_log_that_comes_back_is_read_again(writer: LogWriter, log_path: Path) -> None:
    permit = intend(writer, Action.GUEST_START, GUEST)
    intents = LogIntents(log_path)
    hidden = log_path.with_name("hidden.db")
    log_path.rename(hidden)
    with pytest.raises(KeyUnavailable):
        intents.intent_state(permit.intent)
    hidden.rename(log_path)
    state = intents.intent_state(permit.intent)
    assert state is not None
    assert not state.settled


def test_an_intent_whose_bytes_were_changed_in_the_database_covers_nothing(
    writer: LogWriter, log_path: Path
) -> None:
    """Who can write the log's file but not its hashes must not get a key with it."""
    permit = intend(writer, Action.GUEST_STOP, GUEST)
    with sqlite3.connect(log_path) as attacker:
        for (trigger,) in attacker.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            attacker.execute(f'DROP TRIGGER "{trigger}"')
        attacker.execute(
            "UPDATE body SET bytes = CAST(replace(CAST(bytes AS TEXT), 'guest.stop', 'guest.start') AS BLOB)"
        )
    attacker.close()
    warrants = Warrants(LogIntents(log_path), HostClock())
    with pytest.raises(KeyUnavailable, match="cannot read the audit log"):
        warrants.require(Command.UNWRAP_KEY, permit.intent, GUEST)
