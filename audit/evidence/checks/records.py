"""Checks of what is recorded: no empty field, and each class of event that PCI DSS 10.2.1 names.

A class is shown by canaries: events of the period that are known to have happened because they are there. An
empty class is NO-POPULATION: nothing shows that it would be recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass

from audit.evidence.check import Check, Reading, Snapshot, Support, Table, judged
from audit.evidence.framework import Framework
from audit.evidence.log_range import Event, spans

#: Kinds that a caller causes; the others are the daemon's own and have no network origin.
_CALLED = frozenset({"intent", "outcome", "access", "denied", "pending"})
_OK = "ok"
#: Rows shown of a class; the total is always stated.
_SHOWN = 25


def _missing(event: Event) -> str:
    empty = [name for name in ("principal", "action", "at", "resource") if not getattr(event, name)]
    if event.kind != "outcome" and event.kind in _CALLED and not event.decision:
        empty.append("decision")
    if event.kind != "intent" and not event.code:
        empty.append("result")
    if event.kind in _CALLED and not event.channel:
        empty.append("source")
    return ", ".join(empty)


def _fields_complete(snapshot: Snapshot) -> Reading:
    count, wrong = 0, []
    while (event := (yield)) is not None:
        count += 1
        if missing := _missing(event):
            wrong.append((event.seq, event.at, event.kind, event.action, missing))
    return judged(
        population=count,
        violations=len(wrong),
        unit="records",
        query=(
            "every record of the period: who, what, when, on what, with what result; where a caller caused "
            "it, also decision and origin; rows list only records with an empty field"
        ),
        holds=f"No record lacks who, what, when, result, origin or target ({count:,} of {count:,}).",
        fails=f"Records that lack a field: {len(wrong)} of {count}.",
        empty="There is no record in the period.",
        seqs=snapshot.log.span,
        table=Table.of(("record", "time (UTC)", "kind", "action", "empty fields"), wrong),
    )


@dataclass(frozen=True, slots=True)
class EventClass:
    """One class of PCI DSS 10.2.1: which records are canaries for it."""

    suffix: str
    name: str
    matches: Callable[[Event], bool]
    gap: str = ""


def _of(*actions: str) -> Callable[[Event], bool]:
    wanted = frozenset(actions)
    return lambda event: event.action in wanted and event.kind in {"intent", "access", "system"}


def _starts_with(*prefixes: str) -> Callable[[Event], bool]:
    return lambda event: event.action.startswith(prefixes) and event.kind in {"intent", "access"}


def _refused(event: Event) -> bool:
    if event.kind in {"denied", "pending"}:
        return True
    return event.action == "session.login" and event.kind == "outcome" and event.code != _OK


_GUEST_GAP = "what happens inside a running guest is in the guest's own log, which is not examined"
_HOST_GAP = (
    "what administrators do on the host outside the gate is in the host's own log, which is not examined"
)

CLASSES = (
    EventClass(
        "1",
        "data_access",
        _of("guest.exec", "guest.copy_in", "guest.copy_out", "guest.console"),
        _GUEST_GAP,
    ),
    EventClass(
        "2", "administration", _starts_with("guest.", "account.", "keystore.", "image.", "policy."), _HOST_GAP
    ),
    EventClass("3", "log_access", _starts_with("log.", "report.")),
    EventClass("4", "refused_access", _refused),
    EventClass(
        "5",
        "credential_changes",
        _of("account.create", "account.disable", "account.password", "token.create", "token.revoke"),
    ),
    EventClass("6", "log_start_stop", _of("system.init", "system.start", "system.stop")),
    EventClass(
        "7", "objects", _of("guest.create", "guest.delete", "image.build", "image.import", "image.delete")
    ),
)

_TITLES = {
    "data_access": "Reaching into guests is recorded",
    "administration": "Administrators' acts are recorded",
    "log_access": "Looking at the log is recorded",
    "refused_access": "Refused accesses and failed log-ins are recorded",
    "credential_changes": "Changes of accounts and credentials are recorded",
    "log_start_stop": "Start and stop of the log are recorded",
    "objects": "Creation and deletion of guests and images are recorded",
}


def _class_recorded(event_class: EventClass) -> Callable[[Snapshot], Reading]:
    def read(_snapshot: Snapshot) -> Reading:
        seqs: list[int] = []
        lacking = 0
        shown: list[tuple[object, ...]] = []
        while (event := (yield)) is not None:
            if event_class.matches(event):
                seqs.append(event.seq)
                lacking += bool(_missing(event))
                if len(shown) < _SHOWN:
                    shown.append(
                        (
                            event.seq,
                            event.at,
                            event.principal,
                            event.action,
                            event.resource,
                            event.code or event.kind,
                        )
                    )
        kept = Table.of(("record", "time (UTC)", "principal", "action", "resource", "result"), shown)
        return judged(
            population=len(seqs),
            violations=lacking,
            unit="events",
            query=(
                f"records of the class {event_class.name} in the period, and whether each says who, when, on what, "
                f"from where and with what answer; rows list the first {_SHOWN}"
            ),
            holds=f"Events of this class in the verified log: {len(seqs):,}, none of which lacks a field.",
            fails=f"Events of this class that lack a field: {lacking} of {len(seqs)}.",
            empty=(
                "No event of this class happened in the period, so nothing shows that it would be recorded."
            ),
            seqs=spans(seqs),
            table=Table(kept.columns, kept.rows, len(seqs)),
        )

    return read


CHECKS = (
    Check(
        id="log.fields_complete",
        version=1,
        title="No record lacks who, what, when, result, origin or target",
        supports={
            Framework.HIPAA: (Support("164.312(b)", "a heartbeat is not evaluated yet"),),
            Framework.PCI: (Support("10.2.2"),),
        },
        read=_fields_complete,
    ),
    *(
        Check(
            id=f"log.records_{event_class.name}",
            version=2,
            title=_TITLES[event_class.name],
            supports={Framework.PCI: (Support(f"10.2.1.{event_class.suffix}", event_class.gap),)},
            read=_class_recorded(event_class),
        )
        for event_class in CLASSES
    ),
)
