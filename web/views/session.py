"""Log in and out with a browser."""

from urllib.parse import urlsplit

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from vault.errors import NotAuthenticated
from vault.operations import sessions
from web.api.sessions import begin
from web.guard import caller
from web.site import site

routes = APIBlueprint("session", __name__, enable_openapi=False)


@routes.get("/login")
def log_in_form() -> str:
    """Show the form."""
    return render_template(
        "login.html", sentence=None, name="", next=_own_path(request.args.get("next", "/"))
    )


@routes.post("/login")
def log_in() -> AnyResponse:
    """Begin a session whose token lives in the cookie."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    target = _own_path(request.form.get("next", "/"))
    try:
        begun = begin("web", name, password)
    except NotAuthenticated as error:
        return _again(error.message, name, target)
    session.clear()  # nothing of what came before the log-in lives on in it
    session["token"] = begun["token"]
    return redirect(target, 303)


@routes.post("/logout")
def log_out() -> AnyResponse:
    """End the session."""
    sessions.logout(site(), caller())
    session.clear()
    return redirect(url_for("pages.session.log_in_form"), 303)


def _again(sentence: str, name: str, target: str) -> Response:
    page = render_template("login.html", sentence=sentence, name=name, next=target)
    return make_response(page, 401)


def _own_path(untrusted: str) -> str:
    """A path of this site, or the first page: never somebody else's address."""
    parts = urlsplit(untrusted)
    own = untrusted.startswith("/") and not untrusted.startswith(("//", "/\\"))
    return untrusted if own and not parts.netloc and not parts.scheme and "\n" not in untrusted else "/"
