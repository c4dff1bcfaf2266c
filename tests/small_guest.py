"""Builds the small guest of the tests: Debian's kernel, a twenty-line init, and the guest agent.

A whole Debian takes a minute to boot under software emulation; this takes some seconds, and is as real where it
matters: a kernel, an ext4 root on whatever disk it is given, the agent that Debian ships. It answers the agent's
shutdown and the power button. Built once for each set of package versions, into a folder that tests share.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vault.guests.newc import DIRECTORY, EXECUTABLE, FILE, Member, newc_archive

#: Of a stock kernel by the name that each distribution gives its kernel for virtual machines.
_KERNEL_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
_AGENT_PACKAGE = "qemu-guest-agent"
_BUSYBOX = Path("/bin/busybox")
_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio-rng", "button", "evdev",
)  # fmt: skip
ROOT_BYTES = 64 * 2**20
COMMAND_LINE = "console=ttyS0 quiet mitigations=off nokaslr panic=10"

_FIRST_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
while [ ! -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /root || { echo "the root disk cannot be mounted"; /bin/busybox poweroff -f; }
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /dev/pts && mount -t devpts pts /dev/pts
hostname small-guest
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
    ip link set eth0 up
    udhcpc -i eth0 -s /etc/udhcpc.sh -b -S >/dev/null 2>&1 &
fi
acpid -d -c /etc/acpi -l /dev/null >/dev/null 2>&1 &
for port in /sys/class/virtio-ports/*; do
    [ "$(cat $port/name 2>/dev/null)" = org.qemu.guest_agent.0 ] && agent=/dev/${port##*/}
done
echo "small guest is up" >/dev/console
while [ -n "$agent" ]; do qemu-ga -m virtio-serial -p "$agent" -t /run >/dev/null 2>&1; sleep 1; done
while :; do sleep 1000; done
"""
_SHUTDOWN = "#!/bin/sh\nsync\npoweroff -f\n"
_UDHCPC = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/${mask:-24}" dev "$interface"
[ -n "$router" ] && ip route add default via "$router"
"""


@dataclass(frozen=True)
class SmallGuest:
    """The files of the guest.

    Attributes:
        kernel, initrd: to boot directly.
        image: the root disk's content in the clear, raw.
        command_line: for the kernel.
    """

    kernel: Path
    initrd: Path
    image: Path
    command_line: str = COMMAND_LINE


def cache_dir() -> Path:
    """Where built things are kept between runs, as the setting `cache_dir` says too."""
    return Path(os.environ.get("STRONGROOM_CACHE_DIR", "/var/cache/strongroom"))


def small_guest(unpacked: Path | None = None) -> SmallGuest:
    """Return the small guest, built when it is not there.

    Args:
        unpacked: a folder with `boot/vmlinuz-*` and `lib/modules`, such as an image's root; None fetches the
            distribution's kernel package.
    """
    folder = cache_dir() / "small-guest"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        done = folder / _recipe_digest(unpacked)
        if not done.is_dir():
            with tempfile.TemporaryDirectory(dir=folder, prefix="part-") as work:
                _build(Path(work), unpacked)
                (Path(work) / "done").rename(done)
    return SmallGuest(done / "vmlinuz", done / "initrd.img", done / "root.raw")


def _recipe_digest(unpacked: Path | None) -> str:
    """Names what the guest is made of: this file, busybox, and where the kernel comes from."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(_BUSYBOX.read_bytes())
    digest.update(str(unpacked).encode())
    return digest.hexdigest()[:16]


def _build(work: Path, unpacked: Path | None) -> None:
    tree = work / "packages"
    tree.mkdir()
    if unpacked is None:
        _unpack(_kernel_packages(), tree)
    _unpack([_AGENT_PACKAGE], tree)
    kernel_tree = unpacked or tree
    done = work / "done"
    done.mkdir()
    shutil.copyfile(max((kernel_tree / "boot").glob("vmlinuz-*")), done / "vmlinuz")
    (done / "initrd.img").write_bytes(_initrd(kernel_tree / "lib/modules"))
    root = work / "root"
    _lay_root(root, tree)
    with (done / "root.raw").open("wb") as file:
        file.truncate(ROOT_BYTES)
    _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(done / "root.raw"))


