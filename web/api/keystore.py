"""Unseal and seal the key store."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import keystore
from web.api.inputs import Passphrase
from web.guard import caller
from web.site import site

routes = APIBlueprint("keystore", __name__, url_prefix="/api/v1/keystore")


@routes.post("/unseal")
@routes.input(Passphrase, arg_name="asked")
def unseal(asked: Passphrase) -> dict[str, Any]:
    """Open the key store with the passphrase of its seal."""
    passphrase = bytearray(asked.passphrase.get_secret_value().encode())
    return keystore.unseal(site(), caller(), passphrase, accept_older=asked.accept_older)


@routes.post("/seal")
def seal() -> dict[str, Any]:
    """Close the key store: no key leaves it until it is unsealed. Running guests run on."""
    return keystore.seal(site(), caller())
