"""Accounts and sessions on a real database, and the permits that the gate would give."""

from pathlib import Path

from policies.vocabulary import Action, EntityRef, Role
from tests.fakes.permits import permit_for
from vault.config import Settings
from vault.database import Database
from vault.entities import SITE
from vault.identity.accounts import Accounts, account_ref
from vault.identity.sessions import Sessions
from vault.model import Account, new_id
from vault.permit import Permit

PASSWORD = "correct horse 1"


class Bench:
    """Everything of identity, joined."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(lockout_tries=3)
        self.database = Database(folder / "state.db", create=True)
        self.accounts = Accounts(self.database, self.settings)
        self.sessions = Sessions(self.database, self.settings)

    def account(self, name: str = "olga-operator", role: Role = Role.OPERATOR) -> Account:
        """Make an account."""
        account_id = new_id()
        permit = permit_for(Action.ACCOUNT_CREATE, account_ref(account_id))
        return self.accounts.create(permit, account_id, name, PASSWORD, [role])

    def log_in(self, name: str = "olga-operator", password: str = PASSWORD) -> tuple[Account, Permit]:
        """Check a password, as the gate's act does."""
        permit = permit_for(Action.SESSION_LOGIN, SITE)
        return self.accounts.authenticate(permit, SITE, name, password), permit

    def permit(self, action: Action, account: Account) -> Permit:
        """A permit of an action on an account."""
        return permit_for(action, account_ref(account.id))

    def change(self, account_id: str, **values: object) -> None:
        """Set fields of an account's row."""
        with self.database.session() as session:
            stored = session.get_one(Account, account_id)
            for name, value in values.items():
                setattr(stored, name, value)


def login_permit() -> Permit:
    """A permit to log in."""
    return permit_for(Action.SESSION_LOGIN, SITE)


def elsewhere() -> EntityRef:
    """Another account than any."""
    return account_ref("somebody-else")
