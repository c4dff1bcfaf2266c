"""Checks of log-ins as they happened: failures are seen, and guessing is locked out."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from audit.evidence.check import Check, Reading, Snapshot, Support, Table, judged, kept
from audit.evidence.framework import Framework
from audit.evidence.instant import parse_instant
from audit.evidence.log_range import Event, spans
from audit.evidence.verdict import Verdict

_LOGIN = "session.login"
#: Failures of one principal within an hour that make a burst worth a person's look (our number).
_BURST = 5
_BURST_WITHIN = timedelta(hours=1)
#: PCI DSS 8.3.4: the most tries, and the shortest lock.
_MAX_TRIES = 10
_MIN_LOCK_S = 30 * 60


@dataclass(frozen=True, slots=True)
class _Try:
    event: Event
    succeeded: bool


def _tries() -> Generator[None, Event | None, list[_Try]]:
    ended = yield from kept(
        lambda event: event.action == _LOGIN and event.kind in {"outcome", "denied", "pending"}
    )
    return [_Try(event, event.kind == "outcome" and event.code == "ok") for event in ended]


def _by_principal(tries: list[_Try]) -> dict[str, list[_Try]]:
    grouped: dict[str, list[_Try]] = defaultdict(list)
    for login in tries:
        grouped[login.event.principal].append(login)
    return dict(sorted(grouped.items()))


def _bursts(tries: list[_Try]) -> Iterator[tuple[Event, Event, int]]:
    """Yield first, last and number of each run of failures that is close enough together to be a burst."""
    run: list[Event] = []
    for login in tries:
        if login.succeeded:
            continue
        at = parse_instant(login.event.at)
        if run and at - parse_instant(run[-1].at) > _BURST_WITHIN:
            if len(run) >= _BURST:
                yield run[0], run[-1], len(run)
            run = []
        run.append(login.event)
    if len(run) >= _BURST:
        yield run[0], run[-1], len(run)


def _failures_seen(_snapshot: Snapshot) -> Reading:
    tries = yield from _tries()
    failed = [login.event for login in tries if not login.succeeded]
    bursts = [
        (principal, first.seq, last.seq, number, first.at, last.at)
        for principal, own in _by_principal(tries).items()
        for first, last, number in _bursts(own)
    ]
    return judged(
        population=len(tries),
        violations=0,
        unit="log-ins",
        query=(
            f"outcomes and denials of session.login; rows list bursts: {_BURST} or more failures of one "
            "principal, each within an hour of the one before"
        ),
        holds=f"Log-ins recorded: {len(tries)}; failed: {len(failed)}; bursts of failures: {len(bursts)}.",
        fails="",
        empty="Nobody tried to log in during the period.",
        seqs=spans(login.event.seq for login in tries),
        table=Table.of(
            ("principal", "first record", "last record", "failures", "from (UTC)", "to (UTC)"), bursts
        ),
    )


def _wrongly_let_in(own: list[_Try], limit: int, lock: timedelta) -> tuple[int, list[Event]]:
    """Replay the lock: return how often it must have closed, and the successes while it was closed."""
    locks, failures, locked_until = 0, 0, None
    wrong: list[Event] = []
    for login in own:
        at = parse_instant(login.event.at)
        if locked_until is not None and at < locked_until:
            if login.succeeded:
                wrong.append(login.event)
            continue  # tries against a locked account neither count nor prolong the lock
        failures = 0 if login.succeeded else failures + 1
        if failures >= limit:
            locks, failures, locked_until = locks + 1, 0, at + lock
    return locks, wrong


def _lockout(snapshot: Snapshot) -> Reading:
    settings = snapshot.facts.settings
    rules_hold = 0 < settings.lockout_tries <= _MAX_TRIES and settings.lockout_s >= _MIN_LOCK_S
    locks, tested, wrong = 0, [], list[Event]()
    tries = yield from _tries()
    for own in _by_principal(tries).values():
        own_locks, own_wrong = _wrongly_let_in(
            own, settings.lockout_tries, timedelta(seconds=settings.lockout_s)
        )
        if own_locks:
            locks += own_locks
            wrong += own_wrong
            tested += [login.event.seq for login in own]
    rule = f"{settings.lockout_tries} tries, then {settings.lockout_s // 60} minutes"
    result = judged(
        population=1 + locks,
        violations=len(wrong) + int(not rules_hold),
        unit="settings and lockouts",
        query=(
            "lockout settings in force; log-ins of the period replayed against them; rows list successes "
            "while the account must have been locked"
        ),
        holds=f"Accounts lock after {rule}. Lockouts seen: {locks}; opened early: 0.",
        fails=(
            f"Log-ins that succeeded while the account must have been locked: {len(wrong)}."
            if wrong
            else f"The setting ({rule}) is weaker than {_MAX_TRIES} tries and {_MIN_LOCK_S // 60} minutes."
        ),
        empty="",
        seqs=spans(tested),
        table=Table.of(("principal", "record", "time (UTC)"), ((e.principal, e.seq, e.at) for e in wrong)),
    )
    if result.verdict is Verdict.SATISFIED and not locks:
        reason = f"The setting holds ({rule}), but no account was locked in the period: not seen at work."
        return replace(result, verdict=Verdict.PARTIAL, reason=reason)
    return result


CHECKS = (
    Check(
        id="login.failures_seen",
        version=1,
        title="Log-ins and their failures are recorded and bursts are found",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.308(a)(5)(ii)(C)",
                    "that a person was alerted and disposed of each burst is a workflow record, which is "
                    "not kept yet",
                ),
            ),
        },
        read=_failures_seen,
    ),
    Check(
        id="login.lockout",
        version=1,
        title="Guessing a password is locked out",
        supports={
            Framework.PCI: (Support("8.3.4"),),
        },
        read=_lockout,
    ),
)
