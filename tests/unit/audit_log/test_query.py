import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from audit.errors import LogDamaged, LogUnavailable, QueryInvalid, RecordNotFound
from audit.log.query import MAX_PAGE, Filter, LogQuery, Page
from audit.log.record import Kind, Record
from audit.log.writer import LogWriter
from tests.unit.audit_log.parts import (
    ALICE,
    BUNDLE,
    DIGEST,
    GUEST,
    LogHome,
    access,
    denied,
    inputs_of,
    intent,
    ordinary_history,
    outcome,
    write,
)


@pytest.fixture
def home(tmp_path: Path) -> LogHome:
    return LogHome.create(tmp_path)


@pytest.fixture
def writer(home: LogHome) -> Iterator[LogWriter]:
    with closing(home.open()) as writer:
        yield writer


@pytest.fixture
def query(home: LogHome, writer: LogWriter) -> Iterator[LogQuery]:
    assert writer.head().size == 0
    with LogQuery(home.path) as query:
        yield query


def tamper(home: LogHome, *statements: str, values: tuple[object, ...] = ()) -> None:
    with closing(sqlite3.connect(home.path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement, values)


def test_a_record_is_found_by_id_and_by_number(writer: LogWriter, query: LogQuery) -> None:
    records = write(writer, ordinary_history(9))
    for record in records:
        assert query.by_id(record.id) == record
        assert query.by_seq(record.seq) == record
    assert query.size() == 9


def test_an_unknown_record_is_not_found(query: LogQuery) -> None:
    for ask in (lambda: query.by_id("0" * 32), lambda: query.by_seq(0), lambda: query.intent_state("0" * 32)):
        with pytest.raises(RecordNotFound) as failure:
            ask()
        assert failure.value.exit_code == 4


def test_who_the_log_is_can_be_read(home: LogHome, query: LogQuery) -> None:
    assert (query.origin, query.vkey) == (home.origin, home.key.vkey)
    assert query.latest_checkpoint() is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), {0, 1, 2, 3, 4, 5}),
        (Filter(kinds=(Kind.DENIED,)), {3}),
        (Filter(kinds=(Kind.INTENT, Kind.OUTCOME)), {0, 1}),
        (Filter(principal=ALICE), {0, 1, 2, 4, 5}),
        (Filter(action="guest.list"), {2, 4, 5}),
        (Filter(resource=GUEST), {0, 1, 3}),
        (Filter(decision="deny"), {3}),
        (Filter(decision="allow", action="guest.start"), {0}),
        (Filter(principal="account:' OR 1=1 --"), set()),
    ],
)
def test_records_are_found_by_what_they_say(
    writer: LogWriter, query: LogQuery, wanted: Filter, expected: set[int]
) -> None:
    begun = writer.append(intent())
    for draft in (outcome(begun), access(), denied(), access(), access()):
        writer.append(draft)
    assert {record.seq for record in query.search(wanted).items} == expected


def test_a_period_includes_its_begin_and_excludes_its_end(writer: LogWriter, query: LogQuery) -> None:
    records = write(writer, [[access()] for _ in range(10)])
    begin, end = records[3].time(), records[7].time()
    found = query.search(Filter(since=begin, until=end), newest_first=False)
    assert [record.seq for record in found.items] == [3, 4, 5, 6]
    assert not query.search(Filter(since=end + timedelta(days=1))).items


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_neither_repeat_nor_skip_while_the_log_grows(
    writer: LogWriter, query: LogQuery, *, newest_first: bool
) -> None:
    write(writer, [[access()] for _ in range(25)])
    seen: list[int] = []
    page = Page(next=None)
    for _ in range(3):
        page = query.search(Filter(action="guest.list"), limit=10, token=page.next, newest_first=newest_first)
        seen += [record.seq for record in page.items]
        if newest_first:
            writer.append(access())
    assert page.next is None
    assert seen == sorted(range(25), reverse=newest_first)


