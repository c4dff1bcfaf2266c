import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from audit.errors import (
    AuditError,
    LogDamaged,
    LogKeyRefused,
    LogRecovering,
    LogTimeout,
    LogUnavailable,
    RecordInvalid,
)
from audit.log.checkpoint import Checkpoint
from audit.log.drafting import Prepared
from audit.log.merkle import TreeHead, root_of
from audit.log.note import VerifierKey
from audit.log.query import LogQuery
from audit.log.record import NO_PREV, Draft, Kind, Record
from audit.log.recovery import open_intents, settle_open_intents
from audit.log.sequencer import Sequencer
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.store import Batch
from audit.log.waiting import Append
from audit.log.writer import LogWriter
from audit.verify import verify_store
from tests.unit.audit_log.parts import (
    ALICE,
    BUNDLE,
    DIGEST,
    LogHome,
    access,
    denied,
    inputs_of,
    intent,
    ordinary_history,
    outcome,
    write,
)


class FaultyStore(SqliteLogStore):
    """The real store, which fails, or waits, as it is told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fail_before: list[AuditError] = []  # "failed and not persisted"
        self.fail_after: list[AuditError] = []  # "failed but persisted"
        self.fail_checkpoints: list[AuditError] = []
        self.fail_reopening: list[AuditError] = []
        self.entered = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.batches: list[int] = []

    @classmethod
    def of(cls, home: LogHome) -> Self:
        return cls(home.path)

    def commit(self, batch: Batch) -> None:
        self.entered.set()
        assert self.may_commit.wait(30)
        if self.fail_before:
            raise self.fail_before.pop()
        super().commit(batch)
        self.batches.append(len(batch.records))
        if self.fail_after:
            raise self.fail_after.pop()

    def add_checkpoint(self, size: int, note: bytes) -> None:
        if self.fail_checkpoints:
            raise self.fail_checkpoints.pop()
        super().add_checkpoint(size, note)

    def reopen(self) -> None:
        if self.fail_reopening:
            raise self.fail_reopening.pop()
        super().reopen()


FULL = "The log cannot be written: its disk is full."


@pytest.fixture
def home(tmp_path: Path) -> LogHome:
    return LogHome.create(tmp_path)


@pytest.fixture
def store(home: LogHome) -> FaultyStore:
    return FaultyStore.of(home)


@pytest.fixture
def writer(home: LogHome, store: FaultyStore) -> Iterator[LogWriter]:
    writer = LogWriter(store, home.clock, home.key)
    writer.add_bundle(DIGEST, BUNDLE)
    writer.declare_recovered()
    yield writer
    store.may_commit.set()
    with suppress(AuditError):
        writer.close()


def stored(home: LogHome) -> list[Record]:
    with LogQuery(home.path) as query:
        return list(query.records())


def await_true(condition: object, timeout_s: float = 10) -> None:
    assert callable(condition)
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_records_are_numbered_linked_and_in_the_tree(writer: LogWriter, home: LogHome) -> None:
    records = write(writer, ordinary_history(20))
    assert [record.seq for record in records] == list(range(20))
    assert [record.prev for record in records] == [NO_PREV, *(each.leaf_hash.hex() for each in records[:-1])]
    assert writer.head() == TreeHead(20, root_of([record.leaf_hash for record in records]))
    assert [record.bytes for record in stored(home)] == [record.bytes for record in records]


def test_a_record_is_readable_by_others_once_append_returns(writer: LogWriter, home: LogHome) -> None:
    with LogQuery(home.path) as query:
        for _ in range(20):
            record = writer.append(access())
            assert query.by_id(record.id).bytes == record.bytes


def test_a_group_is_appended_as_a_whole_or_not_at_all(writer: LogWriter, home: LogHome) -> None:
    both = writer.append_all([intent(id="1" * 32), outcome("1" * 32)])
    assert [record.kind for record in both] == [Kind.INTENT, Kind.OUTCOME]
    with pytest.raises(RecordInvalid):
        writer.append_all([access(), outcome("2" * 32)])
    with pytest.raises(RecordInvalid):
        writer.append_all([access(), replace(access(), principal="nobody")])
    assert len(stored(home)) == 2


def test_an_empty_group_appends_nothing(writer: LogWriter) -> None:
    assert writer.append_all([]) == []
    assert writer.head().size == 0


def test_sixteen_threads_get_contiguous_records_in_fewer_commits(
    writer: LogWriter, home: LogHome, store: FaultyStore
) -> None:
    made: list[Record] = []

    def work() -> None:
        for _ in range(25):
            begun = writer.append(intent())
            made.extend([begun, writer.append(outcome(begun))])

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.seq for record in made) == list(range(800))
    assert len(store.batches) < 800
    assert max(store.batches) > 1
    writer.close()
    assert verify_store(home.path).records == 800


def test_a_draft_that_contradicts_the_log_does_not_spoil_the_batch_of_others(
    writer: LogWriter, store: FaultyStore
) -> None:
    answers: list[object] = []

    def ask(draft: Draft) -> None:
        try:
            answers.append(writer.append(draft).kind)
        except RecordInvalid as refusal:
            answers.append(refusal.code)

    store.may_commit.clear()
    threads = [threading.Thread(target=ask, args=(access(),))]
    threads[0].start()
    assert store.entered.wait(10)
    threads += [threading.Thread(target=ask, args=(draft,)) for draft in (outcome("3" * 32), denied())]
    for thread in threads[1:]:
        thread.start()
    await_true(lambda: writer._queue.qsize() == 2)
    store.may_commit.set()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["access", "denied", "record.invalid"]


@pytest.mark.parametrize("known", [False, True])
def test_an_outcome_without_intent_or_a_second_one_is_refused(writer: LogWriter, *, known: bool) -> None:
    identity = "4" * 32
    if known:
        writer.append(outcome(writer.append(intent(id=identity))))
    with pytest.raises(RecordInvalid, match="outcome already"):
        writer.append(outcome(identity))
    with pytest.raises(RecordInvalid, match="outcome already"):
        writer.append_all([intent(id="5" * 32), outcome("5" * 32), outcome("5" * 32)])


def test_an_id_that_is_in_the_log_already_is_refused(writer: LogWriter) -> None:
    writer.append(access(id="6" * 32))
    with pytest.raises(RecordInvalid, match="id"):
        writer.append(access(id="6" * 32))
    with pytest.raises(RecordInvalid, match="id"):
        writer.append_all([access(id="7" * 32), access(id="7" * 32)])
    assert writer.append_all([access(id="8" * 32), access()])[1].seq == 2


def test_a_record_names_only_a_bundle_that_the_log_was_given(writer: LogWriter) -> None:
    with pytest.raises(RecordInvalid, match="bundle"):
        writer.append(access(bundle="ab" * 32))
    with pytest.raises(RecordInvalid, match="digest"):
        writer.add_bundle("ab" * 32, BUNDLE)
    with pytest.raises(RecordInvalid, match="lower case"):
        writer.add_bundle("ab" * 32, {"../up": b""})
    writer.add_bundle(DIGEST, BUNDLE)  # again: nothing happens
    assert writer.append(access()).bundle == DIGEST


def test_policy_inputs_are_stored_once_however_often_they_come(writer: LogWriter, home: LogHome) -> None:
    writer.append_all([denied(inputs=inputs_of(1)), denied(inputs=inputs_of(1))])
    writer.append(denied(inputs=inputs_of(1)))
    writer.close()
    again = home.open()
    again.append_all([denied(inputs=inputs_of(1)), denied(inputs=inputs_of(2))])
    again.close()
    with LogQuery(home.path) as query:
        assert sorted(query.inputs(5)) == sorted([inputs_of(1), inputs_of(2)])
        assert list(query.inputs(3)) == [inputs_of(1)]


def test_more_policy_inputs_than_are_remembered_are_still_stored_once(home: LogHome) -> None:
    with closing(SqliteLogStore(home.path)) as plain:
        sequencer = Sequencer(plain, home.clock, home.key)
        sequencer.add_bundle(DIGEST, BUNDLE)
        for _ in range(2):
            for start in range(0, 12_000, 1000):
                batch = [[Prepared(denied(inputs=inputs_of(start + each)))] for each in range(1000)]
                sequencer.commit(batch)
    with LogQuery(home.path) as query:
        assert sum(1 for _ in query.inputs(30_000)) == 12_000


def test_a_failed_commit_that_was_not_stored_is_not_acknowledged(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    first = writer.append(access())
    store.fail_before = [LogUnavailable(FULL, "Make room.")]
    with pytest.raises(LogUnavailable) as failure:
        writer.append(intent())
    assert (failure.value.message, failure.value.hint, failure.value.exit_code) == (FULL, "Make room.", 9)
    second = writer.append(access())
    assert [record.id for record in stored(home)] == [first.id, second.id]


def test_a_failed_commit_that_was_stored_gives_its_intent_the_outcome_that_nobody_acted(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    writer.append(access())
    store.fail_after = [LogUnavailable(FULL)]
    with pytest.raises(LogUnavailable):
        writer.append(intent(id="9" * 32))
    writer.append(access())
    kinds = [(record.kind, record.intent, record.result) for record in stored(home)][1:3]
    assert kinds[0][0] is Kind.INTENT
    assert kinds[1] == (Kind.OUTCOME, "9" * 32, {"code": "log.unavailable", "facts": {"acted": False}})
    writer.close()
    assert verify_store(home.path).records == 4


def test_such_an_outcome_comes_by_itself_when_nobody_appends(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    store.fail_after = [LogUnavailable(FULL)]
    with pytest.raises(LogUnavailable):
        writer.append(intent())
    await_true(lambda: len(stored(home)) == 2)
    assert stored(home)[1].kind is Kind.OUTCOME


def test_an_owed_outcome_that_was_stored_by_a_failed_commit_is_not_repeated(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    store.fail_after = [LogUnavailable(FULL), LogUnavailable(FULL)]
    with pytest.raises(LogUnavailable):
        writer.append(intent())
    with pytest.raises(LogUnavailable):  # stored together with the outcome that was owed
        writer.append(access())
    writer.append(access())
    assert [record.kind for record in stored(home)] == [Kind.INTENT, Kind.OUTCOME, Kind.ACCESS, Kind.ACCESS]


def test_every_waiting_append_fails_with_a_failed_commit(writer: LogWriter, store: FaultyStore) -> None:
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            writer.append(access())
        except LogUnavailable as failure:
            failures.append(failure)

    store.may_commit.clear()
    threads = [threading.Thread(target=ask)]
    threads[0].start()
    assert store.entered.wait(10)
    threads += [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads[1:]:
        thread.start()
    await_true(lambda: writer._queue.qsize() == 7)
    store.fail_before = [LogUnavailable(FULL), LogUnavailable(FULL)]
    store.may_commit.set()
    for thread in threads:
        thread.join()
    assert len(failures) == 8
    assert len(set(map(id, failures))) == 8  # each has its own, for its own stack
    assert writer.append(access()).seq == 0


def test_a_log_that_does_not_come_back_stays_unavailable_until_it_does(
    writer: LogWriter, store: FaultyStore
) -> None:
    store.fail_before = [LogUnavailable(FULL)]
    store.fail_reopening = [LogUnavailable("Still full.") for _ in range(2)]
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            writer.append(access())
    assert writer.append(access()).seq == 0


def test_an_append_that_becomes_durable_too_late_is_recorded_as_not_acted_on(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    store.may_commit.clear()
    with pytest.raises(LogTimeout) as timeout:
        writer.append_all([intent(id="a" * 32), access()], timeout_s=0.05)
    assert timeout.value.exit_code == 9
    store.may_commit.set()
    await_true(lambda: writer.head().size == 3)
    last = stored(home)[-1]
    assert (last.kind, last.intent) == (Kind.OUTCOME, "a" * 32)
    assert last.result == {"code": "log.timeout", "facts": {"acted": False}}
    with pytest.raises(RecordInvalid):  # who gave up cannot give it another outcome
        writer.append(outcome("a" * 32))


def test_an_append_given_up_before_it_was_written_is_not_written(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    store.may_commit.clear()
    first = threading.Thread(target=writer.append, args=(access(),))
    first.start()
    assert store.entered.wait(10)
    with pytest.raises(LogTimeout):
        writer.append(intent(), timeout_s=0.05)
    with pytest.raises(LogTimeout):
        writer.checkpoint(timeout_s=0)
    store.may_commit.set()
    first.join()
    assert writer.append(access()).seq == 1
    assert [record.kind for record in stored(home)] == [Kind.ACCESS, Kind.ACCESS]


def test_a_refusal_that_comes_too_late_changes_nothing(writer: LogWriter, store: FaultyStore) -> None:
    store.may_commit.clear()
    with pytest.raises(LogTimeout):
        writer.append_all([outcome("b" * 32)], timeout_s=0)
    with pytest.raises(LogTimeout):
        writer.append(access(), timeout_s=0.01)
    store.may_commit.set()
    assert writer.append(access()).kind is Kind.ACCESS


def test_an_answer_given_at_the_last_moment_counts(home: LogHome) -> None:
    """Caller and writer race for the same request a thousand times; each record is acknowledged or settled."""
    with closing(home.open()) as writer:
        acknowledged: list[Record] = []

        def ask() -> None:
            for number in range(250):
                with suppress(LogTimeout):
                    acknowledged.append(writer.append(intent(number % 3), timeout_s=0.0002 * (number % 8)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await_true(lambda: len(writer.open_intents()) == len(acknowledged))
        assert {record.id for record in writer.open_intents()} == {record.id for record in acknowledged}


def test_more_requests_than_go_into_one_commit_are_all_answered(
    writer: LogWriter, store: FaultyStore
) -> None:
    store.may_commit.clear()
    first = threading.Thread(target=writer.append, args=(access(),))
    first.start()
    assert store.entered.wait(10)
    requests = [Append([Prepared(access())]) for _ in range(1500)]
    for request in requests:
        writer._queue.put(request)
    store.may_commit.set()
    first.join()
    assert [request.wait(10)[0].seq for request in requests] == list(range(1, 1501))
    assert store.batches == [1, 1024, 476]


def test_a_closed_log_takes_nothing(writer: LogWriter) -> None:
    writer.close()
    writer.close()
    for ask in (lambda: writer.append(access()), writer.checkpoint, writer.open_intents):
        with pytest.raises(LogUnavailable, match="closed"):
            ask()


def test_what_waits_is_served_before_the_log_closes(
    writer: LogWriter, store: FaultyStore, home: LogHome
) -> None:
    store.may_commit.clear()
    asking = [threading.Thread(target=writer.append, args=(access(),)) for _ in range(5)]
    asking[0].start()
    assert store.entered.wait(10)
    for thread in asking[1:]:
        thread.start()
    await_true(lambda: writer._queue.qsize() == 4)
    closing_thread = threading.Thread(target=writer.close)
    closing_thread.start()
    await_true(lambda: writer._queue.qsize() == 5)
    store.may_commit.set()
    for thread in (*asking, closing_thread):
        thread.join()
    assert len(stored(home)) == 5


class Defect(Exception):
    """What no code expects."""


class DefectiveStore(FaultyStore):
    """A store with a defect, which raises what it never should."""

    def commit(self, batch: Batch) -> None:
        self.entered.set()
        assert self.may_commit.wait(30)
        raise Defect(len(batch.records))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_its_thread_the_log_takes_nothing(home: LogHome) -> None:
    store = DefectiveStore.of(home)
    writer = LogWriter(store, home.clock, home.key)
    store.may_commit.clear()
    failures: list[str] = []

    def ask() -> None:
        try:
            writer.append(denied(bundle=None))
        except LogUnavailable as failure:
            failures.append(failure.message)

    asking = [threading.Thread(target=ask)]
    asking[0].start()
    assert store.entered.wait(10)
    asking += [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking[1:]:
        thread.start()
    await_true(lambda: writer._queue.qsize() == 3)
    store.may_commit.set()
    for thread in asking:
        thread.join()
    assert failures == ["The log is closed; nothing was done."] * 4
    with pytest.raises(LogUnavailable, match="closed"):
        writer.append(denied(bundle=None))
    store.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_request_that_arrives_as_the_thread_ends_is_refused_at_once(home: LogHome) -> None:
    store = DefectiveStore.of(home)
    writer = LogWriter(store, home.clock, home.key)
    with pytest.raises(LogUnavailable):
        writer.append(denied(bundle=None))
    writer._thread.join()
    writer._closed = False  # as it was for a caller who looked just before
    writer._queue.put(None)
    with pytest.raises(LogUnavailable, match="closed"):
        writer.append(denied(bundle=None), timeout_s=60)
    store.close()


def test_a_clock_without_time_zone_makes_the_log_unavailable_not_dead(
    writer: LogWriter, home: LogHome
) -> None:
    right = home.clock.instant
    home.clock.instant = right.replace(tzinfo=None)
    with pytest.raises(LogUnavailable, match="time zone"):
        writer.append(access())
    home.clock.instant = right
    assert writer.append(access()).seq == 0
    assert writer.append(access()).seq == 1


def test_a_checkpoint_is_signed_on_demand_and_stored(writer: LogWriter, home: LogHome) -> None:
    write(writer, ordinary_history(5))
    note = writer.checkpoint()
    checkpoint = Checkpoint.verify(note, [VerifierKey.parse(home.key.vkey)])
    assert (checkpoint.origin, checkpoint.head) == (home.origin, writer.head())
    assert writer.checkpoint() == note
    with LogQuery(home.path) as query:
        assert query.latest_checkpoint() == note


def test_an_empty_log_can_be_signed(writer: LogWriter, home: LogHome) -> None:
    assert Checkpoint.verify(writer.checkpoint(), [VerifierKey.parse(home.key.vkey)]).head.size == 0


def test_a_checkpoint_is_signed_by_itself_soon_after_a_record(home: LogHome) -> None:
    with closing(home.open(checkpoint_after_s=0.05)) as writer, LogQuery(home.path) as query:
        writer.append(access())
        await_true(lambda: query.latest_checkpoint() is not None, 5)
        note = query.latest_checkpoint()
        assert note is not None
        assert Checkpoint.verify(note, [VerifierKey.parse(home.key.vkey)]).head == writer.head()


def test_under_steady_load_checkpoints_are_signed_all_the_same(home: LogHome) -> None:
    with closing(home.open(checkpoint_after_s=0.05)) as writer, LogQuery(home.path) as query:
        limit = time.monotonic() + 5
        while query.latest_checkpoint() is None:
            assert time.monotonic() < limit
            writer.append(access())


def test_records_left_unsigned_by_a_crash_are_signed_after_the_next_start(home: LogHome) -> None:
    store = FaultyStore.of(home)
    writer = LogWriter(store, home.clock, home.key, checkpoint_after_s=60)
    writer.append(denied(bundle=None))
    store.fail_checkpoints = [LogUnavailable(FULL)]
    with pytest.raises(LogUnavailable, match="disk is full"):
        writer.close()
    with closing(home.open(checkpoint_after_s=0.01)), LogQuery(home.path) as query:
        await_true(lambda: query.latest_checkpoint() is not None)


def test_a_checkpoint_that_cannot_be_stored_is_tried_again(home: LogHome) -> None:
    store = FaultyStore.of(home)
    with closing(LogWriter(store, home.clock, home.key, checkpoint_after_s=0.01)) as writer:
        store.fail_checkpoints = [LogUnavailable(FULL)]
        writer.append(denied(bundle=None))
        with LogQuery(home.path) as query:
            await_true(lambda: not store.fail_checkpoints)
            assert query.latest_checkpoint() is None
            await_true(lambda: query.latest_checkpoint() is not None)


def test_a_checkpoint_that_cannot_be_stored_is_not_handed_out(writer: LogWriter, store: FaultyStore) -> None:
    writer.append(access())
    store.fail_checkpoints = [LogUnavailable(FULL)]
    with pytest.raises(LogUnavailable, match="full"):
        writer.checkpoint()
    assert writer.checkpoint()


def test_a_log_is_continued_where_it_ended(home: LogHome) -> None:
    lengths = (1, 7, 300, 0, 64)
    total: list[Record] = []
    for length in lengths:
        writer = home.open()
        total += write(writer, [[access()] for _ in range(length)])
        assert writer.head() == TreeHead(len(total), root_of([record.leaf_hash for record in total]))
        writer.close()
    assert verify_store(home.path).records == sum(lengths)


def test_another_key_cannot_continue_the_log(home: LogHome, tmp_path: Path) -> None:
    other = LogKey.create(tmp_path / "other.key", home.origin)
    with closing(SqliteLogStore(home.path)) as store, pytest.raises(LogKeyRefused, match="begun with"):
        LogWriter(store, home.clock, other)


def test_a_writer_that_cannot_begin_lets_go_of_the_log(home: LogHome, tmp_path: Path) -> None:
    other = LogKey.create(tmp_path / "other.key", home.origin)
    with pytest.raises(LogKeyRefused):
        LogWriter(SqliteLogStore(home.path), home.clock, other)
    home.open().close()


def test_a_fault_is_told_once_in_the_servers_log_and_so_is_its_end(
    writer: LogWriter, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.fail_before = [LogUnavailable(FULL) for _ in range(5)]
    for _ in range(5):
        with pytest.raises(LogUnavailable):
            writer.append(access())
    writer.append(access())
    writer.append(access())
    assert [record.message for record in caplog.records if record.name == "audit.log.writer"] == [
        "The log cannot be written; nothing is done until it can.",
        "The log can be written again.",
    ]


def test_intents_are_refused_until_recovery_is_declared(home: LogHome) -> None:
    with closing(home.open(recovered=False)) as writer:
        assert writer.recovering is True
        with pytest.raises(LogRecovering) as refusal:
            writer.append(intent())
        assert refusal.value.exit_code == 9
        assert isinstance(refusal.value, LogUnavailable)
        assert writer.append(denied()).seq == 0  # the log works all the same
        writer.declare_recovered()
        assert writer.append(intent()).seq == 1


def interrupted(home: LogHome, count: int) -> list[Record]:
    """A daemon that died with accesses under way."""
    writer = home.open()
    begun = [writer.append(intent(number)) for number in range(count)]
    writer.append(outcome(begun[0]))
    writer.close()
    return begun[1:]


def test_interrupted_accesses_are_settled_before_any_new_intent(home: LogHome) -> None:
    left_open = interrupted(home, 4)
    with closing(SqliteLogStore(home.path)) as store:
        assert [record.id for record in open_intents(store)] == [record.id for record in left_open]
    with closing(home.open(recovered=False)) as writer:
        with pytest.raises(LogRecovering, match="3 interrupted"):
            writer.declare_recovered()
        outcomes = settle_open_intents(
            writer,
            lambda intent: ("ok" if intent.seq % 2 else "recovery.not_done", {"guest_running": True}),
            principal="os:0",
            resource="site:site",
        )
        assert [record.intent for record in outcomes] == [record.id for record in left_open]
        assert [record.result for record in outcomes] == [
            {"code": code, "facts": {"guest_running": True, "recovered": True}}
            for code in ("ok", "recovery.not_done", "ok")
        ]
        assert {record.principal for record in outcomes} == {ALICE}
        summary = stored(home)[5]
        assert (summary.kind, summary.principal, summary.action) == (Kind.RECOVERY, "os:0", "system.recover")
        assert summary.result == {"code": "ok", "facts": {"open_intents": 3}}
        writer.append(outcome(writer.append(intent())))
    assert verify_store(home.path).holds


def test_a_recovery_that_fails_lets_no_intent_through_and_is_taken_up_again(home: LogHome) -> None:
    left_open = interrupted(home, 4)

    def settle(record: Record) -> tuple[str, dict[str, object]]:
        if record.id == left_open[1].id:
            raise Defect
        return "ok", {}

    writer = home.open(recovered=False)
    with pytest.raises(Defect):
        settle_open_intents(writer, settle, principal="os:0", resource="site:site")
    with pytest.raises(LogRecovering):
        writer.append(intent())
    writer.close()
    with closing(home.open(recovered=False)) as again:
        done = settle_open_intents(again, lambda _: ("ok", {}), principal="os:0", resource="site:site")
        assert [record.intent for record in done] == [record.id for record in left_open[1:]]


def test_with_nothing_interrupted_recovery_writes_nothing(home: LogHome) -> None:
    with closing(home.open(recovered=False)) as writer:
        assert settle_open_intents(writer, lambda _: ("ok", {}), principal="os:0", resource="site:site") == []
        assert not writer.recovering
        assert writer.head().size == 0


def test_damage_found_at_the_start_keeps_the_log_closed(home: LogHome) -> None:
    writer = home.open()
    write(writer, ordinary_history(6))
    writer.close()

    class Shortened(SqliteLogStore):
        def size(self) -> int:
            return 5

    with closing(Shortened(home.path)) as store, pytest.raises(LogDamaged, match="shorter than its signed"):
        LogWriter(store, home.clock, home.key)
