"""A real site with a real daemon, people, and a guest that boots in no time: a boot sector that only waits."""

import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PASSWORD = "a long passw0rd"
PASSPHRASE = "correct horse battery 7"
PEOPLE = {"olga-operator": "operator", "carl-compliance": "officer", "anna-auditor": "auditor"}
#: libvirt knows one domain of a name, and other sites on this host may have a guest of any usual name.
GUEST = f"browser-{secrets.token_hex(3)}"
_SITES = Path("/var/lib/strongroom")
_IMAGE_BYTES = 16 * 2**20


@dataclass
class RunningSite:
    """The site's address and its command line."""

    data_dir: Path
    port: int
    scratch: Path

    @property
    def url(self) -> str:
        """Where the daemon answers."""
        return f"https://localhost:{self.port}"

    @classmethod
    def stand_up(cls, scratch: Path) -> Self:
        """Make a site, start its daemon, and fill it; whatever fails takes it down again."""
        site = cls(_SITES / f"browser-{secrets.token_hex(4)}", _free_port(), scratch)
        try:
            site._fill()
        except BaseException:
            site.take_down()
            raise
        return site

    def run(self, *arguments: str, person: str = "ada-admin") -> Any:  # noqa: ANN401 - JSON is what it is
        """Run one command; its JSON document."""
        completed = subprocess.run(
            [self._program, "--json", "--as", person, *arguments],
            env=self._environment(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        if completed.returncode != 0:
            raise AssertionError(f"{arguments}: {completed.returncode} {completed.stderr.decode()}")
        return json.loads(completed.stdout)

    def take_down(self) -> None:
        """Stop guest and daemon, and remove the site."""
        for arguments in (["guest", "stop", GUEST, "--force", "--timeout", "0"], ["serve", "--stop"]):
            subprocess.run(
                [self._program, "--as", "olga-operator", *arguments],
                env=self._environment(),
                capture_output=True,
                check=False,
                timeout=120,
            )
        for folder in (self.data_dir, Path("/run/strongroom") / self.data_dir.name):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _program(self) -> Path:
        return Path(sys.executable).with_name("strongroom")

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "STRONGROOM_DATA_DIR": str(self.data_dir),
            "STRONGROOM_PORT": str(self.port),
            "STRONGROOM_CREDENTIALS": str(self.scratch / "credentials.json"),
        }

    def _fill(self) -> None:
        _SITES.mkdir(parents=True, exist_ok=True)
        password, passphrase = self._secret(PASSWORD), self._secret(PASSPHRASE)
        self.run(
            "init", "--admin", "ada-admin", "--admin-password-file", password, "--passphrase-file", passphrase
        )
        self.run("serve", "--background")
        self.run("login", "ada-admin", "--password-file", password)
        self.run("unseal", "--passphrase-file", passphrase)
        for name, role in PEOPLE.items():
            self.run("account", "create", name, "--role", role, "--password-file", password)
            self.run("login", name, "--password-file", password, person=name)
        image = self.data_dir / "waits.raw"
        image.write_bytes(_boot_sector())
        os.truncate(image, _IMAGE_BYTES)
        self.run("image", "import", "waits", str(image), person="olga-operator")
        self.run(
            "guest", "create", GUEST, "--image", "waits", "--disk", "64M", "--memory", "128M", "--label", "ephi",
            person="olga-operator",
        )  # fmt: skip

    def _secret(self, text: str) -> str:
        file = self.scratch / secrets.token_hex(4)
        file.touch(mode=0o600)
        file.write_text(f"{text}\n")
        return str(file)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _boot_sector() -> bytes:
    """A master boot record with one partition, whose code halts the processor and halts it again."""
    sector = bytearray(512)
    sector[0:4] = b"\xfb\xf4\xeb\xfd"  # sti; hlt; jmp to the hlt
    sector[446:462] = struct.pack("<B3sB3sII", 0x80, b"\x00\x20\x21", 0x83, b"\xfe\xff\xff", 2048, 30720)
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)
