import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.small_guest import small_guest
from vault.guests.accelerator import AcceleratorFinder, probe_kernel, probe_sector
from vault.guests.newc import DIRECTORY, FILE, Member, newc_archive
from vault.guests.probe_image import boot_sector


def test_a_boot_sector_ends_with_the_bios_signature() -> None:
    assert boot_sector()[510:512] == b"\x55\xaa"


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = newc_archive([Member("a", DIRECTORY), Member("a/b", FILE, b"content of an odd length.")])

    subprocess.run(
        ["/bin/busybox", "cpio", "-i", "--quiet"],
        input=archive,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "a/b").read_bytes() == b"content of an odd length."


@pytest.mark.real
def test_the_probe_guests_come_up_where_guests_do() -> None:
    assert probe_sector("tcg", 30).came_up
    assert probe_kernel("tcg", small_guest().kernel, 60).came_up


@pytest.mark.real
def test_a_guest_that_does_not_come_up_in_time_is_no_accelerator() -> None:
    probe = probe_kernel("tcg", small_guest().kernel, 0.05)
    assert not probe.came_up
    assert "not done within" in probe.reason


@pytest.mark.real
def test_a_file_that_is_no_kernel_does_not_pass_for_one(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(os.urandom(8192))
    assert not probe_kernel("tcg", tmp_path / "vmlinuz", 10).came_up


def test_without_kvm_software_emulation_is_chosen_with_a_reason(tmp_path: Path) -> None:
    finder = AcceleratorFinder("auto", tmp_path, kvm_device=tmp_path / "no-kvm")
    found = finder.find()
    assert found.kind == "tcg"
    assert "no /dev/kvm" in found.reason
    assert finder.known_kind() == "unknown"


@pytest.mark.parametrize("kind", ["kvm", "tcg"])
def test_the_settings_word_is_taken(tmp_path: Path, kind: str) -> None:
    finder = AcceleratorFinder(kind, tmp_path)
    assert finder.find().kind == finder.known_kind() == kind


@pytest.mark.real
def test_an_answer_is_remembered_for_this_boot_and_this_qemu_only(tmp_path: Path) -> None:
    finder = AcceleratorFinder("auto", tmp_path, kvm_device=Path("/dev/null"))
    found = finder.find()
    memory = tmp_path / "accelerator.json"
    document = json.loads(memory.read_text())
    document["found"]["none"]["reason"] = "remembered"
    memory.write_text(json.dumps(document))
    assert AcceleratorFinder("auto", tmp_path, kvm_device=Path("/dev/null")).find().reason == "remembered"
    assert finder.known_kind() == found.kind
    memory.write_text(json.dumps(document | {"key": "another boot"}))
    assert finder.known_kind() == "unknown"
    assert finder.find().reason != "remembered"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": 1}', b"\xff"])
def test_a_damaged_memory_is_no_answer(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "accelerator.json").write_bytes(damage)
    assert AcceleratorFinder("auto", tmp_path).known_kind() == "unknown"
