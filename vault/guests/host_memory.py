"""Keeps libvirt's copies of disk keys in memory: checks that, and sets it up.

libvirt writes each guest's disk passphrase to disk: encrypted in QEMU's arguments and log, with the key
beside it in `/var/lib/libvirt/qemu/domain-N-NAME/master-key.aes`. A clean stop removes that file; a power
cut does not. So a ramfs, which is never swapped, is mounted over libvirt's folder, and the subfolders that
must survive a reboot are bound back into it. The whole tree is built to one side and put in place by one
mount call: interrupted anywhere, the next run starts from the same ground. Mounts end with the host's run,
so this is done again after each boot.

Also here: the folder of memory for Strongroom's own transient files, and whether guests' own users may use
/dev/kvm.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vault.errors import Conflict, HostFailure, HostUnprotected
from vault.guests.mounts import active_swap, mount_under, mounts_of, never_swaps

#: Kept on disk: firmware variables, snapshot and checkpoint metadata, and what an administrator saves or
#: dumps. All else (per-domain folders, agent channels, guest memory in files) lives only in memory.
PERSISTENT_FOLDERS = ("checkpoint", "dump", "nvram", "save", "snapshot")
#: libvirt binds the agent's socket below these; one user per guest means that anyone may pass through, and
#: none list.
_PASSABLE = ("", "channel", "channel/target")
_PASS_ONLY = 0o711
_MOUNT_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class HostLayout:
    """Where libvirt and Strongroom keep their files on this host.

    Attributes:
        libvirt_dir: libvirt's folder for QEMU, with the per-domain folders.
        state_dir: libvirt's run-time folder, with one pid file for each running domain.
        ram_dir: where Strongroom's own transient files lie.
        libvirt_pid_files: where libvirt's daemon writes its process id, whose view of the mounts counts.
        kvm_device: the accelerator's device.
    """

    libvirt_dir: Path = Path("/var/lib/libvirt/qemu")
    state_dir: Path = Path("/run/libvirt/qemu")
    ram_dir: Path = Path("/run/strongroom")
    libvirt_pid_files: tuple[Path, ...] = (Path("/run/libvirtd.pid"), Path("/run/virtqemud.pid"))
    kvm_device: Path = Path("/dev/kvm")

    @property
    def staging_dir(self) -> Path:
        """Where the new tree is built before it is put in place."""
        return self.ram_dir.with_name(self.ram_dir.name + "-staging")


@dataclass(frozen=True, slots=True)
class HostFinding:
    """Something about this host that a person must look at.

    Attributes:
        blocks_start: no guest is started while it stands.
    """

    code: str
    sentence: str
    remedy: str
    blocks_start: bool


def check_host_memory(layout: HostLayout | None = None) -> list[HostFinding]:
    """What keeps key material from lying only in memory that does not swap; empty when all is well."""
    return list(_findings(layout or HostLayout()))


def require_host_memory(layout: HostLayout | None = None) -> None:
    """Refuse to go on where a key could reach a disk.

    Raises:
        HostUnprotected: the first finding that forbids starting a guest.
    """
    for finding in _findings(layout or HostLayout()):
        if finding.blocks_start:
            raise HostUnprotected(finding.sentence, finding.remedy)


def prepare_host_memory(layout: HostLayout | None = None) -> list[str]:
    """Put libvirt's per-domain folders and Strongroom's transient files on a ramfs.

    Safe to run again, at any time. It changes the host, not a guest, and runs before there is a daemon:
    hence no permit.

    Returns:
        What was done, one sentence each; empty when all was in place.

    Raises:
        Conflict: guests run, whose open files a new mount would hide.
        HostFailure: not run as root, libvirt is not installed, or a mount failed.
    """
    layout = layout or HostLayout()
    if os.geteuid() != 0:
        raise HostFailure("Preparing the host's memory needs root.", "Run `sudo strongroom doctor --fix`.")
    if not layout.libvirt_dir.is_dir():
        raise HostFailure(
            f"libvirt's folder {layout.libvirt_dir} does not exist.",
            "Install libvirt's QEMU driver, then try again.",
        )
    _clear_staging(layout)
    done = []
    if not _lies_in_memory(layout.ram_dir):
        _mount_ram_dir(layout)
        done.append(f"Mounted memory that does not swap on {layout.ram_dir}.")
    if not _is_covered(layout):
        running = running_domains(layout)
        if running:
            raise Conflict(
                f"libvirt's folder cannot be moved to memory while guests run: {', '.join(running)}.",
                "Stop them, then run `strongroom doctor --fix` again.",
            )
        removed = _remove_stale_keys(layout)
        if removed:
            done.append(f"Removed {removed} of libvirt's old key files from {layout.libvirt_dir}.")
        _cover(layout)
        done.append(f"Mounted memory that does not swap over {layout.libvirt_dir}.")
    if _kvm_is_closed(layout):
        layout.kvm_device.chmod(0o666)
        done.append(f"Opened {layout.kvm_device} to guests' own users.")
    seen = mount_under(layout.libvirt_dir, _libvirt_pid(layout))
    if seen is None or not never_swaps(seen, active_swap()):
        raise HostFailure(
            f"libvirt's daemon sees mounts of its own, and not the memory on {layout.libvirt_dir}.",
            "Restart libvirt's daemon, then run `strongroom doctor --fix` again.",
        )
    return done


def running_domains(layout: HostLayout | None = None) -> list[str]:
    """Names of all domains whose QEMU runs on this host, ours or not, as libvirt's pid files say."""
    running = []
    for file in sorted((layout or HostLayout()).state_dir.glob("*.pid")):
        pid = _read_pid(file)
        if file.name != "driver.pid" and pid and Path(f"/proc/{pid}").exists():
            running.append(file.stem)
    return running


