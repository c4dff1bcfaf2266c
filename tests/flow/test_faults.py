"""Parts that fail in mid-action: one sentence and its exit code, nothing half made, and it works again afterwards."""

# ruff: noqa: ARG001 - a progress that breaks off looks at the percent alone

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.errors import LogUnavailable
from audit.log.record import Draft, Kind, Record
from audit.log.writer import LogWriter
from policies.errors import StrongroomError
from policies.vocabulary import Action
from tests.fakes.guest_host import START_STEPS, FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    OPERATOR,
    PASSPHRASE,
    PASSWORD,
    PreparedSite,
    disk_folder,
    guest_row,
    key_states,
    make_guest,
    new_guest,
    open_findings,
    require_log_holds,
    told,
    whole_state,
)
from vault.disks.format import DiskFormatter
from vault.entities import EntityBuilder, guest_ref
from vault.errors import Conflict, HostFailure, HostUnprotected, OutcomeNotRecorded, Sealed, UnsealFailed
from vault.gate import Caller, Gate
from vault.jobs import no_progress
from vault.journal import SafeJournal
from vault.operations.guest_create import create_guest
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_inside import exec_in_guest
from vault.operations.guest_list import list_guests, show_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.keystore import seal, status, unseal
from vault.operations.sessions import authenticate, login, logout
from vault.site import Site

pytestmark = pytest.mark.real
LIBVIRT_GONE = "libvirt does not answer at fake:///."


@pytest.fixture
def host() -> FakeGuestHost:
    return FakeGuestHost()


@pytest.fixture
def site(prepared: PreparedSite, host: FakeGuestHost) -> Iterator[Site]:
    """Opened for each test, because some of them break it."""
    with prepared.opened(host) as opened:
        yield opened


# -- libvirt ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", START_STEPS)
def test_a_start_during_which_libvirt_goes_leaves_nothing_and_can_be_repeated(
    site: Site, olga: Caller, host: FakeGuestHost, step: str
) -> None:
    guest_id = make_guest(site, olga, "half-started")
    before, since = whole_state(site), site.log.head().size
    host.fail_at[step] = HostFailure(LIBVIRT_GONE, "Start it, then try again.")
    with pytest.raises(HostFailure) as failed:
        start_guest(site, olga, "half-started", no_progress)
    assert failed.value.exit_code == 10
    assert told(site, since)[-1] == (Kind.OUTCOME, "guest.start", "host.failure")
    assert whole_state(site) == before
    assert (host.domains, host.secrets) == ({}, {})
    start_guest(site, olga, "half-started", no_progress)
    assert host.is_running(guest_id)
    stop_guest(site, olga, "half-started", timeout_s=1, progress=no_progress)
    delete_guest(site, olga, "half-started")
    require_log_holds(site)


@pytest.mark.parametrize("what", ["start", "stop", "delete", "exec", "show"])
def test_while_libvirt_is_gone_nothing_is_done_and_nothing_is_lost(
    site: Site, olga: Caller, host: FakeGuestHost, what: str
) -> None:
    guest_id = make_guest(site, olga, "no-libvirt")
    if what in {"stop", "exec"}:
        start_guest(site, olga, "no-libvirt", no_progress)
    before = whole_state(site)
    host.answers = False
    asked: dict[str, Callable[[], object]] = {
        "start": lambda: start_guest(site, olga, "no-libvirt", no_progress),
        "stop": lambda: stop_guest(site, olga, "no-libvirt", progress=no_progress),
        "delete": lambda: delete_guest(site, olga, "no-libvirt"),
        "exec": lambda: exec_in_guest(site, olga, "no-libvirt", ["/bin/true"], b""),
        "show": lambda: show_guest(site, olga, "no-libvirt"),
    }
    with pytest.raises(HostFailure) as failed:
        asked[what]()
    assert failed.value.exit_code == 10
    assert status(site)["hypervisor"] == "libvirt unknown, QEMU unknown"
    host.answers = True
    assert whole_state(site) == before
    assert key_states(site, guest_ref(guest_id)) == ["active", "active"]
    if host.is_running(guest_id):
        stop_guest(site, olga, "no-libvirt", timeout_s=1, progress=no_progress)
    delete_guest(site, olga, "no-libvirt")


