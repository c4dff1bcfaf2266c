"""One's own account: password, sessions, API tokens. A token is shown once, on the answer that made it."""

from typing import Any, Final

from apiflask import APIBlueprint
from flask import flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from vault.errors import BadInput, NotAuthenticated
from vault.operations import accounts, sessions
from web.guard import caller, user
from web.site import site

routes = APIBlueprint("own", __name__, url_prefix="/me", enable_openapi=False)

_FIELD_MOST: Final = 1024
_DEFAULT_DAYS: Final = 30


@routes.get("")
def show() -> str:
    """Show what one can change of one's own account."""
    return _page()


@routes.post("/password")
def change_password() -> Response:
    """Change one's password; other sessions end."""
    old, new = request.form.get("old_password", ""), request.form.get("new_password", "")
    try:
        if len(old) > _FIELD_MOST or len(new) > _FIELD_MOST:
            raise BadInput(f"A password has at most {_FIELD_MOST} characters.")
        if new != request.form.get("again", ""):
            raise BadInput("The two new passwords are not the same.", "Type it twice alike.")
        changed = accounts.change_password(site(), caller(), old, new)
    except (BadInput, NotAuthenticated) as error:
        # A wrong present password does not end the session, so the page is shown and not the log-in.
        return make_response(_page(password_problem=f"{error.message} {error.hint}".strip()), 400)
    ended = changed["sessions_ended"]
    flash(
        "Your password is changed" + (f", and {ended} other session(s) of yours are ended." if ended else ".")
    )
    return redirect(url_for("pages.own.show"), 303)


@routes.post("/tokens")
def create_token() -> Response:
    """Make a token, and show it this once."""
    label, days = request.form.get("label", "").strip(), request.form.get("days", "")
    try:
        if not label:
            raise BadInput("A token needs a label, so that you know later what it is for.")
        if not (days.isascii() and days.isdigit() and len(days) < 6):
            raise BadInput(f"{days!r} is no number of days.", "Give a whole number.")
        made = accounts.create_token(site(), caller(), label, int(days))
    except BadInput as error:
        typed = {"label": label, "days": days}
        return make_response(_page(token_problem=f"{error.message} {error.hint}".strip(), typed=typed), 400)
    return make_response(_page(made=made))


@routes.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Response:
    """Revoke a token at once."""
    accounts.revoke_token(site(), caller(), token_id)
    flash("The token is revoked: it opens nothing any more.")
    return redirect(url_for("pages.own.show", _anchor="tokens"), 303)


@routes.post("/sessions/<session_id>/end")
def end_session(session_id: str) -> Response:
    """End another of one's sessions."""
    sessions.end_session(site(), caller(), session_id)
    flash("The session is ended.")
    return redirect(url_for("pages.own.show", _anchor="sessions"), 303)


def _page(
    password_problem: str | None = None,
    token_problem: str | None = None,
    typed: dict[str, Any] | None = None,
    made: dict[str, Any] | None = None,
) -> str:
    return render_template(
        "own.html",
        own=accounts.account_view(user().login.account),
        sessions=sessions.list_sessions(site(), caller())["items"],
        tokens=accounts.list_tokens(site(), caller())["items"],
        password_problem=password_problem,
        token_problem=token_problem,
        typed=typed or {"label": "", "days": _DEFAULT_DAYS},
        made=made,
        least=site().settings.password_min_length,
    )