def _findings(layout: HostLayout) -> Iterator[HostFinding]:
    remedy = "Run `strongroom doctor --fix` while no guest runs."
    swap = active_swap()
    pid = _libvirt_pid(layout)
    under = mount_under(layout.libvirt_dir, pid)
    if under is None or not never_swaps(under, swap):
        yield HostFinding(
            "host.libvirt_keys_on_disk",
            f"libvirt would leave disk keys in {layout.libvirt_dir}, which is not memory that never swaps.",
            remedy,
            blocks_start=True,
        )
    else:
        if stat.S_IMODE(layout.libvirt_dir.stat().st_mode) & 0o011 != 0o011:
            yield HostFinding(
                "host.libvirt_folder_closed",
                f"Guests run as users of their own and may not pass through {layout.libvirt_dir}.",
                f"Run `chmod 0711 {layout.libvirt_dir}`.",
                blocks_start=True,
            )
        for name in PERSISTENT_FOLDERS:
            inner = mount_under(layout.libvirt_dir / name, pid)
            if inner is not None and never_swaps(inner, swap):
                yield HostFinding(
                    "host.libvirt_folder_not_kept",
                    f"What libvirt writes to {layout.libvirt_dir / name} would be lost at the next reboot.",
                    remedy,
                    blocks_start=False,
                )
    if not _lies_in_memory(layout.ram_dir):
        yield HostFinding(
            "host.ram_folder_missing",
            f"{layout.ram_dir} is not memory that never swaps, so keys could not be handed to tools safely.",
            remedy,
            blocks_start=True,
        )
    if _kvm_is_closed(layout):
        yield HostFinding(
            "host.kvm_closed",
            f"Guests run as users of their own and may not open {layout.kvm_device}.",
            "Run `strongroom doctor --fix`.",
            blocks_start=False,
        )
    if swap:
        yield HostFinding(
            "host.swap_active",
            f"The host swaps to {', '.join(swap)}: guests are started with their memory locked.",
            "Use `swapoff -a`, or encrypt the swap area with a key made at each boot.",
            blocks_start=False,
        )


