"""Appending to the log, against raw SQLite with the same durability and rows of the same bytes."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from audit.log.database import create_database
from audit.log.record import Draft, Kind
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from policies.bundle import shipped
from tests.bench.raw_sqlite import RawTable
from tests.bench.rounds import per_second, percentile_ms, side_by_side
from tests.bench.row import Row
from tests.bench.subject import Setting, Subject
from vault.clock import HostClock

_THREADS = 64
_ROUNDS = 8
_SINGLE_APPENDS_A_ROUND = 300
_APPENDS_A_THREAD = 60
_TIMEOUT_S = 60.0


class LogAndRaw:
    """A log with its writer, and a raw table, on the same disk."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        origin = "strongroom.local/bench"
        key = LogKey.create(folder / "log.key", origin)
        self.path = folder / "log.db"
        create_database(self.path, origin=origin, vkey=key.vkey)
        self._writer = LogWriter(SqliteLogStore(self.path), HostClock(), key)
        stack.callback(self._writer.close)
        bundle = shipped()
        self._writer.add_bundle(bundle.digest, bundle.files)
        self._writer.declare_recovered()
        self._draft = Draft(
            kind=Kind.ACCESS,
            principal="account:5f1d6a52-1c1f-4c39-9c52-000000000001",
            action="guest.show",
            resource="guest:0b2c9f7e-8e27-4a53-8a3b-000000000002",
            decision="allow",
            policies=("base.operator-guests",),
            bundle=bundle.digest,
            inputs=b'{"context":{"channel":"cli"},"entities":[]}',
            result={"code": "ok", "facts": {"rows": 2}},
            source={"address": None, "channel": "cli"},
            session="9b0d7f0e-8e27-4a53-8a3b-000000000003",
        )
        self._row = self._writer.append(self._draft).bytes
        self._table = RawTable(folder / "raw.db")
        stack.callback(self._table.close)

    @property
    def record_bytes(self) -> int:
        """Size of one record."""
        return len(self._row)

    def append(self) -> None:
        """One record by one client."""
        self._writer.append(self._draft, _TIMEOUT_S)

    def add_row(self) -> None:
        """One raw row in a commit of its own."""
        self._table.add(self._row)

    def append_from_threads(self) -> int:
        """Records from 64 threads, each waiting for each of its records; how many."""
        failures: list[BaseException] = []

        def client() -> None:
            try:
                for _ in range(_APPENDS_A_THREAD):
                    self.append()
            except BaseException as error:  # noqa: BLE001 - the edge of a thread; raised again below
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return _THREADS * _APPENDS_A_THREAD

    def add_rows_grouped(self) -> int:
        """As many raw rows, 64 in each commit; how many."""
        group = [self._row] * _THREADS
        for _ in range(_APPENDS_A_THREAD):
            self._table.add_all(group)
        return _THREADS * _APPENDS_A_THREAD


def measure(setting: Setting, wanted: frozenset[str]) -> Iterator[Row]:
    """Measure appends."""
    with ExitStack() as stack:
        pair = LogAndRaw(setting.folder, stack)
        if "log.append1" in wanted:
            setting.say(f"log.append1: {_ROUNDS} rounds of {_SINGLE_APPENDS_A_ROUND} appends")
            yield Row(
                "log.append1",
                "One client appends; against one raw SQLite row a commit (p99)",
                side_by_side(
                    lambda: percentile_ms(pair.append, _SINGLE_APPENDS_A_ROUND, 99),
                    lambda: percentile_ms(pair.add_row, _SINGLE_APPENDS_A_ROUND, 99),
                    _ROUNDS,
                ),
                "ms",
                facts={"record_bytes": pair.record_bytes},
            )
        if "log.append64" in wanted:
            setting.say(f"log.append64: {_ROUNDS} rounds of {_THREADS * _APPENDS_A_THREAD} records")
            before = _count_and_size(pair.path)
            rounds = side_by_side(
                lambda: per_second(pair.append_from_threads),
                lambda: per_second(pair.add_rows_grouped),
                _ROUNDS,
            )
            after = _count_and_size(pair.path)
            yield Row(
                "log.append64",
                "64 threads append; against raw SQLite `executemany`, 64 rows a commit, from one thread",
                rounds,
                "durable records/s",
                "ours >= 8000",
                higher_is_better=True,
                facts={
                    "record_bytes": pair.record_bytes,
                    "stored_bytes_a_record": round((after[1] - before[1]) / (after[0] - before[0])),
                },
            )


def _count_and_size(path: Path) -> tuple[int, int]:
    """Records in a log, and bytes of its pages, the write-ahead log's included."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        count, pages, page_bytes = (
            database.execute(query).fetchone()[0]
            for query in ("SELECT COUNT(*) FROM leaf", "PRAGMA page_count", "PRAGMA page_size")
        )
    return count, pages * page_bytes


SUBJECT = Subject(("log.append1", "log.append64"), measure)
