"""Turns every error into the one body of INTERFACES, `{"error": {...}}`, or into a page for people.

The HTTP status follows from the exit code, so the command line and the API can never disagree about what happened.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, g, jsonify, make_response, render_template, request, session
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from policies.errors import ExitCode, StrongroomError
from vault.errors import BadInput, NotAuthenticated, NotFound, VaultError
from vault.jobs import error_body
from web.daemon_log import request_facts

STATUS_OF: Final[Mapping[ExitCode, HTTPStatus]] = {
    ExitCode.UNEXPECTED: HTTPStatus.INTERNAL_SERVER_ERROR,
    ExitCode.BAD_INPUT: HTTPStatus.BAD_REQUEST,
    ExitCode.DENIED: HTTPStatus.FORBIDDEN,
    ExitCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ExitCode.CONFLICT: HTTPStatus.CONFLICT,
    ExitCode.KEY_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ExitCode.INTEGRITY: HTTPStatus.INTERNAL_SERVER_ERROR,
    ExitCode.WAITING_FOR_APPROVAL: HTTPStatus.ACCEPTED,
    ExitCode.LOG_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ExitCode.HOST_FAILURE: HTTPStatus.BAD_GATEWAY,
    ExitCode.NOT_RECORDED: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_log = logging.getLogger("web.errors")


class NoSuchPage(NotFound):
    """The address leads nowhere."""

    code = "http.no_such_address"


class MethodNotAllowed(BadInput):
    """The address exists, but not for this method."""

    code = "http.method_not_allowed"


class TooLarge(BadInput):
    """The request's body is larger than what is read there."""

    code = "input.too_large"


class Malformed(BadInput):
    """The request's body or address cannot be read."""

    code = "input.malformed"


class TooManyTries(VaultError):
    """Somebody tries passwords faster than a person types."""

    code = "rate.limited"
    exit_code = ExitCode.DENIED


class ForgedRequest(VaultError):
    """A browser sent a change without the token of our own page (cross-site request forgery)."""

    code = "session.csrf"
    exit_code = ExitCode.DENIED


def install(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(StrongroomError, answer)
    app.register_error_handler(ValidationError, _answer_invalid)
    app.register_error_handler(CSRFError, _answer_forged)
    app.register_error_handler(RateLimitExceeded, _answer_too_fast)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: StrongroomError, status: int | None = None) -> Response:
    """Answer with an error of ours, as JSON or as a page."""
    unknown = isinstance(error, NotAuthenticated)
    if status is None:
        status = HTTPStatus.UNAUTHORIZED if unknown else STATUS_OF[error.exit_code]
    body = error_body(error)
    if wants_page():
        if unknown and "user" not in g:
            session.pop("token", None)
            response = _log_in_page(error)
        else:
            response = make_response(render_template("error.html", error=body, status=int(status)))
    else:
        response = jsonify({"error": body})
    response.status_code = int(status)
    if unknown:
        response.headers["WWW-Authenticate"] = "Bearer"
        if "HX-Request" in request.headers:
            response.headers["HX-Refresh"] = "true"  # the whole page becomes the log-in, not a piece of it
    return response


def wants_page() -> bool:
    """Say whether a person with a browser asks, not a program."""
    if request.path.startswith("/api/") or request.path in {"/healthz", "/metrics", "/openapi.json"}:
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def validation_error(errors: list[Any]) -> BadInput:
    """One sentence for what pydantic found; never with the value, which may be a secret."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Malformed(f"{where or 'The body'}: {what}{more}.", "See /openapi.json for what is read there.")


def _log_in_page(error: StrongroomError) -> Response:
    came_without = error.code == "session.not_authenticated"
    return make_response(
        render_template(
            "login.html",
            sentence=None if came_without else error.message,
            name="",
            next=request.path if request.method == "GET" else "/",
        )
    )


def _answer_invalid(error: ValidationError) -> Response:
    return answer(
        validation_error(error.errors(include_url=False, include_context=False, include_input=False))
    )


def _answer_forged(_error: CSRFError) -> Response:
    return answer(
        ForgedRequest(
            "The request did not come from a page of this session, so nothing was done.",
            "Load the page again, then try again.",
        )
    )


def _answer_too_fast(_error: RateLimitExceeded) -> Response:
    response = answer(
        TooManyTries("Too many tries from your address.", "Wait a minute, then try again."),
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    response.headers["Retry-After"] = "60"
    return response


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or status < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    if isinstance(error, RequestEntityTooLarge):
        ours: StrongroomError = TooLarge("The request is larger than what is read here; nothing was done.")
    elif status == HTTPStatus.NOT_FOUND:
        ours = NoSuchPage("There is nothing at this address.", "Begin at the first page.")
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        ours = MethodNotAllowed("This address does not answer that method.", "See /openapi.json.")
    elif status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        ours = Malformed("The body must be JSON (Content-Type: application/json).")
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR:
        ours = Malformed("The request cannot be read: it is not valid JSON or not a valid form.")
    else:
        return _answer_unexpected(error)
    response = answer(ours, status)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return response


def _answer_unexpected(error: Exception) -> Response:
    _log.error("Something unexpected went wrong.", exc_info=error)
    return answer(
        StrongroomError(
            "Something unexpected went wrong.",
            f"The daemon's log has the detail{_under_request()}; tell an administrator.",
        )
    )


def _under_request() -> str:
    named = (request_facts.get() or {}).get("request")
    return f" under request {named}" if named else ""
