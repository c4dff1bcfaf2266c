"""The real image: built by mmdebstrap, looked into without mounting, started by firmware, killed half-way.

Takes about two minutes where the image was never built, less than one where the cache has it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import permit_for
from vault.config import load_settings
from vault.disks.images.boot_signature import PREFIX_BYTES, find_firmware
from vault.disks.images.debian_12 import DEBIAN_12
from vault.disks.images.model import PACKAGES_FILE, Firmware, Image
from vault.disks.images.store import ImageStore
from vault.disks.ram_dir import RamDir
from vault.guests.seed import build_seed

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
SITE = EntityRef(EntityType.SITE, "site")
ESP_OFFSET = 1024**2
ROOT_OFFSET = ESP_OFFSET + 64 * 1024**2
MAC = "52:54:00:12:34:56"
GUEST_ID = "3b6a3ad5-8f1e-4a43-9f9a-6a9f5a1f5b0c"
#: Where distributions put the 4 MiB flavour of the firmware, as code and variables.
FIRMWARE = Path("/usr/share/OVMF")
BOOT_LIMIT_S = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def store(folder: Path) -> ImageStore:
    return ImageStore(folder / "images", load_settings().cache_dir / "images")


@pytest.fixture(scope="module")
def image(store: ImageStore) -> Image:
    said: list[int] = []
    image = store.build(
        permit_for(Action.IMAGE_BUILD, SITE),
        SITE,
        "debian-12",
        lambda percent, _sentence: said.append(percent),
    )
    assert said == sorted(said)
    return image


@pytest.fixture(scope="module")
def raw(store: ImageStore, image: Image, folder: Path) -> Path:
    """What a guest sees of the disk."""
    path = folder / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", store.verified_disk(image), path], check=True)
    return path


def debugfs(raw: Path, command: str) -> str:
    """Ask the root file system, unmounted."""
    source = f"{raw}?offset={ROOT_OFFSET}"
    return subprocess.run(
        ["debugfs", "-R", command, source], check=True, capture_output=True, text=True
    ).stdout


def names_in(raw: Path, path: str) -> set[str]:
    listing = debugfs(raw, f"ls -p {path}")
    return {line.split("/")[5] for line in listing.splitlines() if line.startswith("/")}


def test_the_image_is_whole_and_says_what_is_in_it(store: ImageStore, image: Image) -> None:
    store.verify(
        permit_for(Action.IMAGE_VERIFY, EntityRef(EntityType.IMAGE, image.id)),
        EntityRef(EntityType.IMAGE, image.id),
        image,
    )
    assert image.recipe_sha256 == DEBIAN_12.digest
    assert image.virtual_size_bytes == 2 * 1024**3
    assert image.boots_directly
    packages = {line.split()[0] for line in (image.folder / PACKAGES_FILE).read_text().splitlines()}
    assert {"qemu-guest-agent", "cloud-init", "openssh-server", "linux-image-cloud-amd64"} <= packages
    assert not {"telnetd", "rsh-server"} & packages
    check = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", image.disk_path], check=False)
    assert check.returncode == 0


def test_its_file_system_is_sound(raw: Path) -> None:
    check = subprocess.run(
        ["e2fsck", "-f", "-n", f"{raw}?offset={ROOT_OFFSET}"], capture_output=True, check=False
    )
    assert check.returncode == 0, check.stdout


def test_no_two_guests_would_share_a_host_key_or_an_id(raw: Path) -> None:
    assert {"sshd_config", "moduli"} <= names_in(raw, "/etc/ssh")
    assert not [name for name in names_in(raw, "/etc/ssh") if name.startswith("ssh_host_")]
    assert debugfs(raw, "cat /etc/machine-id") == ""
    assert "random-seed" not in names_in(raw, "/var/lib/systemd")
    assert "machine-id" not in names_in(raw, "/var/lib/dbus")


def test_nobody_has_a_password_and_root_is_locked(raw: Path) -> None:
    accounts = dict(line.split(":")[:2] for line in debugfs(raw, "cat /etc/shadow").splitlines())
    assert accounts["root"].startswith("!")
    assert all(password.startswith(("!", "*")) for password in accounts.values())


def test_nothing_of_the_build_host_stays_in_it(raw: Path) -> None:
    assert debugfs(raw, "cat /etc/hostname") == "debian\n"
    assert socket.gethostname() not in debugfs(raw, "cat /etc/hosts").split()
    assert not {name for name in names_in(raw, "/var/log") if name.endswith(".log")}
    sources = debugfs(raw, "cat /etc/apt/sources.list")
    assert "bookworm" in sources
    assert "@" not in sources


def test_an_efi_loader_and_its_menu_are_there(raw: Path, image: Image) -> None:
    with raw.open("rb") as stream:
        assert find_firmware(stream.read(PREFIX_BYTES)) == Firmware.EFI

    def read(name: str) -> bytes:
        source = f"{raw}@@{ESP_OFFSET}"
        return subprocess.run(
            ["mcopy", "-i", source, f"::{name}", "-"], check=True, capture_output=True
        ).stdout

    for loader in ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"):
        assert read(loader).startswith(b"MZ")
    assert image.kernel_options is not None
    assert image.kernel_options in read("EFI/debian/grub.cfg").decode()


def test_it_starts_by_firmware_grows_with_its_disk_and_takes_its_name_from_the_seed(
    store: ImageStore, image: Image, folder: Path
) -> None:
    disk, agent, seed = folder / "guest.qcow2", folder / "agent", folder / "seed.img"
    backing = f"file={store.verified_disk(image)}"
    subprocess.run(
        [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            backing.removeprefix("file="),
            disk,
            "5G",
        ],
        check=True,
    )
    seed.write_bytes(build_seed(pretended_memory(folder), GUEST_ID, "clinic-db", MAC))
    shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", folder / "vars.fd")
    with emulated(disk, seed, agent, folder), connected(agent) as line:
        started = time.monotonic()
        ping(line)
        print(f"guest agent after {time.monotonic() - started:.1f} s, started by firmware")  # noqa: T201
        wait_until(line, "test -e /run/cloud-init/result.json")
        assert run(line, "hostname") == "clinic-db"
        assert run(line, "systemctl --failed --no-legend --plain") == ""
        assert int(run(line, "df --output=size -B1 / | tail -1")) > 4.5 * 1024**3
        assert run(line, "test -d /sys/firmware/efi && echo efi") == "efi"
        assert run(line, "wc -c < /etc/machine-id") == "33"
        assert "ssh_host_ed25519_key" in run(line, "ls /etc/ssh")


def pretended_memory(folder: Path) -> RamDir:
    """The seed of a throw-away guest may lie on the test's disk."""
    mounts, swaps = folder / "mountinfo", folder / "swaps"
    device = folder.stat().st_dev
    mounts.write_text(f"30 1 {os.major(device)}:{os.minor(device)} / {folder} rw - ramfs none rw\n")
    swaps.write_text("Filename\tType\tSize\tUsed\tPriority\n")
    return RamDir(folder / "memory", mounts=mounts, swaps=swaps)


