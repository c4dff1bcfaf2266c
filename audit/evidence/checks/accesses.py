"""Checks that every access took the one way through the gate: intent, one allow decision, outcome.

The join looks at the whole covered log, because an intent may lie before the period and its outcome inside
it; only intents that are still open are remembered, so memory stays flat.
"""

from collections import Counter
from dataclasses import dataclass, field

from audit.evidence.check import Check, Reading, Snapshot, Support, Table, judged, kept
from audit.evidence.framework import Framework
from audit.evidence.log_range import Event, spans

_COLUMNS = ("record", "time (UTC)", "kind", "principal", "action", "resource", "what is wrong")
#: Actions that move data in or out of a guest, or run something in it.
_DATA_ACTIONS = frozenset({"guest.exec", "guest.copy_in", "guest.copy_out", "guest.console"})
#: What libvirt tells when a guest shut itself down or its QEMU failed.
_ENDS = frozenset({"domain.stopped", "domain.crashed"})
_OWN_ENDS = frozenset({"shutdown", "crashed", "failed"})


@dataclass
class _Join:
    """Intents that wait for their outcome, and what was found wrong in the period."""

    open: dict[str, Event] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Event, str]] = field(default_factory=list)


def _row(event: Event, wrong: str) -> tuple[object, ...]:
    return (event.seq, event.at, event.kind, event.principal, event.action, event.resource, wrong)


def _close(join: _Join, event: Event, *, inside: bool) -> None:
    intent = join.open.pop(event.intent or "", None)
    if intent is None:
        if inside:
            join.wrong.append((event, "no open intent: done without a decision, or twice"))
        return
    if not inside:
        return
    if intent.decision != "allow":
        join.wrong.append((event, f"its intent was decided {intent.decision or 'by nobody'}"))
    elif (intent.principal, intent.action, intent.resource) != (
        event.principal,
        event.action,
        event.resource,
    ):
        join.wrong.append((event, "differs from its intent in principal, action or resource"))


def _guests_own_end(event: Event) -> bool:
    """Whether a guest came to its end by itself: QEMU tells of it, and nobody acted."""
    return event.action in _ENDS and event.facts.get("detail") in _OWN_ENDS


def _running(snapshot: Snapshot, unsettled: list[Event]) -> frozenset[str]:
    """Intents that the gate was acting on when the facts were taken; this report's own is always one."""
    asked_by = snapshot.facts.system.generated_by
    own = [
        event.id
        for event in unsettled
        if event.action == "report.create" and event.principal in {asked_by, f"account:{asked_by}"}
    ]
    return frozenset((*snapshot.facts.log.in_flight, *own[-1:]))


def _one_decision(snapshot: Snapshot) -> Reading:
    join = _Join()
    while (event := (yield)) is not None:
        inside = snapshot.log.holds(event.seq)
        if inside:
            join.kinds[event.kind] += 1
        match event.kind:
            case "intent":
                join.open[event.id] = event
            case "outcome":
                _close(join, event, inside=inside)
            case "access" if inside and event.decision != "allow":
                join.wrong.append((event, f"a read that was decided {event.decision or 'by nobody'}"))
            case "external" if inside and not _guests_own_end(event):
                join.wrong.append((event, "an effect seen on the host that did not pass the gate"))
            case _:
                pass
    unsettled = [event for event in join.open.values() if snapshot.log.holds(event.seq)]
    running_ids = _running(snapshot, unsettled)
    lost = [event for event in unsettled if event.id not in running_ids]
    wrong = join.wrong + [(event, "no outcome, not even one that recovery found out") for event in lost]
    wrong.sort(key=lambda pair: pair[0].seq)
    kinds = join.kinds
    running = len(unsettled) - len(lost)
    still = f", but for {running} that ran when the facts were taken" if running else ""
    population = kinds["intent"] + kinds["access"] + kinds["external"]
    return judged(
        population=population,
        violations=len(wrong),
        unit="accesses",
        query=(
            "records of kind intent, access and external in the period; outcomes joined to "
            "intents by id over the whole log; rows list only what does not hold"
        ),
        holds=(
            f"Every act ({kinds['intent']:,}) and read ({kinds['access']:,}) joins exactly one allow decision, "
            f"and each act has its outcome{still}. Nothing was seen on the host that did not pass the gate."
        ),
        fails=f"Records that do not join one allow decision: {len(wrong)}; see the rows.",
        empty="There was no access in the period.",
        seqs=snapshot.log.span,
        table=Table.of(_COLUMNS, (_row(event, why) for event, why in wrong)),
    )


