"""What single checks must not miss: weak ciphers, rogue keyslots, guesses against a locked account, shared keys."""

import pytest

from audit.evidence.facts import ProofFacts
from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict
from tests.unit.evidence.examples import (
    ANNA,
    CARDS,
    CARL,
    CLINIC,
    NOW,
    OLGA,
    Story,
    changed,
    disk,
    guest,
    healthy_facts,
    key,
    passphrase_seal,
    run,
    snapshot,
)


@pytest.mark.parametrize(
    "weak",
    [
        {"mode": "cbc-essiv:sha256"},
        {"cipher": "serpent"},
        {"key_bits": 128},
        {"hash": "sha1"},
        {"error": "the file could not be opened"},
        {"encrypted": False},
    ],
)
def test_a_disk_in_scope_that_is_not_as_strong_as_it_should_be_is_found(weak: dict[str, object]) -> None:
    facts = healthy_facts().model_copy(
        update={"guests": (guest(CLINIC, "clinic-db", "ephi", disks=(disk(CLINIC, **weak),)),)}
    )
    assert run("disk.luks_measured", snapshot(facts=facts)).verdict is Verdict.NOT_SATISFIED


def test_a_guest_in_scope_whose_disks_nobody_measured_is_found() -> None:
    facts = healthy_facts().model_copy(update={"guests": (guest(CLINIC, "clinic-db", "ephi", disks=()),)})
    assert run("disk.luks_measured", snapshot(facts=facts)).verdict is Verdict.NOT_SATISFIED


def test_a_disk_out_of_scope_is_not_this_frameworks_finding() -> None:
    facts = healthy_facts().model_copy(
        update={
            "guests": (
                guest(CLINIC, "clinic-db", "ephi"),
                guest(CARDS, "card-app", "chd", disks=(disk(CARDS, encrypted=False),)),
            )
        }
    )
    assert run("disk.luks_measured", snapshot(Framework.HIPAA, facts)).verdict is Verdict.SATISFIED


def test_fixed_disks_with_card_data_stay_not_in_place_however_good_the_encryption_is() -> None:
    result = run("disk.fixed_media", snapshot(Framework.PCI))
    assert result.verdict is Verdict.NOT_SATISFIED
    assert "removable media only" in result.reason


def test_an_attached_second_method_is_named_and_left_to_the_assessor() -> None:
    proof = ProofFacts(
        control="3.5.1", description="Tokens", sha256="0" * 64, attached_at=NOW, attached_by=f"account:{CARL}"
    )
    facts = healthy_facts().model_copy(update={"proofs": (proof,)})
    result = run("disk.fixed_media", snapshot(Framework.PCI, facts))
    assert result.verdict is Verdict.SATISFIED
    assert "an assessor must judge that proof" in result.reason


def _tries(*minutes_and_codes: tuple[int, str]) -> Story:
    story = Story()
    for minute, code in minutes_and_codes:
        at = f"2026-03-20T{10 + minute // 60:02d}:{minute % 60:02d}:00.000000Z"
        story.login(f"account:{OLGA}", code=code, at=at)
    return story


BAD, OK = "session.bad_credentials", "ok"


def test_tries_against_a_locked_account_do_not_prolong_the_lock() -> None:
    story = _tries(*((minute, BAD) for minute in range(10)), (20, BAD), (39, OK))
    assert run("login.lockout", snapshot(Framework.PCI, events=story.events)).verdict is Verdict.SATISFIED


def test_a_log_in_while_the_account_must_have_been_locked_is_found() -> None:
    story = _tries(*((minute, BAD) for minute in range(10)), (38, OK))
    result = run("login.lockout", snapshot(Framework.PCI, events=story.events))
    assert result.verdict is Verdict.NOT_SATISFIED
    assert result.table.rows[0][0] == f"account:{OLGA}"


def test_a_success_between_failures_begins_the_count_anew() -> None:
    story = _tries(*((m, BAD) for m in range(9)), (9, OK), *((m, BAD) for m in range(10, 19)), (19, OK))
    result = run("login.lockout", snapshot(Framework.PCI, events=story.events))
    assert result.verdict is Verdict.PARTIAL
    assert "not seen at work" in result.reason


@pytest.mark.parametrize("setting", [{"lockout_tries": 11}, {"lockout_tries": 0}, {"lockout_s": 1799}])
def test_a_lockout_weaker_than_the_standard_is_found(setting: dict[str, object]) -> None:
    facts = changed(healthy_facts(), "settings", **setting)
    assert run("login.lockout", snapshot(Framework.PCI, facts)).verdict is Verdict.NOT_SATISFIED


