"""Who asks: log-ins that fail give one answer, lock after ten, and what was let go does not come back."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from audit.log.record import Kind
from policies.vocabulary import Action
from tests.sites import ADMINISTRATOR, OPERATOR, PASSWORD, PreparedSite, records, told, whole_state
from vault.errors import NotAuthenticated, PolicyDenied
from vault.identity.accounts import BadCredentials
from vault.identity.sessions import SessionExpired
from vault.model import Account, LoginSession, utc_now
from vault.operations.accounts import (
    change_password,
    create_account,
    create_token,
    disable_account,
    revoke_token,
)
from vault.operations.sessions import authenticate, login, logout
from vault.site import Site

pytestmark = pytest.mark.real
ADDRESS = "192.0.2.7"
WRONG = "a wrong passw0rd"


@pytest.fixture
def newcomer(site: Site, prepared: PreparedSite, request: pytest.FixtureRequest) -> Iterator[str]:
    """An account for one test: names are never used again."""
    name = f"new-{abs(hash(request.node.name)) % 10**9}"
    create_account(site, prepared.caller(ADMINISTRATOR), name, PASSWORD, ["operator"])
    yield name
    disable_account(site, prepared.caller(ADMINISTRATOR), name)


def refusal(site: Site, name: str, password: str) -> BadCredentials:
    with pytest.raises(BadCredentials) as answer:
        login(site, "cli", name, password, ADDRESS)
    return answer.value


def age(site: Site, session_id: str, *, seen: timedelta, life: timedelta) -> None:
    """Let time pass for one session."""
    with site.database.session() as session:
        row = session.get_one(LoginSession, session_id)
        row.last_seen_at -= seen
        row.expires_at -= life


def test_a_log_in_makes_a_session_that_is_recognised_and_ended(site: Site, prepared: PreparedSite) -> None:
    since = site.log.head().size
    made = login(site, "cli", OPERATOR, PASSWORD, ADDRESS)
    found, caller = authenticate(site, made["token"], "cli", ADDRESS)
    assert found.account.id == prepared.people[OPERATOR]
    assert (caller.session, caller.principal.id) == (made["session"], prepared.people[OPERATOR])
    logout(site, caller)
    with pytest.raises(SessionExpired) as refused:
        authenticate(site, made["token"], "cli", ADDRESS)
    assert refused.value.exit_code == 3
    assert [(kind, action, code) for kind, action, code in told(site, since) if kind is Kind.OUTCOME] == [
        (Kind.OUTCOME, "session.login", "ok"),
        (Kind.OUTCOME, "session.end", "ok"),
    ]
    written = b"".join(record.bytes for record in records(site, since))
    for secret in (made["token"], PASSWORD, ADDRESS, OPERATOR):
        assert secret.encode() not in written


def test_the_callers_address_is_in_the_record_sealed_to_the_person(site: Site) -> None:
    since = site.log.head().size
    login(site, "cli", OPERATOR, PASSWORD, ADDRESS)
    login(site, "cli", OPERATOR, PASSWORD, ADDRESS)
    sealed = [record.source["address"] for record in records(site, since) if record.source]
    assert None not in sealed
    assert len(set(sealed)) == 2, "the same address sealed twice looks like two"


def test_every_failed_log_in_gets_the_same_answer_and_is_recorded(
    site: Site, prepared: PreparedSite, newcomer: str
) -> None:
    since = site.log.head().size
    answers = [refusal(site, newcomer, WRONG), refusal(site, "no-such-account", WRONG)]
    answers += [refusal(site, newcomer, "\udcff" * 12), refusal(site, "\udcff", WRONG)]
    disable_account(site, prepared.caller(ADMINISTRATOR), newcomer)
    answers += [refusal(site, newcomer, PASSWORD), refusal(site, "x" * 5000, PASSWORD)]
    assert {(answer.message, answer.hint, answer.code, int(answer.exit_code)) for answer in answers} == {
        (answers[0].message, answers[0].hint, "session.bad_credentials", 3)
    }
    tried = [record for record in records(site, since) if record.action == Action.SESSION_LOGIN]
    assert [(record.kind, record.principal.startswith("account:")) for record in tried] == [
        (Kind.INTENT, True),
        (Kind.OUTCOME, True),
        (Kind.DENIED, True),
        (Kind.INTENT, True),
        (Kind.OUTCOME, True),
        (Kind.DENIED, True),
        (Kind.DENIED, True),
        (Kind.DENIED, True),
    ]
    assert [answer.record for answer in answers] == [
        record.id for record in tried if record.kind is not Kind.OUTCOME
    ]
    assert {record.principal for record in tried if record.kind is Kind.DENIED} == {
        "account:unknown",
        tried[0].principal,
    }


def test_ten_wrong_passwords_lock_the_account_for_half_an_hour_and_no_longer(
    site: Site, newcomer: str
) -> None:
    for _ in range(10):
        refusal(site, newcomer, WRONG)
    account = site.accounts.named(newcomer)
    assert account.locked_until is not None
    assert timedelta(minutes=29) < account.locked_until - utc_now() <= timedelta(minutes=30)
    since = site.log.head().size
    refusal(site, newcomer, PASSWORD)
    outcome = records(site, since)[-1]
    assert outcome.result is not None
    assert outcome.result["facts"] == {"locked": True, "disabled": False}
    with site.database.session() as session:
        session.get_one(Account, account.id).locked_until = utc_now() - timedelta(seconds=1)
    assert login(site, "cli", newcomer, PASSWORD, ADDRESS)["account"]["name"] == newcomer
    assert site.accounts.named(newcomer).locked_until is None


def test_nine_wrong_passwords_and_a_right_one_count_from_the_beginning(site: Site, newcomer: str) -> None:
    for _ in range(9):
        refusal(site, newcomer, WRONG)
    login(site, "cli", newcomer, PASSWORD, ADDRESS)
    refusal(site, newcomer, WRONG)
    assert site.accounts.named(newcomer).locked_until is None


def test_an_idle_session_has_ended(site: Site) -> None:
    made = login(site, "cli", OPERATOR, PASSWORD, ADDRESS)
    idle = timedelta(seconds=site.settings.idle_timeout_s)
    age(site, made["session"], seen=idle - timedelta(seconds=30), life=timedelta())
    authenticate(site, made["token"], "cli", ADDRESS)
    age(site, made["session"], seen=idle, life=timedelta())
    with pytest.raises(SessionExpired, match="unused") as refused:
        authenticate(site, made["token"], "cli", ADDRESS)
    assert refused.value.exit_code == 3


def test_a_session_that_is_always_busy_ends_all_the_same(site: Site) -> None:
    made = login(site, "cli", OPERATOR, PASSWORD, ADDRESS)
    age(site, made["session"], seen=timedelta(), life=timedelta(seconds=site.settings.session_limit_s))
    with pytest.raises(SessionExpired, match="expired") as refused:
        authenticate(site, made["token"], "cli", ADDRESS)
    assert refused.value.exit_code == 3


def test_an_api_token_outlives_idleness_and_ends_with_its_days_or_when_revoked(
    site: Site, prepared: PreparedSite
) -> None:
    olga = prepared.caller(OPERATOR)
    first, second = (create_token(site, olga, "backup", 1) for _ in range(2))
    age(site, first["id"], seen=timedelta(hours=20), life=timedelta(hours=20))
    authenticate(site, first["token"], "api", ADDRESS)
    age(site, first["id"], seen=timedelta(), life=timedelta(hours=5))
    revoke_token(site, olga, second["id"])
    for token in (first, second):
        with pytest.raises(SessionExpired) as refused:
            authenticate(site, token["token"], "api", ADDRESS)
        assert refused.value.exit_code == 3


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "a" * 100_000, "\udcff", "' OR 1=1 --"])
def test_what_is_nobodys_token_is_nobody(site: Site, token: str) -> None:
    before = whole_state(site)
    with pytest.raises(NotAuthenticated) as refused:
        authenticate(site, token, "api", ADDRESS)
    assert refused.value.exit_code == 3
    assert whole_state(site) == before


def test_a_disabled_account_loses_its_sessions_and_tokens_at_once(
    site: Site, prepared: PreparedSite, newcomer: str
) -> None:
    made = login(site, "cli", newcomer, PASSWORD, ADDRESS)
    _, caller = authenticate(site, made["token"], "cli", ADDRESS)
    disable_account(site, prepared.caller(ADMINISTRATOR), newcomer)
    with pytest.raises(SessionExpired):
        authenticate(site, made["token"], "cli", ADDRESS)
    with pytest.raises(PolicyDenied) as denied:
        create_token(site, caller, "one more", 1)
    assert denied.value.policies == ("base.deny-inactive",)


def test_nobody_ends_anothers_session_nor_revokes_anothers_token(site: Site, prepared: PreparedSite) -> None:
    token = create_token(site, prepared.caller(OPERATOR), "mine", 1)
    anna = prepared.caller("anna-auditor", session=token["id"])
    with pytest.raises(PolicyDenied):
        logout(site, anna)
    with pytest.raises(NotAuthenticated):
        authenticate(site, token["token"][:-1], "api", ADDRESS)
    authenticate(site, token["token"], "api", ADDRESS)


def test_a_changed_password_logs_out_whoever_else_was_logged_in_but_no_program(
    site: Site, newcomer: str
) -> None:
    mine = login(site, "cli", newcomer, PASSWORD, ADDRESS)
    thief = login(site, "web", newcomer, PASSWORD, ADDRESS)
    _, caller = authenticate(site, mine["token"], "cli", ADDRESS)
    program = create_token(site, caller, "backup", 30)
    assert change_password(site, caller, PASSWORD, "another passw0rd")["sessions_ended"] == 1
    with pytest.raises(SessionExpired):
        authenticate(site, thief["token"], "web", ADDRESS)
    assert authenticate(site, mine["token"], "cli", ADDRESS)
    assert authenticate(site, program["token"], "api", ADDRESS)
