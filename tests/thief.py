"""The thief: copies every byte that persists on the host, and tries everything in it as a key.

Used by the demo and by the end-to-end tests. It knows Strongroom's formats, and libvirt's: it knows that
QEMU's arguments hold the disk passphrase encrypted, that the key for them lies in a file, and how long a
passphrase is. A control disk, whose passphrase is planted among the loot, proves in each run that the thief
would have found one.
"""

import base64
import binascii
import ctypes
import hashlib
import itertools
import os
import re
import secrets
import stat
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_HEADER_BYTES = 2_068_480
_LUKS_MAGIC = b"LUKS\xba\xbe\x00\x01"
_QCOW2_MAGIC = b"QFI\xfb"
#: Of a disk image only the head is looted for keys: header, tables, LUKS header; the rest is its payload.
_HEAD_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 16 * 1024 * 1024
_OVERLAP_BYTES = 1024
_MASTER_KEY_BYTES = 32
_LONGEST_PASSPHRASE = 512
_CONTROL = "the control disk"
#: The forms of 256 random bits as text: hex, and base64 in either alphabet.
_OUR_FORM = re.compile(
    rb"(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[A-Za-z0-9_-]{43}|[A-Za-z0-9+/]{43}=?)(?![0-9A-Za-z])"
)
_PRINTABLE_RUN = re.compile(rb"[\x21-\x7e]{16,}")
_TOKEN = re.compile(rb"[A-Za-z0-9_+/=-]{16,}")
_MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "proc", "sysfs", "devtmpfs", "cgroup", "cgroup2", "devpts"}
#: Where libvirt and QEMU write.
HYPERVISOR_HAUNTS = (
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/run/libvirt",
    "/etc/libvirt",
    "/var/cache/libvirt",
)
#: Where anything else could leave a passphrase behind.
OTHER_HAUNTS = ("/var/log", "/tmp", "/var/tmp", "/run")  # noqa: S108 - looted, not written to


def take_header(disk: Path, into: Path) -> Path:
    """Copy the LUKS1 header of a disk file (raw or inside qcow2) into a file that libcryptsetup can read."""
    with disk.open("rb") as file:
        data = file.read(16 * 1024 * 1024)
    at = data.find(_LUKS_MAGIC)
    if at < 0:
        raise ValueError(f"{disk} has no LUKS1 header")
    copy = into / f"{hashlib.sha256(str(disk).encode()).hexdigest()[:12]}.header"
    copy.write_bytes(data[at : at + _HEADER_BYTES].ljust(_HEADER_BYTES + 1024 * 1024, b"\0"))
    return copy


class Lock:
    """Tries passphrases on a header through libcryptsetup: another implementation than the one under test."""

    def __init__(self, header: Path) -> None:
        self._library = ctypes.CDLL("libcryptsetup.so.12")
        self._library.crypt_activate_by_passphrase.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32,
        ]  # fmt: skip
        self._device = ctypes.c_void_p()
        if self._library.crypt_init(ctypes.byref(self._device), str(header).encode()) != 0:
            raise ValueError(f"libcryptsetup cannot open {header}")
        if self._library.crypt_load(self._device, b"LUKS1", None) != 0:
            raise ValueError(f"libcryptsetup sees no LUKS1 in {header}")

    def opens(self, passphrase: bytes) -> bool:
        """Say whether the passphrase opens any keyslot."""
        slot = self._library.crypt_activate_by_passphrase(
            self._device, None, -1, passphrase, len(passphrase), 0
        )
        return bool(slot >= 0)


# -- the loot --------------------------------------------------------------------------------------


def persisting_files(roots: Iterable[Path], since: float = 0.0) -> Iterator[Path]:
    """Every regular file below the roots that would survive a power cut: nothing on a memory file system.

    Args:
        since: only files written to since then (time.time()).
    """
    memory = _memory_mounts()
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if str(Path(folder, name)) not in memory]
            if folder in memory:
                folders[:] = []
                continue
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue  # gone meanwhile
                if stat.S_ISREG(status.st_mode) and status.st_mtime >= since:
                    yield path


def _memory_mounts() -> set[str]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    last = {mount[1]: mount[2] for mount in mounts}
    return {point for point, kind in last.items() if kind in _MEMORY_FILE_SYSTEMS}


def command_lines() -> bytes:
    """Argument lists and environments of every process: a power cut keeps them nowhere.

    A crash dump might.
    """
    parts = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                parts.append((process / name).read_bytes())
            except OSError:
                continue  # the process ended meanwhile
    return b"\0".join(parts)


