import os
from pathlib import Path

import pytest

from vault.disks.ram_dir import RamDir
from vault.errors import HostFailure, HostUnprotected

NO_SWAP = "Filename\tType\tSize\tUsed\tPriority\n"
SWAP = NO_SWAP + "/dev/sda2\tpartition\t1048572\t0\t-2\n"


def mount_table(folder: Path, kind: str, options: str = "rw") -> str:
    device = folder.stat().st_dev
    return (
        f"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"30 21 {os.major(device)}:{os.minor(device)} / {folder} rw,nosuid shared:5 - {kind} none {options}\n"
    )


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def ram_dir_on(folder: Path, kind: str, swaps: str, options: str = "rw") -> RamDir:
    return RamDir(
        folder / "memory",
        mounts=written(folder, "mountinfo", mount_table(folder, kind, options)),
        swaps=written(folder, "swaps", swaps),
    )


def test_a_folder_on_a_real_ramfs_is_taken(memory: Path) -> None:
    folder = memory / "a folder"
    assert RamDir(folder).folder == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_on_the_disk_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(HostUnprotected, match="lies on a disk") as refusal:
        RamDir(tmp_path / "memory")
    assert "mount -t ramfs" in refusal.value.hint


@pytest.mark.parametrize(
    ("kind", "swaps", "options"),
    [("ramfs", SWAP, "rw"), ("tmpfs", NO_SWAP, "rw"), ("tmpfs", SWAP, "rw,noswap,size=4k")],
    ids=["ramfs never swaps", "tmpfs without swap", "tmpfs mounted noswap"],
)
def test_memory_that_does_not_swap_is_taken(tmp_path: Path, kind: str, swaps: str, options: str) -> None:
    assert ram_dir_on(tmp_path, kind, swaps, options).folder.is_dir()


@pytest.mark.parametrize(
    ("kind", "swaps", "why"),
    [("tmpfs", SWAP, "may be swapped"), ("ext4", NO_SWAP, "on a disk"), ("overlay", NO_SWAP, "on a disk")],
)
def test_memory_that_swaps_and_disks_are_refused(tmp_path: Path, kind: str, swaps: str, why: str) -> None:
    with pytest.raises(HostUnprotected, match=why):
        ram_dir_on(tmp_path, kind, swaps)


def test_a_file_system_the_kernel_does_not_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostUnprotected):
        RamDir(
            tmp_path / "memory",
            mounts=written(tmp_path, "mountinfo", "21 1 0:999 / / rw - tmpfs none rw\n"),
            swaps=written(tmp_path, "swaps", NO_SWAP),
        )


def test_a_folder_that_others_may_enter_or_a_link_is_refused(memory: Path) -> None:
    (memory / "open").mkdir()
    (memory / "open").chmod(0o711)
    with pytest.raises(HostUnprotected, match="Others may enter") as refusal:
        RamDir(memory / "open")
    assert f"chmod 700 {memory / 'open'}" in refusal.value.hint
    RamDir(memory / "private")
    (memory / "link").symlink_to(memory / "private")
    with pytest.raises(HostUnprotected):
        RamDir(memory / "link")
    (memory / "theirs").mkdir(mode=0o700)
    os.chown(memory / "theirs", 65534, 65534)
    with pytest.raises(HostUnprotected):
        RamDir(memory / "theirs")


def test_a_folder_without_a_parent_is_a_clear_failure(memory: Path) -> None:
    with pytest.raises(HostFailure, match="does not exist"):
        RamDir(memory / "no" / "folder")


def test_a_file_is_private_and_gone_after_its_block(memory: Path) -> None:
    ram_dir = RamDir(memory / "files")
    with ram_dir.file(b"secret", size_bytes=1024) as path:
        assert path.read_bytes() == b"secret".ljust(1024, b"\0")
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(ram_dir.folder.iterdir()) == []


def link_and_fail(path: Path, to: Path) -> None:
    os.link(path, to)
    raise ZeroDivisionError


def test_a_file_is_overwritten_before_it_is_removed_also_after_a_failure(memory: Path) -> None:
    ram_dir = RamDir(memory / "wiped")
    with pytest.raises(ZeroDivisionError), ram_dir.file(b"secret" * 1000) as path:
        link_and_fail(path, memory / "still-there")
    assert not any((memory / "still-there").read_bytes())
    assert list(ram_dir.folder.iterdir()) == []


def test_sweeping_removes_what_a_killed_process_left(memory: Path) -> None:
    ram_dir = RamDir(memory / "swept")
    (ram_dir.folder / "left-1").write_bytes(b"x")
    (ram_dir.folder / "left-2").write_bytes(b"x")
    assert ram_dir.sweep() == 2
    assert ram_dir.sweep() == 0
    (ram_dir.folder / "a folder").mkdir()
    with pytest.raises(HostFailure):
        ram_dir.sweep()
