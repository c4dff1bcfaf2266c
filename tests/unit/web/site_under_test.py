"""A real site without hypervisor: real log, gate, policies, state, sessions and jobs; keys and guests in memory."""

# ruff: noqa: ARG002 - a fake has the shape of its port

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from audit.log.database import create_database
from audit.log.query import LogQuery
from audit.log.signing_key import LogKey
from policies.vocabulary import Action, EntityRef, Role
from tests.fakes.keystore import FakeKeyService
from vault.config import Settings
from vault.database import Database
from vault.disks.format import DiskFormatter
from vault.disks.images.store import ImageStore
from vault.disks.ram_dir import RamDir
from vault.findings import Findings
from vault.foundation import open_foundation
from vault.gate import Caller
from vault.guests.accelerator import AcceleratorFinder
from vault.guests.domain_xml import DomainPlan
from vault.guests.ports import ActiveDomain, DomainEvent, ExecResult, GuestStats, HypervisorVersions
from vault.identity.accounts import account_ref
from vault.jobs import Jobs, Kind, Progress
from vault.keystore.secret import DiskPassphrase
from vault.model import Account, Guest, GuestState, Job
from vault.operations.job_kinds import ending_of, job_kinds
from vault.permit import Permit
from vault.site import Site
from vault.tls import make_certificate
from vault.witnesses.watch import witnesses_of

PASSWORD = "a long passw0rd"
PASSPHRASE = b"correct horse battery"
#: Checking a password takes as long as its hash says; these tests log in often and are about something else.
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
PEOPLE = {
    "ada-admin": [Role.ADMINISTRATOR, Role.CUSTODIAN],
    "olga-operator": [Role.OPERATOR],
    "carl-compliance": [Role.OFFICER],
    "anna-auditor": [Role.AUDITOR],
    "kim-custodian": [Role.CUSTODIAN],
}


@dataclass
class GuestsInMemory:
    """A hypervisor whose guests are names in a set."""

    running: set[str]
    files: dict[str, bytes]

    def start(
        self, permit: Permit, guest: EntityRef, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase]
    ) -> None:
        raise NotImplementedError

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
        self.running.discard(guest.id)
        return force

    def abandon(self, permit: Permit, guest: EntityRef) -> bool:
        return False

    def is_running(self, guest_id: str) -> bool:
        return guest_id in self.running

    def list_active(self) -> list[ActiveDomain]:
        return []

    def undefine_secrets(self) -> int:
        return 0

    def agent_answers(self, name: str) -> bool:
        return True

    def execute(
        self, permit: Permit, guest: EntityRef, name: str, argv: list[str], stdin: bytes, timeout_s: float
    ) -> ExecResult:
        """Print what came in, as `cat` would; `/bin/false` fails."""
        return ExecResult(1 if argv[0] == "/bin/false" else 0, stdin, b"", truncated=False)

    def write_file(
        self, permit: Permit, guest: EntityRef, name: str, path: str, data: bytes, mode: int
    ) -> None:
        self.files[path] = data

    def read_file(self, permit: Permit, guest: EntityRef, name: str, path: str, limit_bytes: int) -> bytes:
        return self.files[path]

    def versions(self) -> HypervisorVersions:
        return HypervisorVersions("9.0.0", "7.2.22")

    def stats(self, guest_id: str) -> GuestStats:
        raise NotImplementedError

    def watch(self, handler: Callable[[DomainEvent], None], *, agents: bool = True) -> None:
        return None

    def close(self) -> None:
        return None


def open_test_site(folder: Path) -> Site:
    """Make and open a site in `folder`, sealed, with an account for each of PEOPLE and two guests."""
    settings = replace(
        Settings(), data_dir=folder / "main", run_dir=folder / "run", cache_dir=folder / "cache"
    )
    for name in ("secrets", "exports", "reports", "images", "disks"):
        (settings.data_dir / name).mkdir(parents=True)
    settings.run_dir.mkdir()
    key = LogKey.create(settings.secrets_dir / "log.key", "strongroom.test/main")
    create_database(settings.log_db, origin="strongroom.test/main", vkey=key.vkey)
    make_certificate(settings.secrets_dir, "localhost")
    (settings.secrets_dir / "session.key").write_bytes(b"s" * 32)
    database = Database(settings.state_db, create=True)
    _fill(database)
    database.close()
    foundation = open_foundation(settings)
    foundation.log.declare_recovered()
    memory = _memory(settings)
    reader = LogQuery(settings.log_db)
    findings = Findings(foundation.database)
    site = Site(
        settings=settings,
        gate=foundation.gate,
        log=foundation.log,
        reader=reader,
        bundle=foundation.bundle,
        database=foundation.database,
        accounts=foundation.accounts,
        sessions=foundation.sessions,
        findings=findings,
        jobs=Jobs(foundation.database, report_unexpected=_raise),
        keys=FakeKeyService(PASSPHRASE),
        host=GuestsInMemory({"guest-1"}, {}),
        images=ImageStore(settings.data_dir / "images", settings.cache_dir / "images"),
        memory=memory,
        disks=DiskFormatter(settings.cache_dir / "templates", memory),
        accelerators=AcceleratorFinder("tcg", settings.cache_dir),
        witnesses=witnesses_of(settings, foundation.log, reader, findings),
    )
    site.gate.before_act(site.jobs.note_intent)
    site.jobs.open(job_kinds(site), lambda intent: ending_of(site, intent), sealed=True)
    site.closers += [foundation.close, reader.close, site.jobs.close]
    return site


def start_work(
    site: Site,
    work: Callable[[Progress], Mapping[str, Any]],
    *,
    name: str = "olga-operator",
    action: Action = Action.GUEST_START,
    subject: str = "web-1",
    cancellable: bool = False,
) -> Job:
    """Start a job of somebody whose work is `work`, whatever its kind usually does."""
    kind = Kind(lambda _caller, _given, progress: work(progress), cancellable=cancellable)
    site.jobs._kinds = {**site.jobs._kinds, action: kind}
    return site.jobs.start(Caller(account_ref(f"id-{name}"), "api"), action, subject, {})


def _memory(settings: Settings) -> RamDir:
    """A folder that is taken for memory: no secret is written into it here."""
    device = settings.run_dir.stat().st_dev
    mounts, swaps = settings.data_dir.parent / "mounts", settings.data_dir.parent / "swaps"
    mounts.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - ramfs ramfs rw\n")
    swaps.write_text("Filename\n")
    return RamDir(settings.memory_dir, mounts=mounts, swaps=swaps)


def _raise(error: BaseException) -> None:
    raise error


def _fill(database: Database) -> None:
    with database.session() as session:
        for name, roles in PEOPLE.items():
            session.add(
                Account(id=f"id-{name}", name=name, roles=[str(role) for role in roles], password_hash=_HASH)
            )
        for nth, (name, labels) in enumerate((("web-1", []), ("clinic-db", ["ephi"])), 1):
            session.add(
                Guest(
                    id=f"guest-{nth}",
                    name=name,
                    state=GuestState.READY,
                    labels=labels,
                    owner="id-olga-operator",
                    image_id="image-1",
                    vcpus=1,
                    memory_bytes=768 * 1024**2,
                    uid=1_000_000 + nth,
                    mac=f"52:54:00:00:00:0{nth}",
                )
            )
