"""Finds guests and their disks in the state database, and shapes them for people and programs."""

import difflib
from pathlib import Path
from typing import Any

from sqlmodel import select

from vault.disks.measure import measure_disk
from vault.errors import NotFound, VaultError
from vault.model import Disk, DiskRole, Guest, GuestState
from vault.site import Site


def guest_named(site: Site, name: str) -> Guest:
    """The guest with this name.

    Raises:
        NotFound: there is none; the hint names the nearest.
    """
    with site.database.session() as session:
        guest = session.exec(
            select(Guest).where(Guest.name == name, Guest.state != GuestState.DELETED)
        ).first()
        if guest is not None:
            return guest
        names = list(session.exec(select(Guest.name).where(Guest.state != GuestState.DELETED)))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "See `strongroom guest list`."
    raise NotFound(f"There is no guest {name!r}.", hint)


def all_guests(site: Site) -> list[Guest]:
    """Every guest that was not deleted, by name."""
    with site.database.session() as session:
        return list(session.exec(select(Guest).where(Guest.state != GuestState.DELETED).order_by(Guest.name)))


def disks_of(site: Site, guest_id: str) -> list[Disk]:
    """The guest's disks, the root disk first."""
    with site.database.session() as session:
        disks = list(session.exec(select(Disk).where(Disk.guest_id == guest_id)))
    return sorted(disks, key=lambda disk: disk.role != DiskRole.ROOT)


def guest_folder(site: Site, guest_id: str) -> Path:
    """Where the guest's disks lie."""
    return site.settings.data_dir / "disks" / guest_id


def guest_view(site: Site, guest: Guest, *, with_agent: bool = False) -> dict[str, Any]:
    """A guest as INTERFACES shapes it; encryption is read from the disk's file, not from the row."""
    running = site.host.is_running(guest.id) if guest.state == GuestState.READY else False
    view: dict[str, Any] = {
        "name": guest.name,
        "id": guest.id,
        "state": ("running" if running else "stopped") if guest.state == GuestState.READY else guest.state,
        "accelerator": site.accelerators.known_kind(),
        "vcpus": guest.vcpus,
        "memory_bytes": guest.memory_bytes,
        "labels": guest.labels,
        "interfaces": [{"mac": guest.mac, "network": site.settings.network}],
        "disks": [_disk_view(disk) for disk in disks_of(site, guest.id)],
        "owner": guest.owner,
        "image": guest.image_id,
        "uid": guest.uid,
        "autostart": guest.autostart,
        "created_at": guest.created_at.isoformat(),
        "started_at": guest.started_at.isoformat() if guest.started_at else None,
    }
    if with_agent:
        view["agent"] = running and site.host.agent_answers(guest.name)
    return view


def _disk_view(disk: Disk) -> dict[str, Any]:
    view: dict[str, Any] = {
        "role": disk.role,
        "path": disk.path,
        "size_bytes": disk.size_bytes,
        "key_id": disk.key_id,
    }
    try:
        measured = measure_disk(Path(disk.path))
    except VaultError as error:
        return view | {"cipher": None, "keyslots": [], "error": error.message}
    return view | {
        "cipher": f"{measured.cipher}-{measured.key_bits // 2}-{measured.mode}"
        if measured.encrypted
        else None,
        "keyslots": list(measured.active_slots),
    }
