"""Who may reach which address at all: nobody, without a log-in, but for a short list.

Invariants:

* default deny: an address that is not in `OPEN_TO_ANYONE` needs a session, whoever adds it and however;
* a session comes by `Authorization: Bearer` (programs) or by the cookie (browsers), and one with the first never falls
  back on the second;
* whatever changes something on the strength of the cookie carries the token against forged requests.

What a person then may *do* is not decided here: the gate asks the policy (DESIGN section 1).
"""

import contextlib
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask, Request, Response, current_app, g, request, session
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, current_user
from flask_wtf.csrf import CSRFProtect

from vault.errors import NotAuthenticated
from vault.gate import Caller
from vault.identity.sessions import Login
from vault.operations.sessions import authenticate
from web.errors import Malformed
from web.site import site

#: Endpoints that answer without a log-in. Everything else does not.
OPEN_TO_ANYONE: Final = frozenset(
    {
        "static",
        "api.site.health",
        "api.site.status",
        "api.sessions.log_in",
        "pages.session.log_in_form",
        "pages.session.log_in",
    }
)
#: Of these, the ones that a browser's form changes something at.
_OPEN_FORMS: Final = frozenset({"pages.session.log_in"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What pages send when they refresh themselves.
REFRESH_HEADER: Final = "X-Strongroom-Refresh"
_BEARER: Final = "Bearer "
_CLI_AGENT: Final = "strongroom-cli/"

#: Failed tries from one address; beside the lockout of the account (PCI 8.3.4).
FAILURES_ALLOWED: Final = "20 per minute; 200 per hour"
_LIMITED: Final = (
    "api.sessions.log_in",
    "pages.session.log_in",
    "api.keystore.unseal",
    "pages.keys.unseal",
    "pages.own.change_password",
)


@dataclass(frozen=True, slots=True)
class User(UserMixin):  # type: ignore[misc] # flask_login has no types
    """Whoever is logged in, for the time of one request."""

    login: Login
    caller: Caller

    def get_id(self) -> str:
        """The account's id."""
        return self.login.account.id


def install(app: Flask) -> None:
    """Put the guard before every view. Called after all views are registered."""
    manager = LoginManager()
    manager.session_protection = None  # sessions are kept by the site, not in the cookie
    manager.request_loader(_recognise)
    manager.init_app(app, add_context_processor=False)
    csrf = CSRFProtect()
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # the guard calls it, after it knows how the session came
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # it ends with the session
    csrf.init_app(app)
    app.extensions["strongroom.csrf"] = csrf
    app.before_request(_guard)
    app.before_request(_only_json)
    _limit_tries(app)


def user() -> User:
    """Whoever is logged in; only in views that the guard protects."""
    found: User = g.user
    return found


def caller() -> Caller:
    """The caller to hand to an operation."""
    return user().caller


def channel() -> str:
    """By which way this request comes, as records name it."""
    if request.headers.get("Authorization") is None and not request.path.startswith("/api/"):
        return "web"
    return "cli" if request.headers.get("User-Agent", "").startswith(_CLI_AGENT) else "api"


def refreshes_itself(untrusted: Request) -> bool:
    """Say whether a page or terminal asks again without anybody's doing: by its poll, a view, or by following events.

    Whoever wants a session to outlive its idle limit could leave the header away; but then they are there.
    """
    # Only what repeats by itself names a view (`web.api.inputs.ViewQuery`): --watch, --wait.
    names_view = "view" in untrusted.args
    return (
        names_view
        or REFRESH_HEADER in untrusted.headers
        or "text/event-stream" in untrusted.accept_mimetypes.values()
    )


def _recognise(untrusted: Request) -> User | None:
    header = untrusted.headers.get("Authorization")
    if header is not None:
        if not header.startswith(_BEARER):
            raise NotAuthenticated("Only `Authorization: Bearer TOKEN` is read.", "Run `strongroom login`.")
        token, way = header.removeprefix(_BEARER).strip(), channel()
    elif isinstance(session.get("token"), str):
        token, way = session["token"], "web"
    else:
        return None
    login, recognised = authenticate(
        site(), token, way, untrusted.remote_addr or "", by_itself=refreshes_itself(untrusted)
    )
    return User(login, recognised)


def _guard() -> None:
    if request.url_rule is None:
        _greet()  # 404 or 405, which tell nothing
        return
    csrf: CSRFProtect = current_app.extensions["strongroom.csrf"]
    if request.endpoint in OPEN_TO_ANYONE:
        if request.endpoint in _OPEN_FORMS:
            csrf.protect()
        return
    found = current_user._get_current_object()  # noqa: SLF001 - how werkzeug's proxies hand out what they stand for
    if not isinstance(found, User):
        raise NotAuthenticated("You are not logged in.", "Run `strongroom login`.")
    if request.method not in _SAFE_METHODS and "Authorization" not in request.headers:
        csrf.protect()
    g.user = found


def _greet() -> None:
    """Note who asks for an address that does not exist, so that its page has their way back."""
    with contextlib.suppress(NotAuthenticated):
        found = current_user._get_current_object()  # noqa: SLF001
        if isinstance(found, User):
            g.user = found


def _only_json() -> None:
    """Bodies of the API are JSON or raw bytes: a cross-site form can send neither."""
    sent = request.mimetype
    if request.path.startswith("/api/") and sent not in {"", "application/json", "application/octet-stream"}:
        raise Malformed("The body must be JSON (Content-Type: application/json).")


def _limit_tries(app: Flask) -> None:
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", strategy="moving-window")
    for endpoint in _LIMITED:
        limit = limiter.limit(FAILURES_ALLOWED, deduct_when=_failed, scope="tries", per_method=True)
        limited: Any = limit(app.view_functions[endpoint])
        app.view_functions[endpoint] = limited


def _failed(response: Response) -> bool:
    return response.status_code >= 400
