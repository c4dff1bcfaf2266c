"""A log of intents in a file, for the key process: a real object that another process can read too."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from policies.vocabulary import Action, EntityRef
from vault.clock import HostClock
from vault.errors import HostFailure
from vault.permit import Permit

from .permits import permit_for


@dataclass(frozen=True)
class WrittenIntent:
    """The fields of a record that a warrant reads."""

    id: str
    kind: str
    action: str
    resource: str
    decision: str | None
    boot: str
    mono_ns: int


@dataclass(frozen=True)
class WrittenState:
    """A record and whether it has its outcome."""

    record: WrittenIntent
    settled: bool


class IntentReader:
    """Reads what `IntentLog` wrote, from the same or another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def intent_state(self, intent_id: str) -> WrittenState | None:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise HostFailure("The log cannot be read.") from error
        found: WrittenState | None = None
        for line in lines:  # the last line about a record counts
            entry = json.loads(line)
            if entry["record"]["id"] == intent_id:
                found = WrittenState(WrittenIntent(**entry["record"]), entry["settled"])
        return found


class IntentLog:
    """Writes intents and outcomes as the gate would, and what a thief or a clumsy daemon would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = HostClock()
        path.touch()

    def intend(self, action: Action, resource: EntityRef, /, **changed: object) -> Permit:
        """Write an allowed, fresh intent, with fields changed as the test wants, and return its permit."""
        record = WrittenIntent(
            id=secrets.token_hex(16),
            kind="intent",
            action=action,
            resource=str(resource),
            decision="allow",
            boot=self.clock.boot_id(),
            mono_ns=self.clock.mono_ns(),
        )
        self._write(WrittenState(replace(record, **changed), settled=False))  # type: ignore[arg-type] # by name
        return permit_for(action, resource, record.id)

    def conclude(self, permit: Permit) -> None:
        """Write the outcome of a permit's intent."""
        state = IntentReader(self.path).intent_state(permit.intent)
        assert state is not None
        self._write(replace(state, settled=True))

    def _write(self, state: WrittenState) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(state)) + "\n")
