import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vault.errors import Conflict, HostFailure, HostUnprotected
from vault.guests.host_memory import (
    PERSISTENT_FOLDERS,
    HostLayout,
    check_host_memory,
    prepare_host_memory,
    require_host_memory,
    running_domains,
)
from vault.guests.mounts import Mount, active_swap, mount_under, never_swaps

pytestmark = pytest.mark.real


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[HostLayout]:
    """A host of its own: libvirt's folders as its package makes them, below a folder of the test's."""
    libvirt_dir = tmp_path / "lib/libvirt/qemu"
    for name in ("channel/target", "checkpoint", "dump", "nvram", "ram", "save", "snapshot"):
        (libvirt_dir / name).mkdir(parents=True)
    libvirt_dir.chmod(0o750)
    (libvirt_dir / "channel").chmod(0o750)
    os.chown(libvirt_dir / "ram", 12345, 12345)
    (libvirt_dir / "nvram/guest_VARS.fd").write_bytes(b"kept")
    (libvirt_dir / "snapshot/guest").mkdir()
    (tmp_path / "run/libvirt/qemu").mkdir(parents=True)
    device = tmp_path / "kvm"
    device.touch(0o600)
    found = HostLayout(
        libvirt_dir=libvirt_dir,
        state_dir=tmp_path / "run/libvirt/qemu",
        ram_dir=tmp_path / "run/strongroom",
        libvirt_pid_files=(tmp_path / "run/libvirtd.pid",),
        kvm_device=device,
    )
    yield found
    for path in (found.libvirt_dir, found.ram_dir, found.staging_dir):
        with contextlib.suppress(subprocess.CalledProcessError):
            while True:
                subprocess.run(["umount", "-R", path], check=True, capture_output=True)


def codes(layout: HostLayout) -> list[str]:
    return [finding.code for finding in check_host_memory(layout)]


def test_a_fresh_host_is_refused_and_told_what_to_do(layout: HostLayout) -> None:
    assert "host.libvirt_keys_on_disk" in codes(layout)
    assert "host.ram_folder_missing" in codes(layout)
    with pytest.raises(HostUnprotected, match="would leave disk keys") as refused:
        require_host_memory(layout)
    assert "doctor --fix" in refused.value.hint


def test_a_prepared_host_keeps_keys_in_memory_and_the_rest_on_disk(layout: HostLayout) -> None:
    assert prepare_host_memory(layout)
    assert codes(layout) == []
    require_host_memory(layout)
    assert file_system(layout.libvirt_dir) == "ramfs"
    assert file_system(layout.libvirt_dir / "channel/target") == "ramfs"
    assert file_system(layout.ram_dir) == "ramfs"
    for name in PERSISTENT_FOLDERS:
        assert file_system(layout.libvirt_dir / name) not in {"ramfs", "tmpfs"}
    assert (layout.libvirt_dir / "nvram/guest_VARS.fd").read_bytes() == b"kept"
    assert (layout.libvirt_dir / "snapshot/guest").is_dir()


def test_what_is_written_to_a_kept_folder_outlives_the_mount(layout: HostLayout) -> None:
    prepare_host_memory(layout)
    (layout.libvirt_dir / "nvram/new").write_bytes(b"new")
    (layout.libvirt_dir / "domain-1-x").mkdir()
    subprocess.run(["umount", "-R", layout.libvirt_dir], check=True)
    assert (layout.libvirt_dir / "nvram/new").read_bytes() == b"new"
    assert not (layout.libvirt_dir / "domain-1-x").exists(), "and what is not kept never touched the disk"


def test_guests_users_may_pass_and_not_list_and_owners_stay(layout: HostLayout) -> None:
    prepare_host_memory(layout)
    for name in ("", "channel", "channel/target"):
        assert (layout.libvirt_dir / name).stat().st_mode & 0o777 == 0o711
    assert (layout.libvirt_dir / "ram").stat().st_uid == 12345
    assert layout.kvm_device.stat().st_mode & 0o777 == 0o666


def test_preparing_again_changes_nothing(layout: HostLayout) -> None:
    prepare_host_memory(layout)
    before = mount_lines(layout)
    assert prepare_host_memory(layout) == []
    assert mount_lines(layout) == before


