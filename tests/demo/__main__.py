"""`make demo`: from nothing to two encrypted guests, an attack or two, and two signed-for reports.

Run again at any point: what an earlier run of the demo left (daemon, guests, data folder) is cleared first;
the built image is kept.
"""

import argparse
import hashlib
import secrets
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt

from tests.attacker_domain import try_attackers_domain
from tests.demo.command_line import CommandFailed, CommandLine
from tests.demo.steps import Story
from tests.marker_search import search
from tests.thief import HYPERVISOR_HAUNTS, OTHER_HAUNTS, persisting_files, steal

DATA_DIR = Path("/var/lib/strongroom/demo")
OUT_DIR = Path("build/demo")
PORT = 8443
MARKER_PATH = "/var/lib/marker.txt"
PEOPLE = {"olga-operator": "operator", "carl-compliance": "officer", "anna-auditor": "auditor"}
GUESTS = {"clinic-db": "ephi", "card-app": "chd"}
IMAGE = "debian-12"


class Demo:
    """The ten steps."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.cli = CommandLine(DATA_DIR, PORT, DATA_DIR / "people" / "credentials.json")
        self.people = DATA_DIR / "people"
        self.began = time.time()
        self.markers = {name: f"MARKER-{secrets.token_hex(24)}" for name in GUESTS}

    def clear_former_run(self) -> None:
        """Stop and remove what an earlier demo left, so that this one starts from nothing."""
        if DATA_DIR.exists():
            self.story.say("Clearing what an earlier run of the demo left.")
            self.cli.stop_daemon()
            connection = libvirt.open("qemu:///system")
            for domain in connection.listAllDomains():
                if str(DATA_DIR) in domain.XMLDesc():
                    domain.destroy()
            connection.close()
            shutil.rmtree(DATA_DIR)
        shutil.rmtree(OUT_DIR, ignore_errors=True)
        OUT_DIR.mkdir(parents=True)

    def stand_up(self) -> None:
        """Step 1: init, serve, unseal, accounts."""
        DATA_DIR.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            passphrase = self._secret(Path(memory) / "passphrase")
            admin = self._secret(Path(memory) / "admin")
            self.cli.run(
                "init", "--seal", "passphrase", "--passphrase-file", str(passphrase),
                "--admin", "ada-admin", "--admin-password-file", str(admin), "--data", str(DATA_DIR),
            )  # fmt: skip
            self.people.mkdir(mode=0o700)
            # A demo must be able to go on tomorrow; a real site keeps its passphrase in a custodian's head
            # or safe.
            shutil.copy(passphrase, self.people / "unseal-passphrase")
            shutil.copy(admin, self.people / "ada-admin")
        self.story.say(f"The site lies in {DATA_DIR}; its key store is sealed by a passphrase.")
        self.cli.start_daemon()
        self.cli.run("login", "ada-admin", "--password-file", str(self.people / "ada-admin"))
        self.cli.run("unseal", "--passphrase-file", str(self.people / "unseal-passphrase"))
        for name, role in PEOPLE.items():
            password = self._secret(self.people / name)
            self.cli.run("account", "create", name, "--role", role, "--password-file", str(password))
            self.cli.run("login", name, "--password-file", str(password), person=name)
            self.story.say(f"{name} has the role {role}.")

    def build_image(self) -> None:
        """Step 2: a Debian 12 image."""
        image = self.cli.run("image", "build", IMAGE, person="olga-operator", show=True)
        self.story.say(f"Image {image['name']}, SHA-256 of the disk {image['sha256'][:16]}…")

    def create_guests(self) -> None:
        """Step 3: two guests at once."""
        for name, label in GUESTS.items():
            self.cli.run(
                "guest", "create", name, "--image", IMAGE, "--vcpus", "1", "--memory", "768M", "--disk", "4G",
                "--label", label, "--autostart", person="olga-operator", show=True,
            )  # fmt: skip
        for name in GUESTS:
            guest = self.cli.run("guest", "start", name, person="olga-operator", show=True)
            root = guest["disks"][0]
            self.story.say(
                f"{name}: {guest['state']} under {guest['accelerator']}, {guest['vcpus']} vCPU, "
                f"{guest['memory_bytes'] // 2**20} MiB, disk {root['cipher']} with key {root['key_id'][:8]}…, "
                f"network {guest['interfaces'][0]['mac']}"
            )

    def write_markers(self) -> None:
        """Step 4: a marker in each guest, by standard input."""
        for name, marker in self.markers.items():
            self.cli.run("guest", "start", name, "--wait", person="olga-operator", show=True)
            self.cli.run(
                "guest", "exec", name, "--stdin", "--", "/bin/sh", "-c", f"cat > {MARKER_PATH} && sync",
                person="olga-operator", stdin=marker.encode(),
            )  # fmt: skip
            self._read_marker_back(name)
            self.story.say(
                f"{name}: the marker is written and reads back; the log holds its SHA-256 "
                f"{hashlib.sha256(marker.encode()).hexdigest()[:16]}…"
            )

    def attack_at_rest(self) -> None:
        """Step 5: search for the markers, then the thief."""
        roots = [DATA_DIR, *map(Path, ("/var/lib", "/var/log", "/run", "/tmp", "/var/tmp")), OUT_DIR]  # noqa: S108
        everything = set(persisting_files(roots))
        written = set(persisting_files(roots, self.began))
        count, size, leaks = search(self.markers.values(), written)
        if leaks:
            raise CommandFailed(f"A marker leaked: {leaks}")
        self.story.say(
            f"Of {len(everything)} files on this host {count} ({size / 2**20:.0f} MiB) were written to since the demo "
            "began; in none is a marker, raw, hex, base64 or UTF-16."
        )
        disks = sorted((DATA_DIR / "disks").glob("*/root.qcow2"))
        with tempfile.TemporaryDirectory() as scratch:
            ours = [DATA_DIR, OUT_DIR, *map(Path, HYPERVISOR_HAUNTS)]
            theft = steal(disks, ours, list(map(Path, OTHER_HAUNTS)), Path(scratch), self.began)
        if theft.opened:
            raise CommandFailed(f"The thief opened {theft.opened}")
        self.story.say(
            f"The thief copied {theft.files} files ({theft.bytes_read / 2**20:.0f} MiB beside the disks' payload) from "
            f"the running host and tried {theft.tried} keys on {len(disks)} disks: none opened "
            "(a planted control disk did)."
        )

    def attack_by_libvirt(self) -> None:
        """Step 6: an attacker's own domain, then the honest start."""
        name = "clinic-db"
        guest = self.cli.run("guest", "stop", name, person="olga-operator", show=True)
        refusal = try_attackers_domain(Path(guest["disks"][0]["path"]))
        self.story.say(f"An attacker's own virsh domain on that disk: {refusal}")
        self.cli.run("guest", "start", name, "--wait", person="olga-operator", show=True)
        self._read_marker_back(name)
        self.story.say(f"{name} was started through the gate; the marker is still there.")

    def deny_the_auditor(self) -> None:
        """Step 7: the auditor may look, not act."""
        answer = self.cli.run("guest", "start", "card-app", person="anna-auditor", exit_code=3)
        record = self.cli.run("audit", "show", answer["error"]["record"], person="anna-auditor")
        if record["kind"] != "denied" or not record["policies"]:
            raise CommandFailed(f"The denial was not recorded with its policy: {record}")
        self.story.say(f"Denied, exit code 3; record {record['seq']} names {', '.join(record['policies'])}.")

    def verify_the_log(self) -> None:
        """Step 8: the honest export holds; one changed byte is found."""
        export = OUT_DIR / "log-export"
        self.cli.run("audit", "export", "--out", str(export), person="anna-auditor", show=True)
        verified = self.cli.run("verify", str(export))
        self.story.say(f"The honest export holds: {verified['records']} records.")
        forged = OUT_DIR / "log-export-forged"
        shutil.copytree(export, forged)
        records = forged / "records.jsonl"
        data = bytearray(records.read_bytes())
        at = data.index(b'"action":"guest.exec"') + len(b'"action":"guest.e')
        data[at] ^= 1
        records.write_bytes(data)
        found = self.cli.run("verify", str(forged), exit_code=7)
        # The failed verification is a result as well as an error; both name the record.
        seq = found["first_bad"]["seq"]
        self.story.say(
            f"With one byte changed in a copy, verify names record {seq} and ends with exit code 7."
        )
        self.story.files |= {"log_export": str(export), "vkey": str(export / "log.vkey")}

    def write_reports(self) -> None:
        """Step 9: evidence as PDF."""
        since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        until = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for framework in ("hipaa", "pci"):
            out = OUT_DIR / f"{framework}.pdf"
            report = self.cli.run(
                "report", framework, "--from", since, "--to", until, "--out", str(out),
                person="carl-compliance", show=True,
            )  # fmt: skip
            self.story.files[f"{framework}_pdf"] = str(out)
            self.story.say(f"{out}: {report['sentence']}")

    def stop(self) -> None:
        """Leave nothing running; what was made stays."""
        for name in GUESTS:
            self.cli.run("guest", "stop", name, person="olga-operator", show=True)
        self.cli.stop_daemon()

    def _read_marker_back(self, name: str) -> None:
        answer = self.cli.run("guest", "exec", name, "--", "/bin/cat", MARKER_PATH, person="olga-operator")
        if answer["stdout"] != self.markers[name]:
            raise CommandFailed(f"{name} gave back another marker than was written.")

    @staticmethod
    def _secret(path: Path) -> Path:
        path.touch(mode=0o600)
        path.write_text(f"{secrets.token_urlsafe(18)}-7a\n", encoding="utf-8")
        return path


