"""An image as it lies in its folder: what `image.json` says of it, and the files beside it by their digests.

`image.json` is canonical JSON, so that its own digest names the whole image: it goes into the log's outcome
record, and whoever changes a file, or the file of digests, no longer matches what the log says.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from audit.errors import NotCanonical
from audit.log import canonical
from vault.disks.files import host_failure
from vault.errors import IntegrityFailure, NotFound

DISK_FILE = "disk.qcow2"
KERNEL_FILE = "vmlinuz"
INITRD_FILE = "initrd.img"
PACKAGES_FILE = "packages.txt"
DOCUMENT_FILE = "image.json"
_FILES = {DISK_FILE, KERNEL_FILE, INITRD_FILE, PACKAGES_FILE}
_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MAX_DOCUMENT_BYTES = 64 * 1024


class Source(StrEnum):
    """Where an image comes from."""

    BUILT = "built"
    IMPORTED = "imported"


class Firmware(StrEnum):
    """What the disk can be started by when the kernel is not given to the hypervisor directly."""

    EFI = "efi"
    BIOS = "bios"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file of an image: SHA-256 (hex) and size in bytes."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image that guests are made from.

    Attributes:
        folder: where its files lie.
        id: random UUID.
        name: what people call it; the newest of a name is meant.
        os: the system's full name, empty when nobody said.
        created_at: when it was built or imported; aware.
        source: built or imported.
        recipe_sha256: digest of the recipe it was built from, None when imported.
        virtual_size_bytes: what a guest sees; a guest's disk is at least as large.
        firmware: what can start it without a kernel beside it.
        kernel_options: the kernel's command line, None when there is no kernel beside it.
        files: digests by file name.
    """

    folder: Path
    id: str
    name: str
    os: str
    created_at: datetime
    source: Source
    recipe_sha256: str | None
    virtual_size_bytes: int
    firmware: Firmware
    kernel_options: str | None
    files: Mapping[str, FileDigest]

    @property
    def boots_directly(self) -> bool:
        """Whether the hypervisor can be given kernel and initrd, without firmware or loader."""
        return KERNEL_FILE in self.files

    @property
    def size_bytes(self) -> int:
        """What its files take, bytes."""
        return sum(file.size_bytes for file in self.files.values())

    @property
    def disk_path(self) -> Path:
        """Where the disk lies. Use `ImageStore.verified_disk` to read it."""
        return self.folder / DISK_FILE

    @property
    def packages_sha256(self) -> str | None:
        """Digest of the list of packages, None when nobody listed them."""
        listed = self.files.get(PACKAGES_FILE)
        return None if listed is None else listed.sha256

    @property
    def document(self) -> bytes:
        """What `image.json` holds."""
        return canonical.encode(
            {
                "v": _VERSION,
                "id": self.id,
                "name": self.name,
                "os": self.os,
                "created_at": self.created_at.astimezone(UTC).strftime(_TIME),
                "source": str(self.source),
                "recipe_sha256": self.recipe_sha256,
                "virtual_size_bytes": self.virtual_size_bytes,
                "firmware": str(self.firmware),
                "kernel_options": self.kernel_options,
                "files": {
                    name: {"sha256": file.sha256, "size_bytes": file.size_bytes}
                    for name, file in self.files.items()
                },
            }
        )

    @property
    def sha256(self) -> str:
        """Digest of `image.json`, hex: it names the image with all its files."""
        return hashlib.sha256(self.document).hexdigest()

    def facts(self) -> dict[str, object]:
        """What a record says of the image: ids, digests and sizes, never its name."""
        return {
            "image": self.id,
            "image_sha256": self.sha256,
            "disk_sha256": self.files[DISK_FILE].sha256,
            "size_bytes": self.size_bytes,
            "virtual_size_bytes": self.virtual_size_bytes,
            "source": str(self.source),
        }


def is_image_id(text: str) -> bool:
    """Say whether this is the id of an image, rather than a name."""
    return _ID.fullmatch(text) is not None


def read_image(folder: Path) -> Image:
    """Read the image in a folder; its files are not hashed here.

    Raises:
        NotFound: there is no such folder.
        IntegrityFailure: its `image.json` is missing, damaged, or of another image.
    """
    path = folder / DOCUMENT_FILE
    try:
        with path.open("rb") as stream:
            untrusted = stream.read(_MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError as error:
        if folder.is_dir():
            raise _damaged(path) from error
        raise NotFound("There is no such image.", "List the images: strongroom image list") from error
    except OSError as error:
        raise host_failure(error, path) from error
    try:
        image = _parse(folder, canonical.parse(untrusted))
    except (NotCanonical, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error
    return image


def _parse(folder: Path, untrusted: object) -> Image:
    """Every deviation raises KeyError, TypeError or ValueError."""
    document = _mapping(untrusted)
    files: dict[str, FileDigest] = {}
    for name, entry in _mapping(document["files"]).items():
        file = _mapping(entry)
        if name not in _FILES or not _SHA256.fullmatch(_text(file["sha256"])):
            raise ValueError(name)
        files[name] = FileDigest(_text(file["sha256"]), _number(file["size_bytes"]))
    recipe, options = document["recipe_sha256"], document["kernel_options"]
    image = Image(
        folder=folder,
        id=_text(document["id"]),
        name=_text(document["name"]),
        os=_text(document["os"]),
        created_at=datetime.strptime(_text(document["created_at"]), _TIME).replace(tzinfo=UTC),
        source=Source(_text(document["source"])),
        recipe_sha256=None if recipe is None else _text(recipe),
        virtual_size_bytes=_number(document["virtual_size_bytes"]),
        firmware=Firmware(_text(document["firmware"])),
        kernel_options=None if options is None else _text(options),
        files=files,
    )
    whole = DISK_FILE in files and image.boots_directly == (options is not None)
    if _number(document["v"]) != _VERSION or not _ID.fullmatch(image.id) or not whole:
        raise ValueError(image.id)
    return image


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(value)
    return value


def _damaged(path: Path) -> IntegrityFailure:
    return IntegrityFailure(
        f"{path} is missing or damaged.",
        f"Delete the image ({path.parent.name}), then build or import it again.",
    )
