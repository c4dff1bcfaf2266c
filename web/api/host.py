"""What `strongroom doctor` shows of the machine."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import host
from web import vendored
from web.guard import caller
from web.site import site

routes = APIBlueprint("host", __name__, url_prefix="/api/v1/host")


@routes.get("/inspection")
def inspect() -> dict[str, Any]:
    """Inspect the machine: what is there, what is missing, what mends it."""
    found = host.inspect(site(), caller())
    return found | {"items": [*found["items"], vendored.inspect()]}
