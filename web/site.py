"""Where views find the site that this application serves."""

import threading

from flask import Flask, current_app

from vault.site import Site

_SITE = "strongroom.site"
_STOPPING = "strongroom.stopping"


def attach(app: Flask, site: Site, stopping: threading.Event) -> None:
    """Remember the site for the views of this application."""
    app.extensions[_SITE] = site
    app.extensions[_STOPPING] = stopping


def site() -> Site:
    """The site this request is for."""
    found: Site = current_app.extensions[_SITE]
    return found


def stopping() -> threading.Event:
    """Set once the daemon is asked to stop: event streams end then."""
    found: threading.Event = current_app.extensions[_STOPPING]
    return found