def _kernel_packages() -> list[str]:
    """The packages with the kernel and its modules: a name without a version depends on the one with it."""
    for name in _KERNEL_PACKAGES:
        depends = subprocess.run(
            ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", name],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        real = sorted(set(re.findall(r"\blinux-(?:image|modules)(?:-extra)?-\d[\w.+-]*", depends)))
        real = [package for package in real if not package.endswith("-unsigned")]
        if real:
            return real
    raise RuntimeError("no kernel package is known to apt: run `apt-get update`")


def _unpack(packages: list[str], tree: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder)
        for package in sorted(Path(folder).glob("*.deb")):
            _run("dpkg-deb", "-x", str(package), str(tree))


def _initrd(modules: Path) -> bytes:
    files = _with_dependencies({path.stem.replace("-", "_"): path for path in sorted(modules.rglob("*.ko*"))})
    return newc_archive(
        [
            *(Member(name, DIRECTORY) for name in ("bin", "dev", "modules", "root")),
            Member("bin/busybox", EXECUTABLE, _BUSYBOX.read_bytes()),
            Member("init", EXECUTABLE, _FIRST_INIT.encode()),
            Member("modules/order", FILE, "\n".join(path.stem for path in files).encode()),
            *(Member(f"modules/{path.stem}", FILE, _module_bytes(path)) for path in files),
        ]
    )


def _with_dependencies(known: dict[str, Path]) -> list[Path]:
    """The modules in the order in which they must be loaded; what is built into the kernel is left out."""
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None or path in ordered:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", _module_bytes(path))
        for needed in (found[1].decode() if found else "").split(","):
            add(needed)
        ordered.append(path)

    known = {path.name.partition(".")[0].replace("-", "_"): path for path in known.values()}
    for name in _MODULES:
        add(name)
    return ordered


def _module_bytes(path: Path) -> bytes:
    if path.suffix == ".ko":
        return path.read_bytes()
    unpack = {".zst": "zstdcat", ".xz": "xzcat", ".gz": "zcat"}[path.suffix]
    return subprocess.run([unpack, str(path)], capture_output=True, check=True).stdout


def _lay_root(root: Path, tree: Path) -> None:
    for name in (
        *("bin", "dev", "etc/acpi/PWRF", "lib64", "proc", "root", "run"),
        *("sbin", "sys", "tmp", "var/run"),
    ):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(_BUSYBOX, root / "bin/busybox")
    for applet in subprocess.run(
        [_BUSYBOX, "--list"], capture_output=True, text=True, check=True
    ).stdout.split():
        if applet not in {"busybox", "init", "shutdown"}:
            (root / "bin" / applet).symlink_to("busybox")
    (root / "usr").mkdir()
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).symlink_to(f"../{name}")
    (root / "lib").mkdir(exist_ok=True)
    agent = next(path for path in tree.rglob("qemu-ga") if path.is_file())
    shutil.copy(agent, root / "bin/qemu-ga")
    for library in _libraries(agent):
        target = root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    _write(root / "sbin/init", _INIT)
    _write(root / "sbin/shutdown", _SHUTDOWN)
    _write(root / "etc/udhcpc.sh", _UDHCPC)
    # Where busybox's acpid looks for what the power button does.
    _write(root / "etc/acpi/PWRF/00000080", _SHUTDOWN)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="ascii")


def _libraries(program: Path) -> Iterator[Path]:
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    if "not found" in told:
        raise RuntimeError(f"the guest agent needs libraries that this host has not: {told}")
    for path in re.findall(r"(/\S+) \(0x", told):
        yield Path(path)


def _write(path: Path, script: str) -> None:
    path.write_text(script, encoding="ascii")
    path.chmod(0o755)


def _run(*argv: str, cwd: str | None = None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
