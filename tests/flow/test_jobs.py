"""Jobs through the real gate: cancelled in their midst, cut off by a stop in order, and taken up by the next daemon."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from audit.log.record import Kind
from policies.errors import StrongroomError
from policies.vocabulary import Action
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    AUDITOR,
    IMAGE_BYTES,
    OPERATOR,
    PASSWORD,
    PreparedSite,
    new_guest,
    prepared_site,
    records,
    require_log_holds,
    whole_state,
    write_bootable_image,
)
from vault.gate import Caller
from vault.jobs import NotCancellable
from vault.jobs.table import JobTable
from vault.model import ENDED, Account, Job, JobState
from vault.operations.accounts import create_account
from vault.operations.jobs import cancel_job
from vault.site import Site

pytestmark = pytest.mark.real
OFFICER = "carl-compliance"
LARGE = 16 * IMAGE_BYTES


class Pausing(JobTable):
    """The rows of jobs; a job that tells its progress there waits until it may go on."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.database)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def change(self, job_id: str, **values: Any) -> None:  # noqa: ANN401 - the columns' own types
        super().change(job_id, **values)
        if "sentence" in values and "state" not in values:
            self.reached.set()
            self.go_on.wait(60)


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        with made.opened(FakeGuestHost()) as opened:
            ada = made.caller(ADMINISTRATOR)
            made.people[OFFICER] = create_account(opened, ada, OFFICER, PASSWORD, ["officer"])["id"]
        yield made


@pytest.fixture
def site(prepared: PreparedSite) -> Iterator[Site]:
    with prepared.opened(FakeGuestHost()) as opened:
        yield opened


@pytest.fixture
def source(prepared: PreparedSite) -> Iterator[Path]:
    path = prepared.settings.data_dir / "source.raw"
    write_bootable_image(path, LARGE)
    yield path
    path.unlink()


def pausing(site: Site) -> Pausing:
    site.jobs._table = table = Pausing(site)
    return table


