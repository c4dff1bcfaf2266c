"""Makes a system's files in a folder: mmdebstrap installs, our files go in first, traces of the build go out last.

What must never be in an image is checked at the end, not only removed: host keys, a machine id, a password.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vault.disks.images.apt_sources import DEBIAN_KEYRING, host_sources
from vault.disks.images.disk_layout import PartitionIds
from vault.disks.images.recipe import Recipe
from vault.disks.images.tools import run_tool
from vault.errors import HostFailure, IntegrityFailure

#: What mmdebstrap says for each package when it fetches, unpacks and sets it up; counted for the progress.
_STEPS = ("Get:", "Unpacking ", "Setting up ")
_EXPECTED_STEPS = 650
_SILENCE_LIMIT_S = 300.0
_ROOT, _OVERLAY, _LOADERS, _INITRD_LISTING = "root", "overlay", "loaders", "initrd.txt"
_UNITS_FOLDER = "etc/systemd"
_TRACES = (
    "etc/ssh/ssh_host_*",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/log/*.log",
    "var/log/apt/*",
    "var/cache/debconf/*-old",
    "var/lib/dpkg/*-old",
    "root/.bash_history",
)

#: Told how far it is, from 0 to 1, and what is being done.
FractionProgress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class RootTree:
    """A system's files in a folder.

    Attributes:
        root: the folder.
        kernel, initrd: the newest of each, below the root.
        loaders: folder with the files of the signed EFI loaders.
        packages: one line for each installed package: name, version, architecture.
    """

    root: Path
    kernel: Path
    initrd: Path
    loaders: Path
    packages: tuple[str, ...]


def build_root_tree(recipe: Recipe, ids: PartitionIds, work: Path, progress: FractionProgress) -> RootTree:
    """Install a system into `work/root`.

    Args:
        recipe: what to install.
        ids: names of the partitions, for /etc/fstab.
        work: an empty folder of our own; everything is left in it.

    Raises:
        HostFailure: a program is missing or failed, or the archive does not answer.
        IntegrityFailure: the result holds what no image may hold.
    """
    root, overlay, loaders = work / _ROOT, work / _OVERLAY, work / _LOADERS
    for folder in (overlay, loaders):
        folder.mkdir(mode=0o755)
    _lay_files(recipe, ids, overlay)
    progress(0.0, "Asking the distribution's archive.")
    _install(recipe, work, progress)
    progress(1.0, "Removing the traces of the build.")
    _remove_traces(root)
    # Once more: mmdebstrap lends the host's name and resolver to the chroot.
    _lay_files(recipe, ids, root)
    _lay_links(recipe, root)
    _lock_root(root)
    for stamp in ("etc/.updated", "var/.updated"):
        # Without them systemd rebuilds users and catalogues at the first start (systemd-update-done.service(8)).
        (root / stamp).write_text("", encoding="ascii")
    _check(root)
    kernel, initrd = _resolve(root, "vmlinuz"), _resolve(root, "initrd.img")
    _require_drivers(work / _INITRD_LISTING)
    return RootTree(root, kernel, initrd, loaders, _list_packages(root))


def _lay_files(recipe: Recipe, ids: PartitionIds, target: Path) -> None:
    """Lay our files; before the packages come, so that the kernel's initrd is made with them, and again after."""
    fstab = (
        f"PARTUUID={ids.root_partition} / ext4 defaults,errors=remount-ro,x-systemd.growfs 0 0\n"
        f"PARTUUID={ids.efi_partition} /boot/efi vfat noauto,umask=0077 0 0\n"
    )
    files = {**recipe.files, "etc/fstab": fstab, "etc/machine-id": ""}
    for name, text in files.items():
        path = _own_path(target, name)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if text.startswith("#!") else 0o644)


def _lay_links(recipe: Recipe, target: Path) -> None:
    """Enable and mask units; after the packages came, whose scripts would stumble over masks."""
    # Where a person mounts the EFI partition; nothing needs it while the system runs.
    _own_path(target, "boot/efi/x")
    masks = {f"{_UNITS_FOLDER}/{unit}": "/dev/null" for unit in recipe.masked_units}
    for name, pointed_at in {**recipe.links, **masks}.items():
        path = _own_path(target, name)
        path.unlink(missing_ok=True)
        path.symlink_to(pointed_at)


def _own_path(target: Path, name: str) -> Path:
    """Where a file of the system lies; its folder is made, and is never left through a link."""
    folder = target
    for part in PurePosixPath(name).parent.parts:
        folder /= part
        if folder.is_symlink():
            raise IntegrityFailure(f"/{name} would lie behind a link.", "Mend the recipe.")
        folder.mkdir(mode=0o755, exist_ok=True)
    return folder / PurePosixPath(name).name


