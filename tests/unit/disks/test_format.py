"""The disk formatter, judged by qemu-img and cryptsetup themselves."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import closed, permit_for
from tests.unit.disks import qemu
from vault.disks.erase import erase_disk, remove_parts
from vault.disks.format import MIN_DISK_BYTES, DiskFormatter
from vault.disks.measure import measure_disk
from vault.disks.ram_dir import RamDir
from vault.disks.template import TemplateCache
from vault.errors import BadInput, Conflict, HostFailure, IntegrityFailure, PermitRefused
from vault.keystore.secret import DiskPassphrase

pytestmark = pytest.mark.real

GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
OTHER_GUEST = EntityRef(EntityType.GUEST, "c4b2e7d3-0d64-4a1b-9045-7a3a2d9e1f02")
CREATE = permit_for(Action.GUEST_CREATE, GUEST)
DELETE = permit_for(Action.GUEST_DELETE, GUEST)
GIB = 1024**3
MIB = 1024**2


@pytest.fixture
def disk(formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path) -> Path:
    path = tmp_path / "root.qcow2"
    formatter.create_encrypted_disk(CREATE, GUEST, path, 10 * GIB, passphrase)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A qcow2 image with 3 MiB of data at its beginning and its end, and nothing between."""
    raw = tmp_path / "image.raw"
    with raw.open("wb") as stream:
        stream.write(b"marker at the beginning".ljust(3 * MIB, b"a"))
        stream.seek(60 * MIB)
        stream.write(b"b" * (4 * MIB))
    path = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    return path


# -- a new disk --------------------------------------------------------------------------------


