"""The key store and its keys: what there is, for whom, in which state; unseal and seal for those who may."""

from apiflask import APIBlueprint
from flask import make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from policies.errors import ExitCode, StrongroomError
from policies.vocabulary import Action
from vault.entities import KEY_STORE
from vault.operations import keys, keystore
from web.guard import caller
from web.site import site
from web.views import known_names, permitted

routes = APIBlueprint("keys", __name__, url_prefix="/keys", enable_openapi=False)


@routes.get("")
def show_all() -> str:
    """Show the key store and every key."""
    return _page(None)


@routes.post("/unseal")
def unseal() -> Response:
    """Open the key store with the passphrase of its seal."""
    passphrase = bytearray(request.form.get("passphrase", "").encode("utf-8", "surrogatepass"))
    if not passphrase:
        return make_response(_page("Give the passphrase of the seal."), 400)
    try:
        keystore.unseal(site(), caller(), passphrase)
    except StrongroomError as error:
        if error.exit_code is not ExitCode.KEY_UNAVAILABLE:
            raise
        return make_response(_page(error.message), 403)
    return redirect(url_for("pages.keys.show_all"), 303)


@routes.post("/seal")
def seal() -> Response:
    """Close the key store."""
    keystore.seal(site(), caller())
    return redirect(url_for("pages.keys.show_all"), 303)


def _page(problem: str | None) -> str:
    listed = keys.list_keys(site(), caller())["items"] if permitted.may(Action.KEY_LIST) else None
    return render_template(
        "keys.html",
        status=keystore.status(site()),
        keys=listed,
        names=known_names.everything(),
        problem=problem,
        may_unseal=permitted.may(Action.KEYSTORE_UNSEAL, KEY_STORE),
        may_seal=permitted.may(Action.KEYSTORE_SEAL, KEY_STORE),
    )
