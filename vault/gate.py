"""The gate: the one way every access takes.

    request → decision → intent (durable) → act(permit) → outcome (durable) → answer

The invariants it keeps (DESIGN section 1):

* no log, no access: nothing is done, and nothing read is handed out, before its record is durable;
* only code that holds a `Permit` acts, and only this module makes permits;
* the lock of the resource is held from decision to outcome;
* when an outcome cannot be recorded the gate stops acting, and says so, until the daemon is
  started again and the open intent has been settled against the real state of the host;
* actions in the safe direction (seal, end a session) go on without the log, journalled beside it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from audit.errors import AuditError, LogUnavailable
from audit.log import canonical
from audit.log.record import Draft, Kind, Record
from policies.errors import StrongroomError
from policies.inputs import inputs_document
from policies.vocabulary import Action, Decision, Entity, EntityRef, EntityType, Request, Verdict
from vault.errors import ApprovalNeeded, EvaluationFailed, OutcomeNotRecorded, PolicyDenied
from vault.journal import SafeJournal
from vault.locks import ResourceLocks
from vault.permit import _GATE_TOKEN, Permit
from vault.waits import waited_s

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Automatic refresh of one view by one session is recorded once in this time (DESIGN section 1).
COALESCE_READS_S = 300.0
_UNEXPECTED = "unexpected"
_READ_THE_LOG = frozenset({Action.LOG_VERIFY, Action.LOG_EXPORT})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and by which way.

    Attributes:
        principal: the account, or the host user where no daemon is involved.
        session: id of the session, None where there is none.
        channel: `cli`, `web`, `api`, `local` or `daemon`.
        sealed_address: the caller's network address, sealed to the person's key (D3), base64.
        second_factor: whether the session proved a second factor.
        job: id of the job that asks for them; None where they wait for the answer themselves.
    """

    principal: EntityRef
    channel: str
    session: str | None = None
    sealed_address: str | None = None
    second_factor: bool = False
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """One request to the gate: who wants to do what to which resource.

    Attributes:
        entities: the entity of a resource that does not exist yet (a guest about to be created);
            empty for everything the entity builder can find by itself.
    """

    caller: Caller
    action: Action
    resource: EntityRef
    reason_given: bool = False
    entities: tuple[Entity, ...] = ()

    @property
    def lock_key(self) -> str:
        """Name of the lock this access holds.

        What acts on the site as a whole (a log-in, an image build), or reads the whole log for minutes, excludes
        only the same act by the same principal: a log-in need not wait for somebody's build, nor a checkpoint
        for somebody's verification.
        """
        if self.resource.type is EntityType.SITE or self.action in _READ_THE_LOG:
            return f"{self.action}/{self.caller.principal}"
        return str(self.resource)


class DecisionEngine(Protocol):
    """What the gate needs of the policy engine."""

    def decide(self, request: Request) -> Decision:
        """Answer the request; never raises for a policy's own error, which denies."""


class EntitySource(Protocol):
    """Builds the few Cedar entities that one access touches."""

    def entities_for(self, access: Access) -> tuple[Entity, ...]:
        """Return principal, its roles, and resource as they are now."""


class RecordWriter(Protocol):
    """What the gate needs of the log."""

    def append(self, draft: Draft, timeout_s: float = ...) -> Record:
        """Return when the record is durable; raise LogUnavailable otherwise."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happened to the gate itself, and that no record's code tells.

    Attributes:
        code: `log.unavailable` once the log is back, or `gate.outcome_not_recorded`.
        since: when it began, aware.
        record: the first record after it, or the intent that has no outcome.
    """

    code: str
    since: datetime
    record: str


#: Told the caller and the id of a durable intent just before the act. What it raises is how the act ended.
BeforeAct = Callable[[Caller, str], None]


