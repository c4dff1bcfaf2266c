"""Making an encrypted disk, against `qemu-img create` with LUKS."""

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from policies.errors import StrongroomError
from policies.vocabulary import Action, EntityRef, EntityType
from tests.bench.rounds import side_by_side
from tests.bench.row import Row
from tests.bench.subject import Setting, Subject
from tests.fakes.permits import permit_for
from tests.small_guest import cache_dir
from vault.config import Settings
from vault.disks.format import DiskFormatter
from vault.disks.ram_dir import RamDir
from vault.keystore.secret import DiskPassphrase

_DISK_BYTES = 10 * 2**30
_ROUNDS = 8
_OURS_A_ROUND = 25
#: As our disks are; the least iteration time, so that qemu-img is as fast as it can be.
_THEIR_OPTIONS = ",".join(
    (
        *("encrypt.format=luks", "encrypt.key-secret=s", "encrypt.cipher-alg=aes-256"),
        *("encrypt.cipher-mode=xts", "encrypt.ivgen-alg=plain64", "encrypt.hash-alg=sha256"),
        "encrypt.iter-time=10",
    )
)
_GUEST = EntityRef(EntityType.GUEST, "bench")


class BothWays:
    """Makes disks both ways, removes them, and counts what failed."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self._disk = folder / "disk.qcow2"
        self._passphrase = secrets.token_urlsafe(32).encode()
        self._secret = memory / "their-passphrase"
        self._secret.touch(mode=0o600)
        self._secret.write_bytes(self._passphrase)
        self._formatter = DiskFormatter(cache_dir() / "templates", RamDir(memory))
        self._formatter.prepare()
        self.failures = 0
        self.count = 0
        self.their_failures = 0
        self.their_count = 0

    def ours_ms(self) -> float:
        """Twenty-five disks; the median time of one that was made."""
        return median(self._one_of_ours_ms() for _ in range(_OURS_A_ROUND))

    def theirs_ms(self) -> float:
        """One disk; tried again when it fails, as a person would."""
        while True:
            began = time.perf_counter()
            ended = subprocess.run(
                [
                    *("qemu-img", "create", "-q", "-f", "qcow2", "--object"),
                    *(f"secret,id=s,file={self._secret}", "-o"),
                    *(_THEIR_OPTIONS, str(self._disk), str(_DISK_BYTES)),
                ],
                capture_output=True,
                check=False,
            )
            took_ms = (time.perf_counter() - began) * 1000
            self._disk.unlink(missing_ok=True)
            self.their_count += 1
            if ended.returncode == 0:
                return took_ms
            self.their_failures += 1

    def _one_of_ours_ms(self) -> float:
        permit = permit_for(Action.GUEST_CREATE, _GUEST)
        self.count += 1
        with DiskPassphrase(bytearray(self._passphrase)) as passphrase:
            began = time.perf_counter()
            try:
                self._formatter.create_encrypted_disk(permit, _GUEST, self._disk, _DISK_BYTES, passphrase)
            except StrongroomError:
                self.failures += 1
            took_ms = (time.perf_counter() - began) * 1000
        self._disk.unlink(missing_ok=True)
        return took_ms


def measure(setting: Setting, _wanted: frozenset[str]) -> Iterator[Row]:
    """Measure the making of disks."""
    setting.say(f"disk.create: {_ROUNDS} rounds of {_OURS_A_ROUND} of ours and 1 of qemu-img's")
    memory = Settings().run_dir / setting.folder.name
    memory.mkdir(mode=0o700)
    try:
        both = BothWays(setting.folder, memory)
        rounds = side_by_side(both.ours_ms, both.theirs_ms, _ROUNDS, warm_up_rounds=0)
    finally:
        shutil.rmtree(memory)
    yield Row(
        "disk.create",
        "Encrypted disk of 10 GiB; against `qemu-img create` with LUKS and its least iteration time",
        rounds,
        "ms",
        "ratio >= 40, failures <= 0, runs >= 200",
        facts={
            "runs": both.count,
            "failures": both.failures,
            "their_runs": both.their_count,
            "their_failures": both.their_failures,
        },
    )


SUBJECT = Subject(("disk.create",), measure)
