"""Accounts and API tokens: create, list, disable, change the password, make and revoke a token."""

import difflib
from typing import Any

from policies.vocabulary import Action, Role
from vault.entities import SITE, account_entity
from vault.errors import BadInput
from vault.gate import Access, Caller
from vault.identity.accounts import account_ref
from vault.identity.personal import new_personal_key
from vault.identity.sessions import Login
from vault.model import Account, LoginSession, new_id
from vault.permit import Permit
from vault.site import Site


def account_view(account: Account) -> dict[str, Any]:
    """An account as people and programs see it."""
    return {
        "id": account.id,
        "name": account.name,
        "roles": account.roles,
        "active": account.active,
        "service": account.service,
        "created_at": account.created_at.isoformat(),
        "last_login_at": account.last_login_at.isoformat() if account.last_login_at else None,
        "locked_until": account.locked_until.isoformat() if account.locked_until else None,
    }


def parse_roles(roles: list[str]) -> list[Role]:
    """Read role names.

    Raises:
        BadInput: there is no such role.
    """
    for role in roles:
        if role not in set(Role):
            near = difflib.get_close_matches(role, list(Role), n=1)
            meant = f"Did you mean {str(near[0])!r}? " if near else ""
            raise BadInput(f"There is no role {role!r}.", f"{meant}Roles: {', '.join(Role)}.")
    return [Role(role) for role in roles]


def create_account(
    site: Site, caller: Caller, name: str, password: str, roles: list[str], *, service: bool = False
) -> dict[str, Any]:
    """Add an account, with a personal key that the key store wraps (so the store must be unsealed)."""
    wanted = parse_roles(roles)
    account_id = new_id()
    resource = account_ref(account_id)

    def act(permit: Permit) -> dict[str, Any]:
        # After the policy has allowed it: otherwise anybody could learn which names are taken.
        site.accounts.check_new(name, password, wanted)
        private, public = new_personal_key()
        key = site.keys.wrap_person_key(permit, resource, private)
        permit.note(roles=sorted(role.value for role in wanted), service=service)
        account = site.accounts.create(
            permit,
            account_id,
            name,
            password,
            wanted,
            service=service,
            personal_public_key=public,
            personal_key_id=key.id,
        )
        return account_view(account)

    # The new account has no role yet while the policy is asked, so that a grant is no argument for itself.
    entity = account_entity(account_id, [], active=True)
    return site.gate.run(Access(caller, Action.ACCOUNT_CREATE, resource, entities=(entity,)), act)


def list_accounts(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Every account."""
    return site.gate.read(
        Access(caller, Action.ACCOUNT_LIST, SITE),
        lambda: {"items": [account_view(account) for account in site.accounts.all()], "next": None},
        view=view,
    )


def disable_account(site: Site, caller: Caller, name: str) -> dict[str, Any]:
    """Disable an account and end its sessions."""
    account = site.accounts.named(name)
    site.gate.run(
        Access(caller, Action.ACCOUNT_DISABLE, account_ref(account.id)),
        lambda permit: site.accounts.disable(permit, account.id),
    )
    return account_view(site.accounts.named(name))


def change_password(site: Site, caller: Caller, old_password: str, new_password: str) -> dict[str, Any]:
    """Change the caller's own password; whoever else is logged in as the caller is logged out."""
    own = caller.principal

    def act(permit: Permit) -> int:
        site.accounts.change_password(permit, own.id, old_password, new_password)
        ended = site.sessions.end_others(permit, own.id, caller.session)
        permit.note(sessions_ended=ended)
        return ended

    ended = site.gate.run(Access(caller, Action.ACCOUNT_PASSWORD, own), act)
    return {"id": own.id, "changed": True, "sessions_ended": ended}


def whoami(login: Login) -> dict[str, Any]:
    """Who the caller is, from the session alone: it tells nobody anything new, so it is not an access."""
    return {
        "id": login.account.id,
        "name": login.account.name,
        "roles": login.account.roles,
        "session": login.session.id,
        "expires_at": login.session.expires_at.isoformat(),
    }


def create_token(site: Site, caller: Caller, label: str, days: int) -> dict[str, Any]:
    """Make an API token of the caller's own; the token is shown once."""
    own = site.accounts.by_id(caller.principal.id)
    if own is None:
        raise BadInput("Only an account can hold a token.")

    def act(permit: Permit) -> dict[str, Any]:
        new = site.sessions.create_token(permit, own, label, days)
        permit.note(token=new.session.id, days=days)
        return {"token": new.token, **token_view(new.session)}

    return site.gate.run(Access(caller, Action.TOKEN_CREATE, caller.principal), act)


def list_tokens(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """The caller's own tokens that still work (without the tokens themselves)."""
    return site.gate.read(
        Access(caller, Action.TOKEN_LIST, caller.principal),
        lambda: {
            "items": [token_view(row) for row in site.sessions.tokens_of(caller.principal.id)],
            "next": None,
        },
        view=view,
    )


def revoke_token(site: Site, caller: Caller, token_id: str) -> dict[str, Any]:
    """Revoke one of the caller's own tokens."""
    own = site.accounts.by_id(caller.principal.id)
    if own is None:
        raise BadInput("Only an account can hold a token.")

    def act(permit: Permit) -> None:
        site.sessions.revoke_token(permit, own, token_id)
        # Only now: until it was found it was any text that somebody sent, which has no place in the log (D3).
        permit.note(token=token_id)

    site.gate.run(Access(caller, Action.TOKEN_REVOKE, caller.principal), act)
    return {"id": token_id, "revoked": True}


def token_view(row: LoginSession) -> dict[str, Any]:
    """A token as people see it: never the token."""
    return {
        "id": row.id,
        "label": row.label,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
    }