class Gate:
    """Lets one access through at a time for each resource, and remembers every one."""

    def __init__(
        self,
        engine: DecisionEngine,
        entities: EntitySource,
        log: RecordWriter,
        journal: SafeJournal,
        locks: ResourceLocks | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        log_timeout_s: float = 5.0,
    ) -> None:
        self._engine = engine
        self._entities = entities
        self._log = log
        self._journal = journal
        self._locks = locks or ResourceLocks()
        self._monotonic = monotonic
        self._log_timeout_s = log_timeout_s
        self._watchers: tuple[Callable[[Record, float], None], ...] = ()
        self._before_act: BeforeAct | None = None
        self._on_trouble: Callable[[Trouble], None] = lambda _trouble: None
        self._log_away_since: datetime | None = None
        self._stopped_by: str | None = None
        self._seen_reads: dict[tuple[str, ...], float] = {}
        self._seen_guard = threading.Lock()

    @property
    def stopped_by(self) -> str | None:
        """Id of the intent whose outcome could not be recorded; None while the gate acts."""
        return self._stopped_by

    def watch(self, watcher: Callable[[Record, float], None]) -> None:
        """Tell `watcher` of each record an access made, once durable, and how long that took, in seconds.

        For figures about the gate. It stands between decision and act: it must be quick and never raise.
        """
        self._watchers = (*self._watchers, watcher)

    @property
    def locks(self) -> ResourceLocks:
        """The resource locks, for those who show what is busy."""
        return self._locks

    def replace_engine(self, engine: DecisionEngine) -> None:
        """Decide with another, already validated bundle from the next access on."""
        self._engine = engine

    def before_act(self, told: BeforeAct) -> None:
        """Tell somebody of every intent that is about to be acted on: jobs remember theirs, or hold it back."""
        self._before_act = told

    def on_trouble(self, told: Callable[[Trouble], None]) -> None:
        """Tell somebody what happened to the gate itself; what is told must not raise."""
        self._on_trouble = told

    def run(self, access: Access, act: Callable[[Permit], T]) -> T:
        """Let an access with an effect through the gate.

        Args:
            access: who asks for what.
            act: does it; gets the permit, and may `permit.note(...)` facts for the outcome record.

        Returns:
            what `act` returned.

        Raises:
            PolicyDenied: the policy said no; recorded.
            ApprovalNeeded: an obligation is not met; recorded.
            LogUnavailable: nothing was done.
            OutcomeNotRecorded: done (or failed), but not recorded; the gate acts no more.
            StrongroomError: whatever `act` raised; its code is in the outcome record.
        """
        self._refuse_when_stopped()
        with self._locks.hold(access.lock_key) as held:
            self._refuse_when_stopped()  # again: it may have stopped while this access waited
            request, decision = self._decide(access)
            if decision.verdict is not Verdict.ALLOW:
                raise self._refuse(access, request, decision)
            intent = self._append(access, request, decision, Kind.INTENT, None)
            held.acting = True
            value = self._act(access, intent.id, act)
        self._catch_up()
        return value

    def read(self, access: Access, produce: Callable[[], T], view: str | None = None) -> T:
        """Let a read through: one record that holds decision and result together.

        Args:
            produce: gets the data; must have no effect.
            view: name of a view and its filter that refreshes by itself; the same view in the same
                session is recorded once in five minutes. None records every read.
        """
        self._refuse_when_stopped()
        request, decision = self._decide(access)
        if decision.verdict is not Verdict.ALLOW:
            raise self._refuse(access, request, decision)
        try:
            value = produce()
        except StrongroomError as error:
            error.record = self._append(access, request, decision, Kind.ACCESS, _result(error.code)).id
            raise
        except Exception:
            self._append(access, request, decision, Kind.ACCESS, _result(_UNEXPECTED))
            raise
        if not self._was_just_seen(access, view):
            self._append(access, request, decision, Kind.ACCESS, _result("ok"))
            self._mark_seen(access, view)
            self._catch_up()
        return value

    def run_safe(self, access: Access, act: Callable[[Permit], T]) -> T:
        """Let a safe-direction action through, with the log or, when it is away, with the journal.

        The policy is asked all the same: going on without the log is no way round it. No lock is taken, so
        that it waits for nobody.

        Raises:
            PolicyDenied: the policy said no.
            LogUnavailable: neither the log nor the journal could be written; nothing was done.
            OutcomeNotRecorded: done (or failed), but not recorded; the gate acts no more.
        """
        request, decision = self._decide(access)
        if decision.verdict is not Verdict.ALLOW:
            raise self._refuse(access, request, decision)
        intent_id: str | None = None
        if self._stopped_by is None:
            try:
                intent_id = self._append(access, request, decision, Kind.INTENT, None).id
            except LogUnavailable:
                intent_id = None
        if intent_id is not None:
            value = self._act(access, intent_id, act)
            self._catch_up()
            return value
        return self._act_by_journal(access, decision, act)

    def settle(self, intent: Record, act: Callable[[Permit], str]) -> tuple[str, Mapping[str, object]]:
        """Bring an intent that a killed daemon left open to its end, by the code that would have acted.

        The caller (`audit.log.recovery`) makes the outcome durable before the next intent is looked at.

        Args:
            intent: the open intent.
            act: brings the host to a whole state, and returns the code that tells how it ended.

        Returns:
            the outcome's code and facts.
        """
        permit = Permit(
            _GATE_TOKEN,
            principal=EntityRef.parse(intent.principal),
            action=Action(intent.action),
            resource=EntityRef.parse(intent.resource),
            intent=intent.id,
        )
        try:
            code = act(permit)
        finally:
            permit._close()  # noqa: SLF001
        return code, permit.facts

    def record(self, draft: Draft) -> Record:
        """Append a record that is not an access: what recovery settled, what came from outside."""
        return self._log.append(draft, self._log_timeout_s)

    # -- the steps -------------------------------------------------------------------------

    def _refuse_when_stopped(self) -> None:
        if self._stopped_by is not None:
            raise OutcomeNotRecorded(
                "An earlier outcome could not be recorded, so nothing is done any more.",
                "Mend the log's storage, then restart the daemon: it settles what is open.",
            )

    def _decide(self, access: Access) -> tuple[Request, Decision]:
        request = Request(
            principal=access.caller.principal,
            action=access.action,
            resource=access.resource,
            context={
                "channel": access.caller.channel,
                "approvals": 0,
                "reason_given": access.reason_given,
                "second_factor": access.caller.second_factor,
            },
            entities=self._entities.entities_for(access),
        )
        return request, self._engine.decide(request)

    def _refuse(self, access: Access, request: Request, decision: Decision) -> StrongroomError:
        decided = (
            f"Decided by {', '.join(decision.policies)}" if decision.policies else "No policy permits it"
        )
        refusal: StrongroomError
        if decision.verdict is Verdict.UNMET:
            kind = Kind.PENDING
            refusal = ApprovalNeeded(
                f"The policy allows {access.action} only with: {', '.join(decision.obligations)}.",
                f"{decided}.",
            )
        else:
            kind = Kind.DENIED
            refusal = (EvaluationFailed if decision.evaluation_failed else PolicyDenied)(
                f"The policy does not allow you to do this ({access.action}).",
                f"{decided}; ask an administrator if you need it.",
                decision.policies,
            )
        refusal.record = self._append(access, request, decision, kind, _result(refusal.code)).id
        return refusal

    def _act(self, access: Access, intent: str, act: Callable[[Permit], T]) -> T:
        permit = self._permit(access, intent)
        begun_at, waited_before_s = time.perf_counter(), waited_s()
        try:
            if self._before_act is not None:
                self._before_act(access.caller, intent)
            value = act(permit)
        except BaseException as error:
            if isinstance(error, StrongroomError):
                error.record = intent
            self._conclude(access, permit, _code_of(error))
            raise
        logger.debug(
            "%s took %.3f s, %.3f s of them waiting for programs or the hypervisor.",
            access.action,
            time.perf_counter() - begun_at,
            waited_s() - waited_before_s,
        )
        self._conclude(access, permit, "ok")
        return value

    def _conclude(self, access: Access, permit: Permit, code: str) -> None:
        permit._close()  # noqa: SLF001
        draft = Draft(
            kind=Kind.OUTCOME,
            principal=str(access.caller.principal),
            action=access.action,
            resource=str(access.resource),
            result=_result(code, permit.facts),
            source=_source(access.caller),
            session=access.caller.session,
            intent=permit.intent,
        )
        try:
            self._write(draft)
        except Exception as error:
            # Whatever kept it out of the log, a defect of ours too: an act without outcome stops the gate.
            raise self._stop(permit.intent, code) from error

    def _act_by_journal(self, access: Access, decision: Decision, act: Callable[[Permit], T]) -> T:
        entry = self._journal.begin(
            access.action, access.caller.principal, access.resource, decision.policies
        )
        permit = self._permit(access, entry)
        try:
            value = act(permit)
        except BaseException as error:
            self._conclude_in_journal(permit, _code_of(error))
            raise
        self._conclude_in_journal(permit, "ok")
        return value

    def _conclude_in_journal(self, permit: Permit, code: str) -> None:
        permit._close()  # noqa: SLF001
        try:
            self._journal.end(permit.intent, code)
        except LogUnavailable as unavailable:
            raise self._stop(permit.intent, code) from unavailable

    def _stop(self, intent: str, code: str) -> OutcomeNotRecorded:
        self._stopped_by = intent
        self._on_trouble(Trouble("gate.outcome_not_recorded", datetime.now(UTC), intent))
        done = "It was done" if code == "ok" else "It failed"
        error = OutcomeNotRecorded(
            f"{done}, but the outcome could not be recorded, so nothing more is done from now on.",
            "Mend the log's storage, then restart the daemon: it settles what is open.",
        )
        error.record = intent
        return error

    def _catch_up(self) -> None:
        """Record what was journalled while the log was away, now that a record went through."""
        if not self._journal.waiting:
            return
        try:
            self._journal.drain(self.record)
        except AuditError as error:
            # The access that came by is recorded and done; what is journalled stays so, and is tried again.
            logger.warning("The journal of safe actions could not be recorded yet: %s", error.message)

    def _append(
        self,
        access: Access,
        request: Request,
        decision: Decision,
        kind: Kind,
        result: Mapping[str, object] | None,
    ) -> Record:
        return self._write(
            Draft(
                kind=kind,
                principal=str(access.caller.principal),
                action=access.action,
                resource=str(access.resource),
                decision=decision.verdict,
                policies=decision.policies,
                bundle=decision.bundle,
                inputs=canonical.encode(inputs_document(request)),
                result=result,
                source=_source(access.caller),
                session=access.caller.session,
            )
        )

    def _write(self, draft: Draft) -> Record:
        begun_at = time.perf_counter()
        try:
            record = self._log.append(draft, self._log_timeout_s)
        except LogUnavailable:
            self._log_away_since = self._log_away_since or datetime.now(UTC)
            raise
        took_s = time.perf_counter() - begun_at
        away_since, self._log_away_since = self._log_away_since, None
        for watcher in self._watchers:
            watcher(record, took_s)
        if away_since is not None:
            self._on_trouble(Trouble("log.unavailable", away_since, record.id))
        return record

    @staticmethod
    def _permit(access: Access, intent: str) -> Permit:
        return Permit(
            _GATE_TOKEN,
            principal=access.caller.principal,
            action=access.action,
            resource=access.resource,
            intent=intent,
        )

    # -- coalescing of reads that repeat by themselves ----------------------------------------

    def _was_just_seen(self, access: Access, view: str | None) -> bool:
        if view is None or access.caller.session is None:
            return False
        with self._seen_guard:
            seen_at = self._seen_reads.get(_view_key(access, view))
        return seen_at is not None and self._monotonic() - seen_at < COALESCE_READS_S

    def _mark_seen(self, access: Access, view: str | None) -> None:
        if view is None or access.caller.session is None:
            return
        now = self._monotonic()
        with self._seen_guard:
            self._seen_reads = {k: at for k, at in self._seen_reads.items() if now - at < COALESCE_READS_S}
            self._seen_reads[_view_key(access, view)] = now


def _view_key(access: Access, view: str) -> tuple[str, ...]:
    return (access.caller.session or "", access.action, str(access.resource), view)


def _result(code: str, facts: Mapping[str, object] | None = None) -> dict[str, object]:
    return {"code": code, "facts": dict(facts or {})}


def _source(caller: Caller) -> dict[str, object]:
    return {"channel": caller.channel, "address": caller.sealed_address}


def _code_of(error: BaseException) -> str:
    return error.code if isinstance(error, StrongroomError) else _UNEXPECTED
