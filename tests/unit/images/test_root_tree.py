"""What is checked of a system that was built; the build itself is tests/e2e/test_image_build.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from vault.disks.images.debian_12 import DEBIAN_12
from vault.disks.images.disk_layout import PartitionIds
from vault.disks.images.root_tree import (
    _check,
    _lay_files,
    _lay_links,
    _lock_root,
    _remove_traces,
    _require_drivers,
    _resolve,
)
from vault.errors import IntegrityFailure

SHADOW = "root:*:20780:0:99999:7:::\ndaemon:*:20780:0:99999:7:::\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The parts of a system that are looked at."""
    root = tmp_path / "root"
    for folder in ("etc/ssh", "boot", "var/log"):
        (root / folder).mkdir(parents=True)
    (root / "etc/shadow").write_text(SHADOW)
    (root / "etc/shadow").chmod(0o640)
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    return root


def test_a_clean_system_is_taken(root: Path) -> None:
    _check(root)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("etc/ssh/ssh_host_rsa_key", "key", "SSH host keys"),
        ("etc/machine-id", "fbb28531fb80477f8946129bb6e08962\n", "a machine id"),
        ("etc/shadow", SHADOW + "olga:$y$j9T$x:20780:::::\n", "an account with a password"),
        ("etc/shadow", "root::20780::::::\n", "an account with a password"),
    ],
    ids=["host key", "machine id", "password", "empty password"],
)
def test_a_system_with_what_no_image_may_hold_is_refused(
    root: Path, name: str, content: str, what: str
) -> None:
    (root / name).write_text(content)
    with pytest.raises(IntegrityFailure, match=what):
        _check(root)


def test_a_system_with_the_hosts_resolver_is_refused(root: Path) -> None:
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    with pytest.raises(IntegrityFailure, match="resolver"):
        _check(root)


def test_traces_of_the_build_are_removed(root: Path) -> None:
    for name in ("etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub", "var/log/dpkg.log"):
        (root / name).write_text("of the build")
    (root / "etc/ssh/sshd_config").write_text("kept")
    _remove_traces(root)
    assert [path.name for path in (root / "etc/ssh").iterdir()] == ["sshd_config"]
    assert list((root / "var/log").iterdir()) == []


def test_root_is_locked_and_the_others_and_the_rights_stay(root: Path) -> None:
    _lock_root(root)
    assert (root / "etc/shadow").read_text() == SHADOW.replace("root:*:", "root:!*:")
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert not (root / "etc/shadow.new").exists()


def test_a_link_in_the_system_cannot_lead_our_files_out_of_it(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "etc/cloud").symlink_to(outside)
    with pytest.raises(IntegrityFailure, match="behind a link"):
        _lay_files(DEBIAN_12, PartitionIds(), root)
    assert list(outside.iterdir()) == []


def test_a_file_that_is_a_link_is_replaced_and_not_written_through(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "passwd"
    outside.write_text("of the host")
    (root / "etc/hostname").symlink_to(outside)
    _lay_files(DEBIAN_12, PartitionIds(), root)
    assert (root / "etc/hostname").read_text() == "debian\n"
    assert outside.read_text() == "of the host"


def test_files_and_links_of_the_recipe_are_laid_and_scripts_can_run(root: Path) -> None:
    ids = PartitionIds()
    _lay_files(DEBIAN_12, ids, root)
    _lay_links(DEBIAN_12, root)
    assert f"PARTUUID={ids.root_partition} / ext4" in (root / "etc/fstab").read_text()
    assert (root / "etc/initramfs-tools/hooks/strongroom").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/cloud/ds-identify.cfg").stat().st_mode & 0o777 == 0o644
    assert (root / "etc/systemd/system/apt-daily.timer").readlink() == Path("/dev/null")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "boot/absent", None])
def test_a_kernel_outside_the_system_is_refused(root: Path, target: str | None) -> None:
    if target is not None:
        (root / "vmlinuz").symlink_to(target)
    with pytest.raises(IntegrityFailure, match="no /vmlinuz"):
        _resolve(root, "vmlinuz")


def test_the_newest_kernel_is_found_through_its_link(root: Path) -> None:
    (root / "boot/vmlinuz-6.1").write_text("kernel")
    (root / "vmlinuz").symlink_to("boot/vmlinuz-6.1")
    assert _resolve(root, "vmlinuz") == root / "boot/vmlinuz-6.1"


def test_an_initrd_without_the_drivers_of_our_disks_is_refused(tmp_path: Path) -> None:
    listing = tmp_path / "initrd.txt"
    listing.write_text("usr/sbin/fsck\nusr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko\n")
    with pytest.raises(IntegrityFailure, match="virtio_pci"):
        _require_drivers(listing)
    listing.write_text(listing.read_text() + "usr/lib/modules/6.1/kernel/drivers/virtio/virtio_pci.ko.xz\n")
    _require_drivers(listing)


def test_a_recipe_that_lays_nothing_still_leaves_the_mount_point_of_the_efi_partition(root: Path) -> None:
    _lay_links(replace(DEBIAN_12, links={}, masked_units=()), root)
    assert (root / "boot/efi").is_dir()
