"""Makes recorded decisions again: the recorded bundle, the recorded inputs, the same question, the same answer.

The engine decides from its inputs alone, so two records with the same question have the same answer, and each
question is put once. Whatever keeps a decision from being made again counts against it: never as fine.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from re import Match

from audit.errors import RecordInvalid
from audit.log.bundle_files import bundle_digest
from audit.log.record import take_apart
from audit.replay.recorded import Recorded, Span
from audit.verify.report import Findings, FirstBad, Progress, Report
from policies.bundle import PolicyBundle
from policies.engine import PolicyEngine
from policies.errors import BundleInvalid
from policies.vocabulary import Action, EntityRef

KIND = "replay"

#: Most differences told one by one; the count tells of the rest.
MAX_DIFFERENCES = 100

_ANSWERS = 200_000

#: Records looked at together: their inputs are read at once.
_BLOCK = 1000

#: How a policy input is written: canonical JSON with these two members, in this order.
_CONTEXT, _ENTITIES = '{"context":', ',"entities":'

_DECODER = json.JSONDecoder()

#: Questions are told apart by these: the policies, and all that they were given.
_Question = tuple[bytes | None, bytes, bytes, bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a question is answered now: a verdict with policies as a record writes them, or why there is none."""

    verdict: bytes = b""
    policies: bytes = b""
    code: str | None = None
    sentence: str = ""


