import os
from pathlib import Path

import pytest

from vault.errors import HostFailure
from vault.guests.domain_xml import PlannedDisk
from vault.guests.file_reach import require_reachable

UID = os.getuid()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "root.qcow2"
    path.touch(0o600)
    return path


def check(path: Path, uid: int = UID) -> None:
    require_reachable([PlannedDisk("vda", path)], uid)


def test_a_disk_of_the_guests_user_is_reached(disk: Path) -> None:
    check(disk)


def test_a_missing_disk_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostFailure, match="is not there"):
        check(tmp_path / "nothing.qcow2")


def test_a_link_in_place_of_the_disk_is_refused(disk: Path) -> None:
    link = disk.with_name("link.qcow2")
    link.symlink_to(disk)
    with pytest.raises(HostFailure, match="not an ordinary file"):
        check(link)


def test_a_disk_of_somebody_else_is_refused_with_the_command_that_mends_it() -> None:
    passable = Path("/etc/passwd")  # everybody may pass to it, and it is root's
    with pytest.raises(HostFailure, match="does not belong to the guest's user 2000000123") as refused:
        check(passable, 2_000_000_123)
    assert "chown 2000000123:2000000123" in refused.value.hint


def test_a_closed_folder_above_the_disk_is_named(disk: Path) -> None:
    disk.parent.chmod(0o700)
    with pytest.raises(HostFailure, match="who may not enter") as refused:
        check(disk, UID + 1)
    assert "/var/lib/strongroom" in refused.value.hint
