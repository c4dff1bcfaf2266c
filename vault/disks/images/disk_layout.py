"""Puts a folder of files into a disk image with a GPT, without mounting anything and without loop devices.

First an EFI system partition, then the root file system, last so that it can grow with the disk. Root's partition
type is the one of the Discoverable Partitions Specification, by which systemd-repart finds it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from vault.disks.files import host_failure
from vault.disks.images.tools import run_tool

SECTOR_BYTES = 512
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # root of x86-64
ROOT_LABEL = "strongroom-root"
_MIB_SECTORS = 2048
_ESP_FIRST = _MIB_SECTORS
_ESP_SECTORS = 64 * _MIB_SECTORS
_ROOT_FIRST = _ESP_FIRST + _ESP_SECTORS
# Said in full because mke2fs of newer hosts adds features that the loader of an older guest cannot read.
_EXT4_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)


@dataclass(frozen=True, slots=True)
class PartitionIds:
    """Random names by which kernel, loader and fstab find the partitions; new for each image."""

    disk: str = field(default_factory=lambda: str(uuid4()))
    efi_partition: str = field(default_factory=lambda: str(uuid4()))
    root_partition: str = field(default_factory=lambda: str(uuid4()))
    root_filesystem: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class EspFile:
    """A file of the EFI system partition: where it goes, like `EFI/BOOT/BOOTX64.EFI`, and where it lies now."""

    name: str
    source: Path


def write_disk(
    disk: Path, size_bytes: int, ids: PartitionIds, root: Path, esp_files: Sequence[EspFile]
) -> None:
    """Make a raw disk image.

    Args:
        disk: the file to make.
        size_bytes: size of the disk, a multiple of 1 MiB.
        ids: names of the partitions.
        root: folder that becomes the root file system, owners and modes included.
        esp_files: what goes onto the EFI system partition.

    Raises:
        HostFailure: a program is missing or failed, or there is no space left.
    """
    try:
        with disk.open("xb") as stream:
            stream.truncate(size_bytes)
    except OSError as error:
        raise host_failure(error, disk) from error
    # The last MiB is for the backup table.
    root_sectors = size_bytes // SECTOR_BYTES - _ROOT_FIRST - _MIB_SECTORS
    table = (
        f"label: gpt\nlabel-id: {ids.disk}\nfirst-lba: {_MIB_SECTORS}\n"
        f"start={_ESP_FIRST}, size={_ESP_SECTORS}, type={ESP_TYPE}, uuid={ids.efi_partition}, name=esp\n"
        f"start={_ROOT_FIRST}, size={root_sectors}, type={ROOT_TYPE}, uuid={ids.root_partition}, name=root\n"
    )
    run_tool(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk],
        "partition the image",
        stdin_text=table,
    )
    run_tool(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-O", _EXT4_FEATURES, "-m", "1"),
            *("-U", ids.root_filesystem, "-L", ROOT_LABEL),
            *("-E", f"offset={_ROOT_FIRST * SECTOR_BYTES},lazy_itable_init=1,root_owner=0:0"),
            *("-d", root, disk, f"{root_sectors * SECTOR_BYTES // 1024}k"),
        ],
        "make the root file system",
    )
    _write_esp(disk, esp_files)


def _write_esp(disk: Path, esp_files: Sequence[EspFile]) -> None:
    """Make the EFI system partition in a file of its own, then copy it to its place."""
    esp = disk.with_suffix(".esp")
    try:
        with esp.open("xb") as stream:
            stream.truncate(_ESP_SECTORS * SECTOR_BYTES)
        run_tool(["mkfs.vfat", "-F", "32", "-n", "ESP", esp], "make the EFI system partition")
        folders = sorted({str(folder) for file in esp_files for folder in Path(file.name).parents} - {"."})
        run_tool(["mmd", "-i", esp, *(f"::{folder}" for folder in folders)], "make the EFI folders")
        for file in esp_files:
            run_tool(["mcopy", "-i", esp, file.source, f"::{file.name}"], "write the EFI loader")
        with esp.open("rb") as source, disk.open("r+b") as target:
            target.seek(_ESP_FIRST * SECTOR_BYTES)
            hole = bytes(_MIB_SECTORS * SECTOR_BYTES)
            while block := source.read(len(hole)):
                if block != hole:
                    target.write(block)
                else:
                    target.seek(len(block), os.SEEK_CUR)
        esp.unlink()
    except OSError as error:
        raise host_failure(error, disk) from error
