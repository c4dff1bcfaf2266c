"""Errors that concern everybody become findings, and go when they are mended."""

from dataclasses import dataclass, replace

import pytest

from audit.errors import LogUnavailable
from audit.log.record import Draft, Kind, Record
from policies.vocabulary import Action, Decision, EntityRef, EntityType, Request, Verdict
from vault.entities import HOST, KEY_STORE, SITE, guest_ref
from vault.errors import (
    EvaluationFailed,
    HostUnprotected,
    IntegrityFailure,
    KeyStoreDamaged,
    OutcomeNotRecorded,
)
from vault.gate import Access, Caller, RecordWriter
from vault.identity.accounts import account_ref
from vault.operations.alarms import raise_alarms
from vault.permit import Permit
from vault.site import Site

OLGA = Caller(account_ref("id-olga-operator"), "cli")
KIM = Caller(account_ref("id-kim-custodian"), "cli")
START = Access(OLGA, Action.GUEST_START, guest_ref("guest-1"))
UNSEAL = Access(KIM, Action.KEYSTORE_UNSEAL, KEY_STORE)


class FailingLog:
    """The real writer, which does not answer while it is told not to."""

    def __init__(self, log: RecordWriter) -> None:
        self._log = log
        self.away: tuple[Kind, ...] = ()

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:
        if draft.kind in self.away:
            raise LogUnavailable("The log cannot be written.")
        return self._log.append(draft, timeout_s)


@pytest.fixture
def log(site: Site) -> FailingLog:
    failing = FailingLog(site.gate._log)
    site.gate._log = failing
    raise_alarms(site)
    return failing


def told(site: Site) -> list[tuple[str, str]]:
    return sorted((finding.code, finding.resource) for finding in site.findings.all_open())


def fail(site: Site, access: Access, error: Exception) -> None:
    def act(_permit: Permit) -> None:
        raise error

    with pytest.raises(type(error)):
        site.gate.run(access, act)


@dataclass
class Broken:
    """An engine whose policies cannot be evaluated."""

    bundle: str

    def decide(self, _request: Request) -> Decision:
        return Decision(
            Verdict.DENY, (), "denied because of an error", (), self.bundle, evaluation_failed=True
        )


@pytest.mark.usefixtures("log")
def test_a_policy_that_cannot_be_evaluated_denies_and_is_an_alarm_with_its_record(site: Site) -> None:
    site.gate.replace_engine(Broken(site.bundle.digest))
    with pytest.raises(EvaluationFailed) as denied:
        site.gate.run(START, lambda _permit: None)
    assert denied.value.exit_code == 3
    (finding,) = site.findings.all_open()
    assert (finding.code, finding.resource) == ("policy.evaluation_failed", "guest:guest-1")
    assert finding.record == denied.value.record
    with pytest.raises(EvaluationFailed):
        site.gate.read(Access(OLGA, Action.GUEST_LIST, SITE), lambda: None)
    assert len(told(site)) == 2


@pytest.mark.usefixtures("log")
def test_a_damaged_key_store_stays_a_finding_until_it_opens_again(site: Site) -> None:
    fail(site, UNSEAL, KeyStoreDamaged("It is cut short."))
    fail(site, START, KeyStoreDamaged("It is cut short."))
    assert told(site) == [("keystore.damaged", str(KEY_STORE))]
    site.gate.run(UNSEAL, lambda _permit: None)
    assert told(site) == []


@pytest.mark.usefixtures("log")
def test_a_host_that_would_leave_keys_on_a_disk_is_a_finding_until_a_guest_starts(site: Site) -> None:
    fail(site, START, HostUnprotected("Swap."))
    assert told(site) == [("host.unprotected", str(HOST))]
    site.gate.run(START, lambda _permit: None)
    assert told(site) == []


@pytest.mark.usefixtures("log")
def test_what_is_not_what_it_was_is_a_finding_unless_one_says_it_more_exactly(site: Site) -> None:
    fail(site, START, IntegrityFailure("Its kernel was exchanged."))
    assert told(site) == [("integrity.failure", "guest:guest-1")]
    site.gate.run(START, lambda _permit: None)
    assert told(site) == []
    site.findings.open("disk.not_encrypted", resource="guest:guest-1/root", sentence="It is in the clear.")
    fail(site, START, IntegrityFailure("Its disk is in the clear."))
    assert told(site) == [("disk.not_encrypted", "guest:guest-1/root")]


@pytest.mark.usefixtures("log")
def test_what_concerns_only_who_asked_is_no_finding(site: Site) -> None:
    fail(site, START, ValueError("a defect"))
    site.gate.run(replace(START, resource=EntityRef(EntityType.GUEST, "guest-2")), lambda _permit: None)
    assert told(site) == []


def test_a_log_that_was_away_is_a_finding_once_it_is_back(site: Site, log: FailingLog) -> None:
    log.away = tuple(Kind)
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            site.gate.run(START, lambda _permit: None)
    assert told(site) == []
    log.away = ()
    site.gate.run(START, lambda _permit: None)
    (finding,) = site.findings.all_open()
    assert (finding.code, finding.resource) == ("log.unavailable", "log:log")
    assert finding.record is not None
    assert site.reader.by_id(finding.record).kind is Kind.INTENT


def test_an_outcome_that_is_not_recorded_is_a_finding_at_once(site: Site, log: FailingLog) -> None:
    log.away = (Kind.OUTCOME,)
    with pytest.raises(OutcomeNotRecorded) as stopped:
        site.gate.run(START, lambda _permit: None)
    (finding,) = site.findings.all_open()
    assert (finding.code, finding.record) == ("gate.outcome_not_recorded", stopped.value.record)


def test_a_finding_that_cannot_be_opened_spoils_no_access(
    site: Site, log: FailingLog, caplog: pytest.LogCaptureFixture
) -> None:
    fail(site, START, HostUnprotected("Swap."))
    with site.database.session() as session:
        session.connection().exec_driver_sql("DROP TABLE finding")
    log.away = (Kind.INTENT,)
    with pytest.raises(LogUnavailable):
        site.gate.run(START, lambda _permit: None)
    log.away = ()
    assert site.gate.run(START, lambda _permit: 5) == 5
    assert "A finding could not be opened" in caplog.text
