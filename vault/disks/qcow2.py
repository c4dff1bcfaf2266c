"""qcow2 files as bytes: size, encryption and where the LUKS header lies, read without any key.

After QEMU's `docs/interop/qcow2.txt`. Everything read here may have been written by an attacker, so each
offset is checked against the file before it is followed.
"""

import os
import struct
from dataclasses import dataclass

from vault.errors import IntegrityFailure

MAGIC = b"QFI\xfb"
#: `crypt_method` of a disk whose every cluster is encrypted by LUKS; 1 is the broken AES of old, 0 is none.
CRYPT_LUKS = 2
_FULL_DISK_ENCRYPTION = 0x0537BE77
_END_OF_EXTENSIONS = 0
_FIELDS = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_VERSION_3 = 3
_EXTERNAL_DATA_FILE = 1 << 2
# A LUKS1 header with eight slots of AES-256-XTS takes 2 MiB; nobody's takes 16.
_MAX_LUKS_BYTES = 16 * 1024 * 1024
_MAX_EXTENSIONS = 64
_MIN_CLUSTER_BITS = 9
_MAX_CLUSTER_BITS = 21


@dataclass(frozen=True, slots=True)
class LuksArea:
    """Where in the file the LUKS header and the keyslots' material lie, bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What a qcow2 header says.

    Attributes:
        version: 2 or 3.
        cluster_bytes: size of a cluster.
        virtual_size_bytes: size of the disk that a guest sees.
        crypt_method: 0 none, 1 legacy AES, 2 LUKS.
        backing_file: whether part of the data lies in another file.
        external_data_file: whether all of the data lies in another file.
        snapshots: number of internal snapshots.
        l1_offset, l1_entries: the table that leads to all data.
        luks: where the LUKS header lies; None when the disk is not encrypted by LUKS.
    """

    version: int
    cluster_bytes: int
    virtual_size_bytes: int
    crypt_method: int
    backing_file: bool
    external_data_file: bool
    snapshots: int
    l1_offset: int
    l1_entries: int
    luks: LuksArea | None


def is_qcow2(descriptor: int) -> bool:
    """Say whether an open file begins as a qcow2 file does."""
    return os.pread(descriptor, len(MAGIC), 0) == MAGIC


def read_qcow2_header(descriptor: int) -> Qcow2Header:
    """Read the header of an open qcow2 file.

    Raises:
        IntegrityFailure: it is no qcow2 file, or its header contradicts itself or the file's size.
    """
    raw = os.pread(descriptor, _FIELDS.size, 0)
    if len(raw) < _FIELDS.size or raw[:4] != MAGIC:
        raise _unsound("it does not begin as one")
    _, version, backing_offset, _, cluster_bits, virtual_size, crypt_method, *rest = _FIELDS.unpack(raw)
    l1_entries, l1_offset, _, _, snapshots, _, incompatible, _, _, _, header_length = rest
    if version not in {2, _VERSION_3} or not _MIN_CLUSTER_BITS <= cluster_bits <= _MAX_CLUSTER_BITS:
        raise _unsound("its version or cluster size is unknown")
    if version < _VERSION_3:
        # Version 2 ends before the feature bits; what follows are extensions already.
        incompatible, header_length = 0, 72
    luks = _find_luks(descriptor, header_length, 1 << cluster_bits)
    if crypt_method == CRYPT_LUKS and luks is None:
        raise _unsound("it says that it is encrypted, but not where the keys are")
    return Qcow2Header(
        version=version,
        cluster_bytes=1 << cluster_bits,
        virtual_size_bytes=virtual_size,
        crypt_method=crypt_method,
        backing_file=backing_offset != 0,
        external_data_file=bool(incompatible & _EXTERNAL_DATA_FILE),
        snapshots=snapshots,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        luks=luks if crypt_method == CRYPT_LUKS else None,
    )


def is_unwritten(descriptor: int, header: Qcow2Header) -> bool:
    """Say whether nothing has ever been written to the disk: its table of tables holds no entry.

    Raises:
        IntegrityFailure: the table lies outside the file.
    """
    length = header.l1_entries * 8
    if length > _MAX_LUKS_BYTES or header.l1_offset + length > os.fstat(descriptor).st_size:
        raise _unsound("its tables lie outside the file")
    return not any(os.pread(descriptor, length, header.l1_offset))


def _find_luks(descriptor: int, header_length: int, cluster_bytes: int) -> LuksArea | None:
    """Walk the header extensions, which lie in the first cluster."""
    area = os.pread(descriptor, cluster_bytes, 0)
    position = header_length
    for _ in range(_MAX_EXTENSIONS):
        if position + 8 > len(area):
            raise _unsound("its extensions have no end")
        kind, length = struct.unpack_from(">II", area, position)
        if kind == _END_OF_EXTENSIONS:
            return None
        if kind == _FULL_DISK_ENCRYPTION:
            if length != 16 or position + 24 > len(area):
                raise _unsound("its encryption extension has a wrong length")
            luks = LuksArea(*struct.unpack_from(">QQ", area, position + 8))
            if luks.length > _MAX_LUKS_BYTES or luks.offset + luks.length > os.fstat(descriptor).st_size:
                raise _unsound("its keys lie outside the file")
            return luks
        position += 8 + (length + 7) // 8 * 8
    raise _unsound("it has too many extensions")


def _unsound(why: str) -> IntegrityFailure:
    return IntegrityFailure(f"The disk is no sound qcow2 file: {why}.", "Restore the disk from a backup.")
