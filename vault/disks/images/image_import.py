"""Takes over a disk image from a file: a private copy first, checked, then a clean qcow2 of what a guest would see."""

import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from vault.disks.files import create_part, host_failure, opened, write_at
from vault.disks.images.boot_signature import find_firmware
from vault.disks.images.image_build import describe
from vault.disks.images.model import DISK_FILE, Image, Source
from vault.disks.images.untrusted_disk import examine, make_clean_copy
from vault.errors import BadInput, NotAsPromised
from vault.jobs import Progress

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_CHUNK_BYTES = 1 << 20
_COPIED_UNTIL = 40


def import_image(
    source: Path, image_format: str, name: str, folder: Path, sha256: str | None, progress: Progress
) -> Image:
    """Take over a disk image into an empty folder of our own.

    Args:
        source: an ordinary file on this host.
        image_format: `qcow2` or `raw`; never guessed.
        name: what the image will be called; checked by the caller.
        folder: a `.part`; the caller publishes or removes it.
        sha256: what the file must hash to, hex; None takes it as it is.
        progress: told how far it is; what it raises stops the import.

    Returns:
        the image; the folder holds its files and nothing else.

    Raises:
        BadInput: the file cannot be used; the sentence says why.
        NotAsPromised: the file does not hash to `sha256`.
        HostFailure: the file cannot be read, a program failed, or there is no space left.
    """
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise BadInput(
            "A SHA-256 digest has 64 hexadecimal digits.", "Copy it whole from where the image comes from."
        )
    # 1. Refuse by the header before copying gigabytes.
    examine(source, image_format)
    # 2. A private copy, hashed on the way: what is examined from now on cannot change any more.
    copy = folder / "source"
    digest = _copy(source, copy, progress)
    if sha256 is not None and digest != sha256.lower():
        raise NotAsPromised(
            f"The file is not the one you expect: its SHA-256 is {digest}.",
            "Fetch it again, or find out which of the two digests is right.",
        )
    # 3. The copy's own bytes decide.
    disk = examine(copy, image_format)
    prefix = make_clean_copy(copy, disk, folder / DISK_FILE, progress)
    firmware = find_firmware(prefix)
    if firmware is None:
        raise BadInput(
            "The file is no disk that could start: its first sector carries no boot signature.",
            "Import a whole disk with a partition table, not a single file system.",
        )
    try:
        copy.unlink()
    except OSError as error:
        raise host_failure(error, copy) from error
    progress(92, "Noting the digests.")
    return describe(
        Image(
            folder=folder,
            id=str(uuid4()),
            name=name,
            os="",
            created_at=datetime.now(UTC),
            source=Source.IMPORTED,
            recipe_sha256=None,
            virtual_size_bytes=disk.virtual_size_bytes,
            firmware=firmware,
            kernel_options=None,
            files={},
        )
    )


def _copy(source: Path, target: Path, progress: Progress) -> str:
    """Copy a file, keeping holes; returns the SHA-256 of what was read."""
    digest, hole = hashlib.sha256(), bytes(_CHUNK_BYTES)
    with opened(source, os.O_RDONLY) as reading:
        size_bytes = os.fstat(reading).st_size
        writing = create_part(target)
        try:
            offset = 0
            while chunk := os.pread(reading, _CHUNK_BYTES, offset):
                digest.update(chunk)
                if chunk != hole:
                    write_at(writing, chunk, offset)
                offset += len(chunk)
                if offset % (64 * _CHUNK_BYTES) == 0:
                    progress(
                        offset * _COPIED_UNTIL // max(size_bytes, offset), "Copying and hashing the file."
                    )
            os.ftruncate(writing, offset)
        except OSError as error:
            raise host_failure(error, target) from error
        finally:
            os.close(writing)
    return digest.hexdigest()
