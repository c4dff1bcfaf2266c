"""A guest from its creation to its deletion, through the gate, on real disks: what is done is what is recorded."""

import base64
import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from audit.log.record import Kind
from policies.vocabulary import Action, EntityRef
from tests.fakes.guest_host import FakeGuestHost
from tests.sites import (
    AUDITOR,
    PreparedSite,
    disk_folder,
    guest_row,
    key_states,
    make_guest,
    open_findings,
    records,
    require_log_holds,
    told,
    whole_state,
)
from vault.disks.measure import measure_disk
from vault.entities import guest_ref
from vault.errors import Conflict, IntegrityFailure, NotFound, PolicyDenied
from vault.gate import Caller
from vault.guests.domain_xml import DomainPlan
from vault.jobs import no_progress
from vault.keystore.secret import DiskPassphrase
from vault.operations.guest_delete import delete_guest
from vault.operations.guest_inside import copy_in, copy_out, exec_in_guest
from vault.operations.guest_list import list_guests, show_guest
from vault.operations.guest_run import start_guest, stop_guest
from vault.permit import Permit
from vault.site import Site

pytestmark = pytest.mark.real
SECRET = b"patient 4711 has the flu"


class TellingHost(FakeGuestHost):
    """A hypervisor whose guests an attacker owns: it keeps the passphrases."""

    def __init__(self) -> None:
        super().__init__()
        self.passphrases: dict[str, bytes] = {}

    def start(
        self, permit: Permit, guest: EntityRef, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase]
    ) -> None:
        self.passphrases = {target: bytes(key.reveal()) for target, key in passphrases.items()}
        super().start(permit, guest, plan, passphrases)


@pytest.fixture(scope="module")
def host() -> TellingHost:
    return TellingHost()


def start(site: Site, caller: Caller, name: str) -> None:
    start_guest(site, caller, name, no_progress)


def stop(site: Site, caller: Caller, name: str) -> None:
    stop_guest(site, caller, name, timeout_s=1, progress=no_progress)


def forget(site: Site, caller: Caller, name: str) -> None:
    """Leave the shared site as it was."""
    if site.host.is_running(guest_named_id(site, caller, name)):
        stop(site, caller, name)
    delete_guest(site, caller, name)


def guest_named_id(site: Site, caller: Caller, name: str) -> str:
    return str(show_guest(site, caller, name)["id"])


def test_a_guests_whole_life_is_in_the_log_and_the_log_holds(
    site: Site, olga: Caller, host: TellingHost
) -> None:
    since = site.log.head().size
    guest_id = make_guest(site, olga, "clinic-db", labels=["lab"])
    assert [guest["name"] for guest in list_guests(site, olga)["items"]] == ["clinic-db"]
    assert show_guest(site, olga, "clinic-db")["state"] == "stopped"
    start(site, olga, "clinic-db")
    assert show_guest(site, olga, "clinic-db")["state"] == "running"
    said = exec_in_guest(site, olga, "clinic-db", ["/bin/cat"], SECRET)
    assert base64.b64decode(said["stdout"]) == SECRET
    copy_in(site, olga, "clinic-db", "/root/file", SECRET)
    assert copy_out(site, olga, "clinic-db", "/root/file") == SECRET
    stop(site, olga, "clinic-db")
    assert not host.is_running(guest_id)
    assert delete_guest(site, olga, "clinic-db")["deleted"] is True
    done = [(kind, action) for kind, action, code in told(site, since) if code in {None, "ok"}]
    assert done == [
        (Kind.INTENT, "guest.create"), (Kind.OUTCOME, "guest.create"),
        (Kind.ACCESS, "guest.list"), (Kind.ACCESS, "guest.show"),
        (Kind.INTENT, "guest.start"), (Kind.OUTCOME, "guest.start"),
        (Kind.ACCESS, "guest.show"),
        (Kind.INTENT, "guest.exec"), (Kind.OUTCOME, "guest.exec"),
        (Kind.INTENT, "guest.copy_in"), (Kind.OUTCOME, "guest.copy_in"),
        (Kind.INTENT, "guest.copy_out"), (Kind.OUTCOME, "guest.copy_out"),
        (Kind.INTENT, "guest.stop"), (Kind.OUTCOME, "guest.stop"),
        (Kind.INTENT, "guest.delete"), (Kind.OUTCOME, "guest.delete"),
    ]  # fmt: skip
    require_log_holds(site)