def run_demo() -> None:
    """Run the ten steps."""
    story = Story(OUT_DIR)
    demo = Demo(story)
    demo.clear_former_run()
    url = f"https://localhost:{PORT}"
    try:
        with story.step("init, serve, unseal; accounts for operator, compliance officer and auditor"):
            demo.stand_up()
        with story.step("build a Debian 12 image"):
            demo.build_image()
        with story.step("create two encrypted guests and run both at once"):
            demo.create_guests()
        with story.step("wait for their agents; write a marker in each and read it back"):
            demo.write_markers()
        with story.step("search the host for the markers; the thief tries everything on the disks"):
            demo.attack_at_rest()
        with story.step("stop a guest; an attacker's own domain; start it through the gate"):
            demo.attack_by_libvirt()
        with story.step("the auditor tries to start a guest"):
            demo.deny_the_auditor()
        with story.step("export the log, alter one byte in a copy, verify both"):
            demo.verify_the_log()
        with story.step("HIPAA and PCI DSS reports from the log and the measured disks"):
            demo.write_reports()
        with story.step("stop the guests and the daemon"):
            demo.stop()
    finally:
        story.write_summary(url, DATA_DIR)
    story.print_table()
    story.console.print(
        f"\nGo on: [bold]make serve[/bold] runs the daemon of this site on {url};\n"
        f"passwords of {', '.join(['ada-admin', *PEOPLE])} are in {demo.people} (readable by root only).\n"
        "The passphrase of the key store lies there too, so that you can go on. A real site never keeps it on\n"
        "the machine: who steals it together with the disks opens them."
    )


def serve() -> int:
    """Run the daemon of the demo's site in the foreground."""
    cli = CommandLine(DATA_DIR, PORT, DATA_DIR / "people" / "credentials.json")
    if not (DATA_DIR / "people").is_dir():
        print("There is no demo site yet: run `make demo` first.", file=sys.stderr)  # noqa: T201
        return 4
    print(  # noqa: T201
        f"Open https://localhost:{PORT} (the certificate is the site's own: {DATA_DIR}/secrets/tls.crt).\n"
        f"Log in as {', '.join(PEOPLE)}; passwords are in {DATA_DIR}/people.\n"
        f"Guests start after `strongroom --data {DATA_DIR} unseal\n"
        f"  --passphrase-file {DATA_DIR}/people/unseal-passphrase`.\n"
        "Ctrl-C stops the daemon."
    )
    return cli.serve_in_foreground()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo")
    parser.add_argument("--serve", action="store_true", help="run the daemon of the demo's site")
    if parser.parse_args().serve:
        return serve()
    try:
        run_demo()
    except CommandFailed as failure:
        print(f"\nThe demo stopped: {failure}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; run `make demo` again to start anew.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
