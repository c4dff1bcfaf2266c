"""See guests: all of them, or one."""

from typing import Any

from policies.vocabulary import Action
from vault.entities import SITE, guest_ref
from vault.gate import Access, Caller
from vault.operations.guest_rows import all_guests, guest_named, guest_view
from vault.site import Site


def list_guests(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Every guest, by name."""
    return site.gate.read(
        Access(caller, Action.GUEST_LIST, SITE),
        lambda: {"items": [guest_view(site, guest) for guest in all_guests(site)], "next": None},
        view=view,
    )


def show_guest(site: Site, caller: Caller, name: str, view: str | None = None) -> dict[str, Any]:
    """One guest, with whether its agent answers."""
    guest = guest_named(site, name)
    return site.gate.read(
        Access(caller, Action.GUEST_SHOW, guest_ref(guest.id)),
        lambda: guest_view(site, guest_named(site, name), with_agent=True),
        view=view,
    )