def _libvirt_pid(layout: HostLayout) -> int | None:
    """Process whose view of the mounts counts; None when it does not run or shares our view."""
    for file in layout.libvirt_pid_files:
        pid = _read_pid(file)
        if pid and Path(f"/proc/{pid}/mountinfo").exists():
            return pid
    return None


def _read_pid(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def _lies_in_memory(folder: Path) -> bool:
    mount = mount_under(folder)
    return mount is not None and mount.point == folder and never_swaps(mount, active_swap())


def _is_covered(layout: HostLayout) -> bool:
    mount = mount_under(layout.libvirt_dir)
    if mount is None or not never_swaps(mount, active_swap()):
        return False
    points = {m.point for m in mounts_of()}
    return all(layout.libvirt_dir / name in points for name in PERSISTENT_FOLDERS)


def _kvm_is_closed(layout: HostLayout) -> bool:
    # A guest's user belongs to no group, so that group `kvm` opens nothing to it; 0666 is udev's own default.
    try:
        return stat.S_IMODE(layout.kvm_device.stat().st_mode) & 0o006 != 0o006
    except FileNotFoundError:
        return False


def _mount_ram_dir(layout: HostLayout) -> None:
    layout.ram_dir.mkdir(parents=True, exist_ok=True)
    _run(
        "mount",
        "-t",
        "ramfs",
        "-o",
        f"mode={_PASS_ONLY:04o},nosuid,nodev,noexec",
        "strongroom",
        str(layout.ram_dir),
    )


def _cover(layout: HostLayout) -> None:
    """Build the tree to one side, then bind it over libvirt's folder in one step."""
    staging, target = layout.staging_dir, layout.libvirt_dir
    staging.mkdir(mode=0o700, exist_ok=True)
    _run("mount", "-t", "ramfs", "-o", "nosuid,nodev,noexec", "strongroom-libvirt", str(staging))
    # Private: taking the staging mounts down again must not reach their copies in `target`
    # (mount_namespaces(7)).
    _run("mount", "--make-private", str(staging))
    for folder in sorted(p for p in target.rglob("*") if p.is_dir() and not p.is_symlink()):
        inner = folder.relative_to(target)
        if inner.parts[0] in PERSISTENT_FOLDERS and len(inner.parts) > 1:
            continue
        (staging / inner).mkdir()
        shutil.copystat(folder, staging / inner)
        _copy_owner(folder, staging / inner)
    for name in PERSISTENT_FOLDERS:
        if not (target / name).is_dir():
            (target / name).mkdir(mode=0o755)
            _copy_owner(target, target / name)
            (staging / name).mkdir()
        _run("mount", "--bind", str(target / name), str(staging / name))
    _copy_owner(target, staging)
    for name in _PASSABLE:
        if (staging / name).is_dir():
            (staging / name).chmod(_PASS_ONLY)
    _run("mount", "--rbind", str(staging), str(target))
    _clear_staging(layout)


def _clear_staging(layout: HostLayout) -> None:
    """Take down what an interrupted run left behind, or what this run no longer needs."""
    staging = layout.staging_dir
    if any(m.point == staging for m in mounts_of()):
        _run("umount", "--recursive", str(staging))
    if staging.is_dir():
        staging.rmdir()


def _remove_stale_keys(layout: HostLayout) -> int:
    """Remove per-domain folders that a crash left on the disk; no domain runs, so none is in use."""
    removed = 0
    for folder in sorted(layout.libvirt_dir.glob("domain-*")):
        removed += sum(1 for _ in folder.glob("master-key.aes"))
        shutil.rmtree(folder)
    return removed


def _copy_owner(source: Path, target: Path) -> None:
    owner = source.stat()
    os.chown(target, owner.st_uid, owner.st_gid)


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_MOUNT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostFailure(
            f"`{' '.join(argv)}` could not be run.", "Mend the host, then try again."
        ) from error
    if done.returncode != 0:
        raise HostFailure(
            f"`{' '.join(argv)}` failed: {' '.join(done.stderr.split())}.",
            "A container needs the right to mount; otherwise mend the host, then try again.",
        )
