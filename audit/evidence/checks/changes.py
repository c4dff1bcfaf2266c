"""Checks of changes: who grants access, which version of the policy decided, what moved in or out."""

from collections.abc import Iterator

from audit.evidence.check import Check, Reading, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.framework import Framework
from audit.evidence.log_range import Event, spans

_MOVING = frozenset({"guest.copy_in", "guest.copy_out", "image.import", "log.export"})
_ACCOUNT = "account:"


def _granted_by_another(_snapshot: Snapshot) -> Reading:
    tested: list[Event] = []
    wrong: list[tuple[object, ...]] = []
    while (event := (yield)) is not None:
        if event.kind != "intent" or event.action not in {"account.create", "account.disable"}:
            continue
        tested.append(event)
        if event.principal == event.resource:
            wrong.append((event.seq, event.at, event.principal, event.action, event.resource, "by itself"))
        elif event.decision != "allow" or not event.policies:
            wrong.append((event.seq, event.at, event.principal, event.action, event.resource, "by no policy"))
    return judged(
        population=len(tested),
        violations=len(wrong),
        unit="grants and withdrawals",
        query=(
            "intents of account.create and account.disable in the period: whether the one who did it is another than "
            "the account, and a policy allowed it; rows list what does not hold"
        ),
        holds=f"Each account made or disabled ({len(tested)}) was so by another principal, allowed by a policy.",
        fails=f"Accounts made or disabled by themselves or without a policy: {len(wrong)} of {len(tested)}.",
        empty="No account was made or disabled in the period.",
        seqs=spans(event.seq for event in tested),
        table=Table.of(("record", "time (UTC)", "principal", "action", "resource", "what is wrong"), wrong),
    )


def _versions_kept(snapshot: Snapshot) -> Reading:
    stored = snapshot.facts.policy.kept
    first: dict[str, int] = {}
    counts: dict[str, int] = {}
    while (event := (yield)) is not None:
        if event.bundle is not None:
            first.setdefault(event.bundle, event.seq)
            counts[event.bundle] = counts.get(event.bundle, 0) + 1
    query = (
        "versions of the policy that decided in the period, by digest; whether the text of each is kept whole"
    )
    if stored is None:
        return not_evaluated("Which texts are kept was not looked at.", unit="versions", query=query)
    lost = [digest for digest in counts if digest not in stored]
    return judged(
        population=len(counts),
        violations=len(lost),
        unit="versions of the policy",
        query=query,
        holds=(
            f"Every version of the policy that decided in the period ({len(counts)}) is kept whole and has its digest, "
            "so each decision can be made again."
        ),
        fails=f"Versions of the policy that decided and whose text is not kept: {len(lost)} of {len(counts)}.",
        empty="No policy decided anything in the period.",
        seqs=spans(first.values()),
        table=Table.of(
            ("SHA-256", "first record", "decisions", "kept"),
            (
                (d, first[d], counts[d], "no" if d in lost else "yes")
                for d in sorted(counts, key=first.__getitem__)
            ),
        ),
    )


def _moves_recorded(snapshot: Snapshot) -> Reading:
    known = {f"{_ACCOUNT}{account.id}" for account in snapshot.facts.accounts}
    moves: dict[str, Event] = {}
    ends: dict[str, Event] = {}
    while (event := (yield)) is not None:
        if event.action not in _MOVING:
            continue
        if event.kind == "intent" and snapshot.log.holds(event.seq):
            moves[event.id] = event
        elif event.kind == "outcome" and event.intent:
            ends[event.intent] = event
    rows = [*_faults(snapshot, moves, ends, known)]
    return judged(
        population=len(moves),
        violations=len(rows),
        unit="movements",
        query=(
            f"intents of {', '.join(sorted(_MOVING))} in the period: whether each names a person that the site knows, "
            "and has its outcome; rows list what does not hold"
        ),
        holds=f"Each movement of data in or out ({len(moves)}) names who moved it and how it ended.",
        fails=f"Movements without a known person or without an end: {len(rows)} of {len(moves)}.",
        empty="Nothing was moved in or out in the period.",
        seqs=spans(event.seq for event in moves.values()),
        table=Table.of(("record", "time (UTC)", "principal", "action", "resource", "what is wrong"), rows),
    )


