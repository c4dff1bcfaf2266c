"""Accounts and API tokens."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import accounts
from web.api.inputs import NewAccount, PasswordChange, TokenRequest, ViewQuery
from web.guard import caller
from web.site import site

routes = APIBlueprint("accounts", __name__, url_prefix="/api/v1")


@routes.get("/accounts")
@routes.input(ViewQuery, location="query", arg_name="asked")
def list_accounts(asked: ViewQuery) -> dict[str, Any]:
    """List the accounts."""
    return accounts.list_accounts(site(), caller(), asked.view)


@routes.post("/accounts")
@routes.input(NewAccount, arg_name="asked")
def create_account(asked: NewAccount) -> tuple[dict[str, Any], int]:
    """Add an account."""
    made = accounts.create_account(
        site(), caller(), asked.name, asked.password.get_secret_value(), asked.roles, service=asked.service
    )
    return made, 201


@routes.post("/accounts/<name>/disable")
def disable_account(name: str) -> dict[str, Any]:
    """Disable an account and end its sessions at once."""
    return accounts.disable_account(site(), caller(), name)


@routes.put("/accounts/me/password")
@routes.input(PasswordChange, arg_name="asked")
def change_password(asked: PasswordChange) -> dict[str, Any]:
    """Change one's own password."""
    return accounts.change_password(
        site(), caller(), asked.old_password.get_secret_value(), asked.new_password.get_secret_value()
    )


@routes.get("/tokens")
@routes.input(ViewQuery, location="query", arg_name="asked")
def list_tokens(asked: ViewQuery) -> dict[str, Any]:
    """List one's own API tokens, without the tokens themselves."""
    return accounts.list_tokens(site(), caller(), asked.view)


@routes.post("/tokens")
@routes.input(TokenRequest, arg_name="asked")
def create_token(asked: TokenRequest) -> tuple[dict[str, Any], int]:
    """Make an API token that expires; the answer is the only place that shows it."""
    return accounts.create_token(site(), caller(), asked.label, asked.days), 201


@routes.delete("/tokens/<token_id>")
def revoke_token(token_id: str) -> dict[str, Any]:
    """Revoke one of one's own API tokens at once."""
    return accounts.revoke_token(site(), caller(), token_id)