@contextmanager
def emulated(disk: Path, seed: Path, agent: Path, folder: Path) -> Iterator[None]:
    """A machine of its own, outside libvirt: what is tested is the image."""
    command = [
        *("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35"),
        *("-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "768"),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
        *("-drive", f"if=pflash,format=raw,file={folder / 'vars.fd'}"),
        *("-drive", f"if=virtio,format=qcow2,file={disk}"),
        *("-drive", f"if=virtio,format=raw,readonly=on,file={seed}"),
        *("-netdev", "user,id=net,restrict=on", "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,path={agent},server=on,wait=off,id=agent"),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        *("-serial", f"file:{folder / 'console'}"),
    ]
    with subprocess.Popen(command) as machine:
        try:
            yield
        finally:
            machine.kill()


@contextmanager
def connected(agent: Path) -> Iterator[socket.socket]:
    deadline = time.monotonic() + 10
    while not agent.exists():
        assert time.monotonic() < deadline, "QEMU did not start"
        time.sleep(0.05)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(agent))
        yield line


def ping(line: socket.socket) -> None:
    """Wait for the first answer; what is sent before the agent listens is lost, or answered late."""
    deadline = time.monotonic() + BOOT_LIMIT_S
    line.settimeout(1)
    heard = b""
    while b'"return"' not in heard:
        assert time.monotonic() < deadline, "the guest agent does not answer"
        line.sendall(b'\xff{"execute":"guest-sync-delimited","arguments":{"id":7}}\n')
        try:
            heard += line.recv(4096)
        except TimeoutError:
            continue
    # Late answers to the earlier questions.
    try:
        while line.recv(4096):
            pass
    except TimeoutError:
        line.settimeout(60)


