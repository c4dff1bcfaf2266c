import re
import subprocess
import sys
from pathlib import Path

import pytest

from vault.errors import HostFailure
from vault.guests.boot_files import private_boot_files
from vault.guests.daemon_run import is_over, this_run
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


def test_what_a_killed_daemon_left_goes_away_and_a_start_under_way_stays(
    boot: DirectBoot, ram_dir: Path
) -> None:
    pid, _, began = this_run().partition("-")
    under_way = ram_dir / f"boot.{this_run()}.abc"
    gone = [ram_dir / f"boot.{run}.abc" for run in ("4194304-7", f"{pid}-{int(began) + 1}", "no-run", "")]
    others = ram_dir / "main"
    for folder in (under_way, others, *gone):
        folder.mkdir()
    with private_boot_files(boot, ram_dir):
        pass
    assert sorted(ram_dir.iterdir()) == [under_way, others]


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
    told = subprocess.run(
        [sys.executable, "-c", "from vault.guests.daemon_run import this_run; print(this_run())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    ).stdout
    assert re.fullmatch(r"[0-9]+-[0-9]+\n", told)
    assert told.strip() != this_run()
    assert is_over(told.strip())
    assert not is_over(this_run())
