"""For each check a snapshot it passes, one it fails, and one with nothing to test.

A check that cannot end one of these ways says why. `test_checks.py` runs them all, and fails for a check that has
no row here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from audit.evidence.check import Snapshot
from audit.evidence.facts import CanaryFacts, Facts, FindingFacts, ProofFacts
from audit.evidence.framework import Framework
from audit.evidence.log_range import LogProof
from audit.evidence.verdict import Verdict
from tests.unit.evidence.examples import (
    ANNA,
    CARDS,
    CARL,
    CLINIC,
    NOW,
    OLGA,
    UNFAITHFUL,
    Story,
    account,
    busy_month,
    changed,
    disk,
    guest,
    healthy_facts,
    key,
    passphrase_seal,
    snapshot,
)

Make = Callable[[], Snapshot]


@dataclass(frozen=True)
class Case:
    """Three snapshots; None where the check cannot end that way, for the reason in `never`."""

    passing: Make
    failing: Make | None
    empty: Make | None
    passes_as: Verdict = Verdict.SATISFIED
    empty_as: Verdict = Verdict.NO_POPULATION
    never: str = ""


_SETTING = "a setting is always there to be tested"


def _hipaa(facts: Facts | None = None) -> Make:
    return lambda: snapshot(Framework.HIPAA, facts)


def _pci(facts: Facts | None = None) -> Make:
    return lambda: snapshot(Framework.PCI, facts)


def _settings(**changes: object) -> Make:
    return _pci(changed(healthy_facts(), "settings", **changes))


def _store(**changes: object) -> Make:
    return _pci(changed(healthy_facts(), "key_store", **changes))


def _transport(**changes: object) -> Make:
    return _pci(changed(healthy_facts(), "transport", **changes))


def _with(**parts: object) -> Facts:
    return healthy_facts().model_copy(update=parts)


def _no_guests(make: Callable[[Facts], Make] = _pci) -> Make:
    return make(_with(guests=()))


def _disk(make: Callable[[Facts], Make] = _hipaa, **changes: object) -> Make:
    clinic = guest(CLINIC, "clinic-db", "ephi", disks=(disk(CLINIC, **changes),))
    cards = guest(CARDS, "card-app", "chd", disks=(disk(CARDS, **changes),))
    return make(_with(guests=(clinic, cards)))


def _keys(**changes: object) -> Make:
    return _pci(_with(keys=(key(CLINIC), key(CARDS, **changes))))


def _told(
    tell: Callable[[Story], object], facts: Facts | None = None, framework: Framework = Framework.PCI
) -> Make:
    def make() -> Snapshot:
        story = busy_month()
        tell(story)
        return snapshot(framework, facts, story.events)

    return make


def _silence() -> Snapshot:
    return snapshot(Framework.PCI, events=())


def _only(tell: Callable[[Story], object]) -> Make:
    def make() -> Snapshot:
        story = Story()
        tell(story)
        return snapshot(Framework.PCI, events=story.events)

    return make


def _canary(kind: str, action: str) -> Case:
    """A class of events: there is one, one lacks its origin, there is none."""
    lacking = {"channel": None, "decision": None} if kind == "denied" else {"channel": None}
    return Case(_pci(), _told(lambda story: story.add(kind, action, changes=lacking)), _silence)


def _guess(story: Story, times: int, then: str | None) -> None:
    for minute in range(times):
        story.login(
            f"account:{OLGA}", code="session.bad_credentials", at=f"2026-03-20T10:{minute:02d}:00.000000Z"
        )
    if then is not None:
        story.login(f"account:{OLGA}", at=then)


def _guess_and_look(story: Story) -> None:
    _guess(story, 5, None)
    story.add("access", "log.list", at="2026-03-20T20:00:00.000000Z", principal=f"account:{ANNA}")


def _finding(**changes: object) -> FindingFacts:
    return FindingFacts(
        id="finding-1",
        code="disk.unknown_keyslot",
        severity="critical",
        resource=f"guest:{CARDS}",
        created_at=NOW - timedelta(days=3),
    ).model_copy(update=changes)


def _deleted(state: str) -> Make:
    facts = _with(
        guests=(
            guest(CARDS, "card-app", "chd"),
            guest(CLINIC, "clinic-db", "ephi", state="deleted", disks=()),
        ),
        keys=(key(CARDS), key(CLINIC, state=state, destroyed_at=NOW if state == "destroyed" else None)),
    )
    return _told(lambda story: story.act("guest.delete", resource=f"guest:{CLINIC}"), facts)


def _disabled(then: Callable[[Story], object]) -> Make:
    def tell(story: Story) -> None:
        story.act("account.disable", resource=f"account:{OLGA}")
        then(story)

    return _told(tell)


CASES: dict[str, Case] = {
    "log.verifies": Case(
        _hipaa(),
        lambda: snapshot(proof=LogProof(holds=False, checked=4, detail="Record 4 was changed.", first_bad=4)),
        lambda: snapshot(events=()),
    ),
    "log.files_guarded": Case(
        _pci(),
        _pci(
            changed(
                healthy_facts(),
                "log",
                files=(healthy_facts().log.files[0].model_copy(update={"mode": "0640"}),),
            )
        ),
        _pci(changed(healthy_facts(), "log", files=())),
    ),
    "log.retention": Case(_hipaa(), _settings(retention_days=364), None, never=_SETTING),
    "time.offset": Case(
        _pci(),
        _pci(changed(healthy_facts(), "system", clock_offset_us=-1_000_001)),
        _pci(changed(healthy_facts(), "system", clock_offset_us=None)),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "access.one_decision": Case(
        _pci(),
        _told(lambda story: story.add("external", "guest.stop", principal="os:0", resource=f"guest:{CARDS}")),
        _silence,
    ),
    "access.data_moves_permitted": Case(
        _pci(),
        _told(
            lambda story: story.add(
                "intent", "guest.copy_out", resource=f"guest:{CARDS}", changes={"policies": ()}
            )
        ),
        _silence,
    ),
    "access.decisions_named": Case(
        _pci(), _told(lambda story: story.add("intent", "guest.stop", changes={"bundle": None})), _silence
    ),
    "log.fields_complete": Case(
        _pci(), _told(lambda story: story.add("access", "guest.list", changes={"channel": None})), _silence
    ),
    "log.records_data_access": _canary("intent", "guest.exec"),
    "log.records_administration": _canary("intent", "guest.stop"),
    "log.records_log_access": _canary("access", "log.list"),
    "log.records_refused_access": _canary("denied", "guest.stop"),
    "log.records_credential_changes": _canary("intent", "account.password"),
    "log.records_log_start_stop": _canary("intent", "system.init"),
    "log.records_objects": _canary("intent", "guest.create"),
    "identity.unique_principals": Case(
        _pci(),
        _told(lambda story: story.add("access", "guest.list", principal="account:nobody-we-know")),
        lambda: snapshot(Framework.PCI, _with(accounts=()), ()),
    ),
    "identity.sessions_authenticated": Case(
        _pci(), _told(lambda story: story.add("access", "guest.list", changes={"session": None})), _silence
    ),
    "identity.readers_only_read": Case(
        _pci(), _told(lambda story: story.act("guest.stop", principal=f"account:{ANNA}")), _silence
    ),
    "identity.disabled_stay_out": Case(
        _pci(), _disabled(lambda story: story.add("access", "guest.list")), _silence
    ),
    "login.failures_seen": Case(
        _hipaa(), None, _silence, never="it counts; a burst is for a person to judge"
    ),
    "login.lockout": Case(
        _told(lambda story: _guess(story, 10, "2026-03-20T11:00:00.000000Z")),
        _told(lambda story: _guess(story, 10, "2026-03-20T10:30:00.000000Z")),
        _silence,
        empty_as=Verdict.PARTIAL,
    ),
    "session.idle_logoff": Case(_hipaa(), _settings(idle_timeout_s=901), None, never=_SETTING),
    "password.composition": Case(
        _pci(),
        _settings(password_min_length=11),
        _settings(password_letters_and_digits=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "password.history": Case(
        _pci(),
        _settings(password_history=3),
        _settings(password_history=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "password.protected": Case(
        _pci(),
        _settings(password_hash="md5"),
        _settings(password_hash=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "transport.encrypted": Case(
        _hipaa(),
        _transport(plaintext_listeners=("0.0.0.0:8080",)),
        _transport(plaintext_listeners=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "account.second_factor_administrators": Case(
        _pci(),
        _pci(_with(accounts=(account(OLGA, "operator", second_factor=False),))),
        _pci(_with(accounts=())),
    ),
    "account.second_factor": Case(
        _pci(),
        _pci(_with(accounts=(account(ANNA, "auditor", second_factor=False),))),
        _pci(_with(accounts=())),
    ),
    "account.unused_disabled": Case(
        _pci(),
        _pci(_with(accounts=(account(CARL, "officer", last_login_at=NOW.replace(year=2025)),))),
        _pci(_with(accounts=())),
    ),
    "account.few_custodians": Case(
        _pci(),
        _pci(_with(accounts=tuple(account(f"custodian-{n}", "custodian") for n in range(6)))),
        _pci(_with(accounts=(account(CARL, "officer"),))),
    ),
    "account.services_owned": Case(
        _pci(_with(accounts=(account("robot", "operator", service=True, owner=OLGA),))),
        _pci(_with(accounts=(account("robot", "operator", service=True),))),
        _pci(),
    ),
    "disk.luks_measured": Case(_hipaa(), _disk(encrypted=False), _no_guests(_hipaa)),
    "disk.keyslots_known": Case(_hipaa(), _disk(active_keyslots=(0, 3)), _no_guests()),
    "disk.fixed_media": Case(_disk(_pci, fixed=False), _pci(), _no_guests()),
    "disk.card_numbers_unreadable": Case(
        _pci(
            _with(
                proofs=(
                    ProofFacts(
                        control="3.5.1",
                        description="Tokenisation review",
                        sha256="09" * 32,
                        attached_at=NOW,
                        attached_by=f"account:{CARL}",
                    ),
                )
            )
        ),
        None,
        _pci(),
        passes_as=Verdict.PARTIAL,
        empty_as=Verdict.NOT_EVALUATED,
        never="only an assessor can find that a proof does not hold",
    ),
    "key.wrapped": Case(_pci(), _keys(wrapped_by=None), _pci(_with(keys=()))),
    "key.well_made": Case(_pci(), _keys(bits=128), _pci(_with(keys=()))),
    "key.metadata_bound": Case(
        _pci(), _store(metadata_bound=False), _store(metadata_bound=None), empty_as=Verdict.NOT_EVALUATED
    ),
    "key.state_fits": Case(_pci(), _keys(state="compromised"), _pci(_with(keys=(), guests=()))),
    "key.one_each": Case(_pci(), _disk(_pci, key_id=f"key-of-{CLINIC}"), _no_guests()),
    "key.young_enough": Case(
        _pci(),
        _keys(created_at=NOW.replace(year=2024)),
        _settings(cryptoperiod_days=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "key.destroyed_with_guest": Case(_deleted("destroyed"), _deleted("active"), _pci()),
    "seal.strength": Case(
        _pci(), _pci(passphrase_seal(healthy_facts())), _store(seal="tpm2"), empty_as=Verdict.NOT_EVALUATED
    ),
    "seal.split_knowledge": Case(
        _pci(), _pci(passphrase_seal(healthy_facts())), _store(seal="pkcs11"), empty_as=Verdict.NOT_EVALUATED
    ),
    "key.kept_apart": Case(
        _pci(),
        _store(same_device_as_disks=True),
        _store(same_device_as_disks=None),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "disk.unlocking_independent": Case(_pci(), _keys(owner="somebody else"), _no_guests()),
    "key.breach_places": Case(
        _hipaa(),
        None,
        _no_guests(_hipaa),
        passes_as=Verdict.PARTIAL,
        never="it reports places; whether a loss is a breach is for people to assess",
    ),
    "host.memory_protected": Case(
        _hipaa(),
        _hipaa(changed(healthy_facts(), "memory", libvirt_filesystem="ext4")),
        _hipaa(changed(healthy_facts(), "memory", swap_active=None)),
        empty_as=Verdict.NOT_EVALUATED,
    ),
    "policy.deny_all": Case(
        _hipaa(),
        _hipaa(
            changed(
                healthy_facts(),
                "policy",
                canary=(
                    CanaryFacts(
                        principal_type="Account",
                        action="guest.start",
                        resource_type="Guest",
                        decision="allow",
                    ),
                ),
            )
        ),
        _hipaa(changed(healthy_facts(), "policy", canary=())),
    ),
    "guest.kept_apart": Case(
        _pci(),
        _pci(_with(guests=(guest(CLINIC, "a", "ephi", uid=70001), guest(CARDS, "b", "chd", uid=70001)))),
        _no_guests(),
    ),
    "crypto.inventory": Case(
        _pci(), None, None, passes_as=Verdict.PARTIAL, never="an inventory lists; a person must review it"
    ),
    "inventory.components": Case(
        _pci(),
        None,
        _no_guests(),
        passes_as=Verdict.PARTIAL,
        never="an inventory lists; a person must review it",
    ),
    "password.age": Case(
        _pci(_with(accounts=(account(OLGA, "operator", second_factor=False, password_changed_at=NOW),))),
        _pci(
            _with(
                accounts=(
                    account(
                        OLGA, "operator", second_factor=False, password_changed_at=NOW - timedelta(days=91)
                    ),
                )
            )
        ),
        _pci(),
    ),
    "log.looked_at_daily": Case(
        _pci(),
        _told(lambda story: story.add("access", "guest.list", at="2026-03-20T10:00:00.000000Z")),
        _silence,
    ),
    "finding.disposed": Case(
        _pci(_with(findings=(_finding(closed_at=NOW, closed_by=CARL, disposition="closed with a reason"),))),
        _pci(_with(findings=(_finding(),))),
        _pci(_with(findings=())),
    ),
    "login.bursts_looked_at": Case(
        _told(_guess_and_look, framework=Framework.HIPAA),
        _told(lambda story: _guess(story, 5, None), framework=Framework.HIPAA),
        _hipaa(),
    ),
    "account.granted_by_another": Case(
        _pci(),
        _told(
            lambda story: story.act(
                "account.create", principal="account:self-made", resource="account:self-made"
            )
        ),
        _silence,
    ),
    "policy.versions_kept": Case(
        _hipaa(), _hipaa(changed(healthy_facts(), "policy", kept=())), lambda: snapshot(events=())
    ),
    "media.moves_recorded": Case(
        _pci(),
        _told(lambda story: story.add("intent", "guest.copy_out", resource=f"guest:{CARDS}")),
        _silence,
    ),
    "log.objects_known": Case(
        _pci(),
        _pci(_with(guests=(guest("appeared-by-itself", "x", "chd"),))),
        lambda: snapshot(Framework.PCI, _with(guests=(), accounts=())),
    ),
    "decision.replayed": Case(
        _pci(),
        _told(lambda story: story.add("access", "guest.list", changes={"bundle": UNFAITHFUL})),
        _silence,
    ),
    "disk.header_unchanged": Case(_hipaa(), _disk(known_header_sha256="00" * 32), _no_guests(_hipaa)),
}
