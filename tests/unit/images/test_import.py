import hashlib
import os
import struct
import subprocess
from pathlib import Path

import pytest

from policies.errors import StrongroomError
from policies.vocabulary import Action
from tests.fakes.permits import closed, permit_for
from tests.unit.images.conftest import MIB, SITE, QemuImg
from vault.disks.images import untrusted_disk
from vault.disks.images.model import Firmware, Image, Source
from vault.disks.images.store import ImageStore
from vault.errors import BadInput, Conflict, HostFailure, IntegrityFailure, PermitRefused
from vault.jobs import Progress, no_progress


def take_over(
    store: ImageStore,
    source: Path,
    image_format: str = "qcow2",
    *,
    name: str = "mine",
    sha256: str | None = None,
    progress: Progress = no_progress,
) -> Image:
    permit = permit_for(Action.IMAGE_IMPORT, SITE)
    return store.import_file(permit, SITE, name, source, image_format, sha256=sha256, progress=progress)


def assert_nothing_is_left(store: ImageStore) -> None:
    assert store.all() == []
    assert [path.name for path in store._root.iterdir()] == []


def refused(store: ImageStore, source: Path, image_format: str = "qcow2") -> str:
    with pytest.raises(BadInput) as refusal:
        take_over(store, source, image_format)
    assert refusal.value.exit_code == 2
    assert refusal.value.hint
    assert_nothing_is_left(store)
    return refusal.value.message


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_an_image_is_taken_over_and_the_guest_sees_the_same_bytes(
    store: ImageStore, raw_disk: Path, qcow2_disk: Path, image_format: str
) -> None:
    image = take_over(store, raw_disk if image_format == "raw" else qcow2_disk, image_format)
    assert (image.source, image.firmware, image.boots_directly) == (Source.IMPORTED, Firmware.BIOS, False)
    assert image.virtual_size_bytes == 4 * MIB
    same = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw_disk, store.verified_disk(image)], check=False
    )
    assert same.returncode == 0
    assert sorted(path.name for path in image.folder.iterdir()) == ["disk.qcow2", "image.json"]
    assert store.get("mine") == store.get(image.id) == image


def test_what_is_imported_belongs_to_us_again_after_the_unprivileged_copy(
    store: ImageStore, qcow2_disk: Path
) -> None:
    status = take_over(store, qcow2_disk).disk_path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (os.geteuid(), os.getegid(), 0o644)


def test_the_imported_file_itself_is_left_alone(store: ImageStore, qcow2_disk: Path) -> None:
    before, owner = qcow2_disk.read_bytes(), qcow2_disk.stat().st_uid
    take_over(store, qcow2_disk)
    assert (qcow2_disk.read_bytes(), qcow2_disk.stat().st_uid) == (before, owner)


def test_the_right_digest_is_taken_in_either_case(store: ImageStore, qcow2_disk: Path) -> None:
    digest = hashlib.sha256(qcow2_disk.read_bytes()).hexdigest()
    assert take_over(store, qcow2_disk, sha256=digest.upper()).name == "mine"


def test_another_file_than_promised_is_an_integrity_failure_that_names_what_was_found(
    store: ImageStore, qcow2_disk: Path
) -> None:
    with pytest.raises(IntegrityFailure) as failure:
        take_over(store, qcow2_disk, sha256="0" * 64)
    assert failure.value.exit_code == 7
    assert hashlib.sha256(qcow2_disk.read_bytes()).hexdigest() in failure.value.message
    assert_nothing_is_left(store)


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "g" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest_is_bad_input_and_not_ignored(
    store: ImageStore, qcow2_disk: Path, digest: str
) -> None:
    with pytest.raises(BadInput, match="64 hexadecimal digits"):
        take_over(store, qcow2_disk, sha256=digest)
    assert_nothing_is_left(store)


def test_a_backing_file_that_would_show_a_host_file_is_refused(
    store: ImageStore, qemu_img: QemuImg, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the host".ljust(MIB, b"\0"))
    image = qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", name="leaning.qcow2")
    assert "backing file" in refused(store, image)


def test_a_backing_file_named_through_json_is_refused(store: ImageStore, qcow2_disk: Path) -> None:
    content = bytearray(qcow2_disk.read_bytes())
    name = b'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}'
    content[0x200 : 0x200 + len(name)] = name
    struct.pack_into(">QI", content, 8, 0x200, len(name))
    qcow2_disk.write_bytes(content)
    assert "backing file" in refused(store, qcow2_disk)


def test_an_external_data_file_is_refused(store: ImageStore, tmp_path: Path) -> None:
    image, data = tmp_path / "split.qcow2", tmp_path / "data.raw"
    options = f"data_file={data}"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, "4M"], check=True)
    assert "another file" in refused(store, image)


def test_an_encrypted_image_is_refused(store: ImageStore, qcow2_disk: Path) -> None:
    content = bytearray(qcow2_disk.read_bytes())
    struct.pack_into(">I", content, 32, 1)
    qcow2_disk.write_bytes(content)
    assert "encrypted" in refused(store, qcow2_disk)


def test_a_qcow2_file_said_to_be_raw_is_refused_so_that_nobody_probes_it_later(
    store: ImageStore, qcow2_disk: Path
) -> None:
    assert "begins as qcow2" in refused(store, qcow2_disk, "raw")


