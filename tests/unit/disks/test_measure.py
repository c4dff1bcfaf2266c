"""Measuring disks on their bytes, judged by cryptsetup and qemu-img, and given hostile bytes."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import permit_for
from tests.unit.disks import qemu
from vault.disks.format import DiskFormatter
from vault.disks.luks import HEADER_BYTES, parse_luks_header
from vault.disks.measure import KeyslotProblem, compare_keyslots, measure_disk
from vault.errors import HostFailure, IntegrityFailure
from vault.keystore.secret import DiskPassphrase

pytestmark = pytest.mark.real

GUEST = EntityRef(EntityType.GUEST, "b3a1f6c2-9c53-4f0a-8f34-6f2f1c8d0e01")
CREATE = permit_for(Action.GUEST_CREATE, GUEST)
MIB = 1024**2


@pytest.fixture
def disk(formatter: DiskFormatter, passphrase: DiskPassphrase, tmp_path: Path) -> Path:
    path = tmp_path / "root.qcow2"
    formatter.create_encrypted_disk(CREATE, GUEST, path, 64 * MIB, passphrase)
    return path


def add_keyslot(disk: Path, passphrase: bytes, folder: Path, slot: int) -> None:
    """What an attacker with the monitor does: put a passphrase of their own into a free keyslot."""
    header = qemu.luks_header(disk, folder)
    new = folder / "rogue-passphrase"
    new.write_bytes(b"rogue passphrase")
    subprocess.run(
        [
            *("cryptsetup", "luksAddKey", "-q", "--pbkdf-force-iterations", "1000"),
            *("--key-slot", str(slot), "--key-file=-", header, new),
        ],
        input=passphrase,
        check=True,
        capture_output=True,
    )
    write_header(disk, header)


def write_header(disk: Path, header: Path) -> None:
    with disk.open("r+b") as stream:
        stream.seek(262144)
        stream.write(header.read_bytes()[:2068480])


# -- what measuring says is what the tools say ------------------------------------------------


def test_the_measurement_equals_luks_dump_and_qemu_img_info(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    add_keyslot(disk, passphrase.reveal(), tmp_path, 5)
    measured = measure_disk(disk)
    dump = qemu.luks_dump(qemu.luks_header(disk, tmp_path))

    def said(name: str) -> str:
        found = re.search(rf"^{name}:\s+(\S+)", dump, re.MULTILINE)
        assert found is not None, name
        return found[1]

    assert (measured.cipher, measured.mode) == (said("Cipher name"), said("Cipher mode"))
    assert (measured.hash, measured.key_bits) == (said("Hash spec"), int(said("MK bits")))
    assert measured.uuid == said("UUID")
    enabled = {int(slot) for slot in re.findall(r"^Key Slot (\d): ENABLED", dump, re.MULTILINE)}
    assert set(measured.active_slots) == enabled == {0, 5}
    iterations = [int(number) for number in re.findall(r"^\s+Iterations:\s+(\d+)", dump, re.MULTILINE)]
    assert [slot.iterations for slot in measured.keyslots if slot.active] == iterations
    described = qemu.info(disk)
    assert measured.virtual_size_bytes == described["virtual-size"] == 64 * MIB
    assert described["encrypted"] is True
    assert measured.size_bytes == disk.stat().st_size
    assert measured.encrypted
    assert len(measured.keyslots) == 8


def test_the_facts_of_a_measurement_hold_no_float_and_no_path(disk: Path) -> None:
    facts = measure_disk(disk).facts()
    assert facts["encrypted"] is True
    assert facts["cipher"] == "aes-xts-plain64"
    assert facts["keyslots"] == [0]
    assert all(isinstance(value, bool | int | str | list) for value in facts.values())
    assert str(disk.parent) not in repr(facts)


def test_plain_files_measure_as_not_encrypted(tmp_path: Path) -> None:
    plain, raw, empty = tmp_path / "plain.qcow2", tmp_path / "raw", tmp_path / "empty"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", plain, "64M"], check=True)
    raw.write_bytes(b"any bytes" * 1000)
    empty.touch()
    assert (measure_disk(plain).format, measure_disk(plain).virtual_size_bytes) == ("qcow2", 64 * MIB)
    assert (measure_disk(raw).format, measure_disk(raw).virtual_size_bytes) == ("raw", 9000)
    for path in (plain, raw, empty):
        measured = measure_disk(path)
        assert (measured.encrypted, measured.keyslots, measured.header_sha256) == (False, (), "")
        assert measured.facts()["cipher"] == ""


def test_the_legacy_encryption_of_qcow2_counts_as_none(tmp_path: Path) -> None:
    legacy = tmp_path / "legacy.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", legacy, "64M"], check=True)
    with legacy.open("r+b") as stream:
        stream.seek(32)
        stream.write((1).to_bytes(4))  # crypt_method 1: AES in CBC with a plain sector number
    assert not measure_disk(legacy).encrypted


def test_a_disk_that_leans_on_another_file_is_not_called_encrypted(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    base = tmp_path / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "64M"], check=True)
    rebased = qemu_rebase(disk, base, passphrase, tmp_path)
    assert rebased.returncode == 0, rebased.stderr
    measured = measure_disk(disk)
    assert measured.backing_file
    assert not measured.encrypted
    assert [finding.problem for finding in compare_keyslots(measured, [0])] == [KeyslotProblem.NOT_ENCRYPTED]


def qemu_rebase(
    disk: Path, base: Path, passphrase: DiskPassphrase, folder: Path
) -> subprocess.CompletedProcess[str]:
    secret = folder / "secret"
    secret.write_bytes(passphrase.reveal())
    return subprocess.run(
        [
            *(
                "qemu-img",
                "rebase",
                "-u",
                "-b",
                base,
                "-F",
                "qcow2",
                "--object",
                f"secret,id=s,file={secret}",
            ),
            *("--image-opts", f"driver=qcow2,file.filename={disk},encrypt.key-secret=s"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_writing_to_a_disk_does_not_change_its_header(
    formatter: DiskFormatter, disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    before = measure_disk(disk).header_sha256
    image = tmp_path / "image"
    image.write_bytes(os.urandom(3 * MIB))
    formatter.write_image_into(CREATE, GUEST, image, disk, passphrase, source_format="raw")
    assert measure_disk(disk).header_sha256 == before


# -- the keyslot map ---------------------------------------------------------------------------


def test_a_disk_as_the_gate_left_it_has_no_finding(disk: Path) -> None:
    measured = measure_disk(disk)
    assert compare_keyslots(measured, [0], measured.header_sha256) == ()
    assert compare_keyslots(measured, [0]) == ()


def test_a_rogue_keyslot_is_found_and_really_opens_the_disk(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    known = measure_disk(disk).header_sha256
    add_keyslot(disk, passphrase.reveal(), tmp_path, 3)
    assert qemu.qemu_img("check", disk, b"rogue passphrase", tmp_path).returncode == 0
    (finding,) = compare_keyslots(measure_disk(disk), [0], known)
    assert (finding.problem, finding.slot) == (KeyslotProblem.UNKNOWN_SLOT, 3)
    assert "Keyslot 3" in finding.sentence


def test_a_keyslot_that_is_gone_is_found(disk: Path) -> None:
    (finding,) = compare_keyslots(measure_disk(disk), [0, 1])
    assert (finding.problem, finding.slot) == (KeyslotProblem.LOST_SLOT, 1)


def test_a_keyslot_whose_passphrase_was_exchanged_is_found(
    disk: Path, passphrase: DiskPassphrase, tmp_path: Path
) -> None:
    """Same slot number, other content: the map alone would not show it."""
    known = measure_disk(disk).header_sha256
    header = qemu.luks_header(disk, tmp_path)
    rogue = tmp_path / "rogue"
    rogue.write_bytes(b"rogue passphrase")
    good = tmp_path / "good"
    good.write_bytes(passphrase.reveal())
    force = ["--pbkdf-force-iterations", "1000"]
    subprocess.run(
        ["cryptsetup", "luksAddKey", "-q", *force, "--key-slot", "1", "--key-file", good, header, rogue],
        check=True,
    )
    subprocess.run(["cryptsetup", "luksKillSlot", "-q", "--key-file", rogue, header, "0"], check=True)
    subprocess.run(
        ["cryptsetup", "luksAddKey", "-q", *force, "--key-slot", "0", "--key-file", rogue, header, rogue],
        check=True,
    )
    subprocess.run(["cryptsetup", "luksKillSlot", "-q", "--key-file", rogue, header, "1"], check=True)
    write_header(disk, header)
    measured = measure_disk(disk)
    assert measured.active_slots == (0,)
    (finding,) = compare_keyslots(measured, [0], known)
    assert finding.problem is KeyslotProblem.CHANGED_HEADER


# -- hostile bytes -----------------------------------------------------------------------------


def test_a_link_a_fifo_and_a_missing_disk_are_refused_at_once(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(disk)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(HostFailure, match="is a link"):
        measure_disk(tmp_path / "link")
    with pytest.raises(HostFailure, match="not an ordinary file"):
        measure_disk(tmp_path / "fifo")
    with pytest.raises(HostFailure, match="does not exist"):
        measure_disk(tmp_path / "gone")
    with pytest.raises(HostFailure, match="not an ordinary file"):
        measure_disk(tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (4, (4).to_bytes(4), "version"),
        (20, (8).to_bytes(4), "cluster size"),
        (20, (63).to_bytes(4), "cluster size"),
        (100, (2**32 - 1).to_bytes(4), "no end"),
        (112, (0xDEADBEEF).to_bytes(4) + bytes(4) * 15, "not where the keys are"),
        (116, (24).to_bytes(4), "wrong length"),
        (120, (2**40).to_bytes(8), "outside the file"),
        (128, (2**40).to_bytes(8), "outside the file"),
        (120, (0).to_bytes(8), "does not begin as one"),
        (128, (100).to_bytes(8), "cut short"),
        (128, (2068480 - 512).to_bytes(8), "longer than the place"),
        (262144, b"LUKT", "does not begin as one"),
        (262144 + 6, (2).to_bytes(2), "does not begin as one"),
        (262144 + 208, (1).to_bytes(4), "neither on nor off"),
        (262144 + 8, b"\xff\xfe", "no text"),
    ],
)
def test_a_header_that_lies_is_an_integrity_failure_not_a_crash(
    disk: Path, offset: int, value: bytes, why: str
) -> None:
    with disk.open("r+b") as stream:
        stream.seek(offset)
        stream.write(value)
    with pytest.raises(IntegrityFailure, match=why) as failure:
        measure_disk(disk)
    assert failure.value.exit_code == 7


def test_extensions_without_end_do_not_hang_the_measurement(disk: Path) -> None:
    with disk.open("r+b") as stream:
        stream.seek(112)
        stream.write(b"\x11\x11\x11\x11\0\0\0\0" * 200)
    with pytest.raises(IntegrityFailure, match="too many extensions"):
        measure_disk(disk)


def test_a_file_that_ends_in_its_header_is_an_integrity_failure(disk: Path) -> None:
    content = disk.read_bytes()
    for length in (4, 50, 103):
        disk.write_bytes(content[:length])
        with pytest.raises(IntegrityFailure):
            measure_disk(disk)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4096), st.binary(min_size=1, max_size=16))
def test_any_change_of_the_first_bytes_measures_or_fails_in_words(
    tmp_path: Path, small_disk: bytes, offset: int, value: bytes
) -> None:
    changed = bytearray(small_disk)
    changed[offset : offset + len(value)] = value
    path = tmp_path / "fuzzed"
    path.write_bytes(changed)
    try:
        measured = measure_disk(path)
    except IntegrityFailure:
        return
    assert measured.size_bytes == len(changed)


@pytest.fixture(scope="module")
def small_disk(template_dir: Path, formatter_for_module: DiskFormatter) -> bytes:
    formatter_for_module.prepare()
    return next(template_dir.glob("*.qcow2")).read_bytes()


@pytest.fixture(scope="module")
def formatter_for_module(template_dir: Path, ram_dir: object) -> DiskFormatter:
    return DiskFormatter(template_dir, ram_dir)  # type: ignore[arg-type] # the session's RamDir


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_random_bytes_are_no_luks_header(untrusted: bytes) -> None:
    with pytest.raises(IntegrityFailure):
        parse_luks_header(untrusted)


def test_a_version_2_qcow2_is_measured_too(tmp_path: Path) -> None:
    old = tmp_path / "old.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", old, "8M"], check=True)
    measured = measure_disk(old)
    assert (measured.format, measured.encrypted, measured.virtual_size_bytes) == ("qcow2", False, 8 * MIB)


def test_comparing_looks_at_the_slots_before_the_header(disk: Path) -> None:
    measured = replace(measure_disk(disk), header_sha256="0" * 64)
    assert [f.problem for f in compare_keyslots(measured, [])] == [KeyslotProblem.UNKNOWN_SLOT]
    assert [f.problem for f in compare_keyslots(measured, [0], "1" * 64)] == [KeyslotProblem.CHANGED_HEADER]