@dataclass(slots=True)
class _Tally:
    records: int = 0
    decisions: int = 0
    undecided: int = 0
    different: int = 0
    differences: list[dict[str, object]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # code -> the first sentence


def replay(source: Recorded, span: Span, progress: Progress | None = None) -> Report:
    """Make every decision of a span again.

    Args:
        source: the log.
        span: which decisions.
        progress: told how many records are looked at, of how many.

    Raises:
        VerificationFailed: a decision comes out otherwise than it was recorded, or cannot be made again.
        LogUnavailable: the log cannot be read.
        LogDamaged: a record is missing.
    """
    first, end = span.bounds()
    findings, tally, judge = Findings(KIND), _Tally(), _Judge(source)
    size = source.size()
    for lines in _blocks(source.records()):
        inside: list[tuple[int, Match[bytes]]] = []
        for seq, line in enumerate(lines, source.first + tally.records):
            try:
                found = take_apart(line)
            except RecordInvalid as error:
                _differ(findings, tally, seq, None, _Answer(code="record.malformed", sentence=error.message))
                continue
            if first <= found["at"] < end:
                inside.append((seq, found))
        judge.prepare([found for _, found in inside])
        for seq, found in inside:
            _look(findings, tally, judge, seq, found)
        tally.records += len(lines)
        if progress is not None:
            progress(tally.records, size)
    _conclude(findings, tally, judge)
    return findings.conclude()


def _blocks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    waiting: list[bytes] = []
    for line in lines:
        waiting.append(line)
        if len(waiting) == _BLOCK:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _look(findings: Findings, tally: _Tally, judge: "_Judge", seq: int, found: Match[bytes]) -> None:
    if found["decision"] is None:
        tally.undecided += 1
        return
    tally.decisions += 1
    answer = judge.answer(found)
    if answer.code is not None or (answer.verdict, answer.policies) != (found["decision"], found["policies"]):
        _differ(findings, tally, seq, found, answer)


def _differ(findings: Findings, tally: _Tally, seq: int, found: Match[bytes] | None, answer: _Answer) -> None:
    tally.different += 1
    code = answer.code or "decision.differs"
    record_id = None if found is None else found["id"].decode()
    recorded = None if found is None else _written(found["decision"], found["policies"])
    if findings.first_bad is None:
        findings.first_bad = FirstBad(seq, record_id, code)
    replayed = None if answer.code is not None else _written(answer.verdict, answer.policies)
    sentence = answer.sentence
    if recorded is not None and replayed is not None:
        sentence = f"It was recorded as {_said(recorded)}, and is {_said(replayed)} when it is made again."
    tally.unreadable.setdefault(code, f"Record {seq} cannot be vouched for. {sentence}")
    if len(tally.differences) < MAX_DIFFERENCES:
        tally.differences.append(
            {
                "seq": seq,
                "id": record_id,
                "code": code,
                "detail": sentence,
                "recorded": recorded,
                "replayed": replayed,
            }
        )


def _conclude(findings: Findings, tally: _Tally, judge: "_Judge") -> None:
    findings.records = tally.records
    findings.details |= {
        "decisions": tally.decisions,
        "questions": judge.questions,
        "bundles": judge.bundles,
        "different": tally.different,
        "differences": tally.differences,
    }
    for code, sentence in tally.unreadable.items():
        findings.fail("decisions", code, sentence)
    if tally.different:
        return
    if not tally.decisions:
        findings.hold("decisions", "No decision was recorded in this time, so none was made again.")
        return
    findings.hold(
        "decisions",
        f"{tally.decisions} recorded decisions were made again ({judge.questions} different questions, "
        f"{judge.bundles} policy bundles); each has the recorded verdict and the recorded policies. "
        f"{tally.undecided} records of this time tell of no decision.",
    )


class _Judge:
    """Puts questions to the policies that were in force, each question once."""

    def __init__(self, source: Recorded) -> None:
        self._source = source
        self._answers: dict[_Question, _Answer] = {}
        self._engines: dict[bytes, PolicyEngine | _Answer] = {}
        self._read: Mapping[str, bytes] = {}
        self.questions = 0

    @property
    def bundles(self) -> int:
        """How many policy bundles decided."""
        return sum(isinstance(engine, PolicyEngine) for engine in self._engines.values())

    def prepare(self, records: Iterable[Match[bytes]]) -> None:
        """Read the inputs of those records whose question was not put before."""
        wanted = {
            found["inputs"].decode()
            for found in records
            if found["inputs"] is not None and _question(found) not in self._answers
        }
        self._read = self._source.inputs(sorted(wanted)) if wanted else {}

    def answer(self, found: Match[bytes]) -> _Answer:
        """The answer to the question of a record that was prepared for."""
        question = _question(found)
        answer = self._answers.get(question)
        if answer is None:
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
            self.questions += 1
            answer = self._answers[question] = self._ask(question)
        return answer

    def _ask(self, question: _Question) -> _Answer:
        bundle, principal, action, resource, inputs = question
        if bundle is None or inputs is None:
            return _Answer(
                code="decision.unexplained",
                sentence="It does not say what was decided on, or by which policies.",
            )
        engine = self._engines.get(bundle)
        if engine is None:
            engine = self._engines[bundle] = self._engine(bundle.decode())
        if isinstance(engine, _Answer):
            return engine
        given = self._inputs(inputs.decode())
        if isinstance(given, _Answer):
            return given
        try:
            asked = (
                EntityRef.parse(principal.decode()),
                Action(action.decode()),
                EntityRef.parse(resource.decode()),
            )
        except ValueError:
            return _Answer(
                code="decision.unknown_word",
                sentence="It names an action or a kind of entity that this version does not know.",
            )
        decision = engine.decide_written(*asked, *given)
        policies = ",".join(f'"{policy}"' for policy in decision.policies)
        return _Answer(decision.verdict.value.encode(), policies.encode())

    def _engine(self, digest: str) -> PolicyEngine | _Answer:
        files = self._source.bundle(digest)
        if not files:
            return _Answer(code="bundle.missing", sentence=f"The policy bundle {digest:.12} is not here.")
        try:
            if bundle_digest(files) != digest:
                raise RecordInvalid("Its files have another digest.")
        except RecordInvalid:
            return _Answer(
                code="bundle.changed", sentence=f"The policy bundle {digest:.12} is not what its digest says."
            )
        try:
            return PolicyEngine(PolicyBundle(files, foreign_schema=True))
        except (BundleInvalid, ValueError, RecursionError) as error:
            why = error.message if isinstance(error, BundleInvalid) else "It cannot be parsed."
            return _Answer(
                code="bundle.unreadable",
                sentence=f"This version cannot read the policy bundle {digest:.12}. {why}",
            )

    def _inputs(self, digest: str) -> tuple[str, str] | _Answer:
        """The context and the entities, as they are written."""
        data = self._read.get(digest)
        if data is None:
            return _Answer(code="inputs.missing", sentence="What it was decided on is not here.")
        if sha256(data).hexdigest() != digest:
            return _Answer(
                code="inputs.changed", sentence="What it was decided on is not what its digest says."
            )
        text = data.decode(errors="replace")
        try:
            if not text.startswith(_CONTEXT) or not text.endswith("}"):
                raise ValueError
            _, end = _DECODER.raw_decode(text, len(_CONTEXT))
            if not text.startswith(_ENTITIES, end):
                raise ValueError
        except (ValueError, RecursionError):
            return _Answer(code="inputs.malformed", sentence="What it was decided on has another form.")
        # Cedar parses both by itself; to parse and write them here once more would take as long as to evaluate them.
        return text[len(_CONTEXT) : end], text[end + len(_ENTITIES) : -1]


def _question(found: Match[bytes]) -> _Question:
    return found["bundle"], found["principal"], found["action"], found["resource"], found["inputs"]


def _written(verdict: bytes, policies: bytes) -> dict[str, object]:
    return {"verdict": verdict.decode(), "policies": json.loads(f"[{policies.decode()}]")}


def _said(decision: Mapping[str, object]) -> str:
    policies = decision["policies"]
    by = ", ".join(policies) if isinstance(policies, list) and policies else "no policy"
    return f"{decision['verdict']} by {by}"