def test_no_record_of_a_guests_life_holds_a_name_a_command_or_what_was_copied(
    site: Site, olga: Caller
) -> None:
    since = site.log.head().size
    make_guest(site, olga, "unmistakable-name")
    start(site, olga, "unmistakable-name")
    copy_in(site, olga, "unmistakable-name", "/root/unmistakable-path", SECRET)
    exec_in_guest(site, olga, "unmistakable-name", ["/bin/echo", "unmistakable-word"], SECRET)
    forget(site, olga, "unmistakable-name")
    written = b"\n".join(record.bytes for record in records(site, since))
    assert b"unmistakable" not in written
    assert SECRET not in written
    assert hashlib.sha256(SECRET).hexdigest().encode() in written


def test_a_deleted_guests_keys_are_destroyed_and_its_disks_gone(site: Site, olga: Caller) -> None:
    guest_id = make_guest(site, olga, "to-delete")
    folder = disk_folder(site, guest_id)
    (folder / "leftover.qcow2.part").write_bytes(bytes(1000))
    held = os.open(folder / "root.qcow2", os.O_RDONLY)
    try:
        assert os.pread(held, 4, 0) == b"QFI\xfb"
        since = site.log.head().size
        delete_guest(site, olga, "to-delete")
        assert os.pread(held, 4 * 2**20, 0).strip(b"\0") == b"", "the header was erased, not only its name"
    finally:
        os.close(held)
    assert not folder.exists()
    assert key_states(site, guest_ref(guest_id)) == ["destroyed", "destroyed"]
    outcome = records(site, since)[-1]
    assert outcome.result is not None
    facts = outcome.result["facts"]
    assert isinstance(facts, dict)
    assert len(facts["keys_destroyed"]) == 2
    row = guest_row(site, guest_id)
    assert row is not None
    assert (row.state, row.deleted_at is not None) == ("deleted", True)


def test_a_deleted_guests_name_is_free_again_and_its_uid_and_keys_are_not(site: Site, olga: Caller) -> None:
    first = make_guest(site, olga, "again")
    first_row = guest_row(site, first)
    delete_guest(site, olga, "again")
    with pytest.raises(NotFound):
        show_guest(site, olga, "again")
    second = make_guest(site, olga, "again")
    second_row = guest_row(site, second)
    assert first_row is not None
    assert second_row is not None
    assert first != second
    assert first_row.uid != second_row.uid
    assert key_states(site, guest_ref(first)) == ["destroyed", "destroyed"]
    assert key_states(site, guest_ref(second)) == ["active", "active"]
    delete_guest(site, olga, "again")


def test_a_running_guest_is_not_deleted_nor_started_twice(
    site: Site, olga: Caller, host: TellingHost
) -> None:
    guest_id = make_guest(site, olga, "busy-guest")
    start(site, olga, "busy-guest")
    before = whole_state(site)
    with pytest.raises(Conflict, match="running"):
        delete_guest(site, olga, "busy-guest")
    with pytest.raises(Conflict, match="running already"):
        start(site, olga, "busy-guest")
    assert whole_state(site) == before
    assert host.is_running(guest_id)
    forget(site, olga, "busy-guest")


def test_disks_are_the_guests_alone_after_creation_and_after_a_stop(site: Site, olga: Caller) -> None:
    guest_id = make_guest(site, olga, "owner-guest")
    row = guest_row(site, guest_id)
    assert row is not None
    disks = sorted(disk_folder(site, guest_id).iterdir())
    assert [disk.name for disk in disks] == ["root.qcow2", "seed.qcow2"]
    start(site, olga, "owner-guest")
    os.chown(disks[0], 0, 0)  # as libvirt does with a file it takes back
    stop(site, olga, "owner-guest")
    for disk in disks:
        status = disk.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (row.uid, row.uid, 0o600)
    forget(site, olga, "owner-guest")


