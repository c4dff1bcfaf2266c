"""Starts the guests that are marked so after an unseal, in their order, each through the gate."""

import logging

from sqlmodel import col, select

from policies.errors import StrongroomError
from vault.entities import DAEMON
from vault.gate import Caller
from vault.jobs import no_progress
from vault.model import Guest, GuestState
from vault.operations.guest_run import start_guest
from vault.site import Site

logger = logging.getLogger(__name__)


def start_marked_guests(site: Site) -> None:
    """Start every marked guest that does not run; one that cannot start does not hold up the others."""
    with site.database.session() as session:
        guests = list(
            session.exec(
                select(Guest)
                .where(col(Guest.autostart).is_(True), Guest.state == GuestState.READY)
                .order_by(col(Guest.start_order), Guest.name)
            )
        )
    for guest in guests:
        try:
            if not site.host.is_running(guest.id):
                start_guest(site, Caller(DAEMON, "daemon"), guest.name, no_progress)
        except StrongroomError as error:
            logger.warning("Guest %s did not start by itself: %s", guest.id, error.message)
            site.findings.open(
                "guest.autostart_failed",
                resource=f"guest:{guest.id}",
                sentence=f"A guest that should start after unseal did not: {error.message}",
                remedy=error.hint or None,
                record=error.record,
            )
        else:
            site.findings.close("guest.autostart_failed", f"guest:{guest.id}")
