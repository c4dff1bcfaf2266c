"""Accounts: who exists, which roles they hold, and the check of a password at log-in.

Invariant: a name is unique also after the account was disabled (PCI 8.2.1), so accounts are disabled and
never deleted.
"""

import re
import threading
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from policies.vocabulary import Action, EntityRef, EntityType, Role
from vault.config import Settings
from vault.database import Database
from vault.errors import BadInput, Conflict, NotAuthenticated, NotFound
from vault.identity.passwords import (
    BARRED_FORMER_PASSWORDS,
    check_new_password,
    hash_password,
    password_matches,
)
from vault.model import Account, LoginSession, utc_now
from vault.permit import Permit

_NAME = re.compile(r"[a-z][a-z0-9._-]{1,38}[a-z0-9]")


class BadCredentials(NotAuthenticated):
    """Name or password did not fit, or the account is locked or disabled: one answer for all."""

    code = "session.bad_credentials"


def account_ref(account_id: str) -> EntityRef:
    """The account as the policy and the log name it."""
    return EntityRef(EntityType.ACCOUNT, account_id)


class Accounts:
    """The accounts of the site."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._disabling = threading.Lock()

    # -- reads -----------------------------------------------------------------------------

    def all(self) -> list[Account]:
        """Every account, by name."""
        with self._database.session() as session:
            return list(session.exec(select(Account).order_by(Account.name)))

    def by_id(self, account_id: str) -> Account | None:
        """The account with this id."""
        with self._database.session() as session:
            return session.get(Account, account_id)

    def by_name(self, name: str) -> Account | None:
        """The account with this name."""
        if not _NAME.fullmatch(name):
            return None  # nobody's; and what cannot be written as UTF-8 never reaches the database
        with self._database.session() as session:
            return session.exec(select(Account).where(Account.name == name)).first()

    def named(self, name: str) -> Account:
        """The account with this name.

        Raises:
            NotFound: there is none.
        """
        account = self.by_name(name)
        if account is None:
            raise NotFound(f"There is no account {name!r}.", "See `strongroom account list`.")
        return account

    # -- effects ----------------------------------------------------------------------------

    def create(
        self,
        permit: Permit,
        account_id: str,
        name: str,
        password: str,
        roles: list[Role],
        *,
        service: bool = False,
        personal_public_key: str | None = None,
        personal_key_id: str | None = None,
    ) -> Account:
        """Add an account.

        Raises:
            BadInput: name, password or roles cannot be used.
            Conflict: the name is taken.
        """
        permit.require(account_ref(account_id), Action.ACCOUNT_CREATE)
        self.check_new(name, password, roles)
        account = Account(
            id=account_id,
            name=name,
            roles=sorted({role.value for role in roles}),
            password_hash=hash_password(password),
            service=service,
            personal_public_key=personal_public_key,
            personal_key_id=personal_key_id,
        )
        with self._database.session() as session:
            session.add(account)
            try:
                session.flush()
            except IntegrityError as error:
                raise _taken(name) from error  # somebody made it since `check_new` looked
        return account

    def check_new(self, name: str, password: str, roles: list[Role]) -> None:
        """Refuse what `create` would refuse, before anything is done."""
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} cannot name an account.",
                "Use 3 to 40 lower-case letters, digits, dots and hyphens, beginning with a letter.",
            )
        if not roles:
            raise BadInput("An account needs at least one role.", f"Roles: {', '.join(Role)}.")
        check_new_password(
            password, name=name, min_length=self._settings.password_min_length, former_hashes=[]
        )
        if self.by_name(name) is not None:
            raise _taken(name)

    def disable(self, permit: Permit, account_id: str) -> None:
        """Disable an account and end its sessions at once (PCI 8.2.5).

        Raises:
            NotFound: there is none with this id.
            Conflict: it is the last active administrator, after whom nobody could make another.
        """
        permit.require(account_ref(account_id), Action.ACCOUNT_DISABLE)
        with self._disabling, self._database.session() as session:
            account = session.get(Account, account_id)
            if account is None:
                raise NotFound("There is no such account.")
            others = session.exec(
                select(Account).where(col(Account.active).is_(True), Account.id != account_id)
            )
            if Role.ADMINISTRATOR in account.roles and not any(
                Role.ADMINISTRATOR in other.roles for other in others
            ):
                raise Conflict(
                    "This is the last active administrator.",
                    "Make another administrator first, then disable it.",
                )
            account.active = False
            account.disabled_at = account.disabled_at or utc_now()
            for login in session.exec(select(LoginSession).where(LoginSession.account_id == account_id)):
                login.ended_at = login.ended_at or utc_now()

    def change_password(self, permit: Permit, account_id: str, old_password: str, new_password: str) -> None:
        """Change an account's password; the old one must fit, and wrong ones count as at log-in.

        Raises:
            BadCredentials: the old password is wrong, or the account is locked.
            BadInput: the new one breaks a rule.
        """
        permit.require(account_ref(account_id), Action.ACCOUNT_PASSWORD)
        now = utc_now()
        account = self.by_id(account_id)
        fits = password_matches(old_password, account.password_hash if account else None)
        if account is None or _is_locked(account, now):
            raise self.refusal()
        if not fits:
            # Otherwise whoever finds a session open could try passwords without end (PCI 8.3.4).
            self._count_failure(permit, account.id, now)
            raise BadCredentials("The present password is wrong.", "Try again.")
        former = [*account.former_hashes, account.password_hash]
        check_new_password(
            new_password,
            name=account.name,
            min_length=self._settings.password_min_length,
            former_hashes=former,
        )
        with self._database.session() as session:
            stored = session.get_one(Account, account_id)
            stored.former_hashes = former[-BARRED_FORMER_PASSWORDS:]
            stored.password_hash = hash_password(new_password)
            stored.password_changed_at = now
            stored.failed_tries = 0

    def refusal(self) -> BadCredentials:
        """The one answer to every log-in that fails."""
        return BadCredentials(
            "Name or password is wrong, or the account is locked or disabled.",
            f"After {self._settings.lockout_tries} wrong passwords an account is locked for "
            f"{self._settings.lockout_s // 60} minutes.",
        )

    def authenticate(self, permit: Permit, site: EntityRef, name: str, untrusted_password: str) -> Account:
        """Check a password, count failures, lock after too many (PCI 8.3.4).

        Raises:
            BadCredentials: one sentence for every cause, so that nothing can be learned from it.
        """
        permit.require(site, Action.SESSION_LOGIN)
        now = utc_now()
        account = self.by_name(name)
        fits = password_matches(untrusted_password, account.password_hash if account else None)
        refusal = self.refusal()
        if account is None:
            raise refusal
        locked = _is_locked(account, now)
        if locked or not account.active:
            permit.note(locked=locked, disabled=not account.active)
            self._shorten_lock(account, now)
            raise refusal
        if not fits:
            self._count_failure(permit, account.id, now)
            raise refusal
        with self._database.session() as session:
            stored = session.get_one(Account, account.id)
            stored.failed_tries = 0
            stored.locked_until = None
            stored.last_login_at = now
        return account

    def _shorten_lock(self, account: Account, now: datetime) -> None:
        """A lock that would last longer than any lock does: the clock was set back. It begins again from now."""
        longest = now + timedelta(seconds=self._settings.lockout_s)
        if account.locked_until is not None and account.locked_until > longest:
            with self._database.session() as session:
                session.get_one(Account, account.id).locked_until = longest

    def _count_failure(self, permit: Permit, account_id: str, now: datetime) -> None:
        with self._database.session() as session:
            stored = session.get_one(Account, account_id)
            stored.failed_tries += 1
            if stored.failed_tries >= self._settings.lockout_tries:
                stored.failed_tries = 0
                stored.locked_until = now + timedelta(seconds=self._settings.lockout_s)
                permit.note(locked_now=True)


def _is_locked(account: Account, now: datetime) -> bool:
    return account.locked_until is not None and account.locked_until > now


def _taken(name: str) -> Conflict:
    return Conflict(
        f"The account name {name!r} is taken; names are never used again.", "Choose another name."
    )
