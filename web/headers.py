"""Headers that every answer carries. The policy for content is strict: nothing inline, nothing from elsewhere (D13)."""

from http import HTTPStatus
from typing import Final

from flask import Flask, Response, request

from web import static_files

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # same-origin and not no-referrer: the check against forged requests reads it (flask-wtf under TLS).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def install(app: Flask) -> None:
    """Set the headers on each answer, errors and streams included."""

    @app.after_request
    def secure(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        # What people see here is theirs; only our own static files may be kept by a browser.
        if static_files.is_for_ever(request) and response.status_code < HTTPStatus.BAD_REQUEST:
            kept = "max-age=31536000, immutable"
        else:
            kept = "max-age=300" if request.endpoint == "static" else "no-store"
        response.headers["Cache-Control"] = kept
        return response
