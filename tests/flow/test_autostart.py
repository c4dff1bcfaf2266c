"""Guests that are marked so start after an unseal, in their order, each through the gate."""

import threading
from collections.abc import Iterator

import pytest

from audit.log.record import Kind
from policies.vocabulary import Action
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    PASSPHRASE,
    PreparedSite,
    make_guest,
    open_findings,
    records,
)
from vault.errors import HostFailure
from vault.gate import Caller
from vault.guests.domain_xml import DomainPlan
from vault.jobs import no_progress
from vault.operations.autostart import start_marked_guests
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.operations.keystore import unseal
from vault.site import Site

pytestmark = pytest.mark.real


@pytest.fixture
def host() -> FakeGuestHost:
    return FakeGuestHost()


@pytest.fixture
def site(prepared: PreparedSite, host: FakeGuestHost) -> Iterator[Site]:
    with prepared.opened(host) as opened:
        yield opened
        for guest_id, domain in list(host.domains.items()):
            host.end(guest_id, "shutdown")
            assert domain.plan.guest_id == guest_id
        for finding in opened.findings.all_open():
            opened.findings.close(finding.code, finding.resource)


class FailingFor(FakeGuestHost):
    """A hypervisor that does not start the guest of one name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def _make_room(self, plan: DomainPlan) -> None:
        if plan.name == self.name:
            raise HostFailure("QEMU does not start this one.", "Look at its log.")
        super()._make_room(plan)


def test_marked_guests_start_after_an_unseal_in_their_order_and_others_do_not(
    prepared: PreparedSite, olga: Caller
) -> None:
    host = FakeGuestHost()
    with prepared.opened(host) as site:
        for name, order, marked in (
            ("third", 9, True),
            ("second", 5, True),
            ("first", 1, True),
            ("not", 0, False),
        ):
            make_guest(site, olga, f"auto-{name}", autostart=marked, start_order=order)
    with prepared.opened(host, unsealed=False) as site:
        since = site.log.head().size
        unseal(site, prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))
        wait_for_autostart()
        assert [plan.name for plan in host.started] == ["auto-first", "auto-second", "auto-third"]
        starts = [record for record in records(site, since) if record.action == Action.GUEST_START]
        assert {record.principal for record in starts} == {"os:daemon"}
        assert {record.policies for record in starts if record.kind is Kind.INTENT} == {("base.daemon",)}
        assert open_findings(site) == set()
        start_marked_guests(site)
        assert len(host.started) == 3, "what runs already is left alone"
        for name in ("first", "second", "third"):
            stop_guest(site, olga, f"auto-{name}", timeout_s=1, progress=no_progress)
        for name in ("first", "second", "third", "not"):
            delete_guest(site, olga, f"auto-{name}")
        start_marked_guests(site)
        assert len(host.started) == 3, "a deleted guest does not start"


def test_a_guest_that_cannot_start_by_itself_is_a_finding_and_holds_up_no_other(
    prepared: PreparedSite, olga: Caller
) -> None:
    host = FailingFor("auto-broken")
    with prepared.opened(host) as site:
        broken = make_guest(site, olga, "auto-broken", autostart=True, start_order=1)
        make_guest(site, olga, "auto-sound", autostart=True, start_order=2)
        start_marked_guests(site)
        assert [plan.name for plan in host.started] == ["auto-sound"]
        assert open_findings(site) == {("guest.autostart_failed", f"guest:{broken}")}
        (finding,) = site.findings.all_open()
        assert finding.sentence.endswith("QEMU does not start this one.")
        assert finding.record is not None
        assert site.reader.by_id(finding.record).action == Action.GUEST_START
        host.name = ""
        start_guest(site, olga, "auto-broken", no_progress)
        start_marked_guests(site)
        assert open_findings(site) == set(), "it runs, so there is nothing to look at any more"
        for name in ("auto-broken", "auto-sound"):
            stop_guest(site, olga, name, timeout_s=1, progress=no_progress)
            delete_guest(site, olga, name)


def test_libvirt_gone_at_the_autostart_is_a_finding_for_each_guest(
    site: Site, olga: Caller, host: FakeGuestHost
) -> None:
    guests = [make_guest(site, olga, f"auto-{number}", autostart=True) for number in range(2)]
    host.answers = False
    start_marked_guests(site)
    host.answers = True
    assert open_findings(site) == {("guest.autostart_failed", f"guest:{guest}") for guest in guests}
    for number in range(2):
        delete_guest(site, olga, f"auto-{number}")


def wait_for_autostart() -> None:
    for thread in threading.enumerate():
        if thread.name == "autostart":
            thread.join(30)


def test_a_domain_with_our_mark_that_no_guest_is_like_is_found_at_the_next_start(
    prepared: PreparedSite, olga: Caller, host: FakeGuestHost
) -> None:
    with prepared.opened(host) as site:
        guest_id = make_guest(site, olga, "ghost")
        start_guest(site, olga, "ghost", no_progress)
        ghost = host.domains[guest_id]
        stop_guest(site, olga, "ghost", timeout_s=1, progress=no_progress)
        delete_guest(site, olga, "ghost")
    host.domains[guest_id] = ghost  # from a copy of the disk, say
    with prepared.opened(host, unsealed=False) as site:
        assert open_findings(site) == {("guest.unknown_domain", f"guest:{guest_id}")}
        site.findings.close("guest.unknown_domain", f"guest:{guest_id}")
