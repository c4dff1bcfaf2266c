"""Examples the evidence and report tests start from: a healthy site, and a log told as a list of events.

Each test changes one thing of the healthy site, so that what it shows is what it changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from audit.evidence.check import Check, CheckResult, Snapshot, run_checks
from audit.evidence.checks.registry import ALL_CHECKS
from audit.evidence.facts import (
    AccountFacts,
    Argon2Facts,
    CanaryFacts,
    DiskFacts,
    Facts,
    FileFacts,
    GuestFacts,
    HostMemoryFacts,
    KeyFacts,
    KeyStoreFacts,
    LogFacts,
    PolicyFacts,
    SettingsFacts,
    SystemFacts,
    TransportFacts,
)
from audit.evidence.framework import Framework
from audit.evidence.instant import Period, format_instant
from audit.evidence.log_range import Difference, Event, LogProof, LogRange, ReplayProof

#: Fields of an event to replace, where a value is no text.
Changes = Mapping[str, object]
_NO_CHANGES: Changes = {}

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
MARCH = Period.between("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
OLGA, CARL, ANNA = "11111111-aaaa", "22222222-bbbb", "33333333-cccc"
CLINIC, CARDS = "clinic-guest-id", "cards-guest-id"
DATA = "/var/lib/strongroom/main"
#: Digest of a policy bundle whose decisions do not come out again.
UNFAITHFUL = "0f" * 32


def disk(guest_id: str, **changes: object) -> DiskFacts:
    return DiskFacts(
        path=f"{DATA}/disks/{guest_id}/root.qcow2",
        role="root",
        size_bytes=2 * 2**30,
        encrypted=True,
        format="luks1 in qcow2",
        cipher="aes",
        mode="xts-plain64",
        hash="sha256",
        key_bits=512,
        active_keyslots=(0,),
        known_keyslots=(0,),
        uuid="0a4b4ad2-0c0f-4b5a-9b57-6c5c1a3f7f10",
        header_sha256="ab" * 32,
        known_header_sha256="ab" * 32,
        key_id=f"key-of-{guest_id}",
        device="8:1",
    ).model_copy(update=changes)


def guest(guest_id: str, name: str, *labels: str, **changes: object) -> GuestFacts:
    return GuestFacts(
        id=guest_id,
        name=name,
        labels=labels,
        state="running",
        owner=OLGA,
        uid=70001 if "ephi" in labels else 70002,
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        disks=(disk(guest_id),),
    ).model_copy(update=changes)


def key(guest_id: str, **changes: object) -> KeyFacts:
    return KeyFacts(
        id=f"key-of-{guest_id}",
        purpose="disk",
        owner=guest_id,
        state="active",
        wrapped_by="kek-1",
        algorithm="AES-256-GCM",
        bits=256,
        created_at=datetime(2026, 3, 2, tzinfo=UTC),
        location="/srv/keys/keys.db",
        generator="os-csprng",
    ).model_copy(update=changes)


def account(account_id: str, *roles: str, **changes: object) -> AccountFacts:
    return AccountFacts(
        id=account_id,
        roles=roles,
        active=True,
        service=False,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        last_login_at=datetime(2026, 3, 30, tzinfo=UTC),
        second_factor=True,
    ).model_copy(update=changes)


def healthy_facts() -> Facts:
    """A site where every check that can hold does."""
    return Facts(
        system=SystemFacts(
            name="St. Vitus Clinic",
            instance="main",
            software_version="0.1.0",
            host="vault-1",
            kernel="6.1.0-40-amd64",
            libvirt_version="9.0.0",
            qemu_version="7.2.22",
            extracted_at=NOW,
            generated_by=f"account:{CARL}",
            clock_offset_us=1200,
            clock_source="chrony",
        ),
        guests=(guest(CLINIC, "clinic-db", "ephi"), guest(CARDS, "card-app", "chd")),
        keys=(key(CLINIC), key(CARDS)),
        key_store=KeyStoreFacts(
            path="/srv/keys/keys.db",
            seal="shares",
            sealed=False,
            kek_bits=256,
            share_threshold=3,
            share_count=5,
            device="8:17",
            same_device_as_disks=False,
            plaintext_found=False,
            metadata_bound=True,
            process_dumpable=False,
        ),
        accounts=(
            account(OLGA, "operator", "custodian"),
            account(CARL, "officer"),
            account(ANNA, "auditor"),
        ),
        settings=SettingsFacts(
            idle_timeout_s=900,
            lockout_tries=10,
            lockout_s=1800,
            password_min_length=12,
            retention_days=2196,
            password_letters_and_digits=True,
            password_history=4,
            password_hash="argon2id",
            cryptoperiod_days=365,
        ),
        transport=TransportFacts(
            min_version="TLSv1.2",
            plaintext_listeners=(),
            cipher="TLS_AES_256_GCM_SHA384",
            certificate_sha256="cd" * 32,
        ),
        memory=HostMemoryFacts(
            libvirt_filesystem="ramfs", private_filesystem="ramfs", swap_active=False, core_limit_zero=True
        ),
        policy=PolicyFacts(
            bundle="ef" * 32,
            policy_count=31,
            kept=("ef" * 32,),
            canary=(
                CanaryFacts(
                    principal_type="Account", action="guest.start", resource_type="Guest", decision="deny"
                ),
                CanaryFacts(
                    principal_type="Account", action="log.list", resource_type="Log", decision="deny"
                ),
            ),
        ),
        log=LogFacts(
            path=f"{DATA}/log.db",
            origin="strongroom/main",
            vkey="strongroom/main+00000000+AAAA",
            checkpoint="strongroom/main\n0\nAAAA\n\n— strongroom/main AAAA\n",
            files=(
                FileFacts(path=f"{DATA}/log.db", mode="0600", owner="root", group="root"),
                FileFacts(path=f"{DATA}/secrets/log.key", mode="0600", owner="root", group="root"),
            ),
        ),
    )


def passphrase_seal(facts: Facts) -> Facts:
    """The same site with its root key under a passphrase."""
    store = facts.key_store.model_copy(
        update={
            "seal": "passphrase",
            "passphrase_min_length": 12,
            "share_threshold": None,
            "share_count": None,
            "argon2": Argon2Facts(memory_kib=65536, passes=3, lanes=4, version=19),
        }
    )
    return facts.model_copy(update={"key_store": store})


def changed(facts: Facts, part: str, **changes: object) -> Facts:
    """The facts with one part changed: `changed(facts, "settings", idle_timeout_s=0)`."""
    return facts.model_copy(update={part: getattr(facts, part).model_copy(update=changes)})


class Story:
    """Writes events with growing numbers and times, one second apart."""

    def __init__(self) -> None:
        self._start = datetime(2026, 3, 10, 8, tzinfo=UTC)
        self.events: list[Event] = []

    def add(
        self, kind: str, action: str, *, at: str | None = None, changes: Changes = _NO_CHANGES, **more: str
    ) -> Event:
        """Add a record; `more` and `changes` replace what a caller on the command line would have."""
        seq = len(self.events)
        decided = kind in {"intent", "access"}
        values: dict[str, object] = {
            "principal": f"account:{OLGA}",
            "resource": "site:site",
            "channel": "cli",
            "session": "session-1",
            "code": None if kind == "intent" else "ok",
            "decision": "allow" if decided else None,
            "policies": ("base.operator",) if decided else (),
            "bundle": "ef" * 32 if decided or kind in {"denied", "pending"} else None,
        }
        event = Event(
            seq=seq,
            id=f"{seq:032x}",
            kind=kind,
            at=at or format_instant(self._start + timedelta(seconds=seq)),
            action=action,
            **(values | more | dict(changes)),  # type: ignore[arg-type] # each is one of Event's fields
        )
        self.events.append(event)
        return event

    def act(
        self,
        action: str,
        *,
        code: str = "ok",
        at: str | None = None,
        changes: Changes = _NO_CHANGES,
        **more: str,
    ) -> Event:
        """An intent and its outcome; returns the outcome."""
        intent = self.add("intent", action, at=at, changes=changes, **more)
        who: dict[str, object] = {
            name: value for name, value in changes.items() if name in {"principal", "session", "channel"}
        }
        return self.add("outcome", action, at=at, changes=who | {"code": code, "intent": intent.id} | more)

    def deny(self, action: str, **more: str) -> Event:
        refused = {"decision": "deny", "code": "policy.denied"}
        return self.add("denied", action, at=None, changes=refused, **more)

    def login(self, principal: str, *, code: str = "ok", at: str | None = None) -> Event:
        return self.act("session.login", code=code, at=at, changes={"session": None}, principal=principal)


class ToldLog:
    """A log reader over a list of events."""

    def __init__(self, events: Iterable[Event] = (), proof: LogProof | None = None) -> None:
        self._events = list(events)
        self._proof = proof or LogProof(
            holds=True,
            checked=len(self._events),
            detail="Chain, root and signature hold.",
            root="12" * 32,
            oldest_at=self._events[0].at if self._events else None,
        )

    @property
    def size(self) -> int:
        return len(self._events)

    @property
    def proof(self) -> LogProof:
        return self._proof

    def events(self, first: int, end: int) -> Iterator[Event]:
        return iter(self._events[first:end])

    def bounds(self, period: Period) -> tuple[int, int]:
        inside = [event.seq for event in self._events if period.covers(event.at)]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def replay(self, first: int, end: int) -> ReplayProof:
        # What is told has no policies to decide by: a decision of this bundle is one that comes out otherwise.
        decided = [event for event in self._events[first:end] if event.decision is not None]
        lies = tuple(
            Difference(event.seq, "decision.differs", "It was recorded as allow, and is deny.")
            for event in decided
            if event.bundle == UNFAITHFUL
        )
        return ReplayProof(len(decided), len(lies), lies, bundles=1)


def busy_month() -> Story:
    """A month in which everything that is recorded happened at least once, as it should."""
    story = Story()
    story.add("system", "system.start", changes={"session": None}, principal="os:0", channel="daemon")
    for person in (OLGA, CARL, ANNA):
        story.login(f"account:{person}")
    for person in (OLGA, CARL, ANNA):
        story.act("account.create", principal="os:0", resource=f"account:{person}", channel="local")
    for guest_id in (CLINIC, CARDS):
        story.act("guest.create", resource=f"guest:{guest_id}")
        story.act("guest.start", resource=f"guest:{guest_id}")
        story.act("guest.exec", resource=f"guest:{guest_id}")
        story.act("guest.copy_in", resource=f"guest:{guest_id}")
    story.act("account.create", resource="account:gone")
    story.act("account.disable", resource="account:gone")
    story.deny("guest.start", principal=f"account:{ANNA}", resource=f"guest:{CLINIC}", session="session-3")
    story.add("access", "log.list", principal=f"account:{ANNA}", resource="log:log", session="session-3")
    story.add("access", "guest.list", principal=f"account:{CARL}", session="session-2")
    return story


def snapshot(
    framework: Framework = Framework.HIPAA,
    facts: Facts | None = None,
    events: Iterable[Event] | None = None,
    *,
    period: Period = MARCH,
    proof: LogProof | None = None,
) -> Snapshot:
    reader = ToldLog(busy_month().events if events is None else events, proof)
    return Snapshot(facts or healthy_facts(), LogRange(reader, period), period, framework)


def check_named(check_id: str) -> Check:
    return next(check for check in ALL_CHECKS if check.id == check_id)


def run(check_id: str, over: Snapshot) -> CheckResult:
    return run_checks([check_named(check_id)], over)[0]
