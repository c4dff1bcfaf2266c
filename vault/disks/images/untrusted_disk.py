"""Reads a disk image that a stranger may have made, and makes a clean one of it.

The header is read from bytes before any program sees the file: what leans on another file, or is encrypted, never
gets to one. Then qemu-img, told the format and guessing nothing, copies what the guest would see into a new image:
without privileges, as a user id that nobody else has, with limits of memory, time and size.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vault.disks.files import create_part, host_failure, opened
from vault.disks.images.boot_signature import PREFIX_BYTES
from vault.disks.programs import ProgramFailed, run_with_progress
from vault.disks.qcow2 import is_qcow2, read_qcow2_header
from vault.errors import BadInput, IntegrityFailure
from vault.jobs import Progress

SECTOR_BYTES = 512
FORMATS = ("qcow2", "raw")
#: Larger is a mistake, or an attack on the disk's space.
MAX_FILE_BYTES = 256 * 1024**3
MAX_VIRTUAL_BYTES = 1024**4
_MIN_VIRTUAL_BYTES = 1024**2
_MEMORY_BYTES = 2 * 1024**3
_CPU_S = 3600
# User ids that no distribution hands out, each used once, so that two imports cannot touch each other either.
_FIRST_UID = 1_900_000_000
_UIDS = 90_000_000
# Formats that qemu-img knows and we do not take: named so that the sentence can say what to do.
_OTHER_FORMATS = {
    b"KDMV": "VMDK",
    b"vhdxfile": "VHDX",
    b"conectix": "VHD",
    b"<<< ": "VDI",
    b"QED\0": "QED",
    b"LUKS\xba\xbe": "LUKS",
}


@dataclass(frozen=True, slots=True)
class UntrustedDisk:
    """What the bytes of a file say it is.

    Attributes:
        format: `qcow2` or `raw`.
        virtual_size_bytes: what a guest would see.
    """

    format: str
    virtual_size_bytes: int


def examine(path: Path, image_format: str) -> UntrustedDisk:
    """Look at a disk image's bytes.

    Args:
        path: the file.
        image_format: what it is said to be; never guessed, because a guest can make a raw disk look like anything.

    Raises:
        BadInput: it is not of this format, leans on another file, is encrypted, or too large.
        HostFailure: it cannot be read.
    """
    if image_format not in FORMATS:
        raise BadInput(f"The format {image_format!r} cannot be imported.", "Use qcow2 or raw.")
    with opened(path, os.O_RDONLY) as descriptor:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes > MAX_FILE_BYTES:
            raise BadInput(
                f"The file is too large: {size_bytes} bytes, at most {MAX_FILE_BYTES}.",
                "Import a smaller image.",
            )
        prefix = os.pread(descriptor, SECTOR_BYTES, 0)
        looks_qcow2 = is_qcow2(descriptor)
        if looks_qcow2 != (image_format == "qcow2"):
            said, found = ("raw", "qcow2") if looks_qcow2 else ("qcow2", "another format")
            raise BadInput(
                f"The file is said to be {said} but begins as {found}.", "Name its true format, qcow2 or raw."
            )
        for magic, name in _OTHER_FORMATS.items():
            if prefix.startswith(magic):
                raise BadInput(f"The file is a {name} image.", "Convert it first: qemu-img convert -O qcow2")
        virtual_size_bytes = _qcow2_size(descriptor) if looks_qcow2 else size_bytes
    if virtual_size_bytes % SECTOR_BYTES or virtual_size_bytes < _MIN_VIRTUAL_BYTES:
        raise BadInput(
            f"The file is no disk image: {virtual_size_bytes} bytes are not a whole disk.",
            "A disk has a multiple of 512 bytes and at least 1 MiB.",
        )
    if virtual_size_bytes > MAX_VIRTUAL_BYTES:
        raise BadInput(
            f"The disk is too large: {virtual_size_bytes} bytes, at most {MAX_VIRTUAL_BYTES}.",
            "Import a smaller image.",
        )
    return UntrustedDisk(image_format, virtual_size_bytes)


def _qcow2_size(descriptor: int) -> int:
    try:
        header = read_qcow2_header(descriptor)
    except IntegrityFailure as error:
        raise BadInput(
            "The file is no sound qcow2 image.", "Check it where it comes from: qemu-img check"
        ) from error
    if header.backing_file:
        raise BadInput(
            "The image leans on a backing file, so it could show any file of this host to a guest.",
            "Flatten it where it comes from: qemu-img convert -O qcow2",
        )
    if header.external_data_file:
        raise BadInput(
            "The image keeps its data in another file, so it could show any file of this host to a guest.",
            "Flatten it where it comes from: qemu-img convert -O qcow2",
        )
    if header.crypt_method:
        raise BadInput(
            "The image is encrypted, and its key is not known here.",
            "Decrypt it where it comes from; each guest's disk is encrypted with a key of its own.",
        )
    return header.virtual_size_bytes


def make_clean_copy(source: Path, disk: UntrustedDisk, target: Path, progress: Progress) -> bytes:
    """Copy what a guest would see into a new qcow2 file.

    Args:
        source: our own copy of the file, examined before; nobody else may change it.
        disk: what `examine` said of it.
        target: the file to make.
        progress: told how far it is; what it raises stops the copy.

    Returns:
        the first bytes of the disk, `PREFIX_BYTES` of them.

    Raises:
        BadInput: qemu-img cannot read the image.
        HostFailure: qemu-img is missing, or there is no space left.
    """
    qemu = _Unprivileged(disk)
    prefix = target.with_suffix(".prefix")
    count = PREFIX_BYTES // SECTOR_BYTES

    def tell(per_mille: int) -> None:
        progress(40 + per_mille * 50 // 1000, "Making a clean copy of the image.")

    try:
        with opened(source, os.O_RDONLY) as reading:
            qemu.run(
                lambda writing: [
                    *("dd", "-f", disk.format, "-O", "raw", "bs=512", f"count={count}"),
                    *(f"if=/dev/fd/{reading}", f"of=/dev/fd/{writing}"),
                ],
                reading,
                prefix,
                tell,
            )
            qemu.run(
                lambda writing: [
                    *("convert", "-p", "-f", disk.format, "-O", "qcow2"),
                    *(f"/dev/fd/{reading}", f"/dev/fd/{writing}"),
                ],
                reading,
                target,
                tell,
            )
        content = prefix.read_bytes()
        prefix.unlink()
    except OSError as error:
        raise host_failure(error, target) from error
    return content


class _Unprivileged:
    """Runs qemu-img as a user id of its own, with limits; files reach it as descriptors, so it needs no folder."""

    def __init__(self, disk: UntrustedDisk) -> None:
        self._is_root = os.geteuid() == 0
        self._uid = _FIRST_UID + secrets.randbelow(_UIDS)
        dropped = [
            *("--reuid", str(self._uid), "--regid", str(self._uid), "--clear-groups"),
            *("--bounding-set", "-all", "--inh-caps", "-all"),
        ]
        # Tables of a full qcow2 take far less than an eighth of its data.
        most = disk.virtual_size_bytes + disk.virtual_size_bytes // 8 + 64 * 1024**2
        self._prefix = [
            *("setpriv", *(dropped if self._is_root else ()), "--no-new-privs", "--pdeathsig", "KILL", "--"),
            *("prlimit", f"--as={_MEMORY_BYTES}", f"--cpu={_CPU_S}", "--core=0", "--nofile=64"),
            *(f"--fsize={most}", "--"),
        ]

    def run(
        self, arguments: Callable[[int], list[str]], reading: int, target: Path, tell: Callable[[int], None]
    ) -> None:
        """Let qemu-img write a new file; `arguments` is told the descriptor it writes to."""
        writing = create_part(target)
        try:
            self._lend(reading, self._uid)
            self._lend(writing, self._uid)
            run_with_progress(
                [*self._prefix, "qemu-img", *arguments(writing)],
                "read the image",
                tell,
                pass_fds=(reading, writing),
            )
            self._lend(writing, os.geteuid())
        except ProgramFailed as error:
            raise BadInput(
                "The image cannot be read: it is damaged, or its tables contradict each other.",
                "Check it where it comes from: qemu-img check",
            ) from error
        finally:
            os.close(writing)

    def _lend(self, descriptor: int, uid: int) -> None:
        # The program opens the file again by its descriptor's name, which only the owner of the file may.
        if self._is_root:
            os.fchown(descriptor, uid, uid)