def test_an_interrupted_preparation_is_begun_anew(layout: HostLayout) -> None:
    layout.staging_dir.mkdir(parents=True)
    subprocess.run(["mount", "-t", "ramfs", "x", layout.staging_dir], check=True)
    (layout.staging_dir / "nvram").mkdir()
    subprocess.run(
        ["mount", "--bind", layout.libvirt_dir / "nvram", layout.staging_dir / "nvram"], check=True
    )
    prepare_host_memory(layout)
    assert codes(layout) == []
    assert not layout.staging_dir.exists()
    assert (layout.libvirt_dir / "nvram/guest_VARS.fd").read_bytes() == b"kept"


def test_key_files_that_a_power_cut_left_are_removed_from_the_disk(layout: HostLayout) -> None:
    left = layout.libvirt_dir / "domain-7-clinic-db"
    left.mkdir()
    (left / "master-key.aes").write_bytes(os.urandom(32))
    assert any("old key files" in sentence for sentence in prepare_host_memory(layout))
    subprocess.run(["umount", "-R", layout.libvirt_dir], check=True)
    assert not left.exists()


def test_while_a_guest_runs_nothing_is_mounted_over_its_files(layout: HostLayout) -> None:
    (layout.state_dir / "clinic-db.pid").write_text(f"{os.getpid()}\n")
    (layout.state_dir / "dead.pid").write_text("4194304\n")
    (layout.state_dir / "driver.pid").write_text(f"{os.getpid()}\n")
    assert running_domains(layout) == ["clinic-db"]
    with pytest.raises(Conflict, match="while guests run: clinic-db"):
        prepare_host_memory(layout)
    assert file_system(layout.libvirt_dir) != "ramfs"


def test_a_tmpfs_where_the_host_swaps_is_not_enough() -> None:
    def mount(file_system: str, *options: str) -> Mount:
        return Mount(Path("/x"), "/", 1, file_system, "x", frozenset(options))

    assert never_swaps(mount("ramfs"), ("/dev/sda2",))
    assert never_swaps(mount("tmpfs"), ())
    assert not never_swaps(mount("tmpfs"), ("/dev/sda2",))
    assert never_swaps(mount("tmpfs", "noswap"), ("/dev/sda2",))
    assert not never_swaps(mount("ext4"), ())


def test_swap_areas_are_read_from_the_kernel(tmp_path: Path) -> None:
    assert active_swap(tmp_path) == (), "a kernel without swap has no such file"
    (tmp_path / "swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n")
    assert active_swap(tmp_path) == ("/dev/sda2",)


def test_a_libvirt_that_sees_other_mounts_is_not_believed_to_be_safe(layout: HostLayout) -> None:
    elsewhere = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "60"])
    try:
        pid_file = layout.libvirt_pid_files[0]
        pid_file.write_text(str(elsewhere.pid))
        wait_for_own_mounts(elsewhere.pid)
        with pytest.raises(HostFailure, match="sees mounts of its own"):
            prepare_host_memory(layout)
        assert "host.libvirt_keys_on_disk" in codes(layout)
        pid_file.unlink()
        assert codes(layout) == []
    finally:
        elsewhere.kill()
        elsewhere.wait()


def test_a_host_without_libvirt_says_so(layout: HostLayout, tmp_path: Path) -> None:
    bare = HostLayout(libvirt_dir=tmp_path / "nothing", state_dir=layout.state_dir, ram_dir=layout.ram_dir)
    with pytest.raises(HostFailure, match="does not exist"):
        prepare_host_memory(bare)


def test_this_hosts_own_root_is_known() -> None:
    mount = mount_under(Path("/proc/self"))
    assert mount is not None
    assert mount.file_system == "proc"
    assert mount_under(Path("/no/such/path")) is None


def file_system(path: Path) -> str:
    mount = mount_under(path)
    assert mount is not None
    return mount.file_system


def mount_lines(layout: HostLayout) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return [
        line for line in table.splitlines() if re.search(re.escape(str(layout.libvirt_dir.parents[2])), line)
    ]


def wait_for_own_mounts(pid: int) -> None:
    ours = Path("/proc/self/ns/mnt").readlink()
    while Path(f"/proc/{pid}/ns/mnt").readlink() == ours:
        assert Path(f"/proc/{pid}").exists()
