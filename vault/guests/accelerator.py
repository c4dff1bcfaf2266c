"""Finds out whether guests can run under KVM, by booting one (decision record 10).

`/dev/kvm` may open and make a machine that does not get on: on hosts that are paravirtual themselves KVM
steps through the guest's code, and a kernel that takes a second takes hours. Measured on such a host:
firmware and a few instructions of a boot sector do come up there, so a probe must do work against a time
limit.
"""

import hashlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vault.guests.domain_xml import EMULATOR
from vault.guests.probe_image import KERNEL_WORD, SECTOR_WORD, boot_sector, probe_initramfs

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KVM = Path("/dev/kvm")
#: Software emulation, slower than any useful KVM, takes 0.4 s for the sector and 2 s for the kernel.
SECTOR_TIMEOUT_S = 5.0
KERNEL_TIMEOUT_S = 15.0
_VERSION_TIMEOUT_S = 10.0
_NO_KERNEL = "none"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What guests run on, and why.

    Attributes:
        kind: `kvm` or `tcg` (software emulation).
        reason: one sentence for people.
    """

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """How a probe guest fared.

    Attributes:
        came_up: it said its word in time.
        reason: one sentence about it.
    """

    came_up: bool
    reason: str


class AcceleratorFinder:
    """Probes once for each boot of the host, QEMU version and kernel, and remembers."""

    def __init__(self, wanted: str, cache_dir: Path, *, kvm_device: Path = _KVM) -> None:
        """Take what the settings say (`auto`, `kvm`, `tcg`) and where the answers are kept."""
        self._wanted = wanted
        self._cache = cache_dir / "accelerator.json"
        self._kvm_device = kvm_device
        self._guard = threading.Lock()

    def known_kind(self) -> str:
        """What is known without probing: `kvm`, `tcg`, or `unknown` while no guest was started yet."""
        if self._wanted != "auto":
            return self._wanted
        kinds = {found.kind for found in self._remembered().values()}
        # One kernel that does not come up under KVM is enough: the answer is for the host as a whole.
        return "tcg" if "tcg" in kinds else "kvm" if kinds else "unknown"

    def find(self, kernel: Path | None = None) -> Accelerator:
        """Say what guests run on; probes when nothing is remembered for this kernel.

        Args:
            kernel: the guest's kernel, which the probe boots; None probes without one.
        """
        if self._wanted != "auto":
            return Accelerator(self._wanted, "The settings say so.")
        if not self._kvm_device.exists():
            return Accelerator(
                "tcg", "This host has no /dev/kvm, so guests run under software emulation, slowly."
            )
        with self._guard:
            known = self._remembered()
            digest = _NO_KERNEL if kernel is None else _sha256(kernel)
            refused = known.get(_NO_KERNEL)
            if digest not in known and refused is not None and refused.kind == "tcg":
                return refused
            if digest not in known:
                known[digest] = _decide(kernel)
                self._remember(known)
            return known[digest]

    def _key(self) -> str:
        """What the answers hold for: this boot of the host and this QEMU."""
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {_qemu_version()}"

    def _remembered(self) -> dict[str, Accelerator]:
        try:
            document = json.loads(self._cache.read_text(encoding="utf-8"))
            if document["key"] == self._key():
                return {
                    digest: Accelerator(str(found["kind"]), str(found["reason"]))
                    for digest, found in document["found"].items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # no memory, or one that cannot be read: probe again
        return {}

    def _remember(self, found: Mapping[str, Accelerator]) -> None:
        document = {
            "key": self._key(),
            "found": {digest: {"kind": one.kind, "reason": one.reason} for digest, one in found.items()},
        }
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        part = self._cache.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(document), encoding="utf-8")
        part.rename(self._cache)


def probe_sector(accelerator: str, timeout_s: float = SECTOR_TIMEOUT_S) -> Probe:
    """Boot a sector of code that counts to 100 million."""
    with tempfile.NamedTemporaryFile(prefix="strongroom-probe-") as drive:
        drive.write(boot_sector())
        drive.flush()
        arguments = (
            *("-drive", f"file={drive.name},format=raw,if=virtio,readonly=on"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
        )
        return _run(accelerator, arguments, SECTOR_WORD, timeout_s, "A boot sector's work")


def probe_kernel(accelerator: str, kernel: Path, timeout_s: float = KERNEL_TIMEOUT_S) -> Probe:
    """Boot a guest kernel until its first program has spoken."""
    with tempfile.NamedTemporaryFile(prefix="strongroom-probe-") as initramfs:
        initramfs.write(probe_initramfs())
        initramfs.flush()
        arguments = (
            *("-kernel", str(kernel), "-initrd", initramfs.name),
            *("-append", "console=ttyS0 quiet panic=-1 rdinit=/init"),
        )
        return _run(accelerator, arguments, KERNEL_WORD, timeout_s, "A guest's kernel")


def _decide(kernel: Path | None) -> Accelerator:
    probe = probe_sector("kvm")
    if probe.came_up and kernel is not None:
        probe = probe_kernel("kvm", kernel)
    if probe.came_up:
        return Accelerator("kvm", "A probe guest came up under KVM.")
    return Accelerator(
        "tcg",
        f"This host has /dev/kvm, but no guest comes up under it ({probe.reason}), "
        "so guests run under software emulation, slowly.",
    )


def _run(accelerator: str, arguments: Sequence[str], word: bytes, timeout_s: float, what: str) -> Probe:
    command = (
        *(str(EMULATOR), "-accel", accelerator, "-machine", "q35"),
        *("-cpu", "host" if accelerator == "kvm" else "max", "-m", "256"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *arguments,
    )
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        if word in (late.stdout or b""):
            return Probe(came_up=True, reason="it spoke in time")
        return Probe(came_up=False, reason=f"{what.lower()} was not done within {timeout_s:.0f} s")
    except OSError:
        return Probe(came_up=False, reason=f"{EMULATOR} cannot be run")
    if word in ended.stdout:
        return Probe(came_up=True, reason="it spoke in time")
    return Probe(came_up=False, reason=f"QEMU gave up with exit code {ended.returncode}")


def _qemu_version() -> str:
    try:
        told = subprocess.run(
            (str(EMULATOR), "--version"), capture_output=True, timeout=_VERSION_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.partition(b"\n")[0].decode(errors="replace").strip()


def _sha256(kernel: Path) -> str:
    with kernel.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
