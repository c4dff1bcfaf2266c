"""Two faults at once: what cannot be found out is not settled, and the site says which fault to mend first."""

import contextlib
import shutil
from collections.abc import Callable, Iterator

import pytest

from audit.errors import LogUnavailable
from audit.log.query import LogQuery
from audit.log.record import Draft, Kind, Record
from audit.log.writer import LogWriter
from policies.errors import StrongroomError
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    OPERATOR,
    PreparedSite,
    disk_folder,
    guest_row,
    key_states,
    make_guest,
    open_findings,
    prepared_site,
    require_log_holds,
    told,
)
from vault.entities import EntityBuilder, guest_ref
from vault.errors import HostFailure, KeyStoreMissing, OutcomeNotRecorded
from vault.gate import Caller, Gate
from vault.jobs import no_progress
from vault.journal import SafeJournal
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.site import Site

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        yield made


@pytest.fixture
def host() -> FakeGuestHost:
    return FakeGuestHost()


@pytest.fixture
def olga(prepared: PreparedSite) -> Caller:
    return prepared.caller(OPERATOR)


class NoOutcomes:
    """The real log, which takes no outcomes: its daemon might as well have been killed before them."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        if draft.kind is Kind.OUTCOME:
            raise LogUnavailable("The log cannot be written.", "Make room on its disk.")
        return self._log.append(draft, timeout_s)


def leave_open(site: Site, act: Callable[[], object]) -> int:
    """Do something whose intent stays open; the size of the log then."""
    journal = SafeJournal(site.settings.data_dir / "safe-actions.jsonl")
    site.gate = Gate(site.gate._engine, EntityBuilder(site.database), NoOutcomes(site.log), journal)
    with pytest.raises(OutcomeNotRecorded) as stopped:
        act()
    assert stopped.value.exit_code == 11
    return site.log.head().size


def last_record(prepared: PreparedSite) -> Record:
    with LogQuery(prepared.settings.log_db) as log:
        return log.by_seq(log.size() - 1)


def test_with_libvirt_dead_at_the_recovery_a_start_stays_open_until_libvirt_says_what_is(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "unsettled")
        leave_open(site, lambda: start_guest(site, olga, "unsettled", no_progress))
    host.answers = False
    for _ in range(2):
        with pytest.raises(HostFailure, match="libvirt does not answer") as refused, prepared.opened(host):
            pass
        assert (refused.value.exit_code, bool(refused.value.hint)) == (10, True)
        with LogQuery(prepared.settings.log_db) as log:
            kinds = [record.kind for record in log.records() if record.resource == f"guest:{guest_id}"]
        assert kinds[-1] is Kind.INTENT, "nothing was said of what nobody could see"
    host.answers = True
    since = last_record(prepared).seq + 1
    with prepared.opened(host) as site:
        assert (Kind.OUTCOME, "guest.start", "ok") in told(site, since)
        assert host.is_running(guest_id)
        stop_guest(site, olga, "unsettled", timeout_s=1, progress=no_progress)
        delete_guest(site, olga, "unsettled")
        require_log_holds(site)


def test_with_the_key_store_away_at_the_recovery_a_deletion_stays_open_and_is_finished_with_it(
    prepared: PreparedSite, host: FakeGuestHost, olga: Caller
) -> None:
    store = prepared.settings.keystore_dir
    away = store.with_name("pulled-out")
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "half-deleted")
        leave_open(site, lambda: delete_guest(site, olga, "half-deleted"))
    store.rename(away)
    with pytest.raises(KeyStoreMissing) as refused, prepared.opened(host, unsealed=False):
        pass
    assert refused.value.exit_code == 6
    assert "Attach the device" in refused.value.hint
    assert last_record(prepared).kind is Kind.RECOVERY
    away.rename(store)
    since = last_record(prepared).seq + 1
    with prepared.opened(host) as site:
        assert (Kind.OUTCOME, "guest.delete", "ok") in told(site, since)
        assert key_states(site, guest_ref(guest_id)) == ["destroyed", "destroyed"]
        assert not disk_folder(site, guest_id).exists()
        row = guest_row(site, guest_id)
        assert row is not None
        assert row.state == "deleted"
        require_log_holds(site)


def test_with_the_log_away_and_the_key_store_damaged_the_log_is_named_first_and_then_the_key_store(
    prepared: PreparedSite, host: FakeGuestHost
) -> None:
    log, keys = prepared.settings.log_db, prepared.settings.keystore_dir / "keys.db"
    shutil.copy2(keys, keys.with_name("kept"))
    keys.write_bytes(b"not a key store")
    keys.chmod(0o600)
    log.rename(log.with_name("away"))
    with pytest.raises(LogUnavailable, match=r"log\.db is missing") as refused, prepared.opened(host):
        pass
    assert refused.value.exit_code == 9
    assert "strongroom init" not in refused.value.hint, "a new log must never take its place"
    log.with_name("away").rename(log)
    with prepared.opened(host, unsealed=False) as site:
        assert open_findings(site) == {("keystore.unusable", "keystore:keystore")}
    keys.with_name("kept").rename(keys)
    with prepared.opened(host) as site:
        assert open_findings(site) == set()
        require_log_holds(site)


def test_a_state_and_a_key_store_that_are_both_away_keep_the_site_closed_and_its_log_as_it_was(
    prepared: PreparedSite, host: FakeGuestHost
) -> None:
    before = last_record(prepared)
    state, store = prepared.settings.state_db, prepared.settings.keystore_dir
    state.rename(state.with_name("state.away"))
    store.rename(store.with_name("store.away"))
    with pytest.raises(StrongroomError, match=r"state\.db is missing") as refused, prepared.opened(host):
        pass
    assert refused.value.exit_code == 10
    with LogQuery(prepared.settings.log_db) as log:
        assert log.by_seq(before.seq).leaf_hash == before.leaf_hash
        assert {record.action for record in log.records(before.seq + 1)} <= {"log.epoch"}
    state.with_name("state.away").rename(state)
    store.with_name("store.away").rename(store)
    with contextlib.ExitStack() as stack:
        require_log_holds(stack.enter_context(prepared.opened(host)))
