"""Log in, be recognised, see and end one's own sessions, log out."""

from typing import Any

from policies.vocabulary import Action, EntityRef, EntityType
from vault.entities import SITE, UNKNOWN_ACCOUNT
from vault.errors import NotFound, PolicyDenied
from vault.gate import Access, Caller
from vault.identity.passwords import password_matches
from vault.identity.personal import seal_to_person
from vault.identity.sessions import Login, session_ref
from vault.model import Account, LoginSession
from vault.permit import Permit
from vault.site import Site


def login(site: Site, channel: str, name: str, password: str, address: str) -> dict[str, Any]:
    """Begin a session.

    Args:
        channel: `cli`, `web` or `api`.
        address: network address of the caller; recorded sealed to the person.

    Returns:
        token (shown once), session, account, roles, expires_at.

    Raises:
        BadCredentials: one sentence for every cause; the attempt is recorded.
    """
    account = site.accounts.by_name(name)
    caller = _caller(account, None, channel, address)

    def act(permit: Permit) -> dict[str, Any]:
        found = site.accounts.authenticate(permit, SITE, name, password)
        new = site.sessions.open_for(permit, SITE, found, channel)
        permit.note(session=new.session.id)
        return {
            "token": new.token,
            "session": new.session.id,
            "account": {"id": found.id, "name": found.name},
            "roles": found.roles,
            "expires_at": new.session.expires_at.isoformat(),
        }

    try:
        return site.gate.run(Access(caller, Action.SESSION_LOGIN, SITE), act)
    except PolicyDenied as denied:
        # No such account, or a disabled one: the same sentence, after the same work, as for a wrong password.
        password_matches(password, None)
        refusal = site.accounts.refusal()
        refusal.record = denied.record
        raise refusal from denied


def authenticate(
    site: Site, token: str, channel: str, address: str, *, by_itself: bool = False
) -> tuple[Login, Caller]:
    """Recognise who sends a token.

    Args:
        by_itself: a page refreshes itself; nobody need be there.

    Raises:
        NotAuthenticated: nobody, or no more.
    """
    found = site.sessions.resolve(token, by_itself=by_itself)
    return found, _caller(found.account, found.session.id, channel, address)


def list_sessions(site: Site, caller: Caller) -> dict[str, Any]:
    """The caller's own sessions that still work, the last used first."""

    def produce() -> dict[str, Any]:
        own = site.sessions.open_of(caller.principal.id)
        return {"items": [_session_view(row, caller.session) for row in own], "next": None}

    return site.gate.read(Access(caller, Action.SESSION_LIST, caller.principal), produce)


def end_session(site: Site, caller: Caller, session_id: str) -> dict[str, Any]:
    """End one of the caller's own sessions: somebody may have left it open elsewhere.

    Raises:
        NotFound: the caller has no such session that still works.
    """
    # Found first: until then it is any text that somebody sent, which has no place in the log (D3).
    if session_id not in {row.id for row in site.sessions.open_of(caller.principal.id)}:
        raise NotFound("You have no such session.", "Look at the list again: it may have ended already.")
    session = session_ref(session_id)
    site.gate.run_safe(
        Access(caller, Action.SESSION_END, session), lambda permit: site.sessions.end(permit, session.id)
    )
    return {"session": session.id, "ended": True}


def _session_view(row: LoginSession, own: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "channel": row.channel,
        "created_at": row.created_at.isoformat(),
        "last_seen_at": row.last_seen_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "current": row.id == own,
    }


def logout(site: Site, caller: Caller) -> dict[str, Any]:
    """End the caller's own session: a safe-direction action, so it works without the log too."""
    session = session_ref(caller.session or "none")
    site.gate.run_safe(
        Access(caller, Action.SESSION_END, session), lambda permit: site.sessions.end(permit, session.id)
    )
    return {"session": session.id, "ended": True}


def _caller(account: Account | None, session: str | None, channel: str, address: str) -> Caller:
    if account is None:
        return Caller(UNKNOWN_ACCOUNT, channel)
    return Caller(
        EntityRef(EntityType.ACCOUNT, account.id),
        channel,
        session,
        seal_to_person(account.personal_public_key, address),
    )
