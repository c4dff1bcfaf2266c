"""QEMU's and cryptsetup's own word about a disk, apart from the code under test."""

import json
import subprocess
from pathlib import Path
from typing import Any


def _secret_file(folder: Path, passphrase: bytes) -> Path:
    file = folder / "passphrase-of-the-test"
    file.write_bytes(passphrase)
    return file


def qemu_img(command: str, disk: Path, passphrase: bytes, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a qemu-img command that takes one encrypted image."""
    secret = _secret_file(folder, passphrase)
    return subprocess.run(
        [
            *("qemu-img", command, "--object", f"secret,id=s,file={secret}", "--image-opts"),
            f"driver=qcow2,file.filename={disk},encrypt.key-secret=s",
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def read_back(disk: Path, passphrase: bytes, folder: Path) -> bytes:
    """The whole content of an encrypted disk, decrypted by QEMU."""
    target = folder / "read-back.raw"
    secret = _secret_file(folder, passphrase)
    subprocess.run(
        [
            *("qemu-img", "convert", "-O", "raw", "--object", f"secret,id=s,file={secret}", "--image-opts"),
            *(f"driver=qcow2,file.filename={disk},encrypt.key-secret=s", target),
        ],
        check=True,
    )
    content = target.read_bytes()
    target.unlink()
    return content


def info(disk: Path) -> dict[str, Any]:
    """What `qemu-img info` says of a disk without its key."""
    done = subprocess.run(
        ["qemu-img", "info", "--output=json", disk], capture_output=True, text=True, check=True
    )
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def luks_header(disk: Path, folder: Path) -> Path:
    """The LUKS header of a disk as a file that cryptsetup takes; its place is QEMU's, by the specification."""
    content = disk.read_bytes()
    marker = content.index(bytes.fromhex("0537be7700000010"))
    offset, length = (int.from_bytes(content[marker + 8 + 8 * n : marker + 16 + 8 * n]) for n in (0, 1))
    header = folder / f"{disk.name}.luks"
    header.write_bytes(content[offset : offset + length])
    return header


def luks_dump(header: Path) -> str:
    """What `cryptsetup luksDump` says of a header."""
    return subprocess.run(
        ["cryptsetup", "luksDump", header], capture_output=True, text=True, check=True
    ).stdout


def opens(header: Path, passphrase: bytes) -> bool:
    """Whether cryptsetup opens a header with a passphrase."""
    tried = subprocess.run(
        ["cryptsetup", "luksOpen", "--test-passphrase", "--key-file=-", header],
        input=passphrase,
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0
