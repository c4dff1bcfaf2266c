"""What keys there are, for whom, in which state: never a key."""

from typing import Any

from policies.vocabulary import Action, EntityRef, EntityType
from vault.entities import SITE
from vault.gate import Access, Caller
from vault.site import Site


def list_keys(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Every key, destroyed ones too."""
    return site.gate.read(
        Access(caller, Action.KEY_LIST, SITE),
        lambda: {"items": [key.to_document() for key in site.keys.list_keys()], "next": None},
        view=view,
    )


def show_key(site: Site, caller: Caller, key_id: str) -> dict[str, Any]:
    """One key.

    Raises:
        NotFound: there is none with this id.
    """
    return site.gate.read(
        Access(caller, Action.KEY_SHOW, EntityRef(EntityType.KEY, key_id)),
        lambda: site.keys.show_key(key_id).to_document(),
    )
