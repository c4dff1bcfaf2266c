"""Sessions of people and tokens of services: random, kept only as a digest, always ending.

The token is 256 random bits, so a plain SHA-256 of it is enough to look it up by; the digest in the
database opens nothing. A session ends by its own limit, after an idle time, at log-out, or when the account
is disabled.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import col, select

from policies.vocabulary import Action, EntityRef, EntityType
from vault.config import Settings
from vault.database import Database
from vault.errors import BadInput, NotAuthenticated, NotFound
from vault.identity.accounts import account_ref
from vault.model import Account, LoginSession, utc_now
from vault.permit import Permit

#: `last_seen_at` is written at most this often, so that reading pages does not write at every click.
_TOUCH_AFTER_S = 20
MAX_TOKEN_DAYS = 365
#: A session used later than now by more than this: the clock was set back. Time servers step by less.
_CLOCK_SLACK = timedelta(seconds=60)


class SessionExpired(NotAuthenticated):
    """The session or token was good once and is no more."""

    code = "session.expired"


@dataclass(frozen=True, slots=True)
class Login:
    """A session together with the account it belongs to."""

    account: Account
    session: LoginSession


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A session just made; the token is shown once and kept nowhere."""

    session: LoginSession
    token: str = field(repr=False)


def session_ref(session_id: str) -> EntityRef:
    """The session as the policy and the log name it."""
    return EntityRef(EntityType.SESSION, session_id)


class Sessions:
    """The sessions and tokens of the site."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def resolve(self, untrusted_token: str, *, by_itself: bool = False) -> Login:
        """Return whose token this is, and note that it was used.

        Args:
            by_itself: a page asks again without anybody's doing, which does not keep an idle session alive
                (PCI 8.2.8).

        Raises:
            NotAuthenticated: nobody's token.
            SessionExpired: it ended; the sentence says why.
        """
        # Whatever text a header or JSON can carry, a lone surrogate too, is nobody's token and no error.
        digest = hashlib.sha256(untrusted_token.encode("utf-8", "surrogatepass")).hexdigest()
        now = utc_now()
        with self._database.session() as session:
            login = session.exec(select(LoginSession).where(LoginSession.token_sha256 == digest)).first()
            account = session.get(Account, login.account_id) if login else None
            if login is None or account is None:
                raise NotAuthenticated("You are not logged in.", "Run `strongroom login`.")
            again = "Run `strongroom login` again."
            if login.ended_at is not None or not account.active:
                raise SessionExpired("Your session was ended.", again)
            if login.expires_at <= now:
                raise SessionExpired("Your session or token has expired.", again)
            if login.last_seen_at - now > _CLOCK_SLACK:
                # Its end is a time of day, which the clock no longer tells: it would live longer than it may.
                raise SessionExpired(
                    "The host's clock was set back since your session or token was last used.",
                    "Set the clock right, or log in again: strongroom login.",
                )
            if not _works(login, now):
                raise SessionExpired("Your session was unused for too long and has ended.", again)
            if not by_itself and now - login.last_seen_at > timedelta(seconds=_TOUCH_AFTER_S):
                login.last_seen_at = now
            return Login(account, login)

    def open_for(self, permit: Permit, site: EntityRef, account: Account, channel: str) -> NewLogin:
        """Begin a session for an account whose password was just checked."""
        permit.require(site, Action.SESSION_LOGIN)
        return self._store(
            account.id,
            channel,
            "",
            timedelta(seconds=self._settings.session_limit_s),
            self._settings.idle_timeout_s,
        )

    def create_token(self, permit: Permit, account: Account, label: str, days: int) -> NewLogin:
        """Make an API token that expires.

        Raises:
            BadInput: days outside 1 to 365.
        """
        permit.require(account_ref(account.id), Action.TOKEN_CREATE)
        if not 1 <= days <= MAX_TOKEN_DAYS:
            raise BadInput(f"A token lives 1 to {MAX_TOKEN_DAYS} days, not {days}.")
        return self._store(account.id, "api", label[:80], timedelta(days=days), None)

    def end(self, permit: Permit, session_id: str) -> None:
        """End a session now; ending it twice is harmless."""
        permit.require(session_ref(session_id), Action.SESSION_END)
        self._end(session_id)

    def end_others(self, permit: Permit, account_id: str, kept: str | None) -> int:
        """End every session of an account but one, after its password changed; tokens of programs live on.

        Returns:
            how many were ended.
        """
        permit.require(account_ref(account_id), Action.ACCOUNT_PASSWORD)
        ended = 0
        with self._database.session() as session:
            for login in session.exec(select(LoginSession).where(LoginSession.account_id == account_id)):
                if login.id != kept and login.ended_at is None and login.idle_limit_s is not None:
                    login.ended_at = utc_now()
                    ended += 1
        return ended

    def revoke_token(self, permit: Permit, account: Account, session_id: str) -> None:
        """Revoke one of an account's tokens now.

        Raises:
            NotFound: the account has no such token.
        """
        permit.require(account_ref(account.id), Action.TOKEN_REVOKE)
        with self._database.session() as session:
            login = session.get(LoginSession, session_id)
        if login is None or login.account_id != account.id or not _is_token(login):
            raise NotFound("This account has no such token.")
        self._end(session_id)

    def tokens_of(self, account_id: str) -> list[LoginSession]:
        """API tokens of an account that still work."""
        with self._database.session() as session:
            rows = session.exec(
                select(LoginSession)
                .where(LoginSession.account_id == account_id)
                .order_by(col(LoginSession.created_at))
            )
            return [
                row for row in rows if _is_token(row) and row.ended_at is None and row.expires_at > utc_now()
            ]

    def open_of(self, account_id: str) -> list[LoginSession]:
        """Sessions of an account that still work, the last used first; tokens of programs are not among them."""
        now = utc_now()
        with self._database.session() as session:
            rows = session.exec(
                select(LoginSession)
                .where(LoginSession.account_id == account_id, col(LoginSession.ended_at).is_(None))
                .order_by(col(LoginSession.last_seen_at).desc())
            )
            return [row for row in rows if not _is_token(row) and _works(row, now)]

    def _end(self, session_id: str) -> None:
        with self._database.session() as session:
            login = session.get(LoginSession, session_id)
            if login is not None and login.ended_at is None:
                login.ended_at = utc_now()

    def _store(
        self, account_id: str, channel: str, label: str, life: timedelta, idle_limit_s: int | None
    ) -> NewLogin:
        token = secrets.token_urlsafe(32)
        login = LoginSession(
            account_id=account_id,
            token_sha256=hashlib.sha256(token.encode()).hexdigest(),
            channel=channel,
            label=label,
            expires_at=utc_now() + life,
            idle_limit_s=idle_limit_s,
        )
        with self._database.session() as session:
            session.add(login)
        return NewLogin(login, token)


def _works(login: LoginSession, now: datetime) -> bool:
    idle = timedelta(seconds=login.idle_limit_s) if login.idle_limit_s else None
    return login.expires_at > now and (idle is None or login.last_seen_at + idle > now)


def _is_token(login: LoginSession) -> bool:
    """A token is made to be used now and then, so it alone has no idle limit.

    The channel does not tell: a program that logs in with a password has a session with the channel `api` too.
    """
    return login.idle_limit_s is None
