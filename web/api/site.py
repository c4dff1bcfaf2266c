"""Is the daemon there, and how does the site stand: for anyone, so that a sealed store can be seen from outside."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import keystore
from web.site import site

routes = APIBlueprint("site", __name__)


@routes.get("/healthz")
def health() -> dict[str, Any]:
    """Answer that the daemon serves."""
    return {"ok": True}


@routes.get("/api/v1/status")
def status() -> dict[str, Any]:
    """Show how the site stands: sealed or not, size of the log, hypervisor."""
    return keystore.status(site())
