"""The daemon killed with SIGKILL while jobs wait and while they run: each has a true end after the next start.

Nothing half made is left, nothing is done twice, and a job that kills its daemon does not do so for ever.
"""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from audit.log.record import Kind
from audit.verify import verify_store
from policies.vocabulary import Action
from tests.crash.host_on_file import HostOnFile
from tests.crash.test_operations_kills import (
    CREATE,
    GUEST,
    Nursery,
    clean_up,
    deadly,
    die,
    die_at_outcome,
    host_file,
    prepared_again,
    raise_daemons,
)
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    ADMINISTRATOR,
    AUDITOR,
    OPERATOR,
    PASSPHRASE,
    PASSWORD,
    PreparedSite,
    make_guest,
    new_guest,
    open_findings,
    prepared_site,
    records,
    write_bootable_image,
)
from vault.gate import Caller
from vault.jobs import no_progress
from vault.jobs import run as job_run
from vault.model import ENDED, Guest, GuestState, Job, JobState, Report
from vault.operations.accounts import create_account
from vault.operations.guest_run import start_guest
from vault.operations.keystore import unseal
from vault.site import Site

pytestmark = pytest.mark.real
OFFICER = "carl-compliance"
GUEST_FIELDS = ("name", "image", "vcpus", "memory_bytes", "disk_bytes", "labels", "autostart", "start_order")
EVER = 60.0


def asked(prepared: PreparedSite, what: str) -> tuple[Caller, Action, str, dict[str, Any]]:
    """Who asks for which job, as the API would."""
    wanted = new_guest(GUEST)
    source = str(prepared.settings.data_dir / "source.raw")
    year = {"since": "2026-01-01T00:00:00Z", "until": datetime.now(UTC).isoformat()}
    who, action, subject, arguments = {
        "create": (
            OPERATOR,
            Action.GUEST_CREATE,
            GUEST,
            {name: getattr(wanted, name) for name in GUEST_FIELDS},
        ),
        "start": (OPERATOR, Action.GUEST_START, GUEST, {"name": GUEST}),
        "stop": (OPERATOR, Action.GUEST_STOP, GUEST, {"name": GUEST, "force": False, "timeout_s": 1}),
        "import": (
            OPERATOR,
            Action.IMAGE_IMPORT,
            "again",
            {"name": "again", "path": source, "sha256": None, "format": "raw"},
        ),
        "verify": (AUDITOR, Action.LOG_VERIFY, "log", {}),
        "export": (AUDITOR, Action.LOG_EXPORT, "log", {}),
        "report": (OFFICER, Action.REPORT_CREATE, "hipaa", {"framework": "hipaa", **year}),
    }[what]
    return prepared.caller(who), action, subject, dict(arguments)


AGAIN = ("import", "verify", "export", "report")


# -- the daemon that dies --------------------------------------------------------------------------


def live_and_die(case: str, data_dir: Path, people: dict[str, str]) -> None:
    """Be the daemon of one case."""
    what, _, point = case.partition(": ")
    prepared = prepared_again(data_dir, people)
    host = HostOnFile(host_file(prepared), die_at=point if what == "start" else None)
    write_bootable_image(prepared.settings.data_dir / "source.raw")
    if point == "each time":
        die_at_first_progress()
    with prepared.opened(host) as site:
        olga = prepared.caller(OPERATOR)
        if what in {"start", "stop"}:
            make_guest(site, olga, GUEST)
        if what == "stop":
            start_guest(site, olga, GUEST, no_progress)
        arm(site, host, what, point)
        if what == "waits":
            site.jobs._submit = lambda _job_id: None  # type: ignore[method-assign,assignment] # it is killed before its turn
        for one in {"waits": (*AGAIN, "create"), "works": AGAIN, "again": ()}.get(what, (what,)):
            site.jobs.start(*asked(prepared, one))
        if what == "waits":
            die()
        threading.Event().wait(EVER)
    raise AssertionError(f"{case}: the daemon was to be killed")


def arm(site: Site, host: HostOnFile, what: str, point: str) -> None:
    """Choose where the daemon is killed."""
    if what == "works":
        die_when_all_work(len(AGAIN))
    elif point == "after the outcome":
        site.jobs._end = die  # type: ignore[method-assign] # the last step of a job, which is its row's
    elif point == "before the outcome":
        die_at_outcome(site, Action.GUEST_CREATE)
    elif what == "create":
        CREATE[point](site)
    elif what == "stop" and point == "after the intent":
        site.host = deadly(site.host, "stop", after=False)
    elif what == "stop":
        host._die_at = point


