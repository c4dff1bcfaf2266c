import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.disks.images.boot_signature import PREFIX_BYTES, find_firmware
from vault.disks.images.disk_layout import ESP_TYPE, ROOT_TYPE
from vault.disks.images.model import Firmware


def mbr(*types: int) -> bytearray:
    disk = bytearray(PREFIX_BYTES)
    for index, kind in enumerate(types):
        disk[446 + 16 * index + 4] = kind
    disk[510:512] = b"\x55\xaa"
    return disk


def gpt(*types: str, first_sector: int = 2, entry_bytes: int = 128, count: int = 128) -> bytearray:
    disk = mbr(0xEE)
    disk[512:520] = b"EFI PART"
    struct.pack_into("<QII", disk, 512 + 72, first_sector, count, entry_bytes)
    for index, kind in enumerate(types):
        disk[1024 + 128 * index : 1024 + 128 * index + 16] = UUID(kind).bytes_le
    return disk


@pytest.mark.parametrize(
    ("disk", "firmware"),
    [
        (bytes(PREFIX_BYTES), None),
        (mbr(0x83), Firmware.BIOS),
        (mbr(0x83, 0xEF), Firmware.EFI),
        (gpt(ROOT_TYPE), Firmware.BIOS),
        (gpt(ROOT_TYPE, ESP_TYPE), Firmware.EFI),
        (gpt(*[ROOT_TYPE] * 120, ESP_TYPE), Firmware.EFI),
    ],
    ids=["no signature", "MBR", "MBR with EFI", "GPT without EFI", "GPT with EFI", "late entry"],
)
def test_the_first_sectors_say_what_can_start_the_disk(disk: bytes, firmware: Firmware | None) -> None:
    assert find_firmware(bytes(disk)) == firmware


@pytest.mark.parametrize(
    "disk",
    [
        gpt(ESP_TYPE, first_sector=2**63),
        gpt(ESP_TYPE, entry_bytes=0),
        gpt(ESP_TYPE, entry_bytes=2**31),
        gpt(ESP_TYPE, count=0),
        gpt(ESP_TYPE)[:600],
    ],
    ids=["table far away", "entries of nothing", "giant entries", "no entries", "cut"],
)
def test_a_hostile_table_is_only_a_boot_sector(disk: bytearray) -> None:
    assert find_firmware(bytes(disk)) == Firmware.BIOS


@given(st.binary(max_size=4096), st.binary(max_size=600))
def test_no_bytes_break_the_reader(start: bytes, header: bytes) -> None:
    find_firmware(start)
    find_firmware(bytes(mbr(0xEE))[:512] + b"EFI PART" + header)