def test_a_raw_file_said_to_be_qcow2_is_refused(store: ImageStore, raw_disk: Path) -> None:
    assert "another format" in refused(store, raw_disk, "qcow2")


@pytest.mark.parametrize("image_format", ["vmdk", "", "QCOW2", "raw,file=/etc/shadow"])
def test_a_format_that_is_not_taken_is_refused(store: ImageStore, raw_disk: Path, image_format: str) -> None:
    assert "cannot be imported" in refused(store, raw_disk, image_format)


@pytest.mark.parametrize("other", ["vmdk", "vdi", "vhdx"])
def test_another_products_image_said_to_be_raw_is_named(
    store: ImageStore, tmp_path: Path, other: str
) -> None:
    path = tmp_path / "disk.other"
    subprocess.run(["qemu-img", "create", "-q", "-f", other, path, "4M"], check=True)
    assert other.upper() in refused(store, path, "raw")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no disk image"),
        (b"not an image at all", "no disk image"),
        (bytes(MIB + 1), "no disk image"),
        (bytes(MIB), "no boot signature"),
        (b"\x7fELF".ljust(MIB, b"\0"), "no boot signature"),
    ],
    ids=["empty", "text", "not whole sectors", "zeros", "a program"],
)
def test_what_is_no_disk_is_refused(store: ImageStore, tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    assert why in refused(store, path, "raw")


@pytest.mark.parametrize(
    ("at", "field"),
    [
        (4, struct.pack(">I", 9)),
        (20, struct.pack(">I", 40)),
        (24, struct.pack(">Q", 2**62)),
        (36, struct.pack(">I", 2**31)),
        (40, struct.pack(">Q", 2**40)),
        (100, struct.pack(">I", 3)),
    ],
    ids=["version", "cluster size", "virtual size", "L1 entries", "L1 table", "header length"],
)
def test_a_hostile_qcow2_header_ends_in_a_sentence(
    store: ImageStore, qcow2_disk: Path, at: int, field: bytes
) -> None:
    content = bytearray(qcow2_disk.read_bytes())
    content[at : at + len(field)] = field
    qcow2_disk.write_bytes(content)
    refused(store, qcow2_disk)


def test_a_truncated_qcow2_file_is_refused(store: ImageStore, qcow2_disk: Path) -> None:
    qcow2_disk.write_bytes(qcow2_disk.read_bytes()[: 3 * 65536])
    refused(store, qcow2_disk)


def test_a_disk_larger_than_the_limit_is_refused(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "huge.qcow2"
    size = untrusted_disk.MAX_VIRTUAL_BYTES + MIB
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)], check=True)
    assert "too large" in refused(store, path)


def test_a_file_larger_than_the_limit_is_refused_before_it_is_copied(
    store: ImageStore, tmp_path: Path
) -> None:
    path = tmp_path / "huge.raw"
    with path.open("wb") as stream:
        stream.truncate(untrusted_disk.MAX_FILE_BYTES + 512)
    assert "too large" in refused(store, path, "raw")


@pytest.mark.parametrize("kind", ["absent", "link", "folder", "pipe"])
def test_only_an_ordinary_file_is_read(store: ImageStore, raw_disk: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    if kind == "link":
        path.symlink_to(raw_disk)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(HostFailure) as failure:
        take_over(store, path, "raw")
    assert str(path) in failure.value.message
    assert_nothing_is_left(store)


@pytest.mark.parametrize(
    "name", ["", "Mine", "../up", "a b", "-x", "a" * 64, "0f0e0d0c-0000-4000-8000-000000000000"]
)
def test_an_odd_name_is_refused(store: ImageStore, raw_disk: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be called"):
        take_over(store, raw_disk, "raw", name=name)


def test_a_taken_name_is_a_conflict(store: ImageStore, raw_disk: Path) -> None:
    first = take_over(store, raw_disk, "raw")
    with pytest.raises(Conflict, match="already"):
        take_over(store, raw_disk, "raw")
    assert store.all() == [first]


def test_an_import_that_is_cancelled_leaves_nothing(store: ImageStore, raw_disk: Path) -> None:
    class Cancelled(StrongroomError):
        pass

    def cancel(percent: int, _sentence: str) -> None:
        if percent >= 40:
            raise Cancelled("The import was cancelled.")

    with pytest.raises(Cancelled):
        take_over(store, raw_disk, "raw", progress=cancel)
    assert_nothing_is_left(store)


def test_an_import_needs_an_open_permit_for_importing(store: ImageStore, raw_disk: Path) -> None:
    for permit in (permit_for(Action.IMAGE_BUILD, SITE), closed(permit_for(Action.IMAGE_IMPORT, SITE))):
        with pytest.raises(PermitRefused):
            store.import_file(permit, SITE, "mine", raw_disk, "raw")


def test_the_program_that_reads_a_strangers_image_is_nobody_and_has_limits() -> None:
    prefix = untrusted_disk._Unprivileged(untrusted_disk.UntrustedDisk("qcow2", MIB))._prefix
    script = "id -u; ulimit -v; ulimit -c; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
    said = subprocess.run([*prefix, "sh", "-c", script], check=True, capture_output=True, text=True).stdout
    uid, memory_kib, core, *rest = said.split()
    assert int(uid) >= untrusted_disk._FIRST_UID
    assert (int(memory_kib), core) == (2 * MIB, "0")
    assert rest == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