def ask(line: socket.socket, execute: str, **arguments: object) -> dict[str, object]:
    line.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
    heard = b""
    while not heard.endswith(b"\n"):
        heard += line.recv(65536)
    answer = json.loads(heard)["return"]
    assert isinstance(answer, dict)
    return answer


def run(line: socket.socket, command: str) -> str:
    """What a command says in the guest."""
    options = {"path": "/bin/sh", "arg": ["-c", command], "capture-output": True}
    pid = ask(line, "guest-exec", **options)["pid"]
    while not (status := ask(line, "guest-exec-status", pid=pid))["exited"]:
        time.sleep(0.1)
    return subprocess.run(
        ["base64", "-d"], input=str(status.get("out-data", "")), capture_output=True, text=True, check=True
    ).stdout.strip()


def wait_until(line: socket.socket, condition: str) -> None:
    deadline = time.monotonic() + BOOT_LIMIT_S
    while run(line, f"{condition} && echo yes") != "yes":
        assert time.monotonic() < deadline, condition
        time.sleep(0.5)


def test_a_build_killed_half_way_leaves_only_a_part_that_recovery_removes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.fakes.permits import permit_for\n"
        "from tests.e2e.test_image_build import SITE; from policies.vocabulary import Action\n"
        "from vault.disks.images.store import ImageStore\n"
        "ImageStore(Path(sys.argv[1]), Path(sys.argv[2])).build(\n"
        "    permit_for(Action.IMAGE_BUILD, SITE), SITE, 'debian-12',\n"
        "    lambda percent, sentence: print(percent, sentence, flush=True))\n"
    )
    images, cache = tmp_path / "images", tmp_path / "cache"
    daemon_command: list[str | Path] = [sys.executable, "-c", program, images, cache]
    with subprocess.Popen(daemon_command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        for line in daemon.stdout:
            if "Installing packages" in line:
                break
        else:
            pytest.fail("the build ended before it installed anything")
        daemon.kill()
    wait_until_idle(cache)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    store = ImageStore(images, cache)
    assert store.all() == []
    (part,) = cache.glob("debian-12-*.part")
    assert (part / "work" / "root").is_dir()
    assert store.remove_unfinished(permit_for(Action.IMAGE_BUILD, SITE), SITE) == [part.name]
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def wait_until_idle(folder: Path) -> None:
    """Wait until no process has its root, its folder or an argument below this one."""
    deadline = time.monotonic() + 10
    while busy := [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and is_below(pid, folder)]:
        assert time.monotonic() < deadline, f"still running: {busy}"
        time.sleep(0.1)


def is_below(process: Path, folder: Path) -> bool:
    try:
        places = [str((process / name).readlink()) for name in ("root", "cwd")]
        return any(place.startswith(str(folder)) for place in places) or str(folder) in (
            process / "cmdline"
        ).read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False  # it ended meanwhile, or is none of ours
