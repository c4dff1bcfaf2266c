"""What the ids in records are called for whoever looks: the log holds no names, and none is ever written into it."""

from flask import g

from policies.vocabulary import Action, EntityRef, EntityType
from vault.entities import DAEMON, HOST, KEY_STORE, LOG, RECOVERY, SITE, UNKNOWN_ACCOUNT
from vault.errors import BadInput
from vault.operations.guest_names import guest_names
from web.guard import caller
from web.site import site
from web.views import people, permitted

#: What is the same on every site, so that it has a name for everybody.
_FIXED = {
    str(DAEMON): "the daemon",
    str(RECOVERY): "recovery",
    str(UNKNOWN_ACCOUNT): "an unknown name",
    str(SITE): "the site",
    str(LOG): "the log",
    str(HOST): "the host",
    str(KEY_STORE): "the key store",
}


def accounts() -> dict[str, str]:
    """Names of accounts by reference: all for those who may list them, else one's own."""
    if "account_names" not in g:
        g.account_names = dict(people.names())
    found: dict[str, str] = g.account_names
    return found


def guests() -> dict[str, str]:
    """Names of guests by reference, for those who may list them."""
    if "guest_names" not in g:
        g.guest_names = guest_names(site(), caller()) if permitted.may(Action.GUEST_LIST, SITE) else {}
    found: dict[str, str] = g.guest_names
    return found


def everything() -> dict[str, str]:
    """Every name that whoever looks may know, by reference."""
    return _FIXED | accounts() | guests()


def fixed_principals() -> dict[str, str]:
    """Principals that are no account."""
    return {str(ref): _FIXED[str(ref)] for ref in (DAEMON, RECOVERY, UNKNOWN_ACCOUNT)}


def reference(written: str) -> str:
    """A reference as records hold it, from what somebody typed: itself, or the name of an account or guest.

    Raises:
        BadInput: it is neither.
    """
    if ":" in written:
        try:
            return str(EntityRef.parse(written))
        except ValueError:
            kinds = ", ".join(f"{ref}:…" for ref in ("account", "guest", "key", "session"))
            raise BadInput(
                f"{written!r} names nothing that a record can be about.", f"Write a name, or {kinds}."
            ) from None
    found = [ref for ref, name in everything().items() if name == written]
    if not found:
        raise BadInput(
            f"There is no account or guest {written!r} that you may see.",
            "Write its name, or its id as account:… or guest:….",
        )
    return found[0]


def of_account(account_id: str) -> str:
    """The reference of an account, as records write it."""
    return str(EntityRef(EntityType.ACCOUNT, account_id))
