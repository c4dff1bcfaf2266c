"""The empty encrypted qcow2 that every disk begins as a copy of (decision D7).

Only `qemu-img create` knows how to lay out an encrypted qcow2, and it takes seconds and fails at random,
because it benchmarks PBKDF (FACTS). So it is asked once for each host; the header it made, and the throw-away
passphrase that opens it, are replaced whole in every copy.
"""

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vault.disks.files import create_part, host_failure, new_part, opened, publish, remove
from vault.disks.luks import parse_luks_header
from vault.disks.programs import ProgramFailed, qemu_secret, run_program, secret_pipe
from vault.disks.qcow2 import LuksArea, is_unwritten, read_qcow2_header
from vault.errors import HostFailure, IntegrityFailure
from vault.keystore.secret import DiskPassphrase

#: Size of the template's disk; every disk is larger, so that it only ever grows.
TEMPLATE_DISK_BYTES = 1024 * 1024
#: Of 12 tries 4 failed [FACTS]; 20 failures in a row have then a probability of 3 in 10^10.
TRIES = 20
_NAME = "luks-template-1.qcow2"
_MAX_FILE_BYTES = 16 * 1024 * 1024
# QEMU's names; the header that stays is cryptsetup's (vault/disks/format.py), so `iter-time` only saves time.
_OPTIONS = (
    "encrypt.format=luks,encrypt.key-secret=sec0,encrypt.cipher-alg=aes-256,encrypt.cipher-mode=xts,"
    "encrypt.ivgen-alg=plain64,encrypt.hash-alg=sha256,encrypt.iter-time=10"
)


@dataclass(frozen=True, slots=True)
class Template:
    """The template's bytes and where in them the LUKS header goes."""

    content: bytes
    luks: LuksArea


class TemplateCache:
    """Keeps the template in a folder, and makes it when it is not there."""

    def __init__(self, folder: Path, *, qemu_img: str = "qemu-img", tries: int = TRIES) -> None:
        """Take the folder (made if absent) and the program to ask."""
        self._folder = folder
        self._path = folder / _NAME
        self._qemu_img = qemu_img
        self._tries = tries

    def get(self) -> Template:
        """The template; made first if it is not there, which takes some seconds.

        Raises:
            HostFailure: it cannot be made.
            IntegrityFailure: what lies there is no empty encrypted disk.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise host_failure(error, self._folder) from error
        if not self._path.exists():
            with self._lock():
                if not self._path.exists():
                    self._make()
        return self._read()

    def _read(self) -> Template:
        with opened(self._path, os.O_RDONLY) as descriptor:
            header = read_qcow2_header(descriptor)
            if (
                header.luks is None
                or header.backing_file
                or header.external_data_file
                or header.snapshots
                or header.virtual_size_bytes != TEMPLATE_DISK_BYTES
                or not is_unwritten(descriptor, header)
                or os.fstat(descriptor).st_size > _MAX_FILE_BYTES
            ):
                raise IntegrityFailure(
                    f"The disk template {self._path} is not an empty encrypted disk.",
                    "Remove it; the next disk makes a new one.",
                )
            content = os.pread(descriptor, _MAX_FILE_BYTES, 0)
        area = content[header.luks.offset : header.luks.offset + header.luks.length]
        luks = parse_luks_header(area)
        if luks.payload_offset_bytes != header.luks.length:
            raise IntegrityFailure("The disk template's LUKS header does not fill its place.", "Remove it.")
        return Template(content, header.luks)

    def _make(self) -> None:
        part = new_part(self._path)
        for tries_left in reversed(range(self._tries)):
            try:
                self._create(part)
                publish(part, self._path)
            except ProgramFailed:
                remove(part)
                if not tries_left:
                    raise
            except HostFailure:
                remove(part)
                raise
            else:
                return

    def _create(self, part: Path) -> None:
        # Made by us first, so that nobody but us may read it whatever the umask; qemu-img writes into it.
        os.close(create_part(part))
        passphrase = DiskPassphrase(base64.urlsafe_b64encode(secrets.token_bytes(30)))
        with passphrase, secret_pipe(passphrase) as pipe:
            run_program(
                [
                    *(self._qemu_img, "create", "-q", "-f", "qcow2", "--object", qemu_secret(pipe)),
                    *("-o", _OPTIONS, str(part.absolute()), str(TEMPLATE_DISK_BYTES)),
                ],
                "make the disk template",
                pass_fds=(pipe,),
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise host_failure(error, self._folder) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
