"""Real parts put together for the log's tests, and clocks that do as they are told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from audit.log import canonical
from audit.log.bundle_files import bundle_digest
from audit.log.database import create_database
from audit.log.epoch_key import EpochKeys
from audit.log.record import Draft, Kind, Record
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter

ORIGIN = "strongroom.example/log"
ALICE = "account:5f1d6a52-1c1f-4c39-9c52-000000000001"
GUEST = "guest:0b2c9f7e-8e27-4a53-8a3b-000000000002"
BUNDLE = {"base.cedar": b"permit(principal, action, resource);\n", "schema.cedarschema": b"entity Guest;\n"}
DIGEST = bundle_digest(BUNDLE)


@dataclass
class SteppingClock:
    """A clock that moves on by a millisecond whenever it is asked, and can be set back."""

    instant: datetime = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    elapsed_ns: int = 5_000_000_000
    boot: str = "2d1f3c1e-6f0a-4f0e-9a55-000000000003"

    def now(self) -> datetime:
        self.instant += timedelta(milliseconds=1)
        return self.instant

    def mono_ns(self) -> int:
        self.elapsed_ns += 1_000_000
        return self.elapsed_ns

    def boot_id(self) -> str:
        return self.boot


def inputs_of(number: int) -> bytes:
    """A policy input like the engine's, different for each number."""
    guest = {
        "attrs": {"labels": ["ephi"], "owner": f"owner-{number}"},
        "parents": [],
        "uid": {"id": "g", "type": "Guest"},
    }
    return canonical.encode(
        {"context": {"approvals": 0, "channel": "cli", "reason_given": False}, "entities": [guest]}
    )


def intent(number: int = 0, **changes: object) -> Draft:
    """An allowed start of a guest, before it happens."""
    values: dict[str, object] = {
        "kind": Kind.INTENT,
        "principal": ALICE,
        "action": "guest.start",
        "resource": GUEST,
        "decision": "allow",
        "policies": ("base.operator_guests",),
        "bundle": DIGEST,
        "inputs": inputs_of(number),
        "source": {"address": None, "channel": "cli"},
        "session": "9b0d7f0e00000000000000000000aaaa",
    }
    return Draft(**(values | changes))  # type: ignore[arg-type]  # each test changes what it needs


def outcome(of: Record | str, code: str = "ok", facts: Mapping[str, object] | None = None) -> Draft:
    """How an intent ended."""
    return Draft(
        kind=Kind.OUTCOME,
        principal=ALICE,
        action="guest.start",
        resource=GUEST,
        result={"code": code, "facts": {"disk_bytes": 4096} if facts is None else facts},
        intent=of if isinstance(of, str) else of.id,
    )


def access(**changes: object) -> Draft:
    """A list of guests was read."""
    values: dict[str, object] = {
        "kind": Kind.ACCESS,
        "principal": ALICE,
        "action": "guest.list",
        "resource": "site:site",
        "decision": "allow",
        "policies": ("base.readers",),
        "bundle": DIGEST,
        "result": {"code": "ok", "facts": {"rows": 2}},
    }
    return Draft(**(values | changes))  # type: ignore[arg-type]  # each test changes what it needs


def denied(**changes: object) -> Draft:
    """An auditor tried to start a guest."""
    values: dict[str, object] = {
        "kind": Kind.DENIED,
        "principal": "account:5f1d6a52-1c1f-4c39-9c52-000000000009",
        "action": "guest.start",
        "resource": GUEST,
        "decision": "deny",
        "bundle": DIGEST,
        "inputs": inputs_of(7),
        "result": {"code": "policy.denied", "facts": {}},
    }
    return Draft(**(values | changes))  # type: ignore[arg-type]  # each test changes what it needs


@dataclass
class LogHome:
    """A log in a folder of its own: key, database, and as many writers as a test opens, one after another."""

    folder: Path
    clock: SteppingClock = field(default_factory=SteppingClock)
    origin: str = ORIGIN

    @classmethod
    def create(cls, folder: Path, origin: str = ORIGIN) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        home = cls(folder, origin=origin)
        key = LogKey.create(home.key_path, origin)
        create_database(home.path, origin=origin, vkey=key.vkey)
        return home

    @property
    def path(self) -> Path:
        return self.folder / "log.db"

    @property
    def key_path(self) -> Path:
        return self.folder / "log.key"

    @property
    def key(self) -> LogKey:
        return LogKey.load(self.key_path)

    def open(
        self, *, recovered: bool = True, checkpoint_after_s: float = 1.0, epochs: bool = False
    ) -> LogWriter:
        """A writer; with `epochs`, the next key epoch begins."""
        writer = LogWriter(
            SqliteLogStore(self.path),
            self.clock,
            self.key,
            EpochKeys(self.folder) if epochs else None,
            checkpoint_after_s=checkpoint_after_s,
        )
        writer.add_bundle(DIGEST, BUNDLE)
        if recovered:
            writer.declare_recovered()
        return writer


def ordinary_history(count: int) -> Iterator[Sequence[Draft]]:
    """Groups of drafts like a day's: intents, outcomes, reads, refusals."""
    made = 0
    while made < count:
        identity = f"{made:032x}"
        for group in ([intent(made % 5, id=identity)], [outcome(identity)], [access()], [denied()]):
            if made == count:
                return
            made += len(group)
            yield group


def write(writer: LogWriter, groups: Iterable[Sequence[Draft]]) -> list[Record]:
    """Append groups in order."""
    return [record for group in groups for record in writer.append_all(group)]
