"""Runs every check of a framework over a snapshot and joins the results into one verdict for each control.

Rules, printed in every report: the worst verdict of a control's checks wins (`verdict.worst`); a check that
passes but does not see the whole of a control makes it PARTIAL and names the gap; a control without a check
is NOT-EVALUATED with the reason; over a log that does not verify nothing that reads the log is evaluated.
Evidence items are numbered EV-0001 onward in the registry's order, and each has a digest of its own.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from audit.evidence.check import Check, CheckResult, Snapshot, no_listener, run_checks
from audit.evidence.checks.registry import checks_for
from audit.evidence.document import to_bytes
from audit.evidence.framework import Framework
from audit.evidence.instant import Period
from audit.evidence.log_range import Event
from audit.evidence.verdict import VERDICT_ORDER, Verdict, status_in_framework, worst
from policies.controls import Catalogue, Control, Evidence

#: The evaluation document's shape.
EVALUATION_VERSION = 1
#: Records between two words on progress.
_PROGRESS_RECORDS = 4096
_TESTED = frozenset({Verdict.SATISFIED, Verdict.PARTIAL, Verdict.NOT_SATISFIED})

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One check's result as a numbered piece of evidence; `sha256` is of its canonical JSON without it."""

    number: str
    check: str
    version: int
    title: str
    controls: tuple[str, ...]
    result: CheckResult
    sha256: str


@dataclass(frozen=True, slots=True)
class Grounds:
    """What one evidence item says about one control; `gap` is the part it cannot see."""

    number: str
    verdict: Verdict
    gap: str