def test_a_page_that_ends_with_the_last_record_has_no_next(writer: LogWriter, query: LogQuery) -> None:
    write(writer, [[access()] for _ in range(10)])
    assert query.search(Filter(), limit=10).next is None
    assert query.search(Filter(), limit=9).next == "1"


@pytest.mark.parametrize("token", ["", "x", "-1", "1 OR 1=1", "1" * 17, "²"])
def test_a_page_token_out_of_shape_is_bad_input(query: LogQuery, token: str) -> None:
    with pytest.raises(QueryInvalid):
        query.search(Filter(), token=token)


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_page_size_out_of_bounds_is_bad_input(query: LogQuery, limit: int) -> None:
    with pytest.raises(QueryInvalid):
        query.search(Filter(), limit=limit)


def test_the_log_is_walked_in_order_beyond_one_block(writer: LogWriter, query: LogQuery) -> None:
    for _ in range(11):
        writer.append_all([access() for _ in range(200)])
    assert [record.seq for record in query.records()] == list(range(2200))
    assert [record.seq for record in query.records(1500, 2150)] == list(range(1500, 2150))
    assert [Record.parse(data).seq for data in query.raw(999, 1001)] == [999, 1000]
    assert list(query.raw(2200)) == []


def test_a_walk_beyond_the_end_is_an_error(writer: LogWriter, query: LogQuery) -> None:
    writer.append(access())
    with pytest.raises(LogDamaged, match="Record 1 is missing"):
        list(query.records(0, 2))


def test_a_changed_record_is_never_handed_out(writer: LogWriter, home: LogHome) -> None:
    record = writer.append(intent())
    writer.append(access())
    tamper(home, "DROP TRIGGER body_update", "UPDATE body SET bytes = x'7b7d' WHERE seq = 0")
    with LogQuery(home.path) as query:
        for ask in (
            lambda: query.by_id(record.id),
            lambda: query.by_seq(0),
            lambda: query.search(Filter()),
            lambda: list(query.records()),
            lambda: query.intent_state(record.id),
        ):
            with pytest.raises(LogDamaged, match="not what was hashed"):
                ask()
        assert query.by_seq(1).seq == 1


def test_a_missing_record_is_noticed_by_a_walk(writer: LogWriter, home: LogHome) -> None:
    write(writer, [[access()] for _ in range(5)])
    tamper(home, "DROP TRIGGER body_delete", "DELETE FROM body WHERE seq = 2")
    with LogQuery(home.path) as query:
        with pytest.raises(LogDamaged):
            list(query.records())
        with pytest.raises(LogDamaged):
            list(query.raw())
    tamper(home, "DROP TRIGGER leaf_delete", "DELETE FROM leaf WHERE seq = 2")
    with LogQuery(home.path) as query, pytest.raises(LogDamaged, match="Record 2 is missing"):
        list(query.raw())


def test_an_intent_is_open_until_its_outcome_is_durable(writer: LogWriter, query: LogQuery) -> None:
    record = writer.append(intent())
    state = query.intent_state(record.id)
    assert (state.record, state.settled) == (record, False)
    closing_record = writer.append(outcome(record))
    assert query.intent_state(record.id).settled
    assert query.outcome_of(record) == closing_record
    assert query.outcome_of(closing_record) is None


def test_an_intent_that_search_columns_forge_is_not_believed(writer: LogWriter, home: LogHome) -> None:
    """The key process acts on an intent: neither another record nor another id may pass for one."""
    reading = writer.append(access())
    begun = writer.append(intent())
    forged_id = "f" * 32
    tamper(home, "UPDATE entry SET kind = 'intent' WHERE id = ?", values=(reading.id,))
    tamper(home, "INSERT INTO open_intent VALUES (?, 0)", values=(reading.id,))
    tamper(home, "UPDATE entry SET id = ? WHERE id = ?", values=(forged_id, begun.id))
    with LogQuery(home.path) as query:
        for identity in (reading.id, forged_id, begun.id):
            with pytest.raises(RecordNotFound):
                query.intent_state(identity)


