"""Verifying a long log, against hashing the same bytes bare, and against `journalctl --verify`."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.journal import Journal
from tests.bench.made_log import make_export
from tests.bench.rounds import side_by_side
from tests.bench.row import Row
from tests.bench.subject import Setting, Subject

_RECORDS = 1_000_000
_RECORDS_FULL = 10_000_000
_RECORDS_JOURNAL = 100_000
_SMALL = (10_000, 100_000)
_MIB = 2**20
_ROUNDS = 3


class Readings:
    """Reads exports in processes of their own, and remembers the most memory each way took."""

    def __init__(self) -> None:
        self.peak_mib: dict[str, float] = {}

    def rate(self, way: str, export: Path) -> float:
        """Records a second of one core."""
        ended = subprocess.run(
            [sys.executable, "-m", "tests.bench.reading", way, str(export)],
            stdout=subprocess.PIPE,
            check=True,
        )
        told: Mapping[str, Any] = json.loads(ended.stdout)
        self.peak_mib[way] = max(self.peak_mib.get(way, 0), round(told["peak_bytes"] / _MIB, 1))
        return float(told["records"] / told["cpu_s"])


def measure(setting: Setting, wanted: frozenset[str]) -> Iterator[Row]:
    """Measure verification."""
    if wanted & {"log.verify", "log.verify_parse"}:
        peaks: dict[str, dict[str, float]] = {}
        for count in _SMALL:
            setting.say(f"log.verify: memory at {count:,} records")
            readings = Readings()
            export = _export(setting, count)
            for way in ("verify", "verify-fields"):
                readings.rate(way, export)
            peaks[f"{count // 1000}k"] = readings.peak_mib
        setting.say(f"log.verify: making a log of {_RECORDS:,} records")
        export = _export(setting, _RECORDS)
        for row_id, way, bare, name, goal in _WAYS:
            if row_id in wanted:
                setting.say(f"{row_id}: {_ROUNDS} rounds over {_RECORDS:,} records")
                readings = Readings()
                rounds = side_by_side(
                    partial(readings.rate, way, export), partial(readings.rate, bare, export), _ROUNDS,
                    warm_up_rounds=0,
                )  # fmt: skip
                facts = {f"peak_mib_{size}": peak[way] for size, peak in peaks.items()}
                facts["peak_mib_1m"] = readings.peak_mib[way]
                # Ten times the records; what grows with the log would show here.
                facts["growth_mib"] = round(facts["peak_mib_1m"] - facts["peak_mib_100k"], 1)
                yield Row(row_id, name, rounds, "records/s a core", goal, higher_is_better=True, facts=facts)
    if "log.verify_journal" in wanted:
        yield _against_journal(setting)


_WAYS = (
    (
        "log.verify", "verify", "hash",
        "Verify 1,000,000 records without reading fields; against SHA-256 over the same records and nothing else",
        "ours >= 300000, growth_mib <= 8",
    ),
    (
        "log.verify_parse", "verify-fields", "hash-and-parse",
        "Verify 1,000,000 records and their fields; against SHA-256 and `json.loads` of the same records",
        "growth_mib <= 64",
    ),
)  # fmt: skip


def _against_journal(setting: Setting) -> Row:
    setting.say(f"log.verify_journal: writing {_RECORDS_JOURNAL:,} records into a journal")
    export = _export(setting, _RECORDS_JOURNAL)
    journal = Journal.write(setting.folder, export / "records.jsonl")
    readings = Readings()

    def theirs() -> float:
        return _RECORDS_JOURNAL / journal.verify_cpu_s()

    return Row(
        "log.verify_journal",
        "Verify 100,000 records and their fields; against `journalctl --verify` on a journal of the same records",
        side_by_side(partial(readings.rate, "verify-fields", export), theirs, _ROUNDS),
        "records/s a core",
        higher_is_better=True,
    )


def measure_full(setting: Setting, _wanted: frozenset[str]) -> Iterator[Row]:
    """Measure at ten million records, which takes minutes and 7 GB."""
    setting.say(f"log.verify_10m: making a log of {_RECORDS_FULL:,} records")
    export = _export(setting, _RECORDS_FULL)
    readings = Readings()
    setting.say("log.verify_10m: one round")
    rounds = side_by_side(
        partial(readings.rate, "verify", export), partial(readings.rate, "hash", export), 1, warm_up_rounds=0
    )
    yield Row(
        "log.verify_10m",
        "Verify 10,000,000 records without reading fields; against SHA-256 over the same records and nothing else",
        rounds,
        "records/s a core",
        "ours >= 300000",
        higher_is_better=True,
        facts={"peak_mib_10m": readings.peak_mib["verify"]},
    )


def _export(setting: Setting, count: int) -> Path:
    export = setting.folder / f"log-{count}"
    if not export.exists():
        make_export(export, count)
    return export


SUBJECT = Subject(("log.verify", "log.verify_parse", "log.verify_journal"), measure)
FULL = Subject(("log.verify_10m",), measure_full, only_full=True)
