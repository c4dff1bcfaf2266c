"""Makes and fills encrypted disks (decisions D6 and D7).

A disk is a copy of the template with a header of its own, made by cryptsetup, which asks for no benchmark and
so takes milliseconds. `qemu-img resize` then opens it with the passphrase and gives it its size, so that no
disk gets a name before QEMU itself has opened it. Until it is whole a disk is called `….part`; recovery
removes those.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from audit.log.durable import sync_directory
from policies.vocabulary import Action, EntityRef
from vault.disks.cryptsetup import make_luks_header
from vault.disks.files import (
    PART_SUFFIX,
    create_part,
    host_failure,
    new_part,
    opened,
    publish,
    remove,
    require_absent,
    write_at,
)
from vault.disks.luks import SECTOR_BYTES
from vault.disks.measure import DiskMeasurement, measure_disk
from vault.disks.programs import (
    Progress,
    encrypted_disk,
    qemu_secret,
    run_program,
    run_with_progress,
    secret_pipe,
)
from vault.disks.qcow2 import is_qcow2, is_unwritten, read_qcow2_header
from vault.disks.ram_dir import RamDir
from vault.disks.template import TEMPLATE_DISK_BYTES, TemplateCache
from vault.errors import BadInput, Conflict, IntegrityFailure
from vault.keystore.secret import DiskPassphrase
from vault.permit import Permit

#: Cloud-init's data is some kilobytes; this is a mistake caught, not a wish refused.
MAX_SEED_BYTES = 64 * 1024 * 1024
#: Larger than the template, which only grows; a cloud-init seed is smaller still and is padded to this.
MIN_DISK_BYTES = 2 * TEMPLATE_DISK_BYTES
#: 16 TiB, the largest ext4 file; a typing mistake rather than a wish.
MAX_DISK_BYTES = 16 * 1024**4


def _no_progress(_per_mille: int) -> None:
    """For callers that do not watch."""


class DiskFormatter:
    """Makes and fills the disks of guests."""

    def __init__(
        self,
        template_dir: Path,
        ram_dir: RamDir,
        *,
        qemu_img: str = "qemu-img",
        cryptsetup: str = "cryptsetup",
    ) -> None:
        """Take where the template is kept, where secrets in files may lie, and the programs."""
        self._template = TemplateCache(template_dir, qemu_img=qemu_img)
        self._ram_dir = ram_dir
        self._qemu_img = qemu_img
        self._cryptsetup = cryptsetup

    def prepare(self) -> None:
        """Make the template now, so that no guest waits for it; harmless when it is there."""
        self._template.get()

    def create_encrypted_disk(
        self, permit: Permit, guest: EntityRef, path: Path, size_bytes: int, passphrase: DiskPassphrase
    ) -> DiskMeasurement:
        """Make an empty encrypted disk; durable on return.

        Args:
            permit: to create the guest.
            guest: whose disk it is.
            path: where; its folder must exist.
            size_bytes: what the guest sees, a multiple of 512, from 2 MiB to 16 TiB.
            passphrase: what opens it.

        Returns:
            the disk as measured on its bytes.

        Raises:
            BadInput: no such size can be.
            Conflict: something has this name already.
            HostFailure: a program or the storage failed; no file is left.
            IntegrityFailure: what was made does not measure as what was asked for.
        """
        permit.require(guest, Action.GUEST_CREATE)
        _require_size(size_bytes)
        part = new_part(path)
        try:
            self._make_part(part, size_bytes, passphrase)
            measured = measure_disk(part)
            _require_ours(measured, size_bytes)
            publish(part, path)
        except BaseException:
            remove(part)
            raise
        permit.note(disk_header_sha256=measured.header_sha256)
        return measured

    def write_image_into(
        self,
        permit: Permit,
        guest: EntityRef,
        source: Path,
        disk: Path,
        passphrase: DiskPassphrase,
        *,
        source_format: str = "qcow2",
        progress: Progress = _no_progress,
    ) -> None:
        """Copy an image into an empty encrypted disk; durable on return.

        While it runs the disk is called `….part`, so that a kill leaves no half-written disk under its name.

        Args:
            permit: to create the guest.
            guest: whose disk it is.
            source: the image; it may not lean on a backing file.
            disk: an encrypted disk to which nothing has been written, at least as large as the image.
            passphrase: what opens the disk.
            source_format: `qcow2` or `raw`; never guessed, because a guest can make a raw disk look like
                anything.
            progress: told how far it is, per mille; what it raises stops the copy.

        Raises:
            BadInput: the image is larger than the disk, or of another format.
            Conflict: the disk has been written to.
            HostFailure: a program or the storage failed; the disk is gone.
        """
        permit.require(guest, Action.GUEST_CREATE)
        image_bytes = _image_size(source, source_format)
        with opened(disk, os.O_RDONLY) as descriptor:
            header = read_qcow2_header(descriptor)
            if not is_unwritten(descriptor, header):
                raise Conflict("The disk holds data already.", "Make a new disk for the image.")
        if image_bytes > header.virtual_size_bytes:
            raise BadInput(
                f"The image has {image_bytes} bytes, more than the disk ({header.virtual_size_bytes}).",
                "Ask for a larger disk.",
            )
        part = _take_back(disk)
        try:
            self._convert(source, source_format, part, passphrase, progress)
            publish(part, disk)
        except BaseException:
            remove(part)
            raise

    def write_seed(
        self,
        permit: Permit,
        guest: EntityRef,
        path: Path,
        content: bytes | bytearray,
        passphrase: DiskPassphrase,
    ) -> DiskMeasurement:
        """Make a small encrypted disk with these bytes in it: a guest's cloud-init seed.

        The bytes in the clear touch memory that does not swap, and no disk.

        Args:
            permit: to create the guest.
            guest: whose seed it is.
            path: where; its folder must exist.
            content: an ISO 9660 or FAT image, such as cloud-init reads.
            passphrase: what opens it.

        Raises:
            BadInput: there are no bytes, or more than 64 MiB.
            HostFailure, Conflict, IntegrityFailure: as for a disk.
        """
        permit.require(guest, Action.GUEST_CREATE)
        if not 0 < len(content) <= MAX_SEED_BYTES:
            raise BadInput("A seed has from 1 byte to 64 MiB.")
        size_bytes = max(MIN_DISK_BYTES, -(-len(content) // SECTOR_BYTES) * SECTOR_BYTES)
        part = new_part(path)
        try:
            self._make_part(part, size_bytes, passphrase)
            with self._ram_dir.file(content, size_bytes) as plain:
                self._convert(plain, "raw", part, passphrase, _no_progress)
            measured = measure_disk(part)
            _require_ours(measured, size_bytes)
            publish(part, path)
        except BaseException:
            remove(part)
            raise
        return measured

    # -- the steps -------------------------------------------------------------------------

    def _make_part(self, part: Path, size_bytes: int, passphrase: DiskPassphrase) -> None:
        template = self._template.get()
        header = make_luks_header(
            self._ram_dir, template.luks.length, passphrase, cryptsetup=self._cryptsetup
        )
        descriptor = create_part(part)
        try:
            offset = template.luks.offset
            write_at(descriptor, template.content, 0)
            write_at(descriptor, header, offset)
        except OSError as error:
            raise host_failure(error, part) from error
        finally:
            os.close(descriptor)
        with secret_pipe(passphrase) as pipe:
            run_program(
                [
                    *(self._qemu_img, "resize", "-q", "--object", qemu_secret(pipe)),
                    *("--image-opts", encrypted_disk(part), str(size_bytes)),
                ],
                "open the new disk and give it its size",
                pass_fds=(pipe,),
            )

    def _convert(
        self, source: Path, source_format: str, part: Path, passphrase: DiskPassphrase, progress: Progress
    ) -> None:
        with secret_pipe(passphrase) as pipe:
            run_with_progress(
                [
                    # -n: into the disk as it is; the rest keeps what reads as zeros unallocated.
                    *(self._qemu_img, "convert", "-p", "-n", "-W", "--target-is-zero", "-f", source_format),
                    *("--object", qemu_secret(pipe), "--target-image-opts"),
                    *(str(source.absolute()), encrypted_disk(part)),
                ],
                "write the image into the disk",
                progress,
                pass_fds=(pipe,),
            )


def _require_size(size_bytes: int) -> None:
    if size_bytes % SECTOR_BYTES or not MIN_DISK_BYTES <= size_bytes <= MAX_DISK_BYTES:
        raise BadInput(
            f"A disk cannot have {size_bytes} bytes.", "Use a multiple of 512 bytes from 2 MiB to 16 TiB."
        )


_EXPECTED: Mapping[str, object] = {
    "encrypted": True,
    "cipher": "aes-xts-plain64",
    "hash": "sha256",
    "key_bits": 512,
    "keyslots": [0],
    "backing_file": False,
}


def _require_ours(measured: DiskMeasurement, size_bytes: int) -> None:
    facts = measured.facts()
    wrong = [name for name, value in _EXPECTED.items() if facts[name] != value]
    if measured.virtual_size_bytes != size_bytes:
        wrong.append("size")
    if wrong:
        raise IntegrityFailure(
            f"The new disk does not measure as what was asked for ({', '.join(wrong)}).",
            "Remove the disk template, then try again.",
        )


def _image_size(source: Path, source_format: str) -> int:
    with opened(source, os.O_RDONLY) as descriptor:
        if source_format == "raw":
            return os.fstat(descriptor).st_size
        if source_format != "qcow2" or not is_qcow2(descriptor):
            raise BadInput("The image is neither qcow2 nor raw.", "Import it as qcow2 or raw.")
        header = read_qcow2_header(descriptor)
    if header.backing_file or header.external_data_file:
        raise BadInput("The image leans on another file.", "Flatten it first: qemu-img convert")
    return header.virtual_size_bytes


def _take_back(disk: Path) -> Path:
    """Give a disk the name of an unfinished one again; durable on return."""
    part = disk.with_name(f"{disk.name}{PART_SUFFIX}")
    require_absent(part)
    try:
        disk.rename(part)
        sync_directory(disk.parent)
    except OSError as error:
        raise host_failure(error, disk) from error
    return part
