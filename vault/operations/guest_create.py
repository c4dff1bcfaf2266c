"""Make a guest: row, keys, encrypted disk with the image, seed.

Either it is whole in the end, or it is taken back by the code that recovery uses too.
"""

import difflib
import hashlib
import os
import secrets
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import func, select

from policies.vocabulary import Action, EntityRef
from vault.disks.erase import erase_disk, remove_parts
from vault.disks.images.model import Image
from vault.entities import guest_entity, guest_ref
from vault.errors import BadInput, Conflict
from vault.gate import Access, Caller
from vault.guests.seed import build_seed
from vault.guests.spec import GuestSpec
from vault.jobs import Progress
from vault.keystore.keys import KeyPurpose
from vault.keystore.lifecycle import KeyState
from vault.model import Disk, DiskRole, Guest, GuestState, new_id
from vault.operations.guest_rows import guest_folder, guest_named, guest_view
from vault.permit import Permit
from vault.site import Site

#: Each instance gives its guests user ids from a block of its own, so that two instances on a host share
#: none (D5).
_UID_BASE = 1_000_000
_UID_BLOCKS = 4000
_UIDS_IN_BLOCK = 1000
#: Two letters changed places, or one is missing, too many or another.
_NEARLY = 0.66


@dataclass(frozen=True, slots=True)
class NewGuest:
    """What is asked for; checked by `GuestSpec` before anything is done."""

    name: str
    image: str
    vcpus: int
    memory_bytes: int
    disk_bytes: int
    labels: list[str] = field(default_factory=list)
    autostart: bool = False
    start_order: int = 0


def create_guest(site: Site, caller: Caller, new: NewGuest, progress: Progress) -> dict[str, Any]:
    """Make a guest with an encrypted disk; it is not started.

    Raises:
        BadInput: name, size, memory or labels cannot be used; unknown image is NotFound.
        Conflict: the name is taken.
        Sealed: the key store is sealed.
    """
    guest_id = new_id()
    spec = GuestSpec(
        id=guest_id,
        name=new.name,
        vcpus=new.vcpus,
        memory_bytes=new.memory_bytes,
        disk_bytes=new.disk_bytes,
        labels=tuple(sorted(set(new.labels))),
    )
    _refuse_mistyped(spec.labels, site.bundle.labels)
    entity = guest_entity(guest_id, list(spec.labels), caller.principal.id)

    def act(permit: Permit) -> None:
        image = site.images.get(new.image)
        require_room(spec.disk_bytes, image.virtual_size_bytes)
        permit.note(
            labels=list(spec.labels), vcpus=spec.vcpus, memory_bytes=spec.memory_bytes, image=image.id
        )
        guest = _reserve(site, caller, spec, new, image)
        try:
            _make(site, permit, guest, spec, image, progress)
        except BaseException:
            take_back(site, permit, guest.id)
            raise

    site.gate.run(Access(caller, Action.GUEST_CREATE, guest_ref(guest_id), entities=(entity,)), act)
    return guest_view(site, guest_named(site, spec.name))


def require_room(disk_bytes: int, image_bytes: int) -> None:
    """Refuse a disk that its image does not fit on.

    Raises:
        BadInput: it is too small.
    """
    if disk_bytes < image_bytes:
        raise BadInput(
            f"The disk ({disk_bytes} bytes) is smaller than the image ({image_bytes} bytes).",
            f"Ask for at least {-(-image_bytes // 2**30)}G.",
        )


def name_taken(name: str) -> Conflict:
    """The sentence for a name that another guest has."""
    return Conflict(f"The guest name {name!r} is taken.", "Choose another name.")


def _refuse_mistyped(labels: Sequence[str], spoken_of: AbstractSet[str]) -> None:
    """Refuse a label that is nearly one which policies speak of: mistyped, it would leave the guest unprotected."""
    for label in labels:
        near = difflib.get_close_matches(label, sorted(spoken_of), n=1, cutoff=_NEARLY)
        if near and label not in spoken_of:
            raise BadInput(
                f"The label {label!r} is nearly {near[0]!r}, which policies speak of, and means nothing to them.",
                f"Did you mean {near[0]!r}? Otherwise choose a label that nobody takes for it.",
            )


