"""What a disk is, measured on the bytes of its file, not read from configuration (CONTROLS 312(a)(2)(iv)).

No key is needed, and a running guest's disk may be measured too: QEMU changes none of what is read here.
"""

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vault.disks.files import opened
from vault.disks.luks import HEADER_BYTES, Keyslot, LuksHeader, parse_luks_header
from vault.disks.qcow2 import Qcow2Header, is_qcow2, read_qcow2_header
from vault.errors import IntegrityFailure


@dataclass(frozen=True, slots=True)
class DiskMeasurement:
    """What a disk's file says about itself.

    Attributes:
        encrypted: every cluster of the file is encrypted by LUKS, and no other file holds any of its data.
        format: `qcow2` or `raw`.
        cipher, mode, hash: of the LUKS header, such as `aes`, `xts-plain64`, `sha256`; empty when not
            encrypted.
        key_bits: length of the master key; AES-256 in XTS has 512. 0 when not encrypted.
        keyslots: all eight; empty when not encrypted.
        uuid: of the LUKS header.
        size_bytes: of the file.
        virtual_size_bytes: what a guest sees.
        header_sha256: over the LUKS header with all key material, hex: any change of any keyslot changes it.
        backing_file: whether data lies in another file, which must be measured too.
        snapshots: number of internal snapshots.
    """

    encrypted: bool
    format: str
    cipher: str
    mode: str
    hash: str
    key_bits: int
    keyslots: tuple[Keyslot, ...]
    uuid: str
    size_bytes: int
    virtual_size_bytes: int
    header_sha256: str
    backing_file: bool
    snapshots: int

    @property
    def active_slots(self) -> tuple[int, ...]:
        """Indices of the keyslots that open the disk."""
        return tuple(slot.index for slot in self.keyslots if slot.active)

    def facts(self) -> dict[str, object]:
        """The measurement as facts of a record: sizes, digests, words of the format; nothing of a person."""
        return {
            "encrypted": self.encrypted,
            "format": self.format,
            "cipher": f"{self.cipher}-{self.mode}" if self.cipher else "",
            "hash": self.hash,
            "key_bits": self.key_bits,
            "keyslots": list(self.active_slots),
            "header_sha256": self.header_sha256,
            "virtual_size_bytes": self.virtual_size_bytes,
            "backing_file": self.backing_file,
        }


class KeyslotProblem(StrEnum):
    """What can be wrong with a disk's keyslots."""

    UNKNOWN_SLOT = "disk.keyslot_unknown"  # a keyslot nobody made through the gate: a second way in
    LOST_SLOT = "disk.keyslot_lost"  # a keyslot that should open the disk is gone
    CHANGED_HEADER = "disk.header_changed"  # same keyslots, other content: somebody exchanged a way in
    NOT_ENCRYPTED = "disk.not_encrypted"


@dataclass(frozen=True, slots=True)
class KeyslotFinding:
    """A difference between a disk's header and what it should be. All of them are critical."""

    problem: KeyslotProblem
    slot: int | None
    sentence: str


def measure_disk(path: Path) -> DiskMeasurement:
    """Measure a disk's file.

    Raises:
        HostFailure: it is missing, a link, or unreadable.
        IntegrityFailure: it says that it is encrypted, and its header is not sound.
    """
    with opened(path, os.O_RDONLY) as descriptor:
        size_bytes = os.fstat(descriptor).st_size
        if not is_qcow2(descriptor):
            return _plain("raw", size_bytes, size_bytes, backing_file=False, snapshots=0)
        header = read_qcow2_header(descriptor)
        if header.luks is None:
            return _plain(
                "qcow2",
                size_bytes,
                header.virtual_size_bytes,
                backing_file=header.backing_file,
                snapshots=header.snapshots,
            )
        area = os.pread(descriptor, header.luks.length, header.luks.offset)
    return _encrypted(header, area, parse_luks_header(area[:HEADER_BYTES]), size_bytes)


def compare_keyslots(
    measured: DiskMeasurement, known_slots: Collection[int], known_header_sha256: str | None = None
) -> tuple[KeyslotFinding, ...]:
    """Compare a measurement with what the gate made; called before start, after stop and after rotation.

    Args:
        measured: the disk as it is.
        known_slots: indices of the keyslots that were made through the gate.
        known_header_sha256: of the header as it was left; None where it is not known.

    Returns:
        the findings; empty when all is as it should be.
    """
    if not measured.encrypted:
        return (
            KeyslotFinding(
                KeyslotProblem.NOT_ENCRYPTED, None, "The disk's file is not encrypted by LUKS alone."
            ),
        )
    active, known = set(measured.active_slots), set(known_slots)
    findings = [
        KeyslotFinding(
            KeyslotProblem.UNKNOWN_SLOT, slot, f"Keyslot {slot} of the disk opens it, and was not made here."
        )
        for slot in sorted(active - known)
    ]
    findings += [
        KeyslotFinding(KeyslotProblem.LOST_SLOT, slot, f"Keyslot {slot} of the disk is gone.")
        for slot in sorted(known - active)
    ]
    if not findings and known_header_sha256 is not None and measured.header_sha256 != known_header_sha256:
        findings.append(
            KeyslotFinding(
                KeyslotProblem.CHANGED_HEADER, None, "The disk's LUKS header was changed outside the gate."
            )
        )
    return tuple(findings)


def _encrypted(header: Qcow2Header, area: bytes, luks: LuksHeader, size_bytes: int) -> DiskMeasurement:
    if luks.payload_offset_bytes > len(area):
        raise IntegrityFailure("The disk's LUKS header is longer than the place it has.")
    return DiskMeasurement(
        encrypted=not header.backing_file and not header.external_data_file,
        format="qcow2",
        cipher=luks.cipher,
        mode=luks.mode,
        hash=luks.hash,
        key_bits=luks.key_bits,
        keyslots=luks.keyslots,
        uuid=luks.uuid,
        size_bytes=size_bytes,
        virtual_size_bytes=header.virtual_size_bytes,
        header_sha256=hashlib.sha256(area).hexdigest(),
        backing_file=header.backing_file or header.external_data_file,
        snapshots=header.snapshots,
    )


def _plain(
    form: str, size_bytes: int, virtual_size_bytes: int, *, backing_file: bool, snapshots: int
) -> DiskMeasurement:
    return DiskMeasurement(
        encrypted=False,
        format=form,
        cipher="",
        mode="",
        hash="",
        key_bits=0,
        keyslots=(),
        uuid="",
        size_bytes=size_bytes,
        virtual_size_bytes=virtual_size_bytes,
        header_sha256="",
        backing_file=backing_file,
        snapshots=snapshots,
    )