def asked(what: Action, source: Path) -> dict[str, Any]:
    if what is Action.GUEST_CREATE:
        wanted = new_guest("cancelled")
        fields = (
            "name",
            "image",
            "vcpus",
            "memory_bytes",
            "disk_bytes",
            "labels",
            "autostart",
            "start_order",
        )
        return {name: getattr(wanted, name) for name in fields}
    if what is Action.IMAGE_IMPORT:
        return {"name": "cancelled", "path": str(source), "sha256": None, "format": "raw"}
    if what is Action.REPORT_CREATE:
        return {"framework": "hipaa", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    return {"tiles": False} if what is Action.LOG_EXPORT else {}


def ended(site: Site, job_id: str) -> Job:
    found = site.jobs.get(job_id)
    for _ in range(240):
        if found.state in ENDED:
            return found
        found = site.jobs.wait_for_change(job_id, found.revision, 0.5)
    raise AssertionError("the job did not end")


def codes(site: Site, since: int, action: Action) -> list[str]:
    return [
        str(record.result["code"])
        for record in records(site, since)
        if record.action == action and record.kind is Kind.OUTCOME and record.result is not None
    ]


def children() -> set[int]:
    """Processes that this one started and that have not ended."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize(
    ("what", "who"),
    [
        (Action.GUEST_CREATE, OPERATOR),
        (Action.IMAGE_IMPORT, OPERATOR),
        (Action.LOG_EXPORT, AUDITOR),
        (Action.LOG_VERIFY, AUDITOR),
        (Action.REPORT_CREATE, OFFICER),
    ],
)
def test_what_is_cancelled_in_its_midst_leaves_nothing_and_its_outcome_says_so(
    site: Site, prepared: PreparedSite, source: Path, what: Action, who: str
) -> None:
    before, since, running = whole_state(site), site.log.head().size, children()
    table, caller = pausing(site), prepared.caller(who)
    job = site.jobs.start(caller, what, "subject", asked(what, source))
    assert table.reached.wait(60)
    assert site.jobs.is_cancellable(site.jobs.get(job.id))
    assert cancel_job(site, caller, job.id).cancelled_by == prepared.people[who]
    table.go_on.set()
    found = ended(site, job.id)
    assert found.state == JobState.CANCELLED
    assert codes(site, since, what) == ["job.cancelled"]
    assert found.error is not None
    assert site.reader.by_id(found.error["record"]).action == what
    left = whole_state(site)
    keys, keys_before = left.pop("keys"), before.pop("keys")
    assert left == before
    assert isinstance(keys, list)
    assert isinstance(keys_before, list)
    assert all('"state": "destroyed"' in key for key in set(keys) - set(keys_before)), (
        "the keys it made are gone"
    )
    assert list(site.settings.data_dir.rglob("*.part")) == []
    assert children() <= running
    require_log_holds(site)


def test_a_job_is_cancelled_by_whoever_asked_and_by_administrators_and_the_log_says_who(
    site: Site, prepared: PreparedSite, source: Path
) -> None:
    for who, allowed in ((AUDITOR, False), (ADMINISTRATOR, True)):
        table, since = pausing(site), site.log.head().size
        job = site.jobs.start(
            prepared.caller(OPERATOR), Action.IMAGE_IMPORT, "x", asked(Action.IMAGE_IMPORT, source)
        )
        assert table.reached.wait(60)
        if allowed:
            cancel_job(site, prepared.caller(who), job.id)
        else:
            with pytest.raises(StrongroomError) as denied:
                cancel_job(site, prepared.caller(who), job.id)
            assert denied.value.exit_code == 3
            cancel_job(site, prepared.caller(OPERATOR), job.id)
        table.go_on.set()
        assert ended(site, job.id).state == JobState.CANCELLED
        asks = [record for record in records(site, since) if record.action == Action.JOB_CANCEL]
        assert {record.resource for record in asks} == {f"job:{job.id}"}
        assert asks[0].kind is (Kind.INTENT if allowed else Kind.DENIED)
        assert asks[0].principal == f"account:{prepared.people[who]}"


def test_a_job_that_has_ended_is_not_cancelled_any_more(site: Site, prepared: PreparedSite) -> None:
    auditor = prepared.caller(AUDITOR)
    job = site.jobs.start(auditor, Action.LOG_VERIFY, "log", {})
    result = ended(site, job.id).result
    with pytest.raises(NotCancellable) as refused:
        cancel_job(site, auditor, job.id)
    assert refused.value.exit_code == 5
    assert site.jobs.get(job.id).result == result


def test_a_stop_in_order_cuts_short_what_can_begin_again_and_the_next_daemon_makes_it(
    prepared: PreparedSite, source: Path
) -> None:
    olga = prepared.caller(OPERATOR)
    with prepared.opened(FakeGuestHost()) as site:
        site.jobs._finish_s = 0.1
        table, since = pausing(site), site.log.head().size
        job = site.jobs.start(
            olga, Action.IMAGE_IMPORT, "x", asked(Action.IMAGE_IMPORT, source) | {"name": "later"}
        )
        assert table.reached.wait(60)
        threading.Timer(1.0, table.go_on.set).start()
    left = prepared.settings.data_dir / "images"
    assert list(left.glob("*.part")) == []
    with prepared.opened(FakeGuestHost()) as site:
        assert codes(site, since, Action.IMAGE_IMPORT)[0] == "job.interrupted"
        done = ended(site, job.id)
        assert (done.state, done.attempt) == (JobState.DONE, 1), "a stop in order is no attempt"
        assert [image.name for image in site.images.all()].count("later") == 1


def test_a_role_that_was_revoked_in_between_denies_the_job_after_the_restart(
    prepared: PreparedSite, source: Path
) -> None:
    with prepared.opened(FakeGuestHost()) as site:
        site.jobs._submit = lambda _job_id: None  # type: ignore[method-assign,assignment] # the daemon stops before its turn
        given = asked(Action.IMAGE_IMPORT, source) | {"name": "denied"}
        job = site.jobs.start(prepared.caller(OPERATOR), Action.IMAGE_IMPORT, "x", given)
        with site.database.session() as session:
            session.exec(select(Account).where(Account.name == OPERATOR)).one().roles = []
    with prepared.opened(FakeGuestHost()) as site:
        failed = ended(site, job.id)
        assert failed.state == JobState.FAILED
        assert failed.error is not None
        assert (failed.error["code"], failed.error["exit"]) == ("policy.denied", 3)
        assert site.reader.by_id(failed.error["record"]).kind is Kind.DENIED
        assert "denied" not in [image.name for image in site.images.all()]
        with site.database.session() as session:
            session.exec(select(Account).where(Account.name == OPERATOR)).one().roles = ["operator"]


def test_a_caller_of_a_job_is_who_asked_by_the_way_they_asked(site: Site, prepared: PreparedSite) -> None:
    since = site.log.head().size
    job = site.jobs.start(
        Caller(prepared.caller(AUDITOR).principal, "api", "session-7", "c2VhbGVk"),
        Action.LOG_VERIFY,
        "log",
        {},
    )
    ended(site, job.id)
    (intent,) = [
        record
        for record in records(site, since)
        if record.action == Action.LOG_VERIFY and record.kind is Kind.INTENT
    ]
    assert (intent.session, intent.source) == ("session-7", {"address": "c2VhbGVk", "channel": "api"})
    assert site.jobs.get(job.id).intent == intent.id