def _faults(
    snapshot: Snapshot, moves: dict[str, Event], ends: dict[str, Event], known: set[str]
) -> Iterator[tuple[object, ...]]:
    for event in moves.values():
        wrong = ""
        if event.principal not in known:
            wrong = "nobody that the site knows"
        elif event.id not in ends and event.id not in snapshot.facts.log.in_flight:
            wrong = "how it ended is not recorded"
        if wrong:
            yield (event.seq, event.at, event.principal, event.action, event.resource, wrong)


def _objects_known(snapshot: Snapshot) -> Reading:
    made: set[str] = set()
    ended: set[str] = set()
    while (event := (yield)) is not None:
        if event.kind in {"intent", "access"}:
            if event.action in {"guest.create", "account.create"}:
                made.add(event.resource)
            elif event.action in {"guest.delete", "account.disable"}:
                ended.add(event.resource)
    expected = [(f"guest:{g.id}", g.state == "deleted") for g in snapshot.facts.guests]
    expected += [(f"{_ACCOUNT}{a.id}", a.disabled_at is not None) for a in snapshot.facts.accounts]
    rows = [
        (ref, "no record of its creation" if ref not in made else "no record of its end")
        for ref, is_over in sorted(expected)
        if ref not in made or (is_over and ref not in ended)
    ]
    return judged(
        population=len(expected),
        violations=len(rows),
        unit="guests and accounts",
        query=(
            "every guest and account that the site knows, also deleted and disabled ones, against the records of their "
            "creation and end in the whole covered log; rows list what has none"
        ),
        holds=f"The creation, and where it came the end, of each guest and account ({len(expected)}) is in the log.",
        fails=f"Guests and accounts that came or went without a record: {len(rows)} of {len(expected)}.",
        empty="The site knows no guest and no account.",
        table=Table.of(("resource", "what is wrong"), rows),
    )


_APPROVAL = "that another person approved it beforehand is a workflow record, which is not kept yet"

CHECKS = (
    Check(
        id="account.granted_by_another",
        version=1,
        title="Nobody grants access to themselves",
        supports={
            Framework.HIPAA: (
                Support("164.308(a)(3)(ii)(A)", _APPROVAL),
                Support("164.308(a)(4)(ii)(C)", _APPROVAL),
            ),
            Framework.PCI: (Support("7.2.3", _APPROVAL), Support("8.2.4", _APPROVAL)),
        },
        read=_granted_by_another,
    ),
    Check(
        id="policy.versions_kept",
        version=1,
        title="Every version of the policy that decided is kept",
        supports={
            Framework.HIPAA: (
                Support("164.308(a)(4)(ii)(C)", "that the policy is reviewed on time is a workflow record"),
                Support("164.316(b)(2)(ii)", "documents other than the policy are not kept here"),
            ),
        },
        read=_versions_kept,
    ),
    Check(
        id="media.moves_recorded",
        version=1,
        title="What moves in or out names who moved it",
        supports={
            Framework.HIPAA: (
                Support("164.310(d)(2)(iii)", "hardware and media that people carry are not visible here"),
            ),
            Framework.PCI: (Support("9.4.4", _APPROVAL),),
        },
        read=_moves_recorded,
        whole_log=True,
    ),
    Check(
        id="log.objects_known",
        version=1,
        title="No guest and no account came or went without a record",
        supports={
            Framework.HIPAA: (Support("164.312(b)", "a heartbeat is not evaluated yet"),),
            Framework.PCI: (Support("10.2.1.5"), Support("10.2.1.7")),
        },
        read=_objects_known,
        whole_log=True,
    ),
)
