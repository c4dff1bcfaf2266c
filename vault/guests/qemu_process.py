"""Looks at the QEMU process that libvirt started, before the guest in it may run.

libvirt's word on a domain is checked against the kernel's: which program really runs, as whom, and whether
the file that libvirt keeps the disk key's key in really lies in memory.
"""

import resource
from pathlib import Path

from vault.errors import HostFailure, HostUnprotected, IntegrityFailure
from vault.guests.domain_xml import EMULATOR
from vault.guests.host_memory import HostLayout
from vault.guests.mounts import active_swap, mount_under, never_swaps


def require_sound_process(layout: HostLayout, domain_id: int, name: str, uid: int) -> int:
    """Check the process of a paused domain, and forbid it core dumps: its heap holds the disk's key.

    Args:
        layout: where libvirt keeps its files.
        domain_id: libvirt's running number of the domain.
        name: the domain's name.
        uid: the user that it must run as.

    Returns:
        the process id.

    Raises:
        HostFailure: the process is not found.
        HostUnprotected: libvirt keeps this domain's key file on a disk.
        IntegrityFailure: it is another program or another user.
    """
    pid_file = layout.state_dir / f"{name}.pid"
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        program = Path(f"/proc/{pid}/exe").readlink()
        users, core_limit = _users_of(pid), _core_limit_of(pid)
    except (OSError, ValueError) as error:
        raise HostFailure(
            f"The guest's QEMU process is not found by {pid_file}.", "Look at libvirt's log on this host."
        ) from error
    if program != EMULATOR.resolve():
        raise IntegrityFailure(
            f"libvirt started {program} for the guest instead of {EMULATOR}; it was stopped.",
            "Look who changed this host's programs.",
        )
    if users != {uid}:
        raise IntegrityFailure(
            "libvirt did not run the guest as the guest's own user; it was stopped.",
            "Look whether `security_driver` in libvirt's qemu.conf turns `dac` off.",
        )
    if core_limit != "0":
        _forbid_core_dumps(pid)
    _require_key_file_in_memory(layout, domain_id)
    return pid


def _users_of(pid: int) -> set[int]:
    """Real, effective, saved and file-system user of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Uid:"):
            return {int(word) for word in line.split()[1:]}
    raise ValueError("the kernel names no user")


def _core_limit_of(pid: int) -> str:
    """The soft limit of core dumps in bytes, or `unlimited`."""
    for line in Path(f"/proc/{pid}/limits").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Max core file size"):
            return line.split()[4]
    raise ValueError("the kernel names no limit")


def _forbid_core_dumps(pid: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    except OSError as error:  # needs CAP_SYS_RESOURCE, which a container may lack
        raise HostUnprotected(
            "QEMU could write its memory, with the disk's key in it, to a core dump.",
            "Set `max_core = 0` in /etc/libvirt/qemu.conf, and restart libvirt's daemon.",
        ) from error


def _require_key_file_in_memory(layout: HostLayout, domain_id: int) -> None:
    folders = list(layout.libvirt_dir.glob(f"domain-{domain_id}-*"))
    swap = active_swap()
    for folder in folders:
        mount = mount_under(folder)
        if mount is None or not never_swaps(mount, swap):
            folders = []
            break
    if not folders:
        raise HostUnprotected(
            f"libvirt does not keep the guest's key file below {layout.libvirt_dir} in memory.",
            "Run `strongroom doctor --fix` while no guest runs.",
        )
