"""What was recorded as decided is decided again; whatever was tampered with is named, and what cannot be made again
is never called fine."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.errors import NotAnExport, VerificationFailed, VerificationImpossible
from audit.evidence.facts import LogFacts
from audit.evidence.instant import Period
from audit.evidence.stored_log import StoredLog
from audit.log.export import export_log
from audit.log.query import LogQuery
from audit.replay import replay, replay_export, replay_store
from audit.replay.__main__ import main
from audit.replay.recorded import Span
from audit.verify import Report, verify_export
from policies.bundle import SCHEMA_FILE, shipped
from policies.vocabulary import Action
from tests.unit.audit_log.parts import access
from tests.unit.replay.decided import DecidedLog, Taken, decided, forged, request

ROOT = Path(__file__).resolve().parents[3]

HONEST = [
    decided(request()),
    decided(request("auditor", who="anna")),
    decided(request(action=Action.GUEST_EXEC)),
    decided(request(action=Action.GUEST_SHOW)),
    decided(request()),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> DecidedLog:
    return DecidedLog.create(tmp_path_factory.mktemp("log"), HONEST)


def failure(source: Taken, span: Span | None = None) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        replay(source, span or Span())
    assert caught.value.exit_code == 7
    return caught.value


def told(report: Report) -> tuple[object, object, object]:
    return report.details["decisions"], report.details["questions"], report.details["different"]


def test_every_decision_of_an_honest_log_comes_out_as_recorded(log: DecidedLog, tmp_path: Path) -> None:
    # Five decisions, two of them the same question; outcomes tell of no decision.
    assert told(replay_store(log.home.path, Span())) == (5, 4, 0)
    export_log(log.home.path, tmp_path / "export")
    export_log(log.home.path, tmp_path / "export.tar", as_tar=True)
    for path in (tmp_path / "export", tmp_path / "export.tar"):
        report = replay_export(path, Span())
        assert report.holds
        assert told(report) == (5, 4, 0)
        assert report.kind == "replay"


def test_the_verdicts_of_the_honest_log_are_not_all_alike(log: DecidedLog) -> None:
    with LogQuery(log.home.path) as query:
        assert {record.decision for record in query.records()} >= {"allow", "deny", None}


def test_an_allow_that_the_policies_never_gave_is_named_although_the_log_verifies(tmp_path: Path) -> None:
    denied = decided(request("auditor", who="anna"))
    lying = DecidedLog.create(tmp_path / "log", [decided(request()), forged(denied), decided(request())])
    export_log(lying.home.path, tmp_path / "export")
    assert verify_export(tmp_path / "export").holds
    with pytest.raises(VerificationFailed) as caught:
        replay_export(tmp_path / "export", Span())
    assert (caught.value.seq, caught.value.finding) == (2, "decision.differs")
    differences = caught.value.report["differences"]
    assert isinstance(differences, list)
    (difference,) = differences
    assert difference["recorded"] == {"verdict": "allow", "policies": ["base.operator-guests"]}
    assert difference["replayed"] == {"verdict": "deny", "policies": ["base.auditor-changes-nothing"]}


def test_the_right_verdict_with_another_policy_is_a_difference(tmp_path: Path) -> None:
    lying = DecidedLog.create(tmp_path, [replace(decided(request()), policies=("base.daemon",))])
    assert failure(lying.taken()).finding == "decision.differs"


def test_a_recorded_denial_that_the_policies_would_not_give_is_a_difference(tmp_path: Path) -> None:
    allowed = decided(request())
    denial = decided(request("auditor", who="anna"))
    lying = replace(denial, principal=allowed.principal, inputs=allowed.inputs)
    assert failure(DecidedLog.create(tmp_path, [lying]).taken()).finding == "decision.differs"


def _drop_inputs(taken: Taken) -> None:
    taken.stored.clear()


def _change_inputs(taken: Taken) -> None:
    for digest, data in taken.stored.items():
        taken.stored[digest] = data.replace(b'"operator"', b'"auditor"')


def _drop_bundle(taken: Taken) -> None:
    taken.bundles.clear()


def _change_bundle(taken: Taken) -> None:
    for files in taken.bundles.values():
        files["base.cedar"] = files["base.cedar"].replace(b"forbid", b"permit", 1)


def _cut_record(taken: Taken) -> None:
    taken.lines[0] = taken.lines[0][:-2]


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (_drop_inputs, "inputs.missing"),
        (_change_inputs, "inputs.changed"),
        (_drop_bundle, "bundle.missing"),
        (_change_bundle, "bundle.changed"),
        (_cut_record, "record.malformed"),
    ],
)
def test_what_was_tampered_with_is_named_and_never_fine(
    log: DecidedLog, tamper: Callable[[Taken], None], code: str
) -> None:
    taken = log.taken()
    tamper(taken)
    found = failure(taken)
    assert (found.seq, found.finding) == (0, code)


def test_a_bundle_that_this_version_cannot_read_is_said_to_be_so(log: DecidedLog) -> None:
    files = dict(shipped().files) | {"base.cedar": b"permit (principal, action, resource) whenever { true };"}
    found = failure(log.taken().decided_by(files))
    assert found.finding == "bundle.unreadable"
    assert "cannot read the policy bundle" in found.message


def test_a_bundle_with_the_schema_of_an_older_version_is_read(log: DecidedLog) -> None:
    files = dict(shipped().files)
    files[SCHEMA_FILE] = files[SCHEMA_FILE] + b"\n// An older version.\n"
    assert told(replay(log.taken().decided_by(files), Span())) == (5, 4, 0)


def test_another_bundle_that_decides_otherwise_is_a_difference(log: DecidedLog) -> None:
    files = {SCHEMA_FILE: shipped().files[SCHEMA_FILE]}
    assert failure(log.taken().decided_by(files)).finding == "decision.differs"


def test_an_action_that_this_version_does_not_know_is_not_fine(log: DecidedLog) -> None:
    taken = log.taken()
    taken.lines = [line.replace(b'"guest.start"', b'"guest.dream"') for line in taken.lines]
    assert failure(taken).finding == "decision.unknown_word"


def test_a_decision_without_what_it_was_made_on_is_not_fine(tmp_path: Path) -> None:
    unexplained = DecidedLog.create(tmp_path, [access()])
    assert failure(unexplained.taken()).finding == "decision.unexplained"


def test_only_the_decisions_of_the_asked_time_are_made_again(log: DecidedLog) -> None:
    taken = log.taken()
    with LogQuery(log.home.path) as query:
        times = [record.time() for record in query.records()]
        first = next(record for record in query.records() if record.decision == "deny").time()
    assert told(replay(taken, Span(first, first + timedelta(microseconds=1)))) == (1, 1, 0)
    assert told(replay(taken, Span(until=times[0]))) == (0, 0, 0)
    report = replay(taken, Span(datetime(2040, 1, 1, tzinfo=UTC)))
    assert "No decision was recorded" in report.checks[0].detail


def test_a_lie_outside_the_asked_time_does_not_hide_one_inside(tmp_path: Path) -> None:
    denied = decided(request("auditor", who="anna"))
    lying = DecidedLog.create(tmp_path, [forged(denied), decided(request()), forged(denied)])
    with LogQuery(lying.home.path) as query:
        third = query.by_seq(4).time()
    assert failure(lying.taken(), Span(third)).seq == 4


def test_every_difference_is_counted_and_the_first_hundred_are_told(tmp_path: Path) -> None:
    denied = decided(request("auditor", who="anna"))
    lying = DecidedLog.create(tmp_path, [forged(denied)] * 120)
    report = failure(lying.taken()).report
    assert report["different"] == 120
    assert len(report["differences"]) == 100  # type: ignore[arg-type]  # a list in the report


def test_what_is_no_export_is_bad_input_and_a_damaged_one_cannot_be_replayed(
    log: DecidedLog, tmp_path: Path
) -> None:
    with pytest.raises(NotAnExport):
        replay_export(tmp_path, Span())
    export_log(log.home.path, tmp_path / "export")
    inputs = tmp_path / "export/inputs.jsonl"
    inputs.write_bytes(inputs.read_bytes()[:-1])
    with pytest.raises(VerificationImpossible):
        replay_export(tmp_path / "export", Span())


def test_the_process_says_7_names_the_record_and_prints_one_document(tmp_path: Path) -> None:
    lying = DecidedLog.create(tmp_path, [forged(decided(request("auditor", who="anna")))])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "audit.replay",
            str(lying.home.path),
            "--store",
            "--from",
            "2026-01-01T00:00:00Z",
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["holds"], document["first_bad"]["seq"]) == (7, False, 0)
    assert document["first_bad"]["code"] == "decision.differs"


@pytest.mark.parametrize("arguments", [["/nowhere", "--from", "yesterday"], ["--store"]])
def test_a_command_that_cannot_be_read_is_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_report_replays_its_own_period_and_names_the_record(tmp_path: Path) -> None:
    denied = decided(request("auditor", who="anna"))
    lying = DecidedLog.create(tmp_path, [decided(request()), forged(denied), decided(request())])
    with LogQuery(lying.home.path) as log:
        note = log.latest_checkpoint() or b""
        facts = LogFacts(
            path=str(lying.home.path), origin=log.origin, vkey=log.vkey, checkpoint=note.decode(), files=()
        )
    period = Period.between("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    stored = StoredLog(lying.home.path, facts, period)
    first, end = stored.bounds(period)
    found = stored.replay(first, end)
    assert (found.decisions, found.different) == (3, 1)
    assert [(each.seq, each.code) for each in found.differences] == [(2, "decision.differs")]
    # The part behind the lie is as it should be, and its records keep their numbers.
    assert stored.replay(4, end).different == 0
    assert [each.seq for each in stored.replay(2, 3).differences] == [2]
    stored.close()
