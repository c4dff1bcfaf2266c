"""Gives each start its own copies of kernel and initrd, for as long as QEMU takes to read them.

libvirt hands a kernel's file to the user that QEMU runs as. An image's kernel is shared by its guests, so a
guest that broke out of QEMU could change what the others boot next, and two guests of one image could not
run at once. A copy in memory belongs to one start; QEMU keeps what it read, also when the guest reboots.
"""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vault.errors import HostFailure
from vault.guests.daemon_run import is_over, this_run
from vault.guests.domain_xml import DirectBoot

#: QEMU's user must get at the files by name, and nobody may list them.
_PASS_ONLY = 0o711
_READABLE = 0o644
_PREFIX = "boot."


@contextlib.contextmanager
def private_boot_files(boot: DirectBoot | None, ram_dir: Path) -> Iterator[DirectBoot | None]:
    """Copies of the kernel and the initrd, gone after the block; None for a guest that boots by firmware.

    Args:
        boot: what to boot.
        ram_dir: a folder in memory that QEMU's users may pass through.

    Raises:
        HostFailure: a file cannot be read, or there is no memory for it.
    """
    if boot is None:
        yield None
        return
    try:
        _sweep(ram_dir)
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{this_run()}.", dir=ram_dir))
    except OSError as error:
        raise HostFailure(f"{ram_dir} cannot be written to.", "Run `strongroom doctor --fix`.") from error
    try:
        folder.chmod(_PASS_ONLY)
        yield dataclasses.replace(
            boot,
            kernel=_copy(boot.kernel, folder / "kernel"),
            initrd=_copy(boot.initrd, folder / "initrd"),
        )
    finally:
        shutil.rmtree(folder)


def _sweep(ram_dir: Path) -> None:
    """A daemon that was killed in a start leaves its copies, and a ramfs has no limit but the host's memory."""
    for folder in ram_dir.glob(f"{_PREFIX}*"):
        if is_over(folder.name.split(".")[1]):
            shutil.rmtree(folder, ignore_errors=True)  # another daemon may be at it too


def _copy(source: Path, target: Path) -> Path:
    try:
        shutil.copyfile(source, target)
        target.chmod(_READABLE)
    except OSError as error:
        raise HostFailure(
            f"The file {source} that the guest boots from cannot be read.",
            "Look whether the image is still there: strongroom image verify.",
        ) from error
    return target