def test_a_new_disk_opens_with_its_passphrase_and_with_no_other(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    assert qemu.qemu_img("check", disk, passphrase.reveal(), tmp_path).returncode == 0
    for wrong in (b"another passphrase", passphrase.reveal() + b"\n", passphrase.reveal()[:-1], b""):
        refused = qemu.qemu_img("check", disk, wrong, tmp_path)
        assert refused.returncode != 0
        assert "nvalid password" in refused.stderr


def test_qemu_img_check_finds_a_new_disk_clean(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    checked = qemu.qemu_img("check", disk, passphrase.reveal(), tmp_path)
    assert "No errors were found on the image." in checked.stdout


def test_luks_dump_of_the_extracted_header_shows_aes_256_in_xts(disk: Path, tmp_path: Path) -> None:
    dump = qemu.luks_dump(qemu.luks_header(disk, tmp_path))
    assert re.search(r"Cipher name:\s+aes\n", dump)
    assert re.search(r"Cipher mode:\s+xts-plain64\n", dump)
    assert re.search(r"MK bits:\s+512\n", dump)
    assert re.search(r"Hash spec:\s+sha256\n", dump)
    assert dump.count("ENABLED") == 1
    assert dump.count("DISABLED") == 7


def test_the_templates_throw_away_passphrase_leaves_nothing_behind(
    disk: Path, template_dir: Path, tmp_path: Path
) -> None:
    template = TemplateCache(template_dir).get()
    header = qemu.luks_header(disk, tmp_path).read_bytes()
    old = template.content[template.luks.offset : template.luks.offset + template.luks.length]
    # Digest and salt of the master key, salt of keyslot 0, and every block of key material that holds anything.
    secrets = [old[112:132], old[132:164], old[216:248]]
    secrets += [old[i : i + 4096] for i in range(4096, len(old), 4096) if any(old[i : i + 4096])]
    assert len(secrets) > 60
    assert not [secret for secret in secrets if secret in header]


def test_two_disks_with_the_same_passphrase_share_no_key(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    first, second = (
        formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / name, GIB, passphrase)
        for name in ("a", "b")
    )
    assert first.header_sha256 != second.header_sha256
    assert first.uuid != second.uuid


def test_only_we_may_read_a_new_disk_whatever_the_umask(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", GIB, passphrase)
    finally:
        os.umask(before)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "d").stat().st_nlink == 1


def test_creation_leaves_neither_parts_nor_anything_in_memory(
    disk: Path, tmp_path: Path, ram_dir: RamDir
) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [disk.name]
    assert list(ram_dir.folder.iterdir()) == []


def test_a_folder_with_odd_characters_is_taken_as_it_is(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    folder = tmp_path / "a,b=c json:{} ü"
    folder.mkdir()
    formatter.create_encrypted_disk(CREATE, GUEST, folder / "d", GIB, passphrase)
    assert measure_disk(folder / "d").encrypted


@pytest.mark.parametrize("size_bytes", [0, -512, 511, MIB, MIN_DISK_BYTES + 1, 17 * 1024**4])
def test_a_size_that_cannot_be_is_bad_input_and_makes_nothing(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, size_bytes: int
) -> None:
    with pytest.raises(BadInput, match="cannot have"):
        formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", size_bytes, passphrase)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_left_alone(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(Conflict, match="exists already"):
            formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / name, GIB, passphrase)
    assert (tmp_path / "file").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_missing_folder_is_a_host_failure_with_a_sentence(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    with pytest.raises(HostFailure, match="does not exist"):
        formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "no" / "d", GIB, passphrase)


@pytest.mark.parametrize("missing", ["qemu_img", "cryptsetup"])
def test_a_program_that_is_not_installed_is_named_with_its_package(
    template_dir: Path, ram_dir: RamDir, passphrase: DiskPassphrase, tmp_path: Path, missing: str
) -> None:
    absent = str(tmp_path / "absent")
    DiskFormatter(template_dir, ram_dir).prepare()
    broken = (
        DiskFormatter(template_dir, ram_dir, qemu_img=absent)
        if missing == "qemu_img"
        else DiskFormatter(template_dir, ram_dir, cryptsetup=absent)
    )
    with pytest.raises(HostFailure, match="is not installed") as failure:
        broken.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", GIB, passphrase)
    assert "apt-get install" in failure.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_a_host_failure_and_leaves_nothing(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path
) -> None:
    device = tmp_path / "device"
    device.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", device], check=True)
    try:
        with pytest.raises(HostFailure, match="no space left"):
            formatter.create_encrypted_disk(CREATE, GUEST, device / "d", GIB, passphrase)
        assert list(device.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=4m", device], check=True)
        formatter.create_encrypted_disk(CREATE, GUEST, device / "d", GIB, passphrase)
        with pytest.raises(HostFailure, match="no space left"):
            formatter.write_image_into(CREATE, GUEST, image, device / "d", passphrase)
        assert list(device.iterdir()) == []
    finally:
        subprocess.run(["umount", device], check=True)


def test_no_disk_is_made_without_a_fitting_open_permit(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path, disk: Path
) -> None:
    for permit in (
        permit_for(Action.GUEST_CREATE, OTHER_GUEST),
        permit_for(Action.GUEST_START, GUEST),
        closed(permit_for(Action.GUEST_CREATE, GUEST)),
    ):
        with pytest.raises(PermitRefused):
            formatter.create_encrypted_disk(permit, GUEST, tmp_path / "d", GIB, passphrase)
        with pytest.raises(PermitRefused):
            formatter.write_image_into(permit, GUEST, image, disk, passphrase)
        with pytest.raises(PermitRefused):
            formatter.write_seed(permit, GUEST, tmp_path / "d", b"seed", passphrase)
        with pytest.raises(PermitRefused):
            erase_disk(permit, GUEST, disk)
        with pytest.raises(PermitRefused):
            remove_parts(permit, GUEST, tmp_path)
    assert measure_disk(disk).encrypted
    assert not (tmp_path / "d").exists()


# -- the passphrase on its way -------------------------------------------------------------------

SPY = """#!/bin/sh
{ tr '\\0' ' ' < /proc/$$/cmdline; tr '\\0' ' ' < /proc/$$/environ; echo; } >> "$(dirname "$0")/seen"
exec @PROGRAM@ "$@"
"""


def test_the_passphrase_is_in_no_argument_environment_or_file(
    template_dir: Path, ram_dir: RamDir, passphrase: DiskPassphrase, tmp_path: Path, image: Path
) -> None:
    spies = tmp_path / "spies"
    spies.mkdir()
    for program, real in (("qemu-img", "/usr/bin/qemu-img"), ("cryptsetup", "/usr/sbin/cryptsetup")):
        spy = spies / program
        spy.write_text(SPY.replace("@PROGRAM@", real))
        spy.chmod(0o755)
    formatter = DiskFormatter(
        template_dir, ram_dir, qemu_img=str(spies / "qemu-img"), cryptsetup=str(spies / "cryptsetup")
    )
    formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", GIB, passphrase)
    formatter.write_image_into(CREATE, GUEST, image, tmp_path / "d", passphrase)
    seen = (spies / "seen").read_bytes()
    assert seen.count(b"\n") == 3  # luksFormat, resize, convert
    assert b"luksFormat" in seen
    assert passphrase.reveal() not in seen
    for folder in (tmp_path, template_dir, ram_dir.folder):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            assert passphrase.reveal() not in file.read_bytes(), file


# -- an image in a disk --------------------------------------------------------------------------


def test_an_image_comes_back_from_the_disk_byte_for_byte(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path
) -> None:
    disk = tmp_path / "d"
    before = formatter.create_encrypted_disk(CREATE, GUEST, disk, 80 * MIB, passphrase)
    seen: list[int] = []
    formatter.write_image_into(CREATE, GUEST, image, disk, passphrase, progress=seen.append)
    content = qemu.read_back(disk, passphrase.reveal(), tmp_path)
    raw = (tmp_path / "image.raw").read_bytes()
    assert content == raw.ljust(80 * MIB, b"\0")
    assert "No errors" in qemu.qemu_img("check", disk, passphrase.reveal(), tmp_path).stdout
    assert seen == sorted(set(seen))
    assert seen[-1] == 1000
    assert measure_disk(disk).header_sha256 == before.header_sha256


def test_nothing_of_an_image_is_readable_in_the_disks_file(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path
) -> None:
    disk = tmp_path / "d"
    formatter.create_encrypted_disk(CREATE, GUEST, disk, 80 * MIB, passphrase)
    formatter.write_image_into(CREATE, GUEST, image, disk, passphrase)
    content = disk.read_bytes()
    assert b"marker at the beginning" not in content
    assert b"a" * 64 not in content
    assert b"b" * 64 not in content


def test_what_an_image_does_not_use_takes_no_space(
    formatter: DiskFormatter, passphrase: DiskPassphrase, image: Path, disk: Path
) -> None:
    formatter.write_image_into(CREATE, GUEST, image, disk, passphrase)
    assert disk.stat().st_size < 12 * MIB  # of 10 GiB


def test_a_raw_image_is_written_as_it_is(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    raw = tmp_path / "image"
    raw.write_bytes(b"QFI\xfb pretends to be qcow2".ljust(MIB, b"x"))
    formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", 2 * MIB, passphrase)
    formatter.write_image_into(CREATE, GUEST, raw, tmp_path / "d", passphrase, source_format="raw")
    assert qemu.read_back(tmp_path / "d", passphrase.reveal(), tmp_path)[:MIB] == raw.read_bytes()


def test_an_image_larger_than_the_disk_is_bad_input_and_the_disk_stays(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path
) -> None:
    formatter.create_encrypted_disk(CREATE, GUEST, tmp_path / "d", 32 * MIB, passphrase)
    with pytest.raises(BadInput, match="more than the disk"):
        formatter.write_image_into(CREATE, GUEST, image, tmp_path / "d", passphrase)
    assert measure_disk(tmp_path / "d").encrypted


def test_an_image_of_another_kind_or_with_a_backing_file_is_bad_input(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path, disk: Path
) -> None:
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", overlay], check=True
    )
    with pytest.raises(BadInput, match="another file"):
        formatter.write_image_into(CREATE, GUEST, overlay, disk, passphrase)
    with pytest.raises(BadInput, match="neither qcow2 nor raw"):
        formatter.write_image_into(CREATE, GUEST, tmp_path / "image.raw", disk, passphrase)
    with pytest.raises(BadInput, match="neither qcow2 nor raw"):
        formatter.write_image_into(CREATE, GUEST, image, disk, passphrase, source_format="vmdk")


def test_a_disk_that_holds_data_is_not_written_over(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path, disk: Path
) -> None:
    formatter.write_image_into(CREATE, GUEST, image, disk, passphrase)
    with pytest.raises(Conflict, match="holds data"):
        formatter.write_image_into(CREATE, GUEST, image, disk, passphrase)
    assert "No errors" in qemu.qemu_img("check", disk, passphrase.reveal(), tmp_path).stdout


def test_with_a_wrong_passphrase_nothing_is_written_and_no_disk_is_left(
    formatter: DiskFormatter, tmp_path: Path, image: Path, disk: Path
) -> None:
    with pytest.raises(HostFailure, match="could not write the image") as failure:
        formatter.write_image_into(CREATE, GUEST, image, disk, DiskPassphrase(b"another-passphrase"))
    assert "another-passphrase" not in f"{failure.value} {failure.value.hint}"
    assert not disk.exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_caller_who_stops_the_copy_gets_a_whole_stop(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, image: Path, disk: Path
) -> None:
    class CancelledError(Exception):
        pass

    def cancel(_per_mille: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        formatter.write_image_into(CREATE, GUEST, image, disk, passphrase, progress=cancel)
    assert not disk.exists()
    assert not list(tmp_path.glob("*.part"))


# -- a seed ----------------------------------------------------------------------------------


def test_a_seed_comes_back_and_its_bytes_touch_no_disk(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path, ram_dir: RamDir
) -> None:
    content = b"#cloud-config\nthe marker of a seed\n" * 100
    measured = formatter.write_seed(CREATE, GUEST, tmp_path / "seed.qcow2", content, passphrase)
    assert measured.encrypted
    assert b"the marker of a seed" not in (tmp_path / "seed.qcow2").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["seed.qcow2"]
    assert list(ram_dir.folder.iterdir()) == []
    back = qemu.read_back(tmp_path / "seed.qcow2", passphrase.reveal(), tmp_path)
    assert back == content.ljust(MIN_DISK_BYTES, b"\0")


def test_a_seed_of_nothing_or_of_too_much_is_bad_input(
    formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    for content in (b"", bytes(64 * MIB + 1)):
        with pytest.raises(BadInput, match="A seed has"):
            formatter.write_seed(CREATE, GUEST, tmp_path / "s", content, passphrase)
    assert list(tmp_path.iterdir()) == []


# -- killed in the middle --------------------------------------------------------------------

WRITER = """
import os, sys
from pathlib import Path
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import permit_for
from vault.disks.format import DiskFormatter
from vault.disks.ram_dir import RamDir
from vault.keystore.secret import DiskPassphrase
guest = EntityRef(EntityType.GUEST, sys.argv[1])
permit = permit_for(Action.GUEST_CREATE, guest)
folder = Path(sys.argv[2])
formatter = DiskFormatter(Path(sys.argv[3]), RamDir(Path(sys.argv[4])))
key = DiskPassphrase(b"a-passphrase-for-a-killed-writer")
print("ready", flush=True)
formatter.create_encrypted_disk(permit, guest, folder / "d", 64 << 20, key)
formatter.write_image_into(permit, guest, Path(sys.argv[5]), folder / "d", key)
print("done", flush=True)
"""


@pytest.mark.parametrize("delay_ms", [0, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100])
def test_a_kill_at_any_moment_leaves_a_whole_disk_or_parts_that_recovery_removes(
    template_dir: Path, ram_dir: RamDir, tmp_path: Path, image: Path, delay_ms: int
) -> None:
    DiskFormatter(template_dir, ram_dir).prepare()
    folder = tmp_path / "guest"
    folder.mkdir()
    arguments = [GUEST.id, *map(str, (folder, template_dir, ram_dir.folder.parent / "killed", image))]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay_ms / 1000)
        os.killpg(writer.pid, signal.SIGKILL)
    names = {path.name for path in folder.iterdir()}
    assert {name for name in names if not name.endswith(".part")} <= {"d"}
    removed = remove_parts(CREATE, GUEST, folder)
    assert set(removed) == names - {"d"}
    if "d" in names:
        assert measure_disk(folder / "d").encrypted
        key = b"a-passphrase-for-a-killed-writer"
        assert qemu.qemu_img("check", folder / "d", key, tmp_path).returncode == 0
    RamDir(ram_dir.folder.parent / "killed").sweep()
    assert list((ram_dir.folder.parent / "killed").iterdir()) == []


# -- erasing ---------------------------------------------------------------------------------


def test_an_erased_disk_is_gone_and_its_header_is_gone_from_every_link_to_it(
    passphrase: DiskPassphrase, disk: Path, tmp_path: Path
) -> None:
    """A hard link shows what the blocks on the device hold after the erasure."""
    os.link(disk, tmp_path / "what-a-thief-finds")
    header = qemu.luks_header(disk, tmp_path)
    assert qemu.opens(header, passphrase.reveal())
    erased = erase_disk(DELETE, GUEST, disk)
    assert erased.existed
    assert erased.erased_bytes >= 262144 + 2068480
    assert not disk.exists()
    found = (tmp_path / "what-a-thief-finds").read_bytes()
    assert not any(found[: erased.erased_bytes])
    material = header.read_bytes()
    sectors = {found[i : i + 512] for i in range(0, len(found), 512)}
    assert not [i for i in range(0, len(material), 512) if any(m := material[i : i + 512]) and m in sectors]


def test_erasing_can_be_done_again_after_a_kill(disk: Path) -> None:
    erase_disk(DELETE, GUEST, disk)
    again = erase_disk(DELETE, GUEST, disk)
    assert (again.existed, again.erased_bytes) == (False, 0)


def test_erasing_refuses_a_link_and_leaves_what_it_points_to(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(disk)
    with pytest.raises(HostFailure, match="is a link"):
        erase_disk(DELETE, GUEST, tmp_path / "link")
    assert measure_disk(disk).encrypted


def test_a_disk_whose_qcow2_header_was_destroyed_is_erased_all_the_same(
    passphrase: DiskPassphrase, disk: Path, tmp_path: Path
) -> None:
    """A guest that broke out could hide its keyslots from the erasure by breaking the header before them."""
    os.link(disk, tmp_path / "what-a-thief-finds")
    header = qemu.luks_header(disk, tmp_path)
    with disk.open("r+b") as stream:
        stream.write(b"XXXX")
    erase_disk(DELETE, GUEST, disk)
    found = (tmp_path / "what-a-thief-finds").read_bytes()
    assert qemu.opens(header, passphrase.reveal())
    assert header.read_bytes()[:592] not in found


def test_nothing_to_recover_is_no_error(tmp_path: Path) -> None:
    assert remove_parts(DELETE, GUEST, tmp_path / "no such folder") == ()
    assert remove_parts(DELETE, GUEST, tmp_path) == ()


# -- the template ----------------------------------------------------------------------------

FAILS_TWICE = """#!/bin/sh
count="$(dirname "$0")/count"
echo x >> "$count"
if [ "$(wc -l < "$count")" -le @FAILURES@ ]; then
    echo 'qemu-img: Unable to get accurate CPU usage' >&2
    exit 1
fi
exec /usr/bin/qemu-img "$@"
"""


def failing_qemu_img(folder: Path, failures: int) -> str:
    program = folder / "qemu-img"
    program.write_text(FAILS_TWICE.replace("@FAILURES@", str(failures)))
    program.chmod(0o755)
    return str(program)


def test_the_template_is_made_although_qemu_fails_at_random(tmp_path: Path) -> None:
    program = failing_qemu_img(tmp_path, 2)
    template = TemplateCache(tmp_path / "cache", qemu_img=program, tries=30).get()
    assert template.luks.length == 2068480
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["lock", "luks-template-1.qcow2"]
    assert (tmp_path / "cache" / "luks-template-1.qcow2").stat().st_mode & 0o777 == 0o600


def test_the_template_is_given_up_after_a_bounded_number_of_tries(tmp_path: Path) -> None:
    program = failing_qemu_img(tmp_path, 1000)
    with pytest.raises(HostFailure, match="could not make the disk template"):
        TemplateCache(tmp_path / "cache", qemu_img=program, tries=5).get()
    assert len((tmp_path / "count").read_text().splitlines()) == 5
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_a_template_that_is_none_is_refused(
    template_dir: Path, ram_dir: RamDir, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    """Whoever may write the cache could otherwise give every new guest a disk of their own choice."""
    DiskFormatter(template_dir, ram_dir).prepare()
    good = next(template_dir.glob("*.qcow2"))
    cache = tmp_path / "cache"
    cache.mkdir()
    forged = cache / good.name
    encrypted_size = ["-o", "size=1M", "-f", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", *encrypted_size, forged], check=True)
    with pytest.raises(IntegrityFailure, match="not an empty encrypted disk"):
        DiskFormatter(cache, ram_dir).create_encrypted_disk(CREATE, GUEST, tmp_path / "d", GIB, passphrase)
    content = bytearray(good.read_bytes())
    content[8:16] = (4096).to_bytes(8)  # a backing file
    forged.write_bytes(content)
    with pytest.raises(IntegrityFailure, match="not an empty encrypted disk"):
        DiskFormatter(cache, ram_dir).create_encrypted_disk(CREATE, GUEST, tmp_path / "d", GIB, passphrase)
    assert not (tmp_path / "d").exists()