class Loot:
    """What the thief gathers, piece by piece, so that no large file has to fit into memory."""

    def __init__(self) -> None:
        self.files = 0
        self.size_bytes = 0
        self._found: set[bytes] = set()
        self._sealed: list[tuple[bytes, bytes]] = []
        self._keys: list[bytes] = []

    def take_file(self, path: Path, *, thorough: bool) -> None:
        """Take every byte of a file; of a disk image its head, for the rest is its payload."""
        try:
            with path.open("rb") as file:
                piece = file.read(_PIECE_BYTES)
                self.files += 1
                if piece.startswith(_QCOW2_MAGIC):
                    piece = piece[:_HEAD_BYTES]
                    file.seek(0, os.SEEK_END)
                if len(piece) == _MASTER_KEY_BYTES:
                    self._keys.append(piece)
                while piece:
                    self.take(piece, thorough=thorough)
                    more = file.read(_PIECE_BYTES)
                    piece = piece[-_OVERLAP_BYTES:] + more if more else b""
        except OSError:
            return  # gone meanwhile

    def take(self, piece: bytes, *, thorough: bool) -> None:
        """Take a piece: what has the form of a passphrase, and, when thorough, every token and its decodings."""
        self.size_bytes += len(piece)
        self._found.update(_OUR_FORM.findall(piece))
        if not thorough:
            return
        for text in {piece, piece.replace(b"\0", b"")}:
            for run in _PRINTABLE_RUN.findall(text):
                if len(run) <= _LONGEST_PASSPHRASE:
                    self._found.add(run)
                for token in _TOKEN.findall(run):
                    self._found.update(_readings(token))
        self._sealed += re.findall(rb'"data":"([^"]+)"[^}]*?"iv":"([^"]+)"', piece)

    def candidates(self) -> list[bytes]:
        """Everything that could be a passphrase, also what libvirt sealed under a key that was found."""
        return sorted(self._found | set(_libvirt_secrets(self._sealed, self._keys)) - {b""})


def _readings(token: bytes) -> Iterator[bytes]:
    if len(token) <= _LONGEST_PASSPHRASE:
        yield token
        yield token.strip(b"=-_+/")
    for alphabet, length in ((rb"[0-9a-f]+", 64), (rb"[A-Za-z0-9_-]+", 43)):
        for run in re.findall(alphabet, token):
            if length < len(run) <= 200:
                yield from (run[at : at + length] for at in range(len(run) - length + 1))
            elif len(run) == length:
                yield run
    for decode in (base64.b64decode, base64.urlsafe_b64decode):
        try:
            decoded = decode(token + b"=" * (-len(token) % 4))
        except (ValueError, binascii.Error):
            continue
        if 16 <= len(decoded) <= 128:
            yield decoded
            yield decoded.hex().encode()


def _libvirt_secrets(sealed: list[tuple[bytes, bytes]], keys: list[bytes]) -> Iterator[bytes]:
    for (data, iv), key in itertools.product(sealed, keys):
        try:
            decryptor = Cipher(algorithms.AES(key), modes.CBC(base64.b64decode(iv))).decryptor()
            plain = decryptor.update(base64.b64decode(data)) + decryptor.finalize()
        except ValueError:
            continue
        yield plain[: -plain[-1]] if 0 < plain[-1] <= 16 else plain


# -- the attempt -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Theft:
    """What came of it."""

    files: int
    bytes_read: int
    tried: int
    opened: tuple[str, ...]


class ControlFailed(AssertionError):
    """The thief did not even open the disk whose passphrase was planted for it: the test proves nothing."""


def steal(disks: list[Path], ours: list[Path], elsewhere: list[Path], scratch: Path, since: float) -> Theft:
    """Copy what persists, try everything in it on every disk.

    Args:
        disks: disk files (live ones too: they are read as they lie there).
        ours: folders that Strongroom, libvirt and QEMU write to: every token in them is tried.
        elsewhere: other folders: everything in them that has the form of a passphrase is tried.
        scratch: a folder for the control disk.
        since: when the keys were made (time.time()); a file not written to since cannot hold one.

    Raises:
        ControlFailed: the planted passphrase was not found.
    """
    planted, control = _control_disk(scratch)
    loot = Loot()
    loot.take(command_lines(), thorough=True)
    loot.take(b"x=" + planted + b"\n", thorough=True)
    for path in set(persisting_files(ours, since)):
        # What is in an image was public before there was a key; there a look for the right form is enough.
        loot.take_file(path, thorough="images" not in path.parts)
    for path in set(persisting_files(elsewhere, since)):
        loot.take_file(path, thorough=False)
    pool = loot.candidates()
    headers = [(str(disk), take_header(disk, scratch)) for disk in disks]
    chunks = [pool[at : at + 128] for at in range(0, len(pool), 128)]
    opened: set[str] = set()
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        for hits in workers.map(_try_all, [([(_CONTROL, control), *headers], chunk) for chunk in chunks]):
            opened.update(hits)
    for _, header in [(_CONTROL, control), *headers]:
        header.unlink()
    if _CONTROL not in opened:
        raise ControlFailed("The thief missed the planted passphrase.")
    return Theft(loot.files, loot.size_bytes, len(pool), tuple(sorted(opened - {_CONTROL})))


def _try_all(work: tuple[list[tuple[str, Path]], list[bytes]]) -> set[str]:
    headers, chunk = work
    opened = set()
    for name, header in headers:
        lock = Lock(header)
        if any(lock.opens(candidate) for candidate in chunk):
            opened.add(name)
    return opened


def _control_disk(scratch: Path) -> tuple[bytes, Path]:
    planted = secrets.token_hex(32).encode()
    path = scratch / f"control-{secrets.token_hex(4)}.luks"
    path.write_bytes(bytes(_HEADER_BYTES + 1024 * 1024))
    subprocess.run(
        ["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--cipher", "aes-xts-plain64", "--key-size", "512",
         "--hash", "sha256", "--pbkdf-force-iterations", "1000", "--key-file", "-", str(path)],
        input=planted, check=True, capture_output=True,
    )  # fmt: skip
    return planted, path
