"""A gate with an engine, a log and a clock that do as they are told."""

from pathlib import Path

from policies.vocabulary import Action, Decision, Entity, EntityRef, EntityType, Request, Verdict
from tests.fakes.log import LogInMemory
from vault.gate import Access, Caller, Gate
from vault.journal import SafeJournal
from vault.locks import ResourceLocks
from vault.permit import Permit

BUNDLE = "ab" * 32
OLGA = EntityRef(EntityType.ACCOUNT, "5f0c")
GUEST = EntityRef(EntityType.GUEST, "77aa")
CALLER = Caller(OLGA, "cli", session="s1")
START = Access(CALLER, Action.GUEST_START, GUEST)
SHOW = Access(CALLER, Action.GUEST_SHOW, GUEST)


class Engine:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.asked: list[Request] = []

    def decide(self, request: Request) -> Decision:
        self.asked.append(request)
        obligations = ("dual_control",) if self.verdict is Verdict.UNMET else ()
        return Decision(self.verdict, ("test.policy",), "a test decided", obligations, BUNDLE)


class Entities:
    def entities_for(self, access: Access) -> tuple[Entity, ...]:
        return (Entity(access.caller.principal), Entity(access.resource))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    def __init__(self, folder: Path, verdict: Verdict = Verdict.ALLOW) -> None:
        self.log = LogInMemory()
        self.engine = Engine(verdict)
        self.clock = Clock()
        self.journal_path = folder / "journal"
        self.journal = SafeJournal(self.journal_path)
        self.gate = Gate(
            self.engine, Entities(), self.log, self.journal, ResourceLocks(wait_s=0.05), monotonic=self.clock
        )
        self.acts: list[Permit] = []

    def act(self, permit: Permit) -> str:
        permit.require(GUEST, Action.GUEST_START)
        self.acts.append(permit)
        return "did"
