"""Delete a guest: keys first, then headers and files. What was begun is finished, also after a kill."""

from pathlib import Path
from typing import Any

from sqlmodel import select

from policies.vocabulary import Action
from vault.disks.erase import erase_disk
from vault.entities import guest_ref
from vault.errors import Conflict, NotFound
from vault.gate import Access, Caller
from vault.keystore.lifecycle import KeyState
from vault.model import Disk, Guest, GuestState, utc_now
from vault.operations.guest_rows import guest_folder, guest_named
from vault.permit import Permit
from vault.site import Site


def delete_guest(site: Site, caller: Caller, name: str) -> dict[str, Any]:
    """Delete a stopped guest for ever.

    Raises:
        Conflict: it runs.
    """
    guest = guest_named(site, name)

    def act(permit: Permit) -> dict[str, Any]:
        if site.host.is_running(guest.id):
            raise Conflict(f"The guest {name!r} is running.", f"Stop it first: strongroom guest stop {name}")
        with site.database.session() as session:
            stored = session.get_one(Guest, guest.id)
            if stored.state == GuestState.DELETED:  # by another, while this access waited for the lock
                raise NotFound(f"There is no guest {name!r}.", "See `strongroom guest list`.")
            stored.state = GuestState.DELETING
        finish_deletion(site, permit, guest.id)
        return {"id": guest.id, "name": name, "deleted": True}

    return site.gate.run(Access(caller, Action.GUEST_DELETE, guest_ref(guest.id)), act)


def finish_deletion(site: Site, permit: Permit, guest_id: str) -> None:
    """Take a deletion to its end from wherever it was left.

    Keys go first: from then on nothing opens the disk, whatever happens to the files.
    """
    resource = guest_ref(guest_id)
    destroyed = []
    for key in site.keys.list_keys(resource):
        if key.state != KeyState.DESTROYED:
            site.keys.destroy_key(permit, resource, key.id)
        destroyed.append(key.id)
    folder = guest_folder(site, guest_id)
    erased_bytes = 0
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        erased_bytes += erase_disk(permit, resource, Path(path)).erased_bytes
    if folder.is_dir():
        folder.rmdir()
    permit.note(keys_destroyed=sorted(destroyed), header_bytes_erased=erased_bytes)
    with site.database.session() as session:
        for disk in session.exec(select(Disk).where(Disk.guest_id == guest_id)):
            session.delete(disk)
        guest = session.get(Guest, guest_id)
        if guest is not None:
            guest.state = GuestState.DELETED
            guest.autostart = False
            guest.deleted_at = guest.deleted_at or utc_now()
