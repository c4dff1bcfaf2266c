"""The main job on the real thing: daemon, libvirt, QEMU, LUKS and a Debian guest, driven by the command line."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.attacker_domain import try_attackers_domain
from tests.demo.command_line import CommandLine
from tests.free_port import free_port
from tests.marker_search import search
from tests.thief import HYPERVISOR_HAUNTS, persisting_files, steal

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

GUEST = "e2e-clinic"
MARKER_PATH = "/root/marker.txt"
PEOPLE = {"olga-operator": "operator", "anna-auditor": "auditor", "carl-compliance": "officer"}


class RealSite:
    """A site of its own with a running daemon, and people who are logged in."""

    def __init__(self, data_dir: Path, memory: Path) -> None:
        self.data_dir = data_dir
        self.memory = memory
        self.began = time.time()
        self.cli = CommandLine(data_dir, free_port(), memory / "credentials.json")
        self.passphrase = self.secret("passphrase")
        admin = self.secret("ada-admin")
        self.cli.run(
            "init", "--seal", "passphrase", "--passphrase-file", str(self.passphrase),
            "--admin", "ada-admin", "--admin-password-file", str(admin), "--data", str(data_dir),
        )  # fmt: skip
        self.cli.start_daemon()
        self.cli.run("login", "ada-admin", "--password-file", str(admin))
        self.unseal()
        for name, role in PEOPLE.items():
            password = self.secret(name)
            self.cli.run("account", "create", name, "--role", role, "--password-file", str(password))
            self.cli.run("login", name, "--password-file", str(password), person=name)

    def secret(self, name: str) -> Path:
        path = self.memory / name
        path.touch(mode=0o600)
        path.write_text(f"{secrets.token_urlsafe(18)}-7a\n")
        return path

    def unseal(self) -> None:
        self.cli.run("unseal", "--passphrase-file", str(self.passphrase))

    def olga(self, *arguments: str, exit_code: int = 0, stdin: bytes = b"") -> Any:  # noqa: ANN401 - JSON is what it is
        return self.cli.run(*arguments, person="olga-operator", exit_code=exit_code, stdin=stdin)

    def worker_pid(self) -> int:
        """The process that holds the log, which is the one that acts."""
        held = (self.data_dir / "log.db").stat()
        for process in Path("/proc").glob("[0-9]*"):
            command = (process / "cmdline").read_bytes() if process.exists() else b""
            if b"vault.keystore" in command or b"strongroom" not in command:
                continue
            for descriptor in (process / "fd").glob("*"):
                try:
                    status = descriptor.stat()
                except OSError:
                    continue
                if (status.st_dev, status.st_ino) == (held.st_dev, held.st_ino):
                    return int(process.name)
        raise AssertionError("no process holds the log")

    def records(self, **filters: str) -> list[dict[str, Any]]:
        flags = [part for name, value in filters.items() for part in (f"--{name}", value)]
        found: list[dict[str, Any]] = self.cli.run("audit", "list", *flags, person="anna-auditor")["items"]
        return found

    def findings(self) -> set[str]:
        return {item["code"] for item in self.cli.run("finding", "list", person="carl-compliance")["items"]}


@pytest.fixture(scope="module")
def site() -> Iterator[RealSite]:
    data_dir = Path(f"/var/lib/strongroom/e2e-{secrets.token_hex(3)}")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        made = RealSite(data_dir, Path(memory))
        try:
            made.olga("image", "build", "debian-12")
            made.olga(
                "guest", "create", GUEST, "--image", "debian-12", "--vcpus", "1", "--memory", "768M",
                "--disk", "4G", "--label", "ephi",
            )  # fmt: skip
            made.olga("guest", "start", GUEST, "--wait")
            yield made
        finally:
            made.cli.stop_daemon()
            connection = libvirt.open("qemu:///system")
            for domain in connection.listAllDomains():
                if str(data_dir) in domain.XMLDesc():
                    domain.destroy()
            connection.close()
            shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def marker(site: RealSite) -> str:
    """A marker inside the guest's disk, written through standard input."""
    text = f"MARKER-{secrets.token_hex(24)}"
    site.olga(
        "guest",
        "exec",
        GUEST,
        "--stdin",
        "--",
        "/bin/sh",
        "-c",
        f"cat > {MARKER_PATH} && sync",
        stdin=text.encode(),
    )
    assert read_marker(site) == text
    return text


def read_marker(site: RealSite) -> str:
    printed: str = site.olga("guest", "exec", GUEST, "--", "/bin/cat", MARKER_PATH)["stdout"]
    return printed


def test_a_marker_written_in_the_guest_is_in_no_file_of_the_host(site: RealSite, marker: str) -> None:
    roots = [site.data_dir, *map(Path, ("/var/lib/libvirt", "/var/log", "/run", "/tmp", "/var/tmp"))]  # noqa: S108
    files = set(persisting_files(roots, site.began))
    assert len(files) > 10
    _, _, leaks = search([marker], files)
    assert leaks == []


def test_the_thief_opens_no_disk_with_what_persists_while_the_guest_runs(
    site: RealSite, marker: str, tmp_path: Path
) -> None:
    assert marker
    disks = sorted((site.data_dir / "disks").glob("*/*.qcow2"))
    assert len(disks) == 2
    theft = steal(disks, [site.data_dir, *map(Path, HYPERVISOR_HAUNTS)], [], tmp_path, site.began)
    assert theft.opened == ()
    assert theft.tried > 1000


