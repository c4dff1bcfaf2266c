"""Sessions and tokens: random, kept as a digest, and ended in time."""

from datetime import datetime, timedelta

import pytest

from policies.vocabulary import Action
from tests.fakes.permits import permit_for
from tests.unit.identity.bench import Bench, elsewhere, login_permit
from vault.entities import SITE
from vault.errors import BadInput, NotAuthenticated, NotFound, PermitRefused
from vault.identity.sessions import NewLogin, SessionExpired, session_ref
from vault.model import Account, LoginSession, utc_now


def opened(bench: Bench, account: Account | None = None, channel: str = "cli") -> NewLogin:
    return bench.sessions.open_for(login_permit(), SITE, account or bench.account(), channel)


def token_of(bench: Bench, account: Account, label: str = "ci", days: int = 5) -> NewLogin:
    return bench.sessions.create_token(bench.permit(Action.TOKEN_CREATE, account), account, label, days)


def shift(bench: Bench, session_id: str, **values: datetime) -> None:
    with bench.database.session() as session:
        login = session.get_one(LoginSession, session_id)
        for name, value in values.items():
            setattr(login, name, value)


def test_a_session_is_recognised_by_its_token_and_by_nothing_else(bench: Bench) -> None:
    new = opened(bench)
    assert bench.sessions.resolve(new.token).account.name == "olga-operator"
    for untrusted in (
        "",
        new.token[:-1],
        new.token + "x",
        new.session.id,
        new.session.token_sha256,
        "\ud800",
    ):
        with pytest.raises(NotAuthenticated):
            bench.sessions.resolve(untrusted)


def test_a_token_has_256_random_bits_and_is_kept_nowhere(bench: Bench) -> None:
    new = opened(bench)
    assert len(new.token) >= 43
    assert new.token not in repr(new)
    bench.database.close()
    for path in bench.folder.iterdir():
        assert new.token.encode() not in path.read_bytes()


def test_a_session_ends_by_its_limit(bench: Bench) -> None:
    new = opened(bench)
    shift(bench, new.session.id, expires_at=utc_now() - timedelta(seconds=1))
    with pytest.raises(SessionExpired, match="expired"):
        bench.sessions.resolve(new.token)


def test_a_session_that_was_unused_for_fifteen_minutes_has_ended(bench: Bench) -> None:
    new = opened(bench)
    shift(bench, new.session.id, last_seen_at=utc_now() - timedelta(seconds=895))
    bench.sessions.resolve(new.token)
    shift(bench, new.session.id, last_seen_at=utc_now() - timedelta(seconds=901))
    with pytest.raises(SessionExpired, match="unused"):
        bench.sessions.resolve(new.token)


def test_a_clock_set_back_lengthens_no_session_and_no_token(bench: Bench) -> None:
    """Its end is a time of day: with the clock a day back it would live a day longer."""
    new = opened(bench)
    shift(bench, new.session.id, last_seen_at=utc_now() + timedelta(seconds=30))
    bench.sessions.resolve(new.token)  # a time server's small step is no fault
    shift(
        bench,
        new.session.id,
        last_seen_at=utc_now() + timedelta(days=1),
        expires_at=utc_now() + timedelta(days=1),
    )
    with pytest.raises(SessionExpired, match="clock was set back") as refused:
        bench.sessions.resolve(new.token)
    assert "Set the clock right" in refused.value.hint


def test_use_is_noted_but_not_at_every_click(bench: Bench) -> None:
    new = opened(bench)
    recently = utc_now() - timedelta(seconds=5)
    shift(bench, new.session.id, last_seen_at=recently)
    assert bench.sessions.resolve(new.token).session.last_seen_at == recently
    shift(bench, new.session.id, last_seen_at=utc_now() - timedelta(seconds=30))
    assert utc_now() - bench.sessions.resolve(new.token).session.last_seen_at < timedelta(seconds=10)


def test_a_session_that_was_ended_stays_ended_and_ending_it_twice_is_harmless(bench: Bench) -> None:
    new = opened(bench)
    permit = permit_for(Action.SESSION_END, session_ref(new.session.id))
    bench.sessions.end(permit, new.session.id)
    bench.sessions.end(permit, new.session.id)
    with pytest.raises(SessionExpired, match="ended"):
        bench.sessions.resolve(new.token)
    none = permit_for(Action.SESSION_END, session_ref("none"))
    bench.sessions.end(none, "none")


def test_a_session_of_an_account_that_was_disabled_by_hand_opens_nothing(bench: Bench) -> None:
    new = opened(bench)
    bench.change(new.session.account_id, active=False)
    with pytest.raises(SessionExpired):
        bench.sessions.resolve(new.token)


def test_a_token_has_no_idle_limit_and_ends_by_its_date(bench: Bench) -> None:
    olga = bench.account()
    new = token_of(bench, olga)
    shift(bench, new.session.id, last_seen_at=utc_now() - timedelta(days=4))
    assert bench.sessions.resolve(new.token).session.label == "ci"
    assert timedelta(days=4) < new.session.expires_at - utc_now() <= timedelta(days=5)


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_a_token_that_would_live_too_long_or_not_at_all_is_refused(bench: Bench, days: int) -> None:
    with pytest.raises(BadInput):
        token_of(bench, bench.account(), days=days)


def test_a_session_of_a_program_that_logged_in_is_no_token(bench: Bench) -> None:
    olga = bench.account()
    session = opened(bench, olga, "api")
    token = token_of(bench, olga, "x" * 200)
    assert [row.id for row in bench.sessions.tokens_of(olga.id)] == [token.session.id]
    assert len(token.session.label) == 80
    permit = bench.permit(Action.TOKEN_REVOKE, olga)
    with pytest.raises(NotFound):
        bench.sessions.revoke_token(permit, olga, session.session.id)
    bench.sessions.resolve(session.token)


def test_a_revoked_or_expired_token_is_listed_no_more_and_opens_nothing(bench: Bench) -> None:
    olga = bench.account()
    revoked, expired = token_of(bench, olga), token_of(bench, olga)
    bench.sessions.revoke_token(bench.permit(Action.TOKEN_REVOKE, olga), olga, revoked.session.id)
    shift(bench, expired.session.id, expires_at=utc_now() - timedelta(seconds=1))
    assert bench.sessions.tokens_of(olga.id) == []
    with pytest.raises(SessionExpired):
        bench.sessions.resolve(revoked.token)


def test_nobody_revokes_a_token_of_somebody_else(bench: Bench) -> None:
    olga, eve = bench.account(), bench.account("eve-operator")
    token = token_of(bench, olga)
    permit = bench.permit(Action.TOKEN_REVOKE, eve)
    for session_id in (token.session.id, "none"):
        with pytest.raises(NotFound):
            bench.sessions.revoke_token(permit, eve, session_id)
    bench.sessions.resolve(token.token)


def test_nothing_is_opened_ended_made_or_revoked_with_the_permit_of_another(bench: Bench) -> None:
    olga = bench.account()
    new = opened(bench, olga)
    other = permit_for(Action.TOKEN_CREATE, elsewhere())
    with pytest.raises(PermitRefused):
        bench.sessions.open_for(other, SITE, olga, "cli")
    with pytest.raises(PermitRefused):
        bench.sessions.create_token(other, olga, "ci", 5)
    with pytest.raises(PermitRefused):
        bench.sessions.end(permit_for(Action.SESSION_END, session_ref("other")), new.session.id)
    with pytest.raises(PermitRefused):
        bench.sessions.revoke_token(permit_for(Action.TOKEN_REVOKE, elsewhere()), olga, new.session.id)
