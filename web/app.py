"""Makes the web application of one site: the REST API, the pages, and the guard before both."""

import logging
import threading
from importlib.metadata import version
from typing import Final

from apiflask import APIFlask
from apiflask.exceptions import HTTPError
from flask import Response

from vault.site import Site
from web import api, errors, guard, headers, requests, static_files, vendored, views
from web import site as current
from web.api.metrics import METRICS
from web.metrics import Metrics

#: What a request's body may hold, unless an address says otherwise.
BODY_LIMIT_BYTES: Final = 1024 * 1024

_start = logging.getLogger("web.app")


def create_app(site: Site, stopping: threading.Event | None = None) -> APIFlask:
    """Make the application.

    Args:
        site: an open site.
        stopping: set when the daemon is asked to stop, so that event streams end.
    """
    app = APIFlask(
        "web",
        title="Strongroom",
        version=version("strongroom"),
        spec_path="/openapi.json",
        docs_path=None,  # the viewers come from a CDN
        json_errors=False,
    )
    app.config.update(
        SECRET_KEY=(site.settings.secrets_dir / "session.key").read_bytes(),
        # The prefix makes browsers insist on Secure, Path=/ and no Domain.
        SESSION_COOKIE_NAME="__Host-strongroom",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        MAX_CONTENT_LENGTH=BODY_LIMIT_BYTES,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
        MAX_FORM_PARTS=100,
        VALIDATION_ERROR_STATUS_CODE=400,
        AUTO_404_RESPONSE=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined] # Flask's own provider has it
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.security_schemes = {"token": {"type": "http", "scheme": "bearer"}}
    app.error_processor(_answer_input_error)
    errors.install(app)
    app.register_blueprint(api.blueprint())
    app.register_blueprint(views.blueprint())
    metrics = Metrics()
    app.extensions[METRICS] = metrics
    current.attach(app, site, stopping or threading.Event())
    requests.install(app, site.gate, metrics)
    guard.install(app)
    headers.install(app)
    if not static_files.install(app):
        _start.warning("%s %s", vendored.MISSING, vendored.REMEDY)
    return app


def _answer_input_error(error: HTTPError) -> Response:
    """What APIFlask found wrong with an input, in our shape."""
    found = [
        {"loc": (*([] if field == "_schema" else field.split(".")),), "msg": message}
        for fields in error.detail.values()
        for field, messages in fields.items()
        for message in messages
    ]
    return errors.answer(errors.validation_error(found))
