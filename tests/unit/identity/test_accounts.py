"""Accounts against guessing, clumsy administrators and races."""

import threading
from datetime import timedelta

import pytest

from policies.vocabulary import Action, Role
from tests.fakes.permits import closed, permit_for
from tests.unit.identity.bench import PASSWORD, Bench, elsewhere, login_permit
from vault.entities import SITE
from vault.errors import BadInput, Conflict, NotFound, PermitRefused
from vault.identity.accounts import BadCredentials, account_ref
from vault.identity.sessions import SessionExpired
from vault.model import Account, new_id, utc_now

NEW = "another passw0rd"


def test_an_account_is_found_by_name_and_id_and_lists_are_by_name(bench: Bench) -> None:
    olga, anna = bench.account(), bench.account("anna-auditor", Role.AUDITOR)
    assert [account.name for account in bench.accounts.all()] == ["anna-auditor", "olga-operator"]
    found = bench.accounts.by_id(olga.id)
    assert found is not None
    assert found.name == "olga-operator"
    assert found.roles == ["operator"]
    assert PASSWORD not in found.password_hash
    assert bench.accounts.named("anna-auditor").id == anna.id
    with pytest.raises(NotFound):
        bench.accounts.named("nobody")


@pytest.mark.parametrize(
    "name", ["", "ab", "Olga", "1olga", "olga ", "olga\n", "o" * 41, "olga/..", "ölga", "olga-", "a'--x"]
)
def test_a_name_that_cannot_name_an_account_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(BadInput, match="cannot name"):
        bench.accounts.check_new(name, PASSWORD, [Role.OPERATOR])


def test_an_account_without_a_role_is_refused(bench: Bench) -> None:
    with pytest.raises(BadInput, match="role"):
        bench.accounts.check_new("olga-operator", PASSWORD, [])


def test_a_name_is_never_used_again_also_after_its_account_was_disabled(bench: Bench) -> None:
    olga = bench.account()
    bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, olga), olga.id)
    with pytest.raises(Conflict, match="taken"):
        bench.account()


def test_of_two_who_make_the_same_name_at_once_one_is_told_that_it_is_taken(bench: Bench) -> None:
    together = threading.Barrier(2)
    ends: list[str] = []

    def work() -> None:
        together.wait(10)
        try:
            bench.account()
        except Conflict as error:
            ends.append(error.message)
        else:
            ends.append("made")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == [
        "The account name 'olga-operator' is taken; names are never used again.",
        "made",
    ]


def test_a_name_taken_after_it_was_checked_is_a_conflict_and_no_failure_of_the_storage(
    bench: Bench,
) -> None:
    bench.account()
    accounts = bench.accounts
    accounts.check_new = lambda *_args: None  # type: ignore[method-assign] # it looked before the other was made
    with pytest.raises(Conflict, match="taken"):
        bench.account()


def test_a_permit_for_another_account_creates_disables_and_changes_nothing(bench: Bench) -> None:
    olga = bench.account()
    with pytest.raises(PermitRefused):
        bench.accounts.create(
            permit_for(Action.ACCOUNT_CREATE, elsewhere()), new_id(), "eve-x", PASSWORD, [Role.ADMINISTRATOR]
        )
    with pytest.raises(PermitRefused):
        bench.accounts.disable(permit_for(Action.ACCOUNT_DISABLE, elsewhere()), olga.id)
    with pytest.raises(PermitRefused):
        bench.accounts.change_password(
            permit_for(Action.ACCOUNT_PASSWORD, elsewhere()), olga.id, PASSWORD, NEW
        )
    with pytest.raises(PermitRefused):
        bench.accounts.authenticate(closed(login_permit()), SITE, "olga-operator", PASSWORD)


def test_the_right_password_logs_in_and_is_noted(bench: Bench) -> None:
    bench.account()
    account, permit = bench.log_in()
    assert account.name == "olga-operator"
    assert permit.facts == {}
    stored = bench.accounts.named("olga-operator")
    assert stored.last_login_at is not None


@pytest.mark.parametrize("case", ["unknown", "wrong", "disabled", "locked"])
def test_every_refused_log_in_has_the_same_answer(bench: Bench, case: str) -> None:
    olga = bench.account()
    if case == "disabled":
        bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, olga), olga.id)
    if case == "locked":
        bench.change(olga.id, locked_until=utc_now() + timedelta(minutes=1))
    with pytest.raises(BadCredentials) as caught:
        bench.log_in(
            "nobody-here" if case == "unknown" else "olga-operator",
            "wrong password 1" if case == "wrong" else PASSWORD,
        )
    expected = bench.accounts.refusal()
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        expected.message,
        expected.hint,
        "session.bad_credentials",
    )


def test_after_too_many_wrong_passwords_the_right_one_is_refused_until_the_time_is_over(
    bench: Bench,
) -> None:
    olga = bench.account()
    for _ in range(3):
        with pytest.raises(BadCredentials):
            bench.log_in(password="wrong password 1")
    permit = login_permit()
    with pytest.raises(BadCredentials):
        bench.accounts.authenticate(permit, SITE, "olga-operator", PASSWORD)
    assert permit.facts == {"locked": True, "disabled": False}
    locked = bench.accounts.named("olga-operator")
    assert locked.locked_until is not None
    assert timedelta(minutes=29) < locked.locked_until - utc_now() <= timedelta(minutes=30)
    bench.change(olga.id, locked_until=utc_now() - timedelta(seconds=1))
    bench.log_in()
    assert bench.accounts.named("olga-operator").locked_until is None