def _decisions_named(snapshot: Snapshot) -> Reading:
    decided, allowed = 0, 0
    wrong: list[tuple[object, ...]] = []
    bundles: set[str] = set()
    while (event := (yield)) is not None:
        if event.decision is None:
            continue
        decided += 1
        allowed += event.decision == "allow"
        if event.bundle is None:
            wrong.append((event.seq, event.at, event.action, event.decision, "no version of the policy"))
        else:
            bundles.add(event.bundle)
        if event.decision == "allow" and not event.policies:
            wrong.append((event.seq, event.at, event.action, event.decision, "no policy that allowed it"))
    return judged(
        population=decided,
        violations=len(wrong),
        unit="decisions",
        query="records of the period with a decision: digest of the policy in force; for each allow, its policies",
        holds=(
            f"Every decision ({decided:,}) names the version of the policy that made it, and every allow "
            f"({allowed:,}) the policies that allowed it. Versions in force: {len(bundles)}."
        ),
        fails=f"Decisions that do not name their policy: {len(wrong)} of {decided}.",
        empty="No decision was made in the period.",
        seqs=snapshot.log.span,
        table=Table.of(("record", "time (UTC)", "action", "decision", "what is wrong"), wrong),
    )


def _data_moves_permitted(snapshot: Snapshot) -> Reading:
    label = snapshot.framework.scope_label
    scoped = {f"guest:{guest.id}" for guest in snapshot.facts.guests if label in guest.labels}
    acts = yield from kept(
        lambda event: (
            event.action in _DATA_ACTIONS
            and event.kind in {"intent", "denied", "pending"}
            and event.resource in scoped
        )
    )
    wrong = [e for e in acts if e.kind == "intent" and not (e.decision == "allow" and e.policies)]
    return judged(
        population=len(acts),
        violations=len(wrong),
        unit="attempts",
        query=(
            f"records of {', '.join(sorted(_DATA_ACTIONS))} on guests labelled "
            f"{snapshot.framework.scope_label}: intents, denials and pending requests"
        ),
        holds=f"Every attempt to reach into a labelled guest ({len(acts)}) was decided, each permit by name.",
        fails=f"Acts on labelled guests that name no policy that permitted them: {len(wrong)} of {len(acts)}.",
        empty="Nobody tried to reach into a labelled guest in the period.",
        seqs=spans(e.seq for e in acts),
        table=Table.of(
            ("record", "time (UTC)", "principal", "action", "resource", "decision", "policies"),
            (
                (e.seq, e.at, e.principal, e.action, e.resource, e.decision or e.kind, ", ".join(e.policies))
                for e in acts
            ),
        ),
    )


_GRANTS = "who approved each grant of a role is a workflow record, which is not kept yet"

CHECKS = (
    Check(
        id="access.one_decision",
        version=1,
        title="Every access joins exactly one allow decision",
        supports={
            Framework.HIPAA: (Support("164.312(a)(1)"),),
            Framework.PCI: (
                Support("10.3.1"),
                Support("7.2.6", "queries that people run inside a guest are not visible to this platform"),
                Support("7.3.1", "access systems of components outside this platform are not examined"),
            ),
        },
        read=_one_decision,
        whole_log=True,
    ),
    Check(
        id="access.data_moves_permitted",
        version=1,
        title="Reaching into labelled guests needs a permit by policy",
        supports={
            Framework.PCI: (
                Support("3.4.2", "copying inside a person's own remote session is not visible here"),
            ),
        },
        read=_data_moves_permitted,
    ),
    Check(
        id="access.decisions_named",
        version=1,
        title="Every decision names the policy that made it",
        supports={
            Framework.HIPAA: (Support("164.308(a)(4)(ii)(B)", _GRANTS),),
            Framework.PCI: (Support("7.2.1", _GRANTS), Support("7.3.2")),
        },
        read=_decisions_named,
    ),
)
