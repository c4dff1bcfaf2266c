"""Accounts: the list, a new one, and taking one out of use, which asks first."""

from datetime import UTC, datetime
from typing import Any, Final

from apiflask import APIBlueprint
from flask import flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from policies.vocabulary import Action, Role
from vault.errors import BadInput, Conflict, NotFound
from vault.identity.accounts import account_ref
from vault.model import new_id
from vault.operations import accounts
from web.guard import caller
from web.site import site
from web.views import permitted

routes = APIBlueprint("accounts", __name__, url_prefix="/accounts", enable_openapi=False)

#: What each role is for, said where somebody gives it.
ROLES: Final = {
    Role.OPERATOR: "makes, starts, stops and deletes guests, and runs commands in them",
    Role.CUSTODIAN: "unseals and seals the key store, and sees the list of keys",
    Role.OFFICER: "reads the log, handles findings, makes reports",
    Role.AUDITOR: "reads and verifies everything, and changes nothing, whatever other role the account has",
    Role.APPROVER: "agrees to what the policy says needs two people",
    Role.MONITOR: "reads figures on how the site stands, for a program that watches, and nothing else",
    Role.ADMINISTRATOR: "makes and disables accounts, and looks after the installation; is not inside guests",
}
_PASSWORD_MOST: Final = 1024


@routes.get("")
def show_all() -> str:
    """Show the accounts."""
    items: list[dict[str, Any]] = accounts.list_accounts(site(), caller())["items"]
    settings = site().settings
    may_disable = {
        item["id"]: item["active"] and permitted.may(Action.ACCOUNT_DISABLE, account_ref(item["id"]))
        for item in items
    }
    return render_template(
        "accounts.html",
        accounts=[item | {"locked_now": _is_locked(item["locked_until"])} for item in items],
        may_create=_may_create(),
        may_disable=may_disable,
        lockout_tries=settings.lockout_tries,
        lockout_minutes=settings.lockout_s // 60,
    )


@routes.get("/new")
def new_form() -> str:
    """Show the form of a new account."""
    return _form({}, set(), None)


@routes.post("")
def create() -> Response:
    """Make an account."""
    name, roles = request.form.get("name", "").strip(), request.form.getlist("roles")
    password, again = request.form.get("password", ""), request.form.get("again", "")
    service = request.form.get("service") == "yes"
    try:
        if len(password) > _PASSWORD_MOST:
            raise BadInput(f"A password has at most {_PASSWORD_MOST} characters.")
        if password != again:
            raise BadInput("The two passwords are not the same.", "Type it twice alike.")
        if not roles:
            raise BadInput("An account without a role may do nothing.", "Choose at least one role.")
        accounts.create_account(site(), caller(), name, password, roles, service=service)
    except (BadInput, Conflict) as error:
        typed = {"name": name, "service": service}
        return make_response(_form(typed, set(roles), error), 400)
    flash(f"The account {name} is made.")
    return redirect(url_for("pages.accounts.show_all"), 303)


@routes.get("/<name>/disable")
def ask_disable(name: str) -> str:
    """Ask whether an account is really to be disabled."""
    # Through the gate: who has an account here is for those who may list them.
    items: list[dict[str, Any]] = accounts.list_accounts(site(), caller())["items"]
    account = next((item for item in items if item["name"] == name), None)
    if account is None:
        raise NotFound(f"There is no account {name!r}.", "Look at the list of accounts.")
    return render_template("account_disable.html", account=account, own_id=caller().principal.id)


@routes.post("/<name>/disable")
def disable(name: str) -> Response:
    """Disable an account and end its sessions."""
    accounts.disable_account(site(), caller(), name)
    flash(f"The account {name} is disabled, and its sessions are ended.")
    return redirect(url_for("pages.accounts.show_all"), 303)


def _is_locked(until: str | None) -> bool:
    return until is not None and datetime.fromisoformat(until) > datetime.now(UTC)


def _may_create() -> bool:
    return permitted.may(Action.ACCOUNT_CREATE, account_ref(new_id()))


def _form(typed: dict[str, object], roles: set[str], problem: BadInput | Conflict | None) -> str:
    return render_template(
        "account_new.html",
        typed=typed,
        chosen=roles,
        problem=problem,
        roles=ROLES,
        least=site().settings.password_min_length,
        may_create=_may_create(),
    )
