"""Addresses of static files that change when the file does, so that browsers may keep each for ever."""

import hashlib
from pathlib import Path

from flask import Flask, Request, current_app, url_for
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from web import vendored

#: Where the files that others wrote lie.
VENDOR = vendored.FOLDER
_DIGESTS = "strongroom.static_digests"
_VENDORED = "strongroom.vendored"
_DIGEST_CHARACTERS = 12


def install(app: Flask) -> bool:
    """Give templates `asset(name)`; returns whether the files that others wrote are there."""
    found = vendored.find(VENDOR)
    app.extensions[_VENDORED] = found
    app.extensions[_DIGESTS] = {}
    app.jinja_env.globals["asset"] = address
    app.jinja_env.globals["assets_missing"] = not found
    return bool(found)


def address(name: str) -> str:
    """The address of a file of ours, or of others (`bootstrap.css`), with a digest of its content.

    Args:
        name: as in `web/static`, or one of `web.vendored.NAMES`.
    """
    path: str = current_app.extensions[_VENDORED].get(name, name)
    digests: dict[str, str] = current_app.extensions[_DIGESTS]
    if path not in digests:
        digests[path] = hashlib.sha256(_file(path).read_bytes()).hexdigest()[:_DIGEST_CHARACTERS]
    return url_for("static", filename=path, v=digests[path])


def is_for_ever(request: Request) -> bool:
    """Say whether a static file was asked for by the digest of what it holds."""
    return request.endpoint == "static" and "v" in request.args


def _file(path: str) -> Path:
    found = safe_join(current_app.static_folder or "", path)
    if found is None:
        raise NotFound
    return Path(found)
