"""What the ids of guests in records are called, for those who may know: the log itself holds no names (D3).

To show names is to hand out the list of guests, so it is that access: recorded once in five minutes for a session,
however many pages of the log it reads.
"""

from sqlmodel import select

from policies.vocabulary import Action
from vault.entities import SITE, guest_ref
from vault.gate import Access, Caller
from vault.model import Guest, GuestState
from vault.site import Site

_VIEW = "names"


def guest_names(site: Site, caller: Caller) -> dict[str, str]:
    """Names of guests by the reference that records hold; a deleted guest's name may be another's by now."""

    def produce() -> dict[str, str]:
        with site.database.session() as session:
            guests = list(session.exec(select(Guest).order_by(Guest.name)))
        return {
            str(guest_ref(guest.id)): guest.name
            if guest.state != GuestState.DELETED
            else f"{guest.name} (deleted)"
            for guest in guests
        }

    return site.gate.read(Access(caller, Action.GUEST_LIST, SITE), produce, view=_VIEW)
