"""The way an image starts by EFI firmware: shim and GRUB as Debian signed them, and a menu that never needs rewriting.

Both are taken from their packages and not installed. The kernel is found through the links that Debian keeps in
the root, so a kernel that the guest installs later is the one that starts, and the one before it is the fallback.
With the signed chain an image starts under Secure Boot too.
"""

from pathlib import Path

from vault.disks.images.disk_layout import EspFile, PartitionIds
from vault.disks.images.tools import run_tool
from vault.errors import IntegrityFailure

_SHIM = "usr/lib/shim/shimx64.efi.signed"
_GRUB = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
#: Where Debian's signed GRUB looks for its menu; it is part of what is signed.
_MENU = "EFI/debian/grub.cfg"
_MENU_TEXT = """\
set timeout=0
set default=0
set fallback=1
search --no-floppy --set=root --fs-uuid {filesystem}
menuentry "Linux" {{
  linux /vmlinuz {options}
  initrd /initrd.img
}}
menuentry "Linux, the version before" {{
  linux /vmlinuz.old {options}
  initrd /initrd.img.old
}}
"""


def kernel_options(ids: PartitionIds, rest: str) -> str:
    """The kernel's command line, for the loader and for direct boot alike."""
    return f"root=PARTUUID={ids.root_partition} {rest}"


def unpack_loaders(loaders: Path, ids: PartitionIds, options: str) -> list[EspFile]:
    """Take the signed loaders out of their packages and write the menu.

    Args:
        loaders: folder with the packages' files; everything is left in it.
        ids: names of the partitions.
        options: the kernel's command line.

    Returns:
        what goes onto the EFI system partition.

    Raises:
        HostFailure: a package cannot be unpacked.
        IntegrityFailure: a loader is not in its package.
    """
    for package in sorted(loaders.glob("*.deb")):
        run_tool(["dpkg-deb", "--extract", package, loaders / "unpacked"], "unpack the EFI loader")
    files = [
        EspFile("EFI/BOOT/BOOTX64.EFI", loaders / "unpacked" / _SHIM),
        EspFile("EFI/BOOT/grubx64.efi", loaders / "unpacked" / _GRUB),
    ]
    for file in files:
        if not file.source.is_file():
            raise IntegrityFailure(
                f"The distribution's package does not hold {file.source.name}.",
                "Build the image again later.",
            )
    menu = loaders / "grub.cfg"
    menu.write_text(_MENU_TEXT.format(filesystem=ids.root_filesystem, options=options), encoding="ascii")
    return [*files, EspFile(_MENU, menu)]
