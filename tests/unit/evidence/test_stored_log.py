"""The log read from its database: bounded by the checkpoint, cut by the period, and believed only when it verifies."""

import sqlite3
from pathlib import Path

import pytest

from audit.errors import LogUnavailable
from audit.evidence.facts import LogFacts
from audit.evidence.instant import Period
from audit.evidence.log_range import LogRange
from audit.evidence.stored_log import StoredLog
from audit.log.merkle import leaf_hash
from tests.unit.evidence.examples import MARCH, Story, busy_month, healthy_facts
from tests.unit.evidence.written_log import WrittenLog, write_log


@pytest.fixture
def written(tmp_path: Path) -> WrittenLog:
    return write_log(tmp_path, busy_month().events)


def _facts(written: WrittenLog) -> LogFacts:
    return written.facts(healthy_facts()).log


def _open(written: WrittenLog, period: Period = MARCH, facts: LogFacts | None = None) -> StoredLog:
    return StoredLog(written.path, facts or _facts(written), period)


def _change_body(written: WrittenLog, seq: int, old: bytes, new: bytes) -> None:
    """Alter a stored record as somebody with the file in hand would, leaf hash included."""
    connection = sqlite3.connect(written.path)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger}"')
    (body,) = connection.execute("SELECT bytes FROM body WHERE seq = ?", (seq,)).fetchone()
    assert old in body
    altered = body.replace(old, new)
    connection.execute("UPDATE body SET bytes = ? WHERE seq = ?", (altered, seq))
    connection.execute("UPDATE leaf SET hash = ? WHERE seq = ?", (leaf_hash(altered), seq))
    connection.commit()
    connection.close()


def test_an_honest_log_verifies_and_gives_back_every_event(written: WrittenLog) -> None:
    log = _open(written)
    told = busy_month().events
    assert log.proof.holds, log.proof.detail
    assert log.size == len(told)
    assert [(e.seq, e.kind, e.action, e.principal, e.code, e.at) for e in log.events(0, log.size)] == [
        (e.seq, e.kind, e.action, e.principal, e.code, e.at) for e in told
    ]
    log.close()


def test_a_changed_record_is_named(written: WrittenLog) -> None:
    _change_body(written, 18, b'"channel":"cli"', b'"channel":"api"')
    proof = _open(written).proof
    assert not proof.holds
    assert proof.first_bad == 18


def test_a_cut_tail_is_found(written: WrittenLog) -> None:
    connection = sqlite3.connect(written.path)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger}"')
    connection.execute("DELETE FROM body WHERE seq >= 20")
    connection.execute("DELETE FROM leaf WHERE seq >= 20")
    connection.commit()
    connection.close()
    proof = _open(written).proof
    assert (proof.holds, proof.first_bad) == (False, 20)


def test_a_log_of_another_key_does_not_verify(written: WrittenLog, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_log(tmp_path / "other", busy_month().events)
    facts = _facts(written).model_copy(update={"vkey": other.vkey})
    proof = _open(written, facts=facts).proof
    assert not proof.holds
    assert "checkpoint does not hold" in proof.detail


def test_without_a_checkpoint_nothing_is_covered(written: WrittenLog) -> None:
    log = _open(written, facts=_facts(written).model_copy(update={"checkpoint": None}))
    assert (log.size, log.proof.holds) == (0, False)


def test_records_after_the_checkpoint_are_not_looked_at(tmp_path: Path) -> None:
    story = busy_month()
    covered = len(story.events)
    story.act("guest.stop")
    written = write_log(tmp_path, story.events[:covered], later=story.events[covered:])
    log = _open(written)
    assert log.proof.holds
    assert log.size == LogRange(log, MARCH).count == covered


def test_the_period_is_one_run_of_numbers_and_what_is_dated_outside_is_counted(tmp_path: Path) -> None:
    story = Story()
    for at in ("2026-02-27", "2026-03-02", "2026-02-28", "2026-03-03", "2026-04-02"):
        story.add("access", "guest.list", at=f"{at}T00:00:00.000000Z")
    log = _open(write_log(tmp_path, story.events))
    assert log.bounds(MARCH) == (1, 4)
    assert log.proof.outside_period == 1
    assert log.proof.steps_back == 1
    assert log.proof.oldest_at == "2026-02-27T00:00:00.000000Z"


def test_a_period_without_records_is_empty(written: WrittenLog) -> None:
    later = Period.between("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    log = LogRange(_open(written, later), later)
    assert (log.count, log.span) == (0, ())


def test_a_missing_log_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        StoredLog(tmp_path / "log.db", healthy_facts().log, MARCH)