def test_the_disk_of_a_guest_measures_as_encrypted_and_holds_the_image_only_under_its_key(
    site: Site, olga: Caller, host: TellingHost, tmp_path: Path
) -> None:
    guest_id = make_guest(site, olga, "measured")
    disk = disk_folder(site, guest_id) / "root.qcow2"
    assert measure_disk(disk).encrypted
    start(site, olga, "measured")
    assert decrypted(disk, host.passphrases["vda"], tmp_path)[510:512] == b"\x55\xaa"
    assert len(set(host.passphrases.values())) == 2, "each disk has a key of its own"
    forget(site, olga, "measured")


def test_a_keyslot_that_somebody_added_while_the_guest_ran_is_found_at_its_stop(
    site: Site, olga: Caller, host: TellingHost, tmp_path: Path
) -> None:
    guest_id = make_guest(site, olga, "keyslot-at-stop")
    start(site, olga, "keyslot-at-stop")
    add_keyslot(disk_folder(site, guest_id) / "root.qcow2", host.passphrases["vda"], 3, tmp_path)
    since = site.log.head().size
    stop(site, olga, "keyslot-at-stop")
    assert open_findings(site) == {("disk.keyslot_unknown", f"guest:{guest_id}/root")}
    (finding,) = site.findings.all_open()
    assert (finding.severity, "Keyslot 3" in finding.sentence) == ("critical", True)
    intent, outcome = records(site, since)
    assert finding.record == intent.id
    assert outcome.result is not None
    assert outcome.result["facts"] == {"power_cut": False, "root_keyslot_unknown": True}
    forget(site, olga, "keyslot-at-stop")
    site.findings.close("disk.keyslot_unknown", f"guest:{guest_id}/root")


def test_a_keyslot_that_somebody_added_between_stop_and_start_is_found_and_the_clinic_goes_on(
    site: Site, olga: Caller, host: TellingHost, tmp_path: Path
) -> None:
    guest_id = make_guest(site, olga, "keyslot-at-start")
    start(site, olga, "keyslot-at-start")
    stop(site, olga, "keyslot-at-start")
    assert open_findings(site) == set()
    add_keyslot(disk_folder(site, guest_id) / "root.qcow2", host.passphrases["vda"], 5, tmp_path)
    start(site, olga, "keyslot-at-start")
    assert host.is_running(guest_id)
    assert open_findings(site) == {("disk.keyslot_unknown", f"guest:{guest_id}/root")}
    assert show_guest(site, olga, "keyslot-at-start")["disks"][0]["keyslots"] == [0, 5]
    forget(site, olga, "keyslot-at-start")
    site.findings.close("disk.keyslot_unknown", f"guest:{guest_id}/root")


def test_a_disk_that_was_exchanged_for_one_in_the_clear_is_not_started_and_becomes_a_finding(
    site: Site, olga: Caller, host: TellingHost
) -> None:
    guest_id = make_guest(site, olga, "exchanged")
    disk = disk_folder(site, guest_id) / "root.qcow2"
    kept = disk.with_suffix(".kept")
    disk.rename(kept)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    with pytest.raises(IntegrityFailure) as refused:
        start(site, olga, "exchanged")
    assert refused.value.exit_code == 7
    assert not host.is_running(guest_id)
    assert open_findings(site) == {("disk.not_encrypted", f"guest:{guest_id}/root")}
    kept.rename(disk)
    start(site, olga, "exchanged")
    assert open_findings(site) == set(), "what is as it should be again is no finding"
    forget(site, olga, "exchanged")


