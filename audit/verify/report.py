"""What a verification says: each check with its result, and the first bad record where one can be named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit.errors import VerificationFailed
from audit.log.checkpoint import Checkpoint

#: Told how many records are verified so far, of how many (0 when that is not known).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it holds, and a sentence on what was found."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class FirstBad:
    """The first record that is not what it should be.

    Attributes:
        seq: its number, or the number of a record that is missing.
        id: its id; None when it is missing or unreadable.
        code: what was found, such as `record.changed`.
    """

    seq: int
    id: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Report:
    """A verification's result, the shape of INTERFACES.md.

    Attributes:
        details: what this kind of verification tells besides, such as the record that a proof is about.
    """

    kind: str
    records: int
    first_bad: FirstBad | None
    checkpoint: Checkpoint | None
    checks: tuple[Check, ...]
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def document(self) -> dict[str, object]:
        """The report as plain JSON; the root is in hex."""
        bad, checkpoint = self.first_bad, self.checkpoint
        return {
            **self.details,
            "holds": self.holds,
            "kind": self.kind,
            "records": self.records,
            "first_bad": bad and {"seq": bad.seq, "id": bad.id, "code": bad.code},
            "checkpoint": checkpoint
            and {
                "origin": checkpoint.origin,
                "size": checkpoint.head.size,
                "root": checkpoint.head.root.hex(),
            },
            "checks": [
                {"name": check.name, "holds": check.holds, "detail": check.detail} for check in self.checks
            ],
        }


class BadRecord(Exception):
    """The chain does not hold at this record. `sentence` says why."""

    def __init__(self, bad: FirstBad, sentence: str) -> None:
        super().__init__(sentence)
        self.bad = bad
        self.sentence = sentence


@dataclass(slots=True)
class Findings:
    """Collects checks as they are made, and ends the verification."""

    kind: str
    checks: list[Check] = field(default_factory=list)
    records: int = 0
    first_bad: FirstBad | None = None
    checkpoint: Checkpoint | None = None
    details: dict[str, object] = field(default_factory=dict)
    _finding: str | None = None

    def hold(self, name: str, detail: str) -> None:
        """A check holds."""
        self.checks.append(Check(name, holds=True, detail=detail))

    def fail(self, name: str, finding: str, detail: str) -> None:
        """A check does not hold; `finding` is its stable code."""
        self.checks.append(Check(name, holds=False, detail=detail))
        self._finding = self._finding or finding

    def fail_record(self, name: str, error: BadRecord) -> None:
        """A check does not hold because of a record."""
        self.checks.append(Check(name, holds=False, detail=error.sentence))
        if self.first_bad is None or error.bad.seq < self.first_bad.seq:
            self.first_bad = error.bad

    def conclude(self) -> Report:
        """Give the report.

        Raises:
            VerificationFailed: a check does not hold; it carries the report.
        """
        report = Report(
            self.kind, self.records, self.first_bad, self.checkpoint, tuple(self.checks), self.details
        )
        if report.holds:
            return report
        bad = self.first_bad
        failed = [check for check in self.checks if not check.holds]
        sentence = failed[0].detail
        if bad is not None:
            sentence = next(
                (check.detail for check in failed if f"ecord {bad.seq} " in check.detail), sentence
            )
        raise VerificationFailed(
            sentence,
            "Keep what was verified as it is, and ask where it came from.",
            finding=bad.code if bad is not None else self._finding or "verify.failed",
            seq=None if bad is None else bad.seq,
            id=None if bad is None else bad.id,
            report=report.document(),
        )
