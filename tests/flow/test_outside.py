"""What others do to guests on the host: recorded, and a finding where it should not happen."""

from collections.abc import Iterator

import pytest

from audit.log.record import Kind, Record
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    disk_folder,
    make_guest,
    open_findings,
    records,
    require_log_holds,
)
from vault.gate import Caller
from vault.guests.ports import DomainEvent, EventKind
from vault.jobs import no_progress
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.outside import _GRACE_S, OutsideWatch
from vault.site import Site

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def no_findings(site: Site) -> Iterator[None]:
    yield
    for finding in site.findings.all_open():
        site.findings.close(finding.code, finding.resource)


def outside(site: Site, since: int) -> list[Record]:
    return [record for record in records(site, since) if record.kind is Kind.EXTERNAL]


@pytest.fixture
def running(site: Site, olga: Caller, host: FakeGuestHost) -> Iterator[str]:
    """A guest that runs for some time already."""
    guest_id = make_guest(site, olga, "watched")
    start_guest(site, olga, "watched", no_progress)
    let_time_pass(site)
    yield guest_id
    if host.is_running(guest_id):
        stop_guest(site, olga, "watched", timeout_s=1, progress=no_progress)
    delete_guest(site, olga, "watched")


def let_time_pass(site: Site) -> None:
    """The moment after an access, in which its own events may still arrive, is over."""
    for listener in site.gate.locks._listeners:
        watch = getattr(listener, "__self__", None)
        if isinstance(watch, OutsideWatch):
            watch._busy_until = {key: until - 2 * _GRACE_S for key, until in watch._busy_until.items()}


def test_the_gates_own_acts_are_no_outside_events(site: Site, olga: Caller, host: FakeGuestHost) -> None:
    since = site.log.head().size
    make_guest(site, olga, "gates-own")
    start_guest(site, olga, "gates-own", no_progress)
    stop_guest(site, olga, "gates-own", timeout_s=1, progress=no_progress)
    host.guests_listen = False
    start_guest(site, olga, "gates-own", no_progress)
    host.guests_listen = True
    stop_guest(site, olga, "gates-own", timeout_s=0, force=True, progress=no_progress)
    delete_guest(site, olga, "gates-own")
    assert outside(site, since) == []
    assert open_findings(site) == set()


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (EventKind.STOPPED, "destroyed"),
        (EventKind.STOPPED, "saved"),
        (EventKind.STOPPED, "migrated"),
        (EventKind.STOPPED, "unseen"),
        (EventKind.PAUSED, "paused"),
        (EventKind.RESUMED, ""),
        (EventKind.DEFINED, ""),
        (EventKind.BLOCK_JOB, "2/3"),
        (EventKind.MONITOR, "DUMP_COMPLETED"),
    ],
)
def test_what_somebody_does_to_a_running_guest_is_recorded_and_a_finding(
    site: Site, host: FakeGuestHost, running: str, kind: EventKind, detail: str
) -> None:
    since = site.log.head().size
    if kind is EventKind.STOPPED:
        host.end(running, detail)
    else:
        host.tell(running, kind, detail)
    (record,) = outside(site, since)
    assert (record.principal, record.action, record.resource) == (
        "os:outside",
        f"domain.{kind}",
        f"guest:{running}",
    )
    assert record.result == {"code": "ok", "facts": {"detail": detail}}
    assert open_findings(site) == {(f"outside.{kind}", f"guest:{running}")}
    assert site.findings.all_open()[0].record == record.id
    require_log_holds(site)


@pytest.mark.parametrize("how", ["shutdown", "crashed"])
def test_a_guest_that_ends_by_itself_is_recorded_and_no_finding(
    site: Site, host: FakeGuestHost, running: str, how: str
) -> None:
    since = site.log.head().size
    host.end(running, how)
    assert [record.action for record in outside(site, since)] == ["domain.stopped"]
    assert open_findings(site) == set()


@pytest.mark.parametrize("event", ["RTC_CHANGE", "POWERDOWN", "SHUTDOWN", "VSERPORT_CHANGE"])
def test_what_qemu_says_of_itself_is_neither_recorded_nor_a_finding(
    site: Site, host: FakeGuestHost, running: str, event: str
) -> None:
    since = site.log.head().size
    host.tell(running, EventKind.MONITOR, event)
    assert outside(site, since) == []
    assert open_findings(site) == set()


def test_a_block_job_is_noticed_also_in_the_moment_after_an_access(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guest_id = make_guest(site, olga, "hurried")
    start_guest(site, olga, "hurried", no_progress)
    since = site.log.head().size
    host.tell(guest_id, EventKind.BLOCK_JOB, "2/3")
    assert [record.action for record in outside(site, since)] == ["domain.block_job"]
    stop_guest(site, olga, "hurried", timeout_s=1, progress=no_progress)
    delete_guest(site, olga, "hurried")


def test_a_foreign_domain_on_a_guests_disks_is_recorded_once_for_the_guest(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guest_id = make_guest(site, olga, "attacked")
    folder = disk_folder(site, guest_id)
    since = site.log.head().size
    handler = host._handlers[0][0]
    paths = (str(folder / "root.qcow2"), str(folder / "seed.qcow2"), "/var/lib/libvirt/images/other.qcow2")
    handler(DomainEvent("thief", None, EventKind.STARTED, "", paths))
    (record,) = outside(site, since)
    assert record.resource == f"guest:{guest_id}"
    assert open_findings(site) == {("outside.started", f"guest:{guest_id}")}
    handler(DomainEvent("neighbour", None, EventKind.STARTED, "", paths[2:]))
    assert len(outside(site, since)) == 1
    delete_guest(site, olga, "attacked")


def test_a_path_with_detours_does_not_hide_whose_disk_it_is(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guest_id = make_guest(site, olga, "detoured")
    folder = disk_folder(site, guest_id)
    since = site.log.head().size
    detour = f"{folder.parent}/../disks//{guest_id}/root.qcow2"
    host._handlers[0][0](DomainEvent("thief", None, EventKind.STARTED, "", (detour,)))
    assert [record.resource for record in outside(site, since)] == [f"guest:{guest_id}"]
    delete_guest(site, olga, "detoured")
