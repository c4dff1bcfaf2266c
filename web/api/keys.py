"""Keys, never their values: what they are for, how old they are, in which state."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import keys
from web.api.inputs import ViewQuery
from web.guard import caller
from web.site import site

routes = APIBlueprint("keys", __name__, url_prefix="/api/v1/keys")


@routes.get("")
@routes.input(ViewQuery, location="query", arg_name="asked")
def list_keys(asked: ViewQuery) -> dict[str, Any]:
    """List the keys."""
    return keys.list_keys(site(), caller(), asked.view)


@routes.get("/<key_id>")
def show_key(key_id: str) -> dict[str, Any]:
    """Show one key."""
    return keys.show_key(site(), caller(), key_id)
