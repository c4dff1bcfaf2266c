"""What every key service must do; run over the real key process and over the fake that other tests use."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.intents import IntentLog, IntentReader
from tests.fakes.keystore import FakeKeyService
from tests.fakes.permits import closed, permit_for
from vault.clock import HostClock
from vault.errors import (
    BadInput,
    Conflict,
    IntentRefused,
    KeyUnavailable,
    NotFound,
    PermitRefused,
    Sealed,
    UnsealFailed,
)
from vault.keystore.client import KeyProcessClient, KeyService
from vault.keystore.founding import init_store
from vault.keystore.keys import KeyInfo, KeyPurpose
from vault.keystore.lifecycle import KeyState
from vault.keystore.seals.passphrase import Argon2Parameters, PassphraseSeal
from vault.keystore.warrant import KEY_STORE, MAX_INTENT_AGE_NS, Warrants
from vault.permit import Permit

PASSPHRASE = b"a passphrase for tests"
CHEAP = Argon2Parameters(passes_t=1, memory_m_kib=64, lanes_p=1)
GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
OTHER_GUEST = EntityRef(EntityType.GUEST, "c4b2e7d3-0d64-4a1b-9045-7a3a2d9e1f02")
ACCOUNT = EntityRef(EntityType.ACCOUNT, "d5c3f8e4-1e75-4b2c-a156-8b4b3eaf2003")
SITE = EntityRef(EntityType.SITE, "site")
LOG = EntityRef(EntityType.LOG, "log")


@dataclass
class Site:
    """A key service and the log that it reads."""

    keys: KeyService
    log: IntentLog

    def unseal(self) -> None:
        self.keys.unseal(self.log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE))

    def create(self, guest: EntityRef = GUEST) -> KeyInfo:
        permit = self.log.intend(Action.GUEST_CREATE, guest)
        key = self.keys.create_key(permit, guest)
        self.log.conclude(permit)
        return key

    def start(self, key: KeyInfo) -> bytes:
        with self.keys.unwrap_key(self.log.intend(Action.GUEST_START, GUEST), GUEST, key.id) as passphrase:
            return passphrase.reveal()


@pytest.fixture(params=["fake", "process"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    log = IntentLog(tmp_path / "log")
    if request.param == "fake":
        yield Site(FakeKeyService(PASSPHRASE, Warrants(IntentReader(log.path), HostClock())), log)
        return
    store = tmp_path / "keystore"
    init_store(store, PassphraseSeal(CHEAP), bytearray(PASSPHRASE))
    client = KeyProcessClient(store, log.path, module="tests.fakes.key_process").start()
    yield Site(client, log)
    client.close()


@pytest.fixture
def open_site(site: Site) -> Site:
    site.unseal()
    return site


# -- seal and unseal -----------------------------------------------------------------------


def test_it_begins_sealed_and_unseals_with_its_passphrase(site: Site) -> None:
    assert site.keys.status().sealed
    site.unseal()
    status = site.keys.status()
    assert (status.running, status.sealed, status.seals, status.kek_version) == (
        True,
        False,
        ("passphrase",),
        1,
    )


def test_a_wrong_passphrase_leaves_it_sealed_and_never_locks_it(site: Site) -> None:
    for wrong in (b"another passphrase", PASSPHRASE + b"\n", b"short", b"\xff" * 20):
        with pytest.raises(UnsealFailed):
            site.keys.unseal(site.log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(wrong))
    assert site.keys.status().sealed
    assert site.keys.status().failed_unseals == 4
    site.unseal()
    assert site.keys.status().failed_unseals == 0


def test_the_passphrase_is_wiped_from_the_callers_buffer(site: Site) -> None:
    typed = bytearray(PASSPHRASE)
    site.keys.unseal(site.log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), typed)
    assert not any(typed)


def test_unsealing_twice_is_a_conflict(open_site: Site) -> None:
    with pytest.raises(Conflict):
        open_site.unseal()


def test_an_unknown_kind_of_seal_is_bad_input(site: Site) -> None:
    with pytest.raises(BadInput):
        site.keys.unseal(
            site.log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE), seal="shares"
        )


def test_unsealing_needs_an_intent_in_the_log(site: Site) -> None:
    with pytest.raises(IntentRefused):
        site.keys.unseal(permit_for(Action.KEYSTORE_UNSEAL, KEY_STORE), bytearray(PASSPHRASE))
    assert site.keys.status().sealed


def test_sealing_needs_no_log_and_forgets_the_keys(open_site: Site) -> None:
    key = open_site.create()
    open_site.keys.seal(permit_for(Action.KEYSTORE_SEAL, KEY_STORE))
    assert open_site.keys.status().sealed
    with pytest.raises(Sealed):
        open_site.start(key)


def test_while_sealed_nothing_that_needs_the_root_key_works(open_site: Site) -> None:
    key = open_site.create()
    open_site.keys.seal(permit_for(Action.KEYSTORE_SEAL, KEY_STORE))
    with pytest.raises(Sealed):
        open_site.create()
    with pytest.raises(Sealed):
        open_site.start(key)
    with pytest.raises(Sealed):
        open_site.keys.wrap_person_key(
            open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, bytearray(32)
        )
    assert open_site.keys.show_key(key.id) == key
    assert open_site.keys.list_keys() == [key]


def test_what_was_created_before_a_seal_opens_after_the_next_unseal(open_site: Site) -> None:
    key = open_site.create()
    before = open_site.start(key)
    open_site.keys.seal(permit_for(Action.KEYSTORE_SEAL, KEY_STORE))
    open_site.unseal()
    assert open_site.start(key) == before


# -- passphrases of disks ------------------------------------------------------------------


def test_a_disks_passphrase_is_256_random_bits_as_text_without_newline(open_site: Site) -> None:
    first, second = open_site.start(open_site.create()), open_site.start(open_site.create())
    assert len(base64.urlsafe_b64decode(first + b"=")) == 32
    assert len(first) == 43
    assert first != second


def test_a_key_opens_to_the_same_passphrase_each_time(open_site: Site) -> None:
    key = open_site.create()
    assert open_site.start(key) == open_site.start(key)


def test_a_new_key_says_whose_it_is_and_under_which_intent_it_was_made(open_site: Site) -> None:
    permit = open_site.log.intend(Action.GUEST_CREATE, GUEST)
    key = open_site.keys.create_key(permit, GUEST, KeyPurpose.SEED)
    assert (key.owner, key.purpose, key.state, key.version, key.kek_version, key.intent) == (
        GUEST,
        KeyPurpose.SEED,
        KeyState.ACTIVE,
        1,
        1,
        permit.intent,
    )
    assert open_site.keys.show_key(key.id) == key


def test_a_passphrase_shows_itself_nowhere(open_site: Site) -> None:
    key = open_site.create()
    passphrase = open_site.keys.unwrap_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST, key.id)
    text = passphrase.reveal().decode()
    assert text not in repr(passphrase)
    assert text not in f"{passphrase}"
    assert text not in repr(key)


def test_an_unknown_key_is_not_found(open_site: Site) -> None:
    with pytest.raises(NotFound):
        open_site.keys.show_key("no such key")
    with pytest.raises(NotFound):
        open_site.keys.unwrap_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST, "no such key")


def test_no_passphrase_is_made_for_an_account_or_as_a_persons_key(open_site: Site) -> None:
    with pytest.raises(BadInput):
        open_site.keys.create_key(open_site.log.intend(Action.GUEST_CREATE, ACCOUNT), ACCOUNT)
    with pytest.raises(BadInput):
        open_site.keys.create_key(open_site.log.intend(Action.GUEST_CREATE, GUEST), GUEST, KeyPurpose.PERSON)


# -- no key without a fitting intent ---------------------------------------------------------

REFUSED: list[tuple[str, Callable[[IntentLog], Permit]]] = [
    ("an intent that is in no log", lambda _log: permit_for(Action.GUEST_START, GUEST)),
    ("an id that is none", lambda _log: permit_for(Action.GUEST_START, GUEST, "' OR 1=1 --")),
    ("a denied intent", lambda log: log.intend(Action.GUEST_START, GUEST, kind="denied", decision="deny")),
    ("an intent with a denying decision", lambda log: log.intend(Action.GUEST_START, GUEST, decision="deny")),
    ("an intent without a decision", lambda log: log.intend(Action.GUEST_START, GUEST, decision=None)),
    ("a mere read", lambda log: log.intend(Action.GUEST_START, GUEST, kind="access")),
    (
        "another guest's intent",
        lambda log: log.intend(Action.GUEST_START, GUEST, resource=str(OTHER_GUEST)),
    ),
    (
        "an intent for another action",
        lambda log: log.intend(Action.GUEST_START, GUEST, action=Action.GUEST_STOP),
    ),
    ("an intent for an unknown action", lambda log: log.intend(Action.GUEST_START, GUEST, action="guest.x")),
    (
        "an intent of 15 minutes ago",
        lambda log: log.intend(
            Action.GUEST_START, GUEST, mono_ns=log.clock.mono_ns() - MAX_INTENT_AGE_NS - 1
        ),
    ),
    (
        "an intent from the future",
        lambda log: log.intend(Action.GUEST_START, GUEST, mono_ns=log.clock.mono_ns() + 10**12),
    ),
    (
        "an intent of before the last boot",
        lambda log: log.intend(Action.GUEST_START, GUEST, boot="11111111-1111-4111-8111-111111111111"),
    ),
]


@pytest.mark.parametrize(("what", "intend"), REFUSED, ids=[what for what, _ in REFUSED])
def test_no_key_is_unwrapped_for(open_site: Site, what: str, intend: Callable[[IntentLog], Permit]) -> None:
    key = open_site.create()
    with pytest.raises(IntentRefused) as refusal:
        open_site.keys.unwrap_key(intend(open_site.log), GUEST, key.id)
    assert refusal.value.code == "key.intent_refused", what
    assert refusal.value.exit_code == 6


def test_no_key_is_unwrapped_for_an_intent_that_has_its_outcome(open_site: Site) -> None:
    key = open_site.create()
    permit = open_site.log.intend(Action.GUEST_START, GUEST)
    open_site.log.conclude(permit)
    with pytest.raises(IntentRefused):
        open_site.keys.unwrap_key(permit, GUEST, key.id)


def test_another_guests_key_is_not_unwrapped_under_ones_own_intent(open_site: Site) -> None:
    theirs = open_site.create(OTHER_GUEST)
    with pytest.raises(IntentRefused):
        open_site.keys.unwrap_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST, theirs.id)


def test_a_permit_for_something_else_or_a_closed_one_is_refused_first(
    open_site: Site,
) -> None:
    key = open_site.create()
    for permit in (
        open_site.log.intend(Action.GUEST_STOP, GUEST),
        open_site.log.intend(Action.GUEST_START, OTHER_GUEST),
        closed(open_site.log.intend(Action.GUEST_START, GUEST)),
    ):
        with pytest.raises(PermitRefused):
            open_site.keys.unwrap_key(permit, GUEST, key.id)
    with pytest.raises(PermitRefused):
        open_site.keys.create_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST)
    with pytest.raises(PermitRefused):
        open_site.keys.destroy_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST, key.id)
    with pytest.raises(PermitRefused):
        open_site.keys.seal(open_site.log.intend(Action.KEYSTORE_UNSEAL, KEY_STORE))
    with pytest.raises(PermitRefused):
        open_site.keys.unseal(open_site.log.intend(Action.KEYSTORE_SEAL, KEY_STORE), bytearray(PASSPHRASE))


def test_a_key_is_created_only_for_the_guest_the_intent_names(open_site: Site) -> None:
    permit = open_site.log.intend(Action.GUEST_CREATE, GUEST, resource=str(OTHER_GUEST))
    with pytest.raises(IntentRefused):
        open_site.keys.create_key(permit, GUEST)
    assert open_site.keys.list_keys() == []


# -- destruction ---------------------------------------------------------------------------


def test_a_destroyed_key_never_opens_again_and_stays_on_the_list(open_site: Site) -> None:
    key = open_site.create()
    destroyed = open_site.keys.destroy_key(open_site.log.intend(Action.GUEST_DELETE, GUEST), GUEST, key.id)
    assert destroyed.state is KeyState.DESTROYED
    assert destroyed.destroyed_at is not None
    assert open_site.keys.list_keys(GUEST) == [destroyed]
    with pytest.raises(KeyUnavailable):
        open_site.start(key)
    status = open_site.keys.status()
    assert (status.active_keys, status.destroyed_keys) == (0, 1)


def test_destroying_works_while_sealed_and_twice(open_site: Site) -> None:
    key = open_site.create()
    open_site.keys.seal(permit_for(Action.KEYSTORE_SEAL, KEY_STORE))
    permit = open_site.log.intend(Action.GUEST_DELETE, GUEST)
    first = open_site.keys.destroy_key(permit, GUEST, key.id)
    assert open_site.keys.destroy_key(permit, GUEST, key.id) == first


def test_an_interrupted_deletion_is_finished_under_its_intent_after_a_reboot(open_site: Site) -> None:
    key = open_site.create()
    old = open_site.log.intend(Action.GUEST_DELETE, GUEST, boot="11111111-1111-4111-8111-111111111111")
    assert open_site.keys.destroy_key(old, GUEST, key.id).state is KeyState.DESTROYED


def test_a_deletion_that_has_its_outcome_destroys_nothing_more(open_site: Site) -> None:
    key = open_site.create()
    permit = open_site.log.intend(Action.GUEST_DELETE, GUEST)
    open_site.log.conclude(permit)
    with pytest.raises(IntentRefused):
        open_site.keys.destroy_key(permit, GUEST, key.id)
    open_site.start(key)


def test_another_guests_key_is_not_destroyed(open_site: Site) -> None:
    theirs = open_site.create(OTHER_GUEST)
    with pytest.raises(IntentRefused):
        open_site.keys.destroy_key(open_site.log.intend(Action.GUEST_DELETE, GUEST), GUEST, theirs.id)


def test_a_creation_that_fails_takes_back_the_key_it_made(open_site: Site) -> None:
    permit = open_site.log.intend(Action.GUEST_CREATE, GUEST)
    key = open_site.keys.create_key(permit, GUEST)
    assert open_site.keys.destroy_key(permit, GUEST, key.id).state is KeyState.DESTROYED


def test_a_rollback_destroys_no_key_of_a_guest_that_was_finished(open_site: Site) -> None:
    key = open_site.create()
    for action, resource in ((Action.GUEST_CREATE, GUEST), (Action.SYSTEM_RECOVER, SITE)):
        with pytest.raises(IntentRefused):
            open_site.keys.destroy_key(open_site.log.intend(action, resource), GUEST, key.id)
    open_site.start(key)


def test_recovery_destroys_the_key_of_a_creation_that_never_ended(open_site: Site) -> None:
    key = open_site.keys.create_key(open_site.log.intend(Action.GUEST_CREATE, GUEST), GUEST)
    recovery = open_site.log.intend(Action.SYSTEM_RECOVER, SITE)
    assert open_site.keys.destroy_key(recovery, GUEST, key.id).state is KeyState.DESTROYED


# -- keys of persons -------------------------------------------------------------------------


def test_a_persons_key_comes_back_for_an_intent_to_show_the_log(open_site: Site) -> None:
    private = bytearray(range(32))
    open_site.keys.wrap_person_key(open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, private)
    assert not any(private)
    with open_site.keys.unwrap_person_key(open_site.log.intend(Action.LOG_SHOW, LOG), ACCOUNT) as key:
        assert key.reveal() == bytes(range(32))


def test_a_persons_key_is_stored_only_for_the_account_that_the_intent_creates(open_site: Site) -> None:
    other = EntityRef(EntityType.ACCOUNT, "e6d40905-2f86-4c3d-b267-9c5c4fb03104")
    permit = open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT, resource=str(other))
    with pytest.raises(IntentRefused):
        open_site.keys.wrap_person_key(permit, ACCOUNT, bytearray(range(32)))


def test_a_persons_key_is_not_replaced(open_site: Site) -> None:
    open_site.keys.wrap_person_key(
        open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, bytearray(range(32))
    )
    with pytest.raises(Conflict):
        open_site.keys.wrap_person_key(
            open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, bytearray(32)
        )


def test_a_persons_key_is_handed_out_as_no_disks_passphrase(open_site: Site) -> None:
    key = open_site.keys.wrap_person_key(
        open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, bytearray(range(32))
    )
    with pytest.raises(KeyUnavailable):
        open_site.keys.unwrap_key(open_site.log.intend(Action.GUEST_START, GUEST), GUEST, key.id)


def test_a_person_without_a_key_has_none_to_hand_out(open_site: Site) -> None:
    with pytest.raises(KeyUnavailable):
        open_site.keys.unwrap_person_key(open_site.log.intend(Action.LOG_SHOW, LOG), ACCOUNT)


def test_a_guest_or_nothing_at_all_is_no_person(open_site: Site) -> None:
    with pytest.raises(BadInput):
        open_site.keys.wrap_person_key(
            open_site.log.intend(Action.ACCOUNT_CREATE, GUEST), GUEST, bytearray(32)
        )
    with pytest.raises(BadInput):
        open_site.keys.wrap_person_key(
            open_site.log.intend(Action.ACCOUNT_CREATE, ACCOUNT), ACCOUNT, bytearray()
        )


# -- lists -----------------------------------------------------------------------------------


def test_keys_are_listed_whole_and_by_owner(open_site: Site) -> None:
    permit = open_site.log.intend(Action.GUEST_CREATE, GUEST)
    mine = [open_site.keys.create_key(permit, GUEST).id for _ in range(5)]
    theirs = open_site.create(OTHER_GUEST)
    assert [key.id for key in open_site.keys.list_keys(GUEST)] == sorted(mine)
    assert [key.id for key in open_site.keys.list_keys()] == sorted([*mine, theirs.id])
