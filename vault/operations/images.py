"""List, build, import and verify images. An image holds no data of anybody: it is what guests begin with."""

import stat
from pathlib import Path
from typing import Any

from policies.vocabulary import Action, EntityRef, EntityType
from vault.disks.images.model import DISK_FILE, Image
from vault.entities import SITE
from vault.errors import BadInput
from vault.gate import Access, Caller
from vault.jobs import Progress
from vault.permit import Permit
from vault.site import Site


def image_ref(image_id: str) -> EntityRef:
    """The image as the policy and the log name it."""
    return EntityRef(EntityType.IMAGE, image_id)


def image_view(image: Image) -> dict[str, Any]:
    """An image as people and programs see it."""
    return {
        "id": image.id,
        "name": image.name,
        "os": image.os,
        "source": str(image.source),
        "created_at": image.created_at.isoformat(),
        "virtual_size_bytes": image.virtual_size_bytes,
        "size_bytes": image.size_bytes,
        "sha256": image.files[DISK_FILE].sha256,
        "boots": "directly" if image.boots_directly else str(image.firmware),
    }


def list_images(site: Site, caller: Caller, view: str | None = None) -> dict[str, Any]:
    """Every image."""
    return site.gate.read(
        Access(caller, Action.IMAGE_LIST, SITE),
        lambda: {"items": [image_view(image) for image in site.images.all()], "next": None},
        view=view,
    )


def build_image(site: Site, caller: Caller, name: str, progress: Progress) -> dict[str, Any]:
    """Build an image from its recipe, or take the one that was built before on this host.

    Raises:
        NotFound: there is no such recipe.
    """

    def act(permit: Permit) -> dict[str, Any]:
        image = site.images.build(permit, SITE, name, progress)
        permit.note(**image.facts())
        return image_view(image)

    return site.gate.run(Access(caller, Action.IMAGE_BUILD, SITE), act)


def import_image(
    site: Site,
    caller: Caller,
    name: str,
    path: Path,
    sha256: str | None,
    image_format: str,
    progress: Progress,
) -> dict[str, Any]:
    """Take over a disk image that lies on this host.

    Args:
        sha256: what the file must hash to; None takes it as it is.
        image_format: `qcow2` or `raw`; never guessed.
    """

    def act(permit: Permit) -> dict[str, Any]:
        _require_public(path)
        image = site.images.import_file(
            permit, SITE, name, path, image_format, sha256=sha256, progress=progress
        )
        permit.note(**image.facts())
        return image_view(image)

    return site.gate.run(Access(caller, Action.IMAGE_IMPORT, SITE), act)


def _require_public(path: Path) -> None:
    """Refuse a file that only the daemon could read for the caller.

    The daemon runs as root: without this an operator could have it read any disk image on the host, such as root's own
    backups, and look at it in a guest.

    Raises:
        BadInput: somebody on this host may not read the file.
    """
    found = path.resolve()
    if not found.exists():
        return  # the import itself says so
    passable = all(folder.stat().st_mode & stat.S_IXOTH for folder in found.parents)
    if not passable or not found.stat().st_mode & stat.S_IROTH:
        raise BadInput(
            "The daemon imports only files that every user of this host may read.",
            f"Put the file where anybody can read it (chmod o+r, and o+x on the folders above {found.name}).",
        )


def verify_image(site: Site, caller: Caller, name: str) -> dict[str, Any]:
    """Hash an image's files again.

    Raises:
        IntegrityFailure: a file is not what it was when the image was made.
    """
    image = site.images.get(name)

    def act(permit: Permit) -> dict[str, Any]:
        site.images.verify(permit, image_ref(image.id), image)
        permit.note(**image.facts())
        return image_view(image) | {"holds": True}

    return site.gate.run(Access(caller, Action.IMAGE_VERIFY, image_ref(image.id)), act)
