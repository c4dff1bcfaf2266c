"""Settles what a killed daemon left open, against the real state of libvirt and the disks.

Each rule uses the code that would have acted: an unfinished creation is taken back, a begun deletion is
finished, a start or a stop is whatever libvirt says now. The code that is returned goes into the intent's
outcome record.
"""

import shutil

from sqlmodel import select

from audit.log.record import Record
from policies.vocabulary import Action, EntityRef
from vault.model import Guest, GuestState, Report
from vault.operations.guest_create import take_back
from vault.operations.guest_delete import finish_deletion
from vault.operations.guest_run import settle_start, settle_stop
from vault.permit import Permit
from vault.site import Site

#: The act had not begun, or was taken back: nothing of it is left.
ROLLED_BACK = "recovery.rolled_back"
#: The act had happened before the daemon died.
DONE = "ok"
#: What happened inside a guest, or in an answer that was never sent, cannot be found out afterwards.
UNKNOWN = "recovery.unknown"


def settle(site: Site, intent: Record, permit: Permit) -> str:  # noqa: PLR0911 - one line for each action
    """Bring what `intent` began to a whole state; returns the code of how it ended."""
    action, resource = Action(intent.action), EntityRef.parse(intent.resource)
    match action:
        case Action.GUEST_CREATE:
            return _settle_creation(site, permit, resource.id)
        case Action.GUEST_DELETE:
            return _settle_deletion(site, permit, resource.id)
        case Action.GUEST_START:
            return DONE if settle_start(site, permit, resource.id) else ROLLED_BACK
        case Action.GUEST_STOP:
            return DONE if settle_stop(site, permit, resource.id) else ROLLED_BACK
        case Action.IMAGE_BUILD | Action.IMAGE_IMPORT:
            permit.note(removed=len(site.images.remove_unfinished(permit, resource)))
            return ROLLED_BACK
        case Action.REPORT_CREATE | Action.LOG_EXPORT:
            return settle_files(site, permit)
        case Action.ACCOUNT_CREATE:
            return DONE if site.accounts.by_id(resource.id) else ROLLED_BACK
        case _:
            return UNKNOWN


def _settle_creation(site: Site, permit: Permit, guest_id: str) -> str:
    with site.database.session() as session:
        guest = session.get(Guest, guest_id)
    if guest is not None and guest.state == GuestState.READY:
        return DONE
    take_back(site, permit, guest_id)
    return ROLLED_BACK


def _settle_deletion(site: Site, permit: Permit, guest_id: str) -> str:
    with site.database.session() as session:
        guest = session.get(Guest, guest_id)
    if guest is None or guest.state == GuestState.READY:
        return ROLLED_BACK
    finish_deletion(site, permit, guest_id)
    return DONE


def settle_files(site: Site, permit: Permit) -> str:
    """Remove reports that no row knows, and exports that never got their name.

    A report or export that was whole but never answered is removed too: nobody can ask for it, and making it again
    costs seconds.
    """
    with site.database.session() as session:
        known = set(session.exec(select(Report.id)))
    reports = [
        folder for folder in (site.settings.data_dir / "reports").iterdir() if folder.name not in known
    ]
    exports = list((site.settings.data_dir / "exports").glob(".*"))
    for path in [*reports, *exports]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    permit.note(removed=len(reports) + len(exports))
    return ROLLED_BACK
