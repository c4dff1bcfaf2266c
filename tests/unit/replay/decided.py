"""Logs whose decisions were really made, by the shipped policies, and a source of records to tamper with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audit.log import canonical
from audit.log.bundle_files import bundle_digest
from audit.log.query import LogQuery
from audit.log.record import Draft, Kind
from policies.bundle import shipped
from policies.engine import PolicyEngine
from policies.inputs import inputs_document
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Request, Verdict
from tests.unit.audit_log.parts import LogHome, outcome

ENGINE = PolicyEngine(shipped())
GUEST = EntityRef(EntityType.GUEST, "clinic-db")


def request(
    role: str = "operator", action: Action = Action.GUEST_START, who: str = "olga", *, reason: bool = False
) -> Request:
    """Somebody with a role asks for something on a guest with patient data."""
    account = EntityRef(EntityType.ACCOUNT, who)
    entities = (
        Entity(account, {"active": True}, (EntityRef(EntityType.ROLE, role),)),
        Entity(GUEST, {"labels": ["ephi"], "owner": who}),
    )
    context: dict[str, bool | int | str | list[str]] = {
        "channel": "cli",
        "approvals": 0,
        "reason_given": reason,
        "second_factor": False,
    }
    return Request(account, action, GUEST, context, entities)


def decided(asked: Request) -> Draft:
    """What the gate would record of a request."""
    decision = ENGINE.decide(asked)
    kinds = {Verdict.ALLOW: Kind.INTENT, Verdict.DENY: Kind.DENIED, Verdict.UNMET: Kind.PENDING}
    return Draft(
        kind=kinds[decision.verdict],
        principal=str(asked.principal),
        action=asked.action,
        resource=str(asked.resource),
        decision=decision.verdict,
        policies=decision.policies,
        bundle=decision.bundle,
        inputs=canonical.encode(inputs_document(asked)),
        result=None if decision.verdict is Verdict.ALLOW else {"code": "policy.denied", "facts": {}},
    )


def forged(draft: Draft) -> Draft:
    """An allow that the policies never gave."""
    return replace(draft, kind=Kind.INTENT, decision="allow", policies=("base.operator-guests",), result=None)


@dataclass
class DecidedLog:
    """A log with decisions of the shipped policies."""

    home: LogHome

    @classmethod
    def create(cls, folder: Path, drafts: Sequence[Draft]) -> "DecidedLog":
        home = LogHome.create(folder)
        writer = home.open()
        writer.add_bundle(shipped().digest, dict(shipped().files))
        for draft in drafts:
            written = writer.append(draft)
            if draft.kind is Kind.INTENT:
                writer.append(outcome(written))
        writer.checkpoint()
        writer.close()
        return cls(home)

    def taken(self) -> "Taken":
        """What a replay reads of it, held in memory."""
        with LogQuery(self.home.path) as log:
            size = log.size()
            inputs = list(log.inputs(size))
            return Taken(
                lines=list(log.raw()),
                stored={
                    record.inputs: log.inputs_of(record) or b"" for record in log.records() if record.inputs
                },
                bundles={shipped().digest: dict(shipped().files)} if inputs else {},
            )


@dataclass
class Taken:
    """A `Recorded` to tamper with."""

    lines: list[bytes]
    stored: dict[str, bytes] = field(default_factory=dict)
    bundles: dict[str, dict[str, bytes]] = field(default_factory=dict)
    first: int = 0

    def records(self) -> Iterator[bytes]:
        return iter(self.lines)

    def size(self) -> int:
        return len(self.lines)

    def inputs(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        return {digest: self.stored[digest] for digest in digests if digest in self.stored}

    def bundle(self, digest: str) -> Mapping[str, bytes]:
        return self.bundles.get(digest, {})

    def decided_by(self, files: dict[str, bytes]) -> "Taken":
        """The same records, as if other policies had decided them."""
        old, new = shipped().digest, bundle_digest(files)
        return Taken(
            [line.replace(old.encode(), new.encode()) for line in self.lines], self.stored, {new: files}
        )
