"""The policies in force, and the check of a set of policy files."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import policy
from web.api.inputs import PolicyFiles
from web.guard import caller
from web.site import site

routes = APIBlueprint("policies", __name__, url_prefix="/api/v1/policies")


@routes.get("")
def list_policies() -> dict[str, Any]:
    """List the policies in force, with their text and the controls they serve."""
    return policy.list_policies(site(), caller())


@routes.post("/check")
@routes.input(PolicyFiles, arg_name="asked")
def check_policies(asked: PolicyFiles) -> dict[str, Any]:
    """Check a set of policy files without activating it."""
    files = {name: text.encode() for name, text in asked.files.items()}
    return policy.check_policies(site(), caller(), files)