def take_back(site: Site, permit: Permit, guest_id: str) -> None:
    """Remove all that an unfinished creation left: disks, keys, row. Harmless when there is nothing."""
    resource = guest_ref(guest_id)
    folder = guest_folder(site, guest_id)
    remove_parts(permit, resource, folder)
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        erase_disk(permit, resource, path)
    if folder.is_dir():
        folder.rmdir()
    for key in site.keys.list_keys(resource):
        if key.state != KeyState.DESTROYED:
            site.keys.destroy_key(permit, resource, key.id)
    with site.database.session() as session:
        for disk in session.exec(select(Disk).where(Disk.guest_id == guest_id)):
            session.delete(disk)
        session.flush()
        guest = session.get(Guest, guest_id)
        if guest is not None:
            session.delete(guest)


def _reserve(site: Site, caller: Caller, spec: GuestSpec, new: NewGuest, image: Image) -> Guest:
    digest = hashlib.sha256(site.settings.instance.encode()).digest()
    first_uid = _UID_BASE + int.from_bytes(digest[:4], "big") % _UID_BLOCKS * _UIDS_IN_BLOCK
    with site.database.session() as session:
        taken = session.exec(
            select(Guest).where(Guest.name == spec.name, Guest.state != GuestState.DELETED)
        ).first()
        if taken is not None:
            raise name_taken(spec.name)
        last_uid = session.exec(select(func.max(Guest.uid))).one()
        uid = max(last_uid or 0, first_uid - 1) + 1
        if uid >= first_uid + _UIDS_IN_BLOCK:
            raise Conflict("This instance has used up its user ids for guests.", "Start a second instance.")
        guest = Guest(
            id=spec.id,
            name=spec.name,
            labels=list(spec.labels),
            owner=caller.principal.id,
            image_id=image.id,
            vcpus=spec.vcpus,
            memory_bytes=spec.memory_bytes,
            uid=uid,
            mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3)),
            autostart=new.autostart,
            start_order=new.start_order,
            boots_directly=image.boots_directly,
        )
        session.add(guest)
        try:
            session.flush()
        except IntegrityError as error:
            raise Conflict(
                "Another guest was made at the same moment with the same name or number.", "Try again."
            ) from error
    return guest


def _make(
    site: Site, permit: Permit, guest: Guest, spec: GuestSpec, image: Image, progress: Progress
) -> None:
    resource = guest_ref(guest.id)
    folder = guest_folder(site, guest.id)
    folder.mkdir(mode=0o711)
    progress(2, "Making the disk's key.")
    root = _make_root(site, permit, resource, folder / "root.qcow2", spec, image, progress)
    progress(92, "Writing the encrypted seed.")
    seed = _make_seed(site, permit, resource, folder / "seed.qcow2", guest)
    for disk in (root, seed):
        _give_to_guest(Path(disk.path), guest.uid)
    with site.database.session() as session:
        session.add(root)
        session.add(seed)
        stored = session.get_one(Guest, guest.id)
        stored.state = GuestState.READY


def _make_root(
    site: Site,
    permit: Permit,
    resource: EntityRef,
    path: Path,
    spec: GuestSpec,
    image: Image,
    progress: Progress,
) -> Disk:
    key = site.keys.create_key(permit, resource, KeyPurpose.DISK)
    with site.keys.unwrap_key(permit, resource, key.id) as passphrase:
        measured = site.disks.create_encrypted_disk(permit, resource, path, spec.disk_bytes, passphrase)
        site.disks.write_image_into(
            permit,
            resource,
            site.images.verified_disk(image),
            path,
            passphrase,
            progress=lambda per_mille: progress(
                5 + per_mille * 85 // 1000, "Writing the image into the encrypted disk."
            ),
        )
    return Disk(
        guest_id=spec.id,
        role=DiskRole.ROOT,
        path=str(path),
        size_bytes=spec.disk_bytes,
        key_id=key.id,
        known_keyslots=list(measured.active_slots),
        header_sha256=measured.header_sha256,
    )


def _make_seed(site: Site, permit: Permit, resource: EntityRef, path: Path, guest: Guest) -> Disk:
    key = site.keys.create_key(permit, resource, KeyPurpose.SEED)
    with site.keys.unwrap_key(permit, resource, key.id) as passphrase:
        content = build_seed(site.memory, guest.id, guest.name, guest.mac)
        measured = site.disks.write_seed(permit, resource, path, content, passphrase)
    return Disk(
        guest_id=guest.id,
        role=DiskRole.SEED,
        path=str(path),
        size_bytes=measured.virtual_size_bytes,
        key_id=key.id,
        known_keyslots=list(measured.active_slots),
        header_sha256=measured.header_sha256,
    )


def _give_to_guest(path: Path, uid: int) -> None:
    os.chown(path, uid, uid)
    path.chmod(0o600)