def test_an_intent_stays_settled_whatever_the_open_ones_say(writer: LogWriter, home: LogHome) -> None:
    begun = writer.append(intent())
    writer.append(outcome(begun))
    tamper(home, "INSERT INTO open_intent VALUES (?, 0)", values=(begun.id,))  # as if it were still open
    with LogQuery(home.path) as query:
        assert query.intent_state(begun.id).settled


def test_policy_inputs_and_bundles_are_found_by_digest(writer: LogWriter, query: LogQuery) -> None:
    begun, reading = writer.append(intent(3)), writer.append(access())
    assert query.inputs_of(begun) == inputs_of(3)
    assert query.inputs_of(reading) is None
    assert query.bundle(DIGEST) == BUNDLE
    assert query.bundle("00" * 32) == {}


def test_a_missing_policy_input_is_damage(writer: LogWriter, home: LogHome) -> None:
    begun = writer.append(intent(3))
    tamper(home, "DROP TRIGGER inputs_delete", "DELETE FROM inputs")
    with LogQuery(home.path) as query, pytest.raises(LogDamaged, match="missing"):
        query.inputs_of(begun)


def test_a_reader_cannot_write(query: LogQuery) -> None:
    for statement in ("DELETE FROM entry", "CREATE TABLE t (a)", "PRAGMA user_version = 5"):
        with pytest.raises(LogUnavailable):
            query._database.rows(statement)
    assert query.size() == 0


def test_a_missing_log_is_unavailable_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="missing"):
        LogQuery(tmp_path / "log.db")
    assert not list(tmp_path.iterdir())


def test_another_file_in_its_place_is_damage(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"x" * 8192)
    with pytest.raises(LogDamaged):
        LogQuery(tmp_path / "log.db")


def test_a_reader_sees_the_log_that_was_put_back_not_the_one_it_had_open(
    writer: LogWriter, home: LogHome, query: LogQuery
) -> None:
    write(writer, [[access()] for _ in range(5)])
    assert query.size() == 5
    with closing(sqlite3.connect(home.path)) as source, closing(sqlite3.connect(home.folder / "new")) as copy:
        source.backup(copy)
    writer.close()
    home.path.unlink()
    with pytest.raises(LogUnavailable, match="missing"):
        query.size()
    for companion in ("log.db-wal", "log.db-shm"):
        home.path.with_name(companion).unlink(missing_ok=True)
    (home.folder / "new").replace(home.path)
    assert query.size() == 5


def test_a_closed_reader_opens_again_when_asked(writer: LogWriter, query: LogQuery) -> None:
    writer.append(access())
    query.close()
    assert query.size() == 1


def test_the_first_checkpoint_over_a_record_is_found_and_none_before_there_is_one(
    writer: LogWriter, query: LogQuery
) -> None:
    history = list(ordinary_history(6))
    early = write(writer, history[:3])[-1]
    assert query.checkpoint_over(early.seq) is None
    first = writer.checkpoint()
    later = write(writer, history[3:])[-1]
    second = writer.checkpoint()
    assert query.checkpoint_over(early.seq) == first
    assert query.checkpoint_over(later.seq) == second


def test_records_are_counted_by_hour_and_decision_as_far_as_they_fit_and_no_more_than_asked(
    writer: LogWriter, query: LogQuery
) -> None:
    written = write(writer, ordinary_history(12))
    counted = query.count_by_hour(Filter(), 1000)
    assert sum(count.records for count in counted) == len(written)
    for decision in {record.decision for record in written}:
        found = sum(count.records for count in counted if count.decision == decision)
        assert found == sum(record.decision == decision for record in written)
    assert {count.hour for count in counted} == {
        record.time().replace(minute=0, second=0, microsecond=0) for record in written
    }
    assert sum(count.records for count in query.count_by_hour(Filter(), 5)) == 5
    assert query.count_by_hour(Filter(principal="account:nobody"), 5) == []