def test_failures_close_together_are_listed_as_a_burst() -> None:
    story = _tries(*((minute, BAD) for minute in range(5)), (119, BAD))
    result = run("login.failures_seen", snapshot(events=story.events))
    assert [row[3] for row in result.table.rows] == ["5"]


def test_a_disabled_account_that_logs_in_again_is_found() -> None:
    story = Story()
    story.act("account.disable", principal=f"account:{CARL}", resource=f"account:{OLGA}")
    story.login(f"account:{OLGA}")
    result = run("identity.disabled_stay_out", snapshot(events=story.events))
    assert result.verdict is Verdict.NOT_SATISFIED


def test_a_disabled_account_that_is_refused_is_no_finding() -> None:
    story = Story()
    story.act("account.disable", principal=f"account:{CARL}", resource=f"account:{OLGA}")
    story.login(f"account:{OLGA}", code=BAD)
    story.deny("guest.start")
    assert run("identity.disabled_stay_out", snapshot(events=story.events)).verdict is Verdict.SATISFIED


def test_an_auditors_refusals_are_listed() -> None:
    result = run("identity.readers_only_read", snapshot(Framework.PCI))
    assert [row[2] for row in result.table.rows] == [f"account:{ANNA}"]


def test_a_key_made_for_another_guest_is_found() -> None:
    facts = healthy_facts().model_copy(update={"keys": (key(CLINIC, owner="a deleted guest"), key(CARDS))})
    assert run("key.one_each", snapshot(facts=facts)).verdict is Verdict.NOT_SATISFIED


def test_a_deleted_guest_without_any_key_on_record_is_found() -> None:
    story = Story()
    story.act("guest.delete", resource="guest:never-heard-of")
    result = run("key.destroyed_with_guest", snapshot(events=story.events))
    assert "no key on record" in result.table.rows[0][-1]


def test_a_plaintext_key_is_found_even_when_all_are_recorded_as_wrapped() -> None:
    facts = changed(healthy_facts(), "key_store", plaintext_found=True)
    assert run("key.wrapped", snapshot(facts=facts)).verdict is Verdict.NOT_SATISFIED


def test_a_store_nobody_searched_for_plaintext_keys_is_not_a_pass() -> None:
    facts = changed(healthy_facts(), "key_store", plaintext_found=None)
    result = run("key.wrapped", snapshot(facts=facts))
    assert result.verdict is Verdict.PARTIAL
    assert "Not tested: that no plaintext key lies in the store's files" in result.reason


def test_a_passphrase_seal_is_said_to_be_weaker_than_what_lies_under_it() -> None:
    result = run("seal.strength", snapshot(Framework.PCI, passphrase_seal(healthy_facts())))
    assert "a passphrase that a person chose: about 78 bits" in result.reason


def test_a_passphrase_seal_is_neither_split_knowledge_nor_dual_control() -> None:
    result = run("seal.split_knowledge", snapshot(Framework.PCI, passphrase_seal(healthy_facts())))
    assert result.verdict is Verdict.NOT_SATISFIED


def test_shares_of_which_one_is_enough_are_not_split_knowledge() -> None:
    facts = changed(healthy_facts(), "key_store", share_threshold=1)
    assert run("seal.split_knowledge", snapshot(Framework.PCI, facts)).verdict is Verdict.NOT_SATISFIED


def test_memory_on_tmpfs_is_safe_only_without_swap() -> None:
    verdicts = [
        run(
            "host.memory_protected",
            snapshot(facts=changed(healthy_facts(), "memory", libvirt_filesystem="tmpfs", swap_active=swap)),
        ).verdict
        for swap in (False, True)
    ]
    assert verdicts == [Verdict.SATISFIED, Verdict.NOT_SATISFIED]


def test_six_years_are_asked_by_hipaa_and_one_by_pci() -> None:
    facts = changed(healthy_facts(), "settings", retention_days=400)
    verdicts = [run("log.retention", snapshot(framework, facts)).verdict for framework in Framework]
    assert verdicts == [Verdict.NOT_SATISFIED, Verdict.SATISFIED]


def test_the_breach_table_names_the_place_of_each_disks_key() -> None:
    result = run("key.breach_places", snapshot())
    assert result.table.rows[0][3] == "/srv/keys/keys.db"
    assert result.table.rows[0][-1] == "no"


def test_rows_beyond_the_limit_are_counted_though_not_kept() -> None:
    story = Story()
    for _ in range(5001):
        story.add("access", "log.list", decision="deny")
    table = run("access.one_decision", snapshot(events=story.events)).table
    assert (len(table.rows), table.total) == (5000, 5001)