def _install(recipe: Recipe, work: Path, progress: FractionProgress) -> None:
    if not DEBIAN_KEYRING.is_file():
        raise HostFailure(
            "The keys of Debian's archive are not on this host.",
            "Install them: apt-get install debian-archive-keyring",
        )
    steps = 0
    doing = "Asking the distribution's archive."

    def tell() -> None:
        progress(min(0.99, steps / _EXPECTED_STEPS), doing)

    def follow(line: str) -> None:
        nonlocal steps, doing
        if line.startswith(_STEPS):
            steps += 1
            doing = "Fetching packages." if line.startswith("Get:") else "Installing packages."
            tell()

    # Hooks are shell commands; mmdebstrap gives them the root as their first argument.
    here = shlex.quote(str(work))
    lay_overlay = f'cp -a {here}/{_OVERLAY}/. "$1"/'
    list_initrd = f'chroot "$1" sh -c "zstd -dcq < /initrd.img | cpio -t --quiet" > {here}/{_INITRD_LISTING}'
    fetch_loaders = (
        f'cd {here}/{_LOADERS} && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download '
        + " ".join(recipe.loader_packages)
    )
    run_tool(
        [
            *("mmdebstrap", "--verbose", "--mode=root", "--variant=minbase", "--format=directory"),
            *("--architectures=amd64", f"--keyring={DEBIAN_KEYRING}"),
            f"--include={','.join(recipe.packages)}",
            *(f"--dpkgopt={option}" for option in recipe.excluded_paths),
            f"--essential-hook={lay_overlay}",
            f"--customize-hook={list_initrd}",
            f"--customize-hook={fetch_loaders}",
            *("--", recipe.suite, str(work / _ROOT), *host_sources(recipe.suite)),
        ],
        "install the system's packages",
        on_line=follow,
        on_silence=tell,
        silence_limit_s=_SILENCE_LIMIT_S,
        contained=True,
        scratch=work,
    )


def _remove_traces(root: Path) -> None:
    for pattern in _TRACES:
        for path in root.glob(pattern):
            path.unlink()


def _lock_root(root: Path) -> None:
    shadow = root / "etc/shadow"
    mode, owner = shadow.stat().st_mode, shadow.stat()
    lines = shadow.read_text(encoding="utf-8").splitlines()
    locked = ["root:!*:" + line.split(":", 2)[2] if line.startswith("root:") else line for line in lines]
    part = shadow.with_name("shadow.new")
    part.write_text("\n".join(locked) + "\n", encoding="utf-8")
    os.chown(part, owner.st_uid, owner.st_gid)
    part.chmod(mode & 0o7777)
    part.replace(shadow)


def _check(root: Path) -> None:
    wrong: list[str] = []
    if list((root / "etc/ssh").glob("ssh_host_*")):
        wrong.append("SSH host keys")
    if (root / "etc/machine-id").read_bytes():
        wrong.append("a machine id")
    accounts = (root / "etc/shadow").read_text(encoding="utf-8").splitlines()
    if not all(account.split(":")[1].startswith(("!", "*")) for account in accounts):
        wrong.append("an account with a password")
    if (root / "etc/resolv.conf").is_file() and not (root / "etc/resolv.conf").is_symlink():
        wrong.append("the host's resolver")
    if wrong:
        raise IntegrityFailure(
            f"The system that was built holds {' and '.join(wrong)}.",
            "Build it again; if it stays so, report it.",
        )


def _resolve(root: Path, link: str) -> Path:
    """The newest kernel or initrd: Debian keeps a relative link to it in the root."""
    path = root / link
    target = path.readlink() if path.is_symlink() else PurePosixPath("/")
    if target.is_absolute() or ".." in target.parts or not (root / target).is_file():
        raise IntegrityFailure(f"The system that was built has no /{link}.", "Build it again.")
    return root / target


def _require_drivers(listing: Path) -> None:
    names = listing.read_text(encoding="utf-8").splitlines()
    missing = {"virtio_blk", "virtio_pci", "fsck"} - {
        PurePosixPath(name).name.partition(".")[0] for name in names
    }
    if missing:
        raise IntegrityFailure(
            f"The initrd that was built lacks {', '.join(sorted(missing))}.", "Build it again."
        )


def _list_packages(root: Path) -> tuple[str, ...]:
    lines: list[str] = []
    run_tool(
        [
            *("dpkg-query", f"--admindir={root / 'var/lib/dpkg'}", "--show"),
            "--showformat=${Package} ${Version} ${Architecture}\\n",
        ],
        "list the packages",
        on_line=lines.append,
    )
    return tuple(sorted(lines))
