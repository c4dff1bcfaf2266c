"""Log in and out by the API. The answer holds the token once; no cookie is set."""

import threading
from typing import Any, Final

from apiflask import APIBlueprint
from flask import request

from vault.operations import accounts, sessions
from web.api.inputs import LogIn
from web.guard import caller, channel, user
from web.site import site

routes = APIBlueprint("sessions", __name__, url_prefix="/api/v1")

#: Passwords hashed at the same time: each takes 64 MiB (Argon2id), and anybody may ask for one.
_AT_ONCE: Final = threading.BoundedSemaphore(4)


def begin(way: str, name: str, untrusted_password: str) -> dict[str, Any]:
    """Log somebody in by the way given (`web`, `cli` or `api`); for the API and the page alike."""
    with _AT_ONCE:
        return sessions.login(site(), way, name, untrusted_password, request.remote_addr or "")


@routes.post("/sessions")
@routes.input(LogIn, arg_name="asked")
def log_in(asked: LogIn) -> tuple[dict[str, Any], int]:
    """Begin a session; answers with its token."""
    return begin(channel(), asked.name, asked.password.get_secret_value()), 201


@routes.delete("/sessions/current")
def log_out() -> dict[str, Any]:
    """End the session this request came with."""
    return sessions.logout(site(), caller())


@routes.get("/sessions/own")
def list_sessions() -> dict[str, Any]:
    """List one's own sessions that still work."""
    return sessions.list_sessions(site(), caller())


@routes.delete("/sessions/<session_id>")
def end_session(session_id: str) -> dict[str, Any]:
    """End one of one's own sessions."""
    return sessions.end_session(site(), caller(), session_id)


@routes.get("/whoami")
def whoami() -> dict[str, Any]:
    """Show who is logged in, with which roles, and until when."""
    return accounts.whoami(user().login)