def test_a_disk_whose_header_was_destroyed_is_a_finding_at_the_stop_and_no_start_goes_on_it(
    site: Site, olga: Caller, host: TellingHost
) -> None:
    guest_id = make_guest(site, olga, "destroyed")
    disk = disk_folder(site, guest_id) / "root.qcow2"
    start(site, olga, "destroyed")
    sound = disk.read_bytes()
    disk.write_bytes(sound.replace(b"LUKS\xba\xbe", b"gone\0\0"))
    since = site.log.head().size
    stop(site, olga, "destroyed")
    assert not host.is_running(guest_id)
    assert told(site, since)[-1] == (Kind.OUTCOME, "guest.stop", "ok"), "it was stopped, and that is said"
    assert open_findings(site) == {("disk.unreadable", f"guest:{guest_id}/root")}
    with pytest.raises(IntegrityFailure) as refused:
        start(site, olga, "destroyed")
    assert refused.value.exit_code == 7
    assert not host.is_running(guest_id)
    disk.write_bytes(sound)
    start(site, olga, "destroyed")
    assert open_findings(site) == set()
    forget(site, olga, "destroyed")


def test_an_auditors_start_is_denied_and_the_record_names_the_policy(
    site: Site, olga: Caller, prepared: PreparedSite, host: TellingHost
) -> None:
    guest_id = make_guest(site, olga, "denied")
    before, since = whole_state(site), site.log.head().size
    with pytest.raises(PolicyDenied) as refused:
        start(site, prepared.caller(AUDITOR), "denied")
    assert refused.value.exit_code == 3
    (record,) = records(site, since)
    assert (record.kind, record.decision, record.id) == (Kind.DENIED, "deny", refused.value.record)
    assert record.policies == ("base.auditor-changes-nothing",)
    assert record.result == {"code": "policy.denied", "facts": {}}
    assert record.resource == f"guest:{guest_id}"
    assert not host.is_running(guest_id)
    assert whole_state(site) == before
    delete_guest(site, olga, "denied")


@pytest.mark.parametrize("label", ["ephi", "chd"])
def test_what_enters_a_guest_with_regulated_data_is_decided_by_the_frameworks_policy(
    site: Site, olga: Caller, label: str
) -> None:
    make_guest(site, olga, f"regulated-{label}", labels=[label])
    start(site, olga, f"regulated-{label}")
    since = site.log.head().size
    exec_in_guest(site, olga, f"regulated-{label}", ["/bin/true"], b"")
    framework = {"ephi": "hipaa", "chd": "pci"}[label]
    intent = next(record for record in records(site, since) if record.kind is Kind.INTENT)
    assert [policy.partition(".")[0] for policy in intent.policies] == [framework]
    assert site.reader.inputs_of(intent) is not None
    assert told(site, since, action=Action.GUEST_EXEC)[-1] == (Kind.OUTCOME, "guest.exec", "ok")
    forget(site, olga, f"regulated-{label}")


def add_keyslot(disk: Path, passphrase: bytes, slot: int, folder: Path) -> None:
    """What an attacker does who has the passphrase: a passphrase of their own, for later."""
    known, rogue = folder / "known", folder / "rogue"
    known.write_bytes(passphrase)
    rogue.write_bytes(b"a way in for later")
    subprocess.run(
        [
            *("qemu-img", "amend", "-q", "--object", f"secret,id=known,file={known}"),
            *("--object", f"secret,id=rogue,file={rogue}"),
            *(
                "-o",
                f"encrypt.state=active,encrypt.new-secret=rogue,encrypt.keyslot={slot},encrypt.iter-time=10",
            ),
            *("--image-opts", f"driver=qcow2,file.filename={disk},encrypt.key-secret=known"),
        ],
        check=True,
        timeout=60,
    )


def decrypted(disk: Path, passphrase: bytes, folder: Path) -> bytes:
    """The disk's content as QEMU reads it with a passphrase."""
    known, plain = folder / "known", folder / "plain"
    known.write_bytes(passphrase)
    subprocess.run(
        [
            *("qemu-img", "convert", "-O", "raw", "--object", f"secret,id=k,file={known}", "--image-opts"),
            *(f"driver=qcow2,file.filename={disk},encrypt.key-secret=k", plain),
        ],
        check=True,
        timeout=60,
    )
    return plain.read_bytes()