def test_a_right_password_in_between_begins_the_count_anew(bench: Bench) -> None:
    bench.account()
    for _ in range(3):
        for _ in range(2):
            with pytest.raises(BadCredentials):
                bench.log_in(password="wrong password 1")
        bench.log_in()


def test_a_name_that_is_hostile_finds_nobody(bench: Bench) -> None:
    bench.account()
    for name in ("' OR 1=1 --", "olga-operator\x00", "OLGA-OPERATOR", "%", "x" * 10_000):
        with pytest.raises(BadCredentials):
            bench.log_in(name)


def test_a_password_is_changed_and_the_old_one_opens_nothing(bench: Bench) -> None:
    olga = bench.account()
    before = olga.password_changed_at
    bench.accounts.change_password(bench.permit(Action.ACCOUNT_PASSWORD, olga), olga.id, PASSWORD, NEW)
    with pytest.raises(BadCredentials):
        bench.log_in()
    bench.log_in(password=NEW)
    assert bench.accounts.named("olga-operator").password_changed_at > before
    with pytest.raises(BadInput, match="last 4"):
        bench.accounts.change_password(bench.permit(Action.ACCOUNT_PASSWORD, olga), olga.id, NEW, PASSWORD)


def test_no_more_hashes_are_kept_than_the_rule_needs(bench: Bench) -> None:
    olga = bench.account()
    present = PASSWORD
    for number in range(6):
        new = f"password number {number}"
        bench.accounts.change_password(bench.permit(Action.ACCOUNT_PASSWORD, olga), olga.id, present, new)
        present = new
    assert len(bench.accounts.named("olga-operator").former_hashes) == 4


def test_whoever_finds_a_session_open_cannot_try_passwords_without_end(bench: Bench) -> None:
    olga = bench.account()
    permit = bench.permit(Action.ACCOUNT_PASSWORD, olga)
    for _ in range(3):
        with pytest.raises(BadCredentials, match="present password"):
            bench.accounts.change_password(permit, olga.id, "wrong password 1", NEW)
    assert permit.facts == {"locked_now": True}
    with pytest.raises(BadCredentials, match="locked"):
        bench.accounts.change_password(permit, olga.id, PASSWORD, NEW)


def test_the_password_of_nobody_is_not_changed(bench: Bench) -> None:
    nobody = Account(id=new_id(), name="nobody", password_hash="")
    with pytest.raises(BadCredentials):
        bench.accounts.change_password(
            bench.permit(Action.ACCOUNT_PASSWORD, nobody), nobody.id, PASSWORD, NEW
        )


def test_disabling_ends_every_session_and_token_at_once(bench: Bench) -> None:
    olga = bench.account()
    session = bench.sessions.open_for(login_permit(), SITE, olga, "cli")
    token = bench.sessions.create_token(bench.permit(Action.TOKEN_CREATE, olga), olga, "ci", 5)
    permit = bench.permit(Action.ACCOUNT_DISABLE, olga)
    bench.accounts.disable(permit, olga.id)
    disabled_at = bench.accounts.named("olga-operator").disabled_at
    for new in (session, token):
        with pytest.raises(SessionExpired):
            bench.sessions.resolve(new.token)
    bench.accounts.disable(permit, olga.id)
    assert bench.accounts.named("olga-operator").disabled_at == disabled_at


def test_the_last_active_administrator_cannot_be_disabled(bench: Bench) -> None:
    ada = bench.account("ada-admin", Role.ADMINISTRATOR)
    bob = bench.account("bob-admin", Role.ADMINISTRATOR)
    bench.account()
    bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, bob), bob.id)
    with pytest.raises(Conflict, match="last active administrator"):
        bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, ada), ada.id)
    assert bench.accounts.named("ada-admin").active


def test_two_administrators_who_disable_each_other_at_once_leave_one(bench: Bench) -> None:
    people = [bench.account(name, Role.ADMINISTRATOR) for name in ("ada-admin", "bob-admin")]
    together = threading.Barrier(2)
    refused: list[str] = []

    def work(account: Account) -> None:
        together.wait(10)
        try:
            bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, account), account.id)
        except Conflict:
            refused.append(account.name)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert sum(account.active for account in bench.accounts.all()) == 1


def test_nobody_is_disabled_who_does_not_exist(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.accounts.disable(permit_for(Action.ACCOUNT_DISABLE, account_ref("gone")), "gone")


def test_a_clock_set_back_neither_opens_a_locked_account_nor_locks_it_for_longer_than_any_lock(
    bench: Bench,
) -> None:
    account = bench.account()
    bench.change(account.id, locked_until=utc_now() + timedelta(days=365))
    with pytest.raises(BadCredentials):
        bench.log_in()
    stored = bench.accounts.by_id(account.id)
    assert stored is not None
    assert stored.locked_until is not None
    left = stored.locked_until - utc_now()
    assert timedelta(0) < left <= timedelta(seconds=bench.settings.lockout_s)
    with pytest.raises(BadCredentials):
        bench.log_in()
    again = bench.accounts.by_id(account.id)
    assert again is not None
    assert again.locked_until == stored.locked_until, "tries do not lengthen it"