class GoneAfter(FakeGuestHost):
    """libvirt goes right after it did as it was told."""

    def start(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - passed on
        super().start(*arguments, **named)
        self.answers = False

    def stop(self, *arguments: Any, **named: Any) -> bool:  # noqa: ANN401 - passed on
        cut = super().stop(*arguments, **named)
        self.answers = False
        return cut


def test_what_was_done_before_libvirt_went_is_recorded_as_done(prepared: PreparedSite, olga: Caller) -> None:
    host = GoneAfter()
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "done-then-gone")
        since = site.log.head().size
        with pytest.raises(HostFailure):
            start_guest(site, olga, "done-then-gone", no_progress)
        host.answers = True
        assert host.is_running(guest_id)
        with pytest.raises(HostFailure):
            stop_guest(site, olga, "done-then-gone", timeout_s=1, progress=no_progress)
        host.answers = True
        assert [code for kind, _, code in told(site, since) if kind is Kind.OUTCOME] == ["ok", "ok"]
        delete_guest(site, olga, "done-then-gone")


def test_a_host_that_would_keep_keys_on_a_disk_starts_no_guest(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    make_guest(site, olga, "unprotected")
    host.protected = False
    with pytest.raises(HostUnprotected) as refused:
        start_guest(site, olga, "unprotected", no_progress)
    assert (refused.value.exit_code, host.domains, host.secrets) == (10, {}, {})
    assert open_findings(site) == {("host.unprotected", "host:host")}
    host.protected = True
    start_guest(site, olga, "unprotected", no_progress)
    assert open_findings(site) == set(), "the host is mended, which the start shows"
    stop_guest(site, olga, "unprotected", timeout_s=1, progress=no_progress)
    delete_guest(site, olga, "unprotected")


def test_a_disk_that_is_gone_is_told_and_the_guest_not_started(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guest_id = make_guest(site, olga, "disk-gone")
    (disk_folder(site, guest_id) / "root.qcow2").unlink()
    with pytest.raises(HostFailure, match=r"root\.qcow2") as failed:
        start_guest(site, olga, "disk-gone", no_progress)
    assert failed.value.exit_code == 10
    assert host.domains == {}
    assert show_guest(site, olga, "disk-gone")["disks"][0]["cipher"] is None
    assert open_findings(site) == {("disk.unreadable", f"guest:{guest_id}/root")}
    delete_guest(site, olga, "disk-gone")
    site.findings.close("disk.unreadable", f"guest:{guest_id}/root")
    assert key_states(site, guest_ref(guest_id)) == ["destroyed", "destroyed"]


# -- a creation that fails ------------------------------------------------------------------------


@pytest.mark.parametrize("fails_on", ["resize", "convert"])
def test_a_creation_whose_disk_cannot_be_written_is_taken_back_whole(
    site: Site, olga: Caller, tmp_path: Path, fails_on: str
) -> None:
    before, since = whole_state(site), site.log.head().size
    site.disks = DiskFormatter(
        site.settings.cache_dir / "templates", site.memory, qemu_img=str(qemu_img_but(tmp_path, fails_on))
    )
    with pytest.raises(HostFailure) as failed:
        make_guest(site, olga, "no-space")
    assert failed.value.exit_code == 10
    assert told(site, since)[-1] == (Kind.OUTCOME, "guest.create", "host.failure")
    left = whole_state(site)
    keys = left.pop("keys"), before.pop("keys")
    assert left == before
    assert isinstance(keys[0], list)
    assert isinstance(keys[1], list)
    assert [key for key in keys[0] if '"destroyed"' not in key] == [
        key for key in keys[1] if '"destroyed"' not in key
    ], "no key that was made for it is left"
    require_log_holds(site)


def test_a_creation_that_is_interrupted_is_taken_back_and_its_name_is_free(site: Site, olga: Caller) -> None:
    def interrupt(percent: int, sentence: str) -> None:
        if percent >= 92:
            raise KeyboardInterrupt

    before = whole_state(site)
    with pytest.raises(KeyboardInterrupt):
        create_guest(site, olga, new_guest("interrupted"), interrupt)
    left = whole_state(site)
    assert {**left, "keys": None} == {**before, "keys": None}
    make_guest(site, olga, "interrupted")
    delete_guest(site, olga, "interrupted")


def test_a_key_process_that_dies_in_a_creation_leaves_no_half_made_guest(
    site: Site, olga: Caller, prepared: PreparedSite
) -> None:
    def kill(percent: int, sentence: str) -> None:
        if percent >= 92 and (pid := site.keys.status().pid) is not None:
            os.kill(pid, signal.SIGKILL)

    since = site.log.head().size
    with pytest.raises(Sealed) as failed:
        create_guest(site, olga, new_guest("keys-gone"), kill)
    assert failed.value.exit_code == 6
    guest_id = next(
        record.resource
        for record in (site.reader.by_seq(seq) for seq in range(since, site.log.head().size))
        if record.action == Action.GUEST_CREATE
    ).partition(":")[2]
    assert guest_row(site, guest_id) is None
    assert not disk_folder(site, guest_id).exists()
    assert key_states(site, guest_ref(guest_id)) == ["destroyed"]
    unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
    make_guest(site, olga, "keys-gone")
    delete_guest(site, olga, "keys-gone")


# -- keys ----------------------------------------------------------------------------------------


def test_a_wrong_passphrase_leaves_the_store_sealed_and_the_next_right_one_opens_it(
    prepared: PreparedSite, host: FakeGuestHost
) -> None:
    ada = prepared.caller(ADMINISTRATOR)
    with prepared.opened(host, unsealed=False) as site:
        since = site.log.head().size
        typed = bytearray(b"incorrect horse battery 7")
        with pytest.raises(UnsealFailed) as failed:
            unseal(site, ada, typed)
        assert failed.value.exit_code == 6
        assert typed == bytes(len(typed)), "what was typed is wiped"
        assert site.keys.status().sealed
        assert told(site, since) == [
            (Kind.INTENT, "keystore.unseal", None),
            (Kind.OUTCOME, "keystore.unseal", "keystore.unseal_failed"),
        ]
        unseal(site, ada, bytearray(PASSPHRASE))
        assert not site.keys.status().sealed
        with pytest.raises(Conflict) as twice:
            unseal(site, ada, bytearray(PASSPHRASE))
        assert twice.value.exit_code == 5


# -- the log ---------------------------------------------------------------------------------------


class FailingLog:
    """The real writer, which does not answer where the test says so."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self.fails: Callable[[Draft], bool] = lambda _draft: False

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        if self.fails(draft):
            raise LogUnavailable("The log cannot be written.", "Make room on its disk.")
        return self._log.append(draft, timeout_s)


@pytest.fixture
def log(site: Site, prepared: PreparedSite) -> FailingLog:
    """The site's gate anew, over a log that can be made to fail."""
    failing = FailingLog(site.log)
    journal = SafeJournal(prepared.settings.data_dir / "safe-actions.jsonl")
    engine = site.gate._engine
    site.gate = Gate(engine, EntityBuilder(site.database), failing, journal, log_timeout_s=5)
    return failing


def test_while_the_log_is_away_nothing_is_done_and_nothing_is_handed_out(
    site: Site, olga: Caller, host: FakeGuestHost, log: FailingLog
) -> None:
    make_guest(site, olga, "no-log")
    before, size = whole_state(site), site.log.head().size
    log.fails = lambda _draft: True
    asked: tuple[Callable[[], object], ...] = (
        lambda: make_guest(site, olga, "no-log-2"),
        lambda: start_guest(site, olga, "no-log", no_progress),
        lambda: delete_guest(site, olga, "no-log"),
        lambda: list_guests(site, olga),
        lambda: login(site, "cli", OPERATOR, PASSWORD, "192.0.2.7"),
    )
    for ask in asked:
        with pytest.raises(LogUnavailable) as refused:
            ask()
        assert refused.value.exit_code == 9
    assert (whole_state(site), site.log.head().size, host.domains) == (before, size, {})
    log.fails = lambda _draft: False
    delete_guest(site, olga, "no-log")


def test_an_outcome_that_cannot_be_recorded_stops_everything_until_the_restart_settles_it(
    site: Site, olga: Caller, prepared: PreparedSite, host: FakeGuestHost, log: FailingLog
) -> None:
    guest_id = make_guest(site, olga, "unrecorded")
    log.fails = lambda draft: draft.kind is Kind.OUTCOME
    with pytest.raises(OutcomeNotRecorded) as stopped:
        start_guest(site, olga, "unrecorded", no_progress)
    assert stopped.value.exit_code == 11
    log.fails = lambda _draft: False
    refused: tuple[Callable[[], object], ...] = (
        lambda: list_guests(site, olga),
        lambda: stop_guest(site, olga, "unrecorded", progress=no_progress),
    )
    for ask in refused:
        with pytest.raises(OutcomeNotRecorded):
            ask()
    assert status(site)["gate"] == "stopped"
    seal(site, prepared.caller(ADMINISTRATOR))
    assert site.keys.status().sealed, "sealing goes on"
    site.close()
    since = site.log.head().size
    with prepared.opened(host) as again:
        recovered = [(kind, action, code) for kind, action, code in told(again, since) if kind != "system"]
        assert recovered[:3] == [
            (Kind.RECOVERY, "system.recover", "ok"),
            (Kind.OUTCOME, "guest.start", "ok"),
            (Kind.RECOVERY, "keystore.seal", "ok"),
        ]
        assert status(again)["gate"] == "acting"
        assert host.is_running(guest_id)
        stop_guest(again, olga, "unrecorded", timeout_s=1, progress=no_progress)
        delete_guest(again, olga, "unrecorded")
        require_log_holds(again)


def test_sealing_and_logging_out_work_without_the_log_and_are_in_it_after_the_next_start(
    site: Site, prepared: PreparedSite, host: FakeGuestHost, log: FailingLog
) -> None:
    made = login(site, "cli", OPERATOR, PASSWORD, "192.0.2.7")
    _, caller = authenticate(site, made["token"], "cli", "192.0.2.7")
    log.fails = lambda _draft: True
    seal(site, prepared.caller(ADMINISTRATOR))
    logout(site, caller)
    assert site.keys.status().sealed
    with pytest.raises(StrongroomError, match="ended"):
        authenticate(site, made["token"], "cli", "192.0.2.7")
    assert (prepared.settings.data_dir / "safe-actions.jsonl").stat().st_mode & 0o777 == 0o600
    site.close()
    since = site.log.head().size
    with prepared.opened(host, unsealed=False) as again:
        drained = [again.reader.by_seq(seq) for seq in range(since, again.log.head().size)]
        journalled = [record for record in drained if record.kind is Kind.RECOVERY]
        assert [(record.action, record.principal) for record in journalled] == [
            ("keystore.seal", f"account:{prepared.people[ADMINISTRATOR]}"),
            ("session.end", f"account:{prepared.people[OPERATOR]}"),
        ]
        for record, policy in zip(
            journalled, ("base.unseal-by-custodians", "base.own-credentials"), strict=True
        ):
            assert record.result is not None
            assert record.result["code"] == "ok"
            facts = record.result["facts"]
            assert isinstance(facts, dict)
            assert facts["journalled_policies"] == [policy]
        assert not (prepared.settings.data_dir / "safe-actions.jsonl").exists()
        require_log_holds(again)


def test_somebody_who_may_not_seal_does_not_seal_without_the_log_either(
    site: Site, olga: Caller, log: FailingLog
) -> None:
    log.fails = lambda _draft: True
    with pytest.raises(StrongroomError) as refused:
        seal(site, olga)
    assert refused.value.exit_code in {3, 9}
    assert not site.keys.status().sealed


# -- the site itself ---------------------------------------------------------------------------------


def test_two_daemons_do_not_open_one_site_and_the_first_goes_on(
    site: Site, olga: Caller, prepared: PreparedSite
) -> None:
    with pytest.raises(LogUnavailable), prepared.opened(FakeGuestHost()):
        pass
    assert list_guests(site, olga)["items"] == []


def test_a_site_that_cannot_reach_libvirt_does_not_open_and_leaves_its_log_free(
    prepared: PreparedSite,
) -> None:
    host = FakeGuestHost()
    host.answers = False
    with pytest.raises(HostFailure) as failed, prepared.opened(host):
        pass
    assert failed.value.exit_code == 10
    host.answers = True
    with prepared.opened(host) as site:
        require_log_holds(site)
        assert open_findings(site) == set()


def qemu_img_but(folder: Path, command: str) -> Path:
    """A qemu-img that fails at one of its commands, as on a full disk."""
    script = folder / "qemu-img"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = {command} ] && {{ echo "No space left on device" >&2; exit 1; }}\nexec qemu-img "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    assert subprocess.run([script, "--version"], capture_output=True, check=True).stdout
    return script