def die_when_all_work(count: int) -> None:
    """Kill the daemon once so many jobs are in the midst of their work."""
    working: set[int] = set()
    heed = job_run.Run.heed

    def hold(run: job_run.Run) -> None:
        if run.acting:
            working.add(id(run))
            if len(working) == count:
                die()
            threading.Event().wait(EVER)
        heed(run)

    job_run.Run.heed = hold  # type: ignore[method-assign,assignment] # this process is killed in the next moment


def die_at_first_progress() -> None:
    job_run.Run.__call__ = die  # type: ignore[method-assign] # as above
    job_run.Run.count = die  # type: ignore[method-assign]


# -- what the next daemon finds --------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared() -> Iterator[PreparedSite]:
    with prepared_site(FakeGuestHost()) as made:
        with made.opened(FakeGuestHost()) as site:
            ada = made.caller(ADMINISTRATOR)
            made.people[OFFICER] = create_account(site, ada, OFFICER, PASSWORD, ["officer"])["id"]
        yield made


@pytest.fixture(scope="module")
def nursery(prepared: PreparedSite) -> Iterator[Nursery]:
    made = Nursery(prepared, "tests.crash.test_jobs_kills")
    yield made
    made.close()


class Aftermath:
    """The site after a kill, open again."""

    def __init__(self, prepared: PreparedSite, site: Site, since: int) -> None:
        self.prepared, self.site, self.since = prepared, site, since

    def unseal(self) -> None:
        """Open the key store, as a custodian would."""
        unseal(self.site, self.prepared.caller(ADMINISTRATOR), bytearray(PASSPHRASE))

    def job(self, what: str) -> Job:
        """The job, once it has ended."""
        _, action, _, _ = asked(self.prepared, what)
        with self.site.database.session() as session:
            (found,) = session.exec(select(Job).where(Job.action == action))
        for _ in range(240):
            if found.state in ENDED:
                return found
            found = self.site.jobs.wait_for_change(found.id, found.revision, 0.5)
        raise AssertionError(f"{what} did not end: {found.sentence}")

    def acts(self, what: str) -> list[str]:
        """How each access for the job ended, as the log tells, since the daemon that was killed."""
        _, action, _, _ = asked(self.prepared, what)
        return [
            str(record.result["code"])
            for record in records(self.site, self.since)
            if record.action == action and record.kind is Kind.OUTCOME and record.result is not None
        ]

    def made(self) -> dict[str, int]:
        """How many images, exports and reports there are, besides the image that was there before."""
        data = self.site.settings.data_dir
        with self.site.database.session() as session:
            reports = set(session.exec(select(Report.id)))
        assert {path.name for path in (data / "reports").iterdir()} == reports
        return {
            "import": len(self.site.images.all()) - 1,
            "export": len(list((data / "exports").iterdir())),
            "report": len(reports),
        }


@pytest.fixture
def aftermath(prepared: PreparedSite, nursery: Nursery, case: str) -> Iterator[Aftermath]:
    """The site after the kill that the test's `case` names; cleaned up in the end."""
    since = nursery.kill(case)
    host = HostOnFile(host_file(prepared))
    with prepared.opened(host, unsealed=False) as site:
        yield Aftermath(prepared, site, since)
        assert verify_store(site.settings.log_db).holds
        assert site.log.open_intents() == []
        assert list(site.settings.data_dir.rglob("*.part")) == []
        assert list(site.settings.memory_dir.iterdir()) == []
        clean_up(site, prepared.caller(OPERATOR), host)
        forget(site)


def forget(site: Site) -> None:
    """Leave nothing of a case to the next."""
    data = site.settings.data_dir
    with site.database.session() as session:
        for row in (*session.exec(select(Job)), *session.exec(select(Report))):
            session.delete(row)
    for folder in ("exports", "reports"):
        for path in (data / folder).iterdir():
            remove(path)
    for image in site.images.all():
        if image.name == "again":
            remove(image.folder)


def remove(path: Path) -> None:
    for inside in path.iterdir() if path.is_dir() else ():
        inside.unlink()
    path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("case", ["waits"])
def test_jobs_of_any_kind_that_waited_begin_and_what_needs_keys_waits_for_the_unseal(
    aftermath: Aftermath,
) -> None:
    for what in AGAIN:
        job = aftermath.job(what)
        assert (what, job.state, job.attempt) == (what, JobState.DONE, 1), job.error
    with aftermath.site.database.session() as session:
        (waiting,) = session.exec(select(Job).where(Job.action == Action.GUEST_CREATE))
    assert waiting.sentence == "Waiting until the key store is unsealed."
    aftermath.unseal()
    made = aftermath.job("create")
    assert (made.state, made.attempt) == (JobState.DONE, 1)
    assert (made.result or {})["name"] == GUEST
    assert aftermath.made() == {"import": 1, "export": 1, "report": 1}
    assert all(aftermath.acts(what) == ["ok"] for what in (*AGAIN, "create"))


