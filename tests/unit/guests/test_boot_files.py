import os
import time
from pathlib import Path

import pytest

from vault.errors import HostFailure
from vault.guests.boot_files import private_boot_files
from vault.guests.daemon_run import this_run
from vault.guests.domain_xml import DirectBoot


@pytest.fixture
def boot(tmp_path: Path) -> DirectBoot:
    for name in ("vmlinuz", "initrd.img"):
        (tmp_path / name).write_bytes(name.encode())
    return DirectBoot(tmp_path / "vmlinuz", tmp_path / "initrd.img", "quiet")


@pytest.fixture
def ram_dir(tmp_path: Path) -> Path:
    (tmp_path / "ram").mkdir()
    return tmp_path / "ram"


def test_a_start_has_copies_of_its_own_for_as_long_as_it_takes(boot: DirectBoot, ram_dir: Path) -> None:
    with private_boot_files(boot, ram_dir) as copies, private_boot_files(boot, ram_dir) as others:
        assert copies is not None
        assert others is not None
        assert copies.kernel.read_bytes() == b"vmlinuz"
        assert copies.initrd.read_bytes() == b"initrd.img"
        assert copies.kernel != others.kernel
        assert copies.command_line == boot.command_line
        assert copies.kernel.stat().st_mode & 0o777 == 0o644
        assert copies.kernel.parent.stat().st_mode & 0o777 == 0o711
    assert list(ram_dir.iterdir()) == []


def test_a_start_that_fails_leaves_no_copies(boot: DirectBoot, ram_dir: Path) -> None:
    with pytest.raises(KeyboardInterrupt), private_boot_files(boot, ram_dir):
        raise KeyboardInterrupt
    assert list(ram_dir.iterdir()) == []


def test_what_a_killed_daemon_left_long_ago_goes_away_and_a_start_under_way_stays(
    boot: DirectBoot, ram_dir: Path
) -> None:
    old, recent, other = ram_dir / "boot-old", ram_dir / "boot-recent", ram_dir / "main"
    for folder in (old, recent, other):
        folder.mkdir()
    long_ago = time.time() - 3600
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    with private_boot_files(boot, ram_dir):
        pass
    assert sorted(ram_dir.iterdir()) == [recent, other]


def test_a_missing_kernel_is_named(boot: DirectBoot, ram_dir: Path) -> None:
    boot.kernel.unlink()
    with pytest.raises(HostFailure, match="vmlinuz"), private_boot_files(boot, ram_dir):
        pass
    assert list(ram_dir.iterdir()) == []


def test_without_memory_for_them_there_is_no_start(boot: DirectBoot, tmp_path: Path) -> None:
    with pytest.raises(HostFailure, match="cannot be written to"), private_boot_files(boot, tmp_path / "no"):
        pass


def test_a_guest_that_boots_by_firmware_has_none(ram_dir: Path) -> None:
    with private_boot_files(None, ram_dir) as copies:
        assert copies is None


def test_a_run_has_one_name_and_another_process_another() -> None:
    assert this_run() == this_run()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, this_run().encode())
        os._exit(0)
    os.close(writer)
    other = os.read(reader, 100).decode()
    os.close(reader)
    os.wait()
    assert other
    assert other != this_run()
