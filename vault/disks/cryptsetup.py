"""Lets cryptsetup make LUKS headers that QEMU takes for its own (decision D7).

cryptsetup benchmarks nothing when told how many iterations to use, and works on a plain file without
device-mapper.
"""

from vault.disks.luks import HEADER_BYTES, SECTOR_BYTES, parse_luks_header
from vault.disks.programs import run_program, secret_pipe
from vault.disks.ram_dir import RamDir
from vault.errors import HostFailure
from vault.keystore.secret import DiskPassphrase

# AES-256 in XTS with PBKDF2-HMAC-SHA-256. The passphrase is 256 random bits, so no number of iterations adds
# to its hardness, and 1,000 is the least that LUKS1 and cryptsetup take (D6, NIST SP 800-132 section 5.2).
_LUKS_FORMAT = (
    *("luksFormat", "-q", "--type", "luks1", "--cipher", "aes-xts-plain64", "--key-size", "512"),
    *("--hash", "sha256", "--pbkdf-force-iterations", "1000"),
)
#: cryptsetup wants room for at least a sector of data behind the header.
_ROOM_BYTES = 4096


def make_luks_header(
    ram_dir: RamDir, length: int, passphrase: DiskPassphrase, *, cryptsetup: str = "cryptsetup"
) -> bytes:
    """Make a header with one keyslot and a fresh random master key.

    Args:
        ram_dir: where the header lies while it is made.
        length: bytes from the header to the data, a multiple of 512; 2,068,480 on QEMU 7.2.
        passphrase: what opens keyslot 0; goes to cryptsetup by standard input, which takes every byte as it
            is.
        cryptsetup: the program.

    Returns:
        `length` bytes: the header and all key material.

    Raises:
        HostFailure: cryptsetup failed or made something else.
    """
    with ram_dir.file(size_bytes=length + _ROOM_BYTES) as file, secret_pipe(passphrase) as pipe:
        run_program(
            [cryptsetup, *_LUKS_FORMAT, "--offset", str(length // SECTOR_BYTES), "--key-file=-", str(file)],
            "make the disk's LUKS header",
            stdin=pipe,
        )
        with file.open("rb") as stream:
            header = stream.read(length)
    if parse_luks_header(header[:HEADER_BYTES]).payload_offset_bytes != length:
        raise HostFailure("cryptsetup made a LUKS header that does not fit QEMU's.", "Report this host.")
    return header