@dataclass(frozen=True, slots=True)
class ControlEvaluation:
    """One control's verdict. `status` is the framework's own word for it, empty where it has none."""

    control: Control
    verdict: Verdict
    status: str
    reason: str
    grounds: tuple[Grounds, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All verdicts of one framework over one snapshot."""

    framework: Framework
    period: Period
    catalogue: Catalogue
    controls: tuple[ControlEvaluation, ...]
    items: tuple[EvidenceItem, ...]
    snapshot_sha256: str
    records_covered: int
    records_in_period: int

    def item(self, number: str) -> EvidenceItem:
        """The evidence item with this number."""
        return self.items[int(number.removeprefix("EV-")) - 1]

    def counts(self) -> Mapping[Verdict, int]:
        """Number of controls for each verdict, every verdict present, in the order reports list them."""
        found = Counter(evaluated.verdict for evaluated in self.controls)
        return {verdict: found[verdict] for verdict in VERDICT_ORDER}

    def tested(self) -> int:
        """Number of controls for which at least one check had something to test and came to an end."""
        return sum(evaluated.verdict in _TESTED for evaluated in self.controls)

    def document(self) -> dict[str, object]:
        """The evaluation as one JSON object: every verdict with all its grounds."""
        return {
            "v": EVALUATION_VERSION,
            "framework": self.framework.value,
            "period": {"from": self.period.first, "to": self.period.last_excluded},
            "catalogue": {
                "id": self.catalogue.id,
                "edition": self.catalogue.edition,
                "as_of": self.catalogue.as_of.isoformat(),
                "sha256": catalogue_digest(self.catalogue),
            },
            "snapshot_sha256": self.snapshot_sha256,
            "records": {"covered": self.records_covered, "in_period": self.records_in_period},
            "counts": {verdict.value: count for verdict, count in self.counts().items()},
            "controls": [
                {
                    "id": evaluated.control.id,
                    "verdict": evaluated.verdict.value,
                    "status": evaluated.status or None,
                    "reason": evaluated.reason,
                    "evidence": [asdict(grounds) for grounds in evaluated.grounds],
                }
                for evaluated in self.controls
            ],
            "evidence": [_item_document(item) | {"sha256": item.sha256} for item in self.items],
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785) of the document; the same snapshot gives the same bytes."""
        return to_bytes(self.document())


def evaluate(
    snapshot: Snapshot,
    catalogue: Catalogue,
    progress: Progress = lambda _fraction, _sentence: None,
    listener: Callable[[Event], None] = no_listener,
) -> Evaluation:
    """Run the framework's checks and judge every control of the catalogue.

    Args:
        snapshot: facts, log and period.
        catalogue: the framework's controls.
        progress: called with a fraction from 0 to 1 and a sentence.
        listener: told each record of the period while the checks read it.
    """
    checks = checks_for(snapshot.framework)
    heard = 0

    def hear(event: Event) -> None:
        nonlocal heard
        heard += 1
        if heard % _PROGRESS_RECORDS == 0:
            progress(
                heard / (snapshot.log.count + 1), f"Checking record {heard:,} of {snapshot.log.count:,}."
            )
        listener(event)

    progress(0.0, f"Running {len(checks)} checks over {snapshot.log.size:,} records.")
    results = run_checks(checks, snapshot, hear)
    items = [
        _numbered(number, check, result, snapshot.framework)
        for number, (check, result) in enumerate(zip(checks, results, strict=True), start=1)
    ]
    progress(1.0, "Every check has run.")
    grounds = _grounds_by_control(checks, items, snapshot.framework)
    return Evaluation(
        framework=snapshot.framework,
        period=snapshot.period,
        catalogue=catalogue,
        controls=tuple(
            _judge(control, grounds.get(control.id, ()), items, snapshot.framework)
            for control in catalogue.controls
        ),
        items=tuple(items),
        snapshot_sha256=sha256(snapshot.facts.to_bytes()).hexdigest(),
        records_covered=snapshot.log.size,
        records_in_period=snapshot.log.count,
    )


def _numbered(number: int, check: Check, result: CheckResult, framework: Framework) -> EvidenceItem:
    unsealed = EvidenceItem(
        number=f"EV-{number:04d}",
        check=check.id,
        version=check.version,
        title=check.title,
        controls=tuple(support.control for support in check.supports[framework]),
        result=result,
        sha256="",
    )
    digest = sha256(to_bytes(_item_document(unsealed))).hexdigest()
    return EvidenceItem(
        number=unsealed.number,
        check=unsealed.check,
        version=unsealed.version,
        title=unsealed.title,
        controls=unsealed.controls,
        result=result,
        sha256=digest,
    )


def _item_document(item: EvidenceItem) -> dict[str, object]:
    document = asdict(item)
    del document["sha256"]
    return document


def _grounds_by_control(
    checks: tuple[Check, ...], items: list[EvidenceItem], framework: Framework
) -> dict[str, tuple[Grounds, ...]]:
    grounds: dict[str, tuple[Grounds, ...]] = {}
    for check, item in zip(checks, items, strict=True):
        for support in check.supports[framework]:
            verdict = item.result.verdict
            if verdict is Verdict.SATISFIED and support.gap:
                verdict = Verdict.PARTIAL
            found = Grounds(item.number, verdict, support.gap)
            grounds[support.control] = (*grounds.get(support.control, ()), found)
    return grounds


def _judge(
    control: Control, grounds: tuple[Grounds, ...], items: list[EvidenceItem], framework: Framework
) -> ControlEvaluation:
    verdict = Verdict.NOT_APPLICABLE if control.not_applicable else worst(found.verdict for found in grounds)
    return ControlEvaluation(
        control=control,
        verdict=verdict,
        status=status_in_framework(framework, verdict),
        reason=_reason(control, verdict, grounds, items),
        grounds=grounds,
    )


def _reason(
    control: Control, verdict: Verdict, grounds: tuple[Grounds, ...], items: list[EvidenceItem]
) -> str:
    if control.not_applicable:
        successors = f" See {', '.join(control.superseded_by)}." if control.superseded_by else ""
        return f"{control.not_applicable} Decided by the framework's own text, for everybody.{successors}"
    if not grounds:
        return _why_not_evaluated(control)
    by_number = {item.number: item for item in items}
    reasons = [by_number[found.number].result.reason for found in grounds if found.verdict is verdict]
    gaps = dict.fromkeys(found.gap for found in grounds if found.gap and found.verdict is Verdict.PARTIAL)
    if verdict is Verdict.PARTIAL and gaps:
        reasons.append(f"Not tested: {'; '.join(gaps)}.")
    return " ".join(dict.fromkeys(reasons))


def _why_not_evaluated(control: Control) -> str:
    if set(control.evidence) == {Evidence.WORKFLOW}:
        return (
            "It rests on a person's signed act (a review, approval, drill or acknowledgment). This version "
            "keeps no such records, so it must be shown from elsewhere."
        )
    if Evidence.WORKFLOW in control.evidence:
        return (
            "It needs a person's signed act beside what the platform records, and this version keeps no such "
            "records; no check evaluates the rest alone."
        )
    return "It lies outside what this version checks; it must be shown from elsewhere."


def catalogue_digest(catalogue: Catalogue) -> str:
    """SHA-256 of the catalogue's content, hex: names exactly which controls were evaluated."""
    return sha256(
        to_bytes([catalogue.id, catalogue.edition, catalogue.as_of.isoformat(), catalogue.controls])
    ).hexdigest()
