"""A real log in a folder, written by the real writer from a told story, and the facts that fit it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from audit.evidence.facts import Facts
from audit.evidence.log_range import Event
from audit.log.bundle_files import bundle_digest
from audit.log.database import create_database
from audit.log.record import Draft, Kind
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from tests.unit.evidence.examples import changed

ORIGIN = "strongroom.example/main"
_BUNDLE = {"base.cedar": b"permit(principal, action, resource);\n"}


class ToldClock:
    """A clock that says what the event in hand says."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)
        self._elapsed_ns = 0

    def now(self) -> datetime:
        return self.at

    def mono_ns(self) -> int:
        self._elapsed_ns += 1000
        return self._elapsed_ns

    def boot_id(self) -> str:
        return "5d1f3c1e-6f0a-4f0e-9a55-000000000003"


@dataclass(frozen=True)
class WrittenLog:
    """A closed log: its database, verifier key and last checkpoint."""

    path: Path
    vkey: str
    checkpoint: str

    def facts(self, facts: Facts) -> Facts:
        """The facts with this log in them."""
        return changed(
            facts, "log", origin=ORIGIN, vkey=self.vkey, checkpoint=self.checkpoint, path=str(self.path)
        )


def write_log(folder: Path, events: Sequence[Event], later: Sequence[Event] = ()) -> WrittenLog:
    """Write each event as a record of a new log in `folder`; `later` ones after the checkpoint that is kept."""
    key = LogKey.create(folder / "log.key", ORIGIN)
    path = folder / "log.db"
    create_database(path, origin=ORIGIN, vkey=key.vkey)
    clock = ToldClock()
    writer = LogWriter(SqliteLogStore(path), clock, key)
    writer.add_bundle(bundle_digest(_BUNDLE), _BUNDLE)
    writer.declare_recovered()
    checkpoint = b""
    for part in (events, later):
        for event in part:
            clock.at = datetime.fromisoformat(event.at)
            writer.append(_draft(event))
        checkpoint = checkpoint or writer.checkpoint()
    writer.close()
    return WrittenLog(path, key.vkey, checkpoint.decode())


def _draft(event: Event) -> Draft:
    return Draft(
        kind=Kind(event.kind),
        principal=event.principal,
        action=event.action,
        resource=event.resource,
        decision=event.decision,
        policies=event.policies,
        bundle=bundle_digest(_BUNDLE) if event.bundle else None,
        result={"code": event.code, "facts": dict(event.facts)} if event.code else None,
        source={"channel": event.channel, "address": None} if event.channel else None,
        session=event.session,
        intent=event.intent,
        id=event.id,
    )
