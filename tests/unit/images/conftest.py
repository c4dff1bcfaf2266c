"""Small disks, a builder that builds nothing real, and memory that counts as ramfs."""

import os
import struct
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from policies.vocabulary import EntityRef, EntityType
from vault.disks.images.image_build import describe
from vault.disks.images.model import DISK_FILE, INITRD_FILE, KERNEL_FILE, Firmware, Image, Source
from vault.disks.images.recipe import Recipe
from vault.disks.images.store import ImageStore
from vault.disks.ram_dir import RamDir
from vault.jobs import Progress

SITE = EntityRef(EntityType.SITE, "site")
MIB = 1024**2


class FakeBuilder:
    """Writes three small files in place of a system, counts how often, and can break at each step."""

    def __init__(self) -> None:
        self.built = 0
        self.fails_with: BaseException | None = None

    def __call__(self, recipe: Recipe, folder: Path, progress: Progress) -> Image:
        self.built += 1
        (folder / DISK_FILE).write_bytes(f"disk {self.built}".encode())
        if self.fails_with is not None:
            raise self.fails_with
        (folder / KERNEL_FILE).write_bytes(b"kernel")
        (folder / INITRD_FILE).write_bytes(b"initrd")
        progress(90, "Nearly there.")
        return describe(
            Image(
                folder=folder,
                id=str(uuid4()),
                name=recipe.name,
                os=recipe.os,
                created_at=datetime.now(UTC),
                source=Source.BUILT,
                recipe_sha256=recipe.digest,
                virtual_size_bytes=recipe.disk_bytes,
                firmware=Firmware.EFI,
                kernel_options="root=PARTUUID=x rw",
                files={},
            )
        )


@pytest.fixture
def builder() -> FakeBuilder:
    return FakeBuilder()


@pytest.fixture
def store(tmp_path: Path, builder: FakeBuilder) -> ImageStore:
    return ImageStore(tmp_path / "images", tmp_path / "cache", builder)


@pytest.fixture
def raw_disk(tmp_path: Path) -> Path:
    """A disk of 4 MiB with a boot sector and one partition, as BIOS firmware would start it."""
    path = tmp_path / "disk.raw"
    sector = bytearray(512)
    struct.pack_into("<B3xB3xII", sector, 446, 0x80, 0x83, 2048, 4096)
    sector[510:] = b"\x55\xaa"
    with path.open("wb") as stream:
        stream.write(sector)
        stream.seek(MIB)
        stream.write(b"what the guest sees")
        stream.truncate(4 * MIB)
    return path


QemuImg = Callable[..., Path]


@pytest.fixture
def qemu_img(tmp_path: Path) -> QemuImg:
    """Runs qemu-img; the last argument is the file it makes, below the test's folder."""

    def run(*arguments: str | Path, name: str) -> Path:
        path = tmp_path / name
        subprocess.run(["qemu-img", *arguments, path], check=True, capture_output=True)
        return path

    return run


@pytest.fixture
def qcow2_disk(raw_disk: Path, qemu_img: QemuImg) -> Path:
    return qemu_img("convert", "-f", "raw", "-O", "qcow2", raw_disk, name="disk.qcow2")


@pytest.fixture
def memory(tmp_path: Path) -> RamDir:
    """A folder that the mount table calls ramfs."""
    mounts, swaps = tmp_path / "mountinfo", tmp_path / "swaps"
    device = tmp_path.stat().st_dev
    mounts.write_text(f"30 1 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - ramfs none rw\n")
    swaps.write_text("Filename\tType\tSize\tUsed\tPriority\n")
    return RamDir(tmp_path / "memory", mounts=mounts, swaps=swaps)