def test_cryptsetup_sees_aes_xts_with_512_bits_on_the_guests_disk(site: RealSite, tmp_path: Path) -> None:
    guest = site.olga("guest", "show", GUEST)
    disk = Path(guest["disks"][0]["path"])
    head = disk.read_bytes()[: 8 * 2**20]
    header = tmp_path / "header"
    at = head.index(b"LUKS\xba\xbe\x00\x01")
    header.write_bytes(head[at : at + 2_068_480])
    dump = subprocess.run(
        ["cryptsetup", "luksDump", header], capture_output=True, text=True, check=True
    ).stdout
    assert "xts-plain64" in dump
    assert re.search(r"^MK bits:\s+512$", dump, re.MULTILINE)
    assert dump.count("ENABLED") == 1


def test_no_secret_is_defined_while_the_guest_runs(site: RealSite, marker: str) -> None:
    assert marker
    connection = libvirt.open("qemu:///system")
    descriptions = [secret.XMLDesc() for secret in connection.listAllSecrets()]
    connection.close()
    assert not [text for text in descriptions if site.data_dir.name in text]


def test_the_auditor_may_not_start_a_guest_and_the_record_names_the_policy(site: RealSite) -> None:
    answer = site.cli.run("guest", "start", GUEST, person="anna-auditor", exit_code=3)
    record = site.cli.run("audit", "show", answer["error"]["record"], person="anna-auditor")
    assert record["kind"] == "denied"
    assert record["policies"] == ["base.auditor-changes-nothing"]


def test_only_the_digest_of_what_went_into_the_guest_is_in_the_log(site: RealSite, marker: str) -> None:
    written = json.dumps(site.records(action="guest.exec", limit="200"))
    assert marker not in written
    assert "stdin_sha256" in written


def test_a_daemon_killed_while_a_guest_runs_comes_back_sealed_and_the_guest_runs_on(
    site: RealSite, marker: str
) -> None:
    os.kill(site.worker_pid(), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            status = site.cli.run("status")
            if status["sealed"]:
                break
        except AssertionError:
            pass  # it is coming back
        time.sleep(0.5)
    else:
        pytest.fail("the daemon did not come back sealed")
    assert site.olga("guest", "show", GUEST)["state"] == "running"
    answer = site.olga("guest", "create", "e2e-other", "--image", "debian-12", "--vcpus", "1", "--memory", "256M",
                       "--disk", "4G", exit_code=6)  # fmt: skip
    assert answer["error"]["code"] == "keystore.sealed"
    assert [guest["name"] for guest in site.olga("guest", "list")["items"]] == [GUEST]
    site.unseal()
    assert read_marker(site) == marker


def test_a_guest_destroyed_outside_the_gate_leaves_a_record_and_a_finding(
    site: RealSite, marker: str
) -> None:
    connection = libvirt.open("qemu:///system")
    time.sleep(6)  # what follows an access of the gate's own within five seconds counts as its own
    connection.lookupByName(GUEST).destroy()
    connection.close()
    deadline = time.monotonic() + 20
    while "outside.stopped" not in site.findings() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert "outside.stopped" in site.findings()
    assert site.records(kind="external")
    assert marker


def test_an_attackers_own_domain_on_the_disk_is_refused_and_the_gates_start_is_not(
    site: RealSite, marker: str
) -> None:
    guest = site.olga("guest", "show", GUEST)
    assert guest["state"] == "stopped"
    assert try_attackers_domain(Path(guest["disks"][0]["path"]))
    site.olga("guest", "start", GUEST, "--wait")
    assert read_marker(site) == marker
    stopped = site.olga("guest", "stop", GUEST)
    assert stopped["state"] == "stopped"


def test_an_export_verifies_and_one_changed_byte_is_named(site: RealSite, tmp_path: Path) -> None:
    export = tmp_path / "export"
    site.cli.run("audit", "export", "--out", str(export), person="anna-auditor")
    assert site.cli.run("verify", str(export))["holds"]
    records = export / "records.jsonl"
    data = bytearray(records.read_bytes())
    at = data.index(b'"action":"guest.start"') + len(b'"action":"guest.s')
    wrong = data[:at].count(b"\n")
    data[at] ^= 1
    records.write_bytes(data)
    assert site.cli.run("verify", str(export), exit_code=7)["first_bad"]["seq"] == wrong


def test_reports_are_made_from_the_log_and_the_measured_disks(site: RealSite, tmp_path: Path) -> None:
    for framework in ("hipaa", "pci"):
        out = tmp_path / f"{framework}.pdf"
        site.cli.run(
            "report", framework, "--from", "2020-01-01", "--to", time.strftime("%Y-%m-%d", time.gmtime()),
            "--out", str(out), person="carl-compliance",
        )  # fmt: skip
        text = subprocess.run(
            ["pdftotext", "-layout", out, "-"], capture_output=True, text=True, check=True
        ).stdout
        assert "evidence supports" in text
        assert "compliant" not in text.lower()


def test_a_deleted_guest_leaves_no_file_and_no_living_key(site: RealSite) -> None:
    guest = site.olga("guest", "show", GUEST)
    folder = Path(guest["disks"][0]["path"]).parent
    site.olga("guest", "delete", GUEST, "--yes")
    assert not folder.exists()
    keys = {key["id"]: key["state"] for key in site.olga("key", "list")["items"]}
    assert {keys[disk["key_id"]] for disk in guest["disks"]} == {"destroyed"}
    assert site.olga("guest", "show", GUEST, exit_code=4)["error"]["code"] == "not_found"
