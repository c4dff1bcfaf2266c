# ruff: noqa: ARG002 - the signatures are the port's
"""A hypervisor in memory: a real object that behaves as libvirt does where the operations can tell.

The contract suite runs over it and over libvirt alike. Failures are asked for by name of the step, and come in two
kinds: an error, after which nothing may be left, and a kill, after which what was made so far stays.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policies.vocabulary import Action, EntityRef
from vault.errors import Conflict, HostFailure, HostUnprotected, KeyUnavailable, NotFound
from vault.guests.domain_xml import DomainPlan
from vault.guests.ports import (
    ActiveDomain,
    DomainEvent,
    EventKind,
    ExecResult,
    GuestStats,
    HypervisorVersions,
)
from vault.keystore.secret import DiskPassphrase
from vault.permit import Permit

#: The steps of a start at which it can be made to fail or to be killed.
START_STEPS = ("define", "create", "compare", "resume", "mark")


class Killed(BaseException):
    """The daemon was killed here; no tidying code of it runs."""


@dataclass
class FakeDomain:
    """A domain, and what is inside the guest."""

    plan: DomainPlan
    paused: bool = True
    starting: bool = True
    agent: bool = True
    #: Whether it does as the agent or the power button says.
    listens: bool = True
    taints: tuple[str, ...] = ()
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)


class FakeGuestHost:
    """A `GuestHost` without a hypervisor."""

    def __init__(self, instance: str = "main", disks: Mapping[Path, bytes] | None = None) -> None:
        """Take the passphrase of each disk; a disk that is not named opens with any."""
        self.instance = instance
        self.disks = dict(disks or {})
        self.domains: dict[str, FakeDomain] = {}
        #: What guests keep on their disks over a stop, by guest id.
        self.kept: dict[str, dict[str, tuple[bytes, int]]] = {}
        self.secrets: dict[str, bytes] = {}
        self.started: list[DomainPlan] = []
        self.answers = True
        self.protected = True
        #: Given to the next domain that starts.
        self.guests_listen = True
        self.fail_at: dict[str, BaseException] = {}
        self._handlers: list[tuple[Callable[[DomainEvent], None], bool]] = []
        self._guard = threading.RLock()

    # -- start and stop ------------------------------------------------------------------------

    def start(
        self, permit: Permit, guest: EntityRef, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase]
    ) -> None:
        permit.require(guest, Action.GUEST_START)
        self._require_answer()
        if not self.protected:
            raise HostUnprotected(
                "libvirt would leave disk keys on a disk.", "Run `strongroom doctor --fix`."
            )
        with self._guard:
            self._make_room(plan)
            defined: list[str] = []
            try:
                domain = self._create(plan, passphrases, defined)
                self._step("compare")
                domain.paused = False
                self._step("resume")
                domain.starting = False
                self._step("mark")
            except Killed:
                raise
            except BaseException:
                self._forget(defined)
                self.domains.pop(plan.guest_id, None)
                raise
            self.started.append(plan)
        self.tell(plan.guest_id, EventKind.STARTED)

    def stop(
        self,
        permit: Permit,
        guest: EntityRef,
        name: str,
        *,
        timeout_s: float,
        force: bool,
        waiting: Callable[[float], None],
    ) -> bool:
        permit.require(guest, Action.GUEST_STOP)
        self._require_answer()
        domain = self.domains.get(guest.id)
        if domain is None:
            raise Conflict(f"The guest {name!r} does not run.", f"Start it: strongroom guest start {name}.")
        waiting(0.0)
        if domain.listens and not domain.paused and timeout_s > 0:
            self.end(guest.id, "shutdown")
            return False
        if not force:
            raise Conflict(
                f"The guest {name!r} did not shut down within {timeout_s:.0f} s.",
                "Try again with more time, or cut its power with --force.",
            )
        self.end(guest.id, "destroyed")
        return True

    def abandon(self, permit: Permit, guest: EntityRef) -> bool:
        permit.require(guest, Action.GUEST_START, Action.GUEST_STOP, Action.GUEST_DELETE)
        self._require_answer()
        domain = self.domains.get(guest.id)
        if domain is None or not (domain.paused and domain.starting):
            return False
        self.end(guest.id, "destroyed")
        return True

    # -- what is there -------------------------------------------------------------------------

    def is_running(self, guest_id: str) -> bool:
        self._require_answer()
        domain = self.domains.get(guest_id)
        return domain is not None and not (domain.paused and domain.starting)

    def list_active(self) -> list[ActiveDomain]:
        self._require_answer()
        return [
            ActiveDomain(guest_id, domain.plan.name, domain.paused, domain.taints)
            for guest_id, domain in self.domains.items()
        ]

    def stats(self, guest_id: str) -> GuestStats:
        self._require_answer()
        domain = self.domains.get(guest_id)
        if domain is None:
            raise NotFound("The guest does not run.", "Start it first.")
        memory = domain.plan.memory_bytes
        return GuestStats(10**9, domain.plan.vcpus, memory, memory // 2, 2**20, 2**19, 1000, 500)

    def undefine_secrets(self) -> int:
        self._require_answer()
        count = len(self.secrets)
        self.secrets.clear()
        return count

    def versions(self) -> HypervisorVersions:
        return (
            HypervisorVersions("9.0.0", "7.2.0") if self.answers else HypervisorVersions("unknown", "unknown")
        )

    # -- inside the guest ------------------------------------------------------------------------

    def agent_answers(self, name: str) -> bool:
        return any(domain.plan.name == name and domain.agent for domain in self.domains.values())

    def execute(  # noqa: PLR0911 - one line for each program
        self, permit: Permit, guest: EntityRef, name: str, argv: list[str], stdin: bytes, timeout_s: float
    ) -> ExecResult:
        permit.require(guest, Action.GUEST_EXEC)
        domain = self._inside(guest.id)
        match argv:
            case ["/bin/cat"]:
                return ExecResult(0, stdin, b"", truncated=False)
            case ["/bin/cat", path] if path in domain.files:
                return ExecResult(0, domain.files[path][0], b"", truncated=False)
            case ["/bin/echo", *words]:
                return ExecResult(0, (" ".join(words) + "\n").encode(), b"", truncated=False)
            case ["/bin/sha256sum"]:
                return ExecResult(
                    0, f"{hashlib.sha256(stdin).hexdigest()}  -\n".encode(), b"", truncated=False
                )
            case ["/bin/true"]:
                return ExecResult(0, b"", b"", truncated=False)
            case ["/bin/false"]:
                return ExecResult(1, b"", b"", truncated=False)
            case ["/bin/sleep", seconds] if float(seconds) > timeout_s:
                raise HostFailure(f"The command did not end within {timeout_s:.0f} s, and was killed.")
            case _:
                return ExecResult(127, b"", f"{argv[0]}: not found\n".encode(), truncated=False)

    def write_file(
        self, permit: Permit, guest: EntityRef, name: str, path: str, data: bytes, mode: int
    ) -> None:
        permit.require(guest, Action.GUEST_COPY_IN)
        self._inside(guest.id).files[path] = (data, mode)

    def read_file(self, permit: Permit, guest: EntityRef, name: str, path: str, limit_bytes: int) -> bytes:
        permit.require(guest, Action.GUEST_COPY_OUT)
        files = self._inside(guest.id).files
        if path not in files:
            raise NotFound("The guest cannot open this path.", "Look at the path and its folder.")
        return files[path][0][:limit_bytes]

    # -- watching --------------------------------------------------------------------------------

    def watch(self, handler: Callable[[DomainEvent], None], *, agents: bool = False) -> None:
        self._require_answer()
        self._handlers.append((handler, agents))

    def close(self) -> None:
        self._handlers.clear()

    # -- for tests -------------------------------------------------------------------------------

    def end(self, guest_id: str, how: str) -> None:
        """The guest ends: `shutdown` by itself, `destroyed` or `crashed`."""
        domain = self.domains.pop(guest_id)
        self.kept[guest_id] = domain.files
        self.tell(guest_id, EventKind.STOPPED, how, name=domain.plan.name)

    def tell(self, guest_id: str | None, kind: EventKind, detail: str = "", *, name: str = "") -> None:
        """Tell those who watch of an event."""
        known = self.domains.get(guest_id) if guest_id else None
        paths = tuple(str(disk.path) for disk in known.plan.disks) if known else ()
        event = DomainEvent(known.plan.name if known else name, guest_id, kind, detail, paths)
        about_agent = kind in {EventKind.AGENT_CONNECTED, EventKind.AGENT_DISCONNECTED}
        for handler, agents in self._handlers:
            if agents or not about_agent:
                handler(event)

    # -- the steps -------------------------------------------------------------------------------

    def _require_answer(self) -> None:
        if not self.answers:
            raise HostFailure("libvirt does not answer at fake:///.", "Start it, then try again.")

    def _make_room(self, plan: DomainPlan) -> None:
        for guest_id, domain in list(self.domains.items()):
            if guest_id == plan.guest_id and domain.paused and domain.starting:
                del self.domains[guest_id]
            elif guest_id == plan.guest_id or domain.plan.name == plan.name:
                raise Conflict(f"A domain of the name or id of {plan.name!r} is there already.")

    def _create(
        self, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase], defined: list[str]
    ) -> FakeDomain:
        for target, passphrase in passphrases.items():
            secret = f"{plan.guest_id}/{target}"
            self.secrets[secret] = passphrase.reveal()
            defined.append(secret)
        self._step("define")
        for disk in plan.disks:
            right = self.disks.get(disk.path)
            given = self.secrets.get(f"{plan.guest_id}/{disk.target}")
            if given is None or (right is not None and given != right):
                raise KeyUnavailable(
                    "The key in the key store does not open the disk.", "Look at the findings."
                )
        files = self.kept.get(plan.guest_id, {})
        domain = FakeDomain(plan, listens=self.guests_listen, files=files)
        self.domains[plan.guest_id] = domain
        self._step("create")
        self._forget(defined)
        return domain

    def _forget(self, defined: list[str]) -> None:
        for secret in defined:
            self.secrets.pop(secret, None)

    def _step(self, name: str) -> None:
        error = self.fail_at.pop(name, None)
        if error is not None:
            raise error

    def _inside(self, guest_id: str) -> FakeDomain:
        self._require_answer()
        domain = self.domains.get(guest_id)
        if domain is None:
            raise NotFound("The guest does not run.", "Start it first.")
        if not domain.agent:
            raise HostFailure("The guest's agent does not answer.", "Wait until the guest has started.")
        return domain