@pytest.mark.parametrize("case", ["works"])
def test_jobs_killed_in_the_midst_of_making_something_begin_again_and_make_it_once(
    aftermath: Aftermath,
) -> None:
    for what in AGAIN:
        job = aftermath.job(what)
        assert (what, job.state, job.attempt) == (what, JobState.DONE, 2), job.error
        assert job.result
        settled, done = aftermath.acts(what)
        assert settled.startswith("recovery."), what
        assert done == "ok", what
    assert aftermath.made() == {"import": 1, "export": 1, "report": 1}


@pytest.mark.parametrize(
    "case", ["import: after the outcome", "export: after the outcome", "report: after the outcome"]
)
def test_what_was_made_when_only_its_jobs_row_was_missing_is_not_made_again(
    aftermath: Aftermath, case: str
) -> None:
    what = case.partition(":")[0]
    job = aftermath.job(what)
    assert (job.state, job.attempt, aftermath.acts(what)) == (JobState.DONE, 1, ["ok"])
    assert aftermath.made()[what] == 1
    assert (job.result or {})["id"]


@pytest.mark.parametrize("case", ["create: after the key", "create: while the image is written"])
def test_a_creation_that_was_taken_back_fails_with_what_to_do(aftermath: Aftermath) -> None:
    job = aftermath.job("create")
    assert (job.state, aftermath.acts("create")) == (JobState.FAILED, ["recovery.rolled_back"])
    assert job.error is not None
    assert job.error["code"] == "job.interrupted"
    assert "taken back whole" in job.error["message"]
    assert "Create it again" in job.error["hint"]
    assert aftermath.site.reader.by_id(job.error["record"]).action == Action.GUEST_CREATE
    with aftermath.site.database.session() as session:
        known = session.exec(select(Guest).where(Guest.name == GUEST, Guest.state != GuestState.DELETED))
        assert known.all() == []


@pytest.mark.parametrize("case", ["create: before the outcome", "create: after the outcome"])
def test_a_creation_that_was_done_is_a_job_that_is_done(aftermath: Aftermath) -> None:
    job = aftermath.job("create")
    assert (job.state, aftermath.acts("create")) == (JobState.DONE, ["ok"])
    result: Mapping[str, Any] = job.result or {}
    assert (result["name"], result["state"], len(result["disks"])) == (GUEST, "stopped", 2)


@pytest.mark.parametrize(
    ("case", "what", "state", "told"),
    [
        ("start: compare", "start", JobState.FAILED, "does not run"),
        ("start: resume", "start", JobState.DONE, "running"),
        ("stop: after the intent", "stop", JobState.FAILED, "still runs"),
        ("stop: stopped", "stop", JobState.DONE, "stopped"),
    ],
)
def test_a_start_or_stop_is_never_repeated_and_its_job_ends_as_the_guest_is(
    aftermath: Aftermath, what: str, state: JobState, told: str
) -> None:
    job = aftermath.job(what)
    assert (job.state, job.attempt) == (state, 1)
    assert len(aftermath.acts(what)) == 1
    if state == JobState.DONE:
        assert (job.result or {})["state"] == told
    else:
        assert told in (job.error or {})["message"]
    aftermath.unseal()
    assert len(aftermath.acts(what)) == 1, "nor does the unseal begin it"


def test_a_job_that_kills_every_daemon_is_given_up_after_three_with_a_finding(
    prepared: PreparedSite, nursery: Nursery
) -> None:
    since = nursery.kill("verify: each time")
    for _ in range(2):
        nursery.kill("again: each time")
    with prepared.opened(HostOnFile(host_file(prepared)), unsealed=False) as site:
        aftermath = Aftermath(prepared, site, since)
        job = aftermath.job("verify")
        assert (job.state, job.attempt) == (JobState.FAILED, 3)
        assert (job.error or {})["code"] == "job.gave_up"
        assert open_findings(site) == {("job.gave_up", f"job:{job.id}")}
        assert aftermath.acts("verify") == ["recovery.unknown"] * 3
        site.findings.close("job.gave_up", f"job:{job.id}")
        forget(site)


if __name__ == "__main__":
    raise_daemons(Path(sys.argv[1]), json.loads(sys.argv[2]), live_and_die)
