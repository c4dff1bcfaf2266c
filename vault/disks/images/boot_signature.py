"""What a disk can be started by, read from its first sectors: pure, over bytes that may be hostile."""

import struct

from vault.disks.images.disk_layout import ESP_TYPE, SECTOR_BYTES
from vault.disks.images.model import Firmware

#: How much of a disk is looked at: MBR, GPT header, and a table of 128 entries.
PREFIX_BYTES = 128 * SECTOR_BYTES
_MBR_SIGNATURE = b"\x55\xaa"
_MBR_ENTRIES = 446
_MBR_ENTRY_BYTES = 16
_EFI_PARTITION_TYPES = {0xEF}
_GPT_SIGNATURE = b"EFI PART"
_GPT_ENTRY_BYTES = 128
_MAX_GPT_ENTRIES = 128


def find_firmware(prefix: bytes) -> Firmware | None:
    """What can start a disk that begins with these bytes.

    Args:
        prefix: the disk's first bytes, up to `PREFIX_BYTES`.

    Returns:
        EFI where there is an EFI system partition, BIOS where there is only a boot sector, else None.
    """
    if prefix[510:512] != _MBR_SIGNATURE:
        return None
    types = {prefix[_MBR_ENTRIES + _MBR_ENTRY_BYTES * index + 4] for index in range(4)}
    if types & _EFI_PARTITION_TYPES or _efi_type() in _gpt_types(prefix):
        return Firmware.EFI
    return Firmware.BIOS


def _gpt_types(prefix: bytes) -> set[bytes]:
    """Partition types of a GPT (UEFI specification section 5.3), empty where there is none."""
    header = prefix[SECTOR_BYTES : 2 * SECTOR_BYTES]
    if len(header) < SECTOR_BYTES or not header.startswith(_GPT_SIGNATURE):
        return set()
    first_sector, count, entry_bytes = struct.unpack_from("<QII", header, 72)
    if entry_bytes != _GPT_ENTRY_BYTES:
        return set()
    start = first_sector * SECTOR_BYTES
    table = prefix[start : start + min(count, _MAX_GPT_ENTRIES) * _GPT_ENTRY_BYTES]
    return {table[at : at + 16] for at in range(0, len(table), _GPT_ENTRY_BYTES)}


def _efi_type() -> bytes:
    """The type of an EFI system partition as a GPT writes it: mixed-endian."""
    first, second, third, fourth, node = ESP_TYPE.split("-")
    return struct.pack("<IHH", int(first, 16), int(second, 16), int(third, 16)) + bytes.fromhex(fourth + node)
