"""The seed: what cloud-init in a guest reads at its start (NoCloud, a FAT file system labelled CIDATA).

The file system is made on memory that does not swap, and only its bytes leave this module: they go into an encrypted
disk. No password is in it, and none can be put in: who may log in is said with public keys, or not at all.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from vault.disks.ram_dir import RamDir
from vault.errors import BadInput, HostFailure

#: Small, enough for mkfs to make a FAT of, and room for hundreds of keys.
SEED_BYTES = 512 * 1024
_TIMEOUT_S = 20
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123 section 2.1
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # useradd(8)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# Options in front of a key ("command=…") would be obeyed by sshd, so a key begins with its type.
_PUBLIC_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}( [ -~]{0,200})?"
)
_LABEL = "CIDATA"
# FAT wants a number; a fixed one makes equal seeds equal bytes.
_VOLUME_ID = "5eed5eed"


@dataclass(frozen=True, slots=True)
class SeedUser:
    """Someone who may log into the guest with a key; becomes root with sudo when asked for.

    Attributes:
        name: of the account that cloud-init makes.
        public_keys: as in authorized_keys(5), without options in front.
        administrator: whether sudo makes it root.
    """

    name: str
    public_keys: tuple[str, ...]
    administrator: bool = False


def seed_files(guest_id: str, name: str, mac: str, users: Sequence[SeedUser] = ()) -> dict[str, bytes]:
    """What cloud-init reads, by file name. Pure.

    Args:
        guest_id: cloud-init runs its first-start work once for each.
        name: host name.
        mac: address of the one network interface, `52:54:00:…`.
        users: who may log in.

    Raises:
        BadInput: a name, address or key cannot be used.
    """
    if not _HOST_NAME.fullmatch(name):
        raise BadInput(
            f"A guest cannot be called {name!r}.", "Use lower-case letters, digits and hyphens, at most 63."
        )
    if not _MAC.fullmatch(mac):
        raise BadInput(f"{mac!r} is no network address of an interface.", "It looks like 52:54:00:12:34:56.")
    user_data = {
        "hostname": name,
        "prefer_fqdn_over_hostname": False,
        # Our own images grow by systemd; others do by this.
        "growpart": {"mode": "auto", "devices": ["/"]},
        "users": [_user_data(user) for user in users],
        "disable_root": True,
        "ssh_pwauth": False,
    }
    network = {
        "version": 2,
        "ethernets": {"primary": {"match": {"macaddress": mac}, "dhcp4": True, "optional": True}},
    }
    # Local: nothing in the seed needs a network, so cloud-init's first job can do all of it.
    meta = {"instance-id": guest_id, "local-hostname": name, "dsmode": "local"}
    # JSON is YAML, and has no surprises in it.
    return {
        "user-data": b"#cloud-config\n" + json.dumps(user_data).encode() + b"\n",
        "meta-data": json.dumps(meta).encode() + b"\n",
        "network-config": json.dumps(network).encode() + b"\n",
    }


def build_seed(memory: RamDir, guest_id: str, name: str, mac: str, users: Sequence[SeedUser] = ()) -> bytes:
    """Make the seed's file system, `SEED_BYTES` long.

    Args:
        memory: where the file system is made: memory that does not swap.
        guest_id, name, mac, users: as for `seed_files`.

    Raises:
        BadInput: a name, address or key cannot be used, or there are too many keys.
        HostFailure: a tool is missing or failed.
    """
    files = seed_files(guest_id, name, mac, users)
    if sum(map(len, files.values())) > SEED_BYTES // 2:
        raise BadInput("The seed has too many keys.", "Give the guest fewer users or keys.")
    with memory.file(size_bytes=SEED_BYTES) as image:
        _run(["mkfs.vfat", "-n", _LABEL, "-i", _VOLUME_ID, "--invariant", str(image)])
        for file_name, content in files.items():
            _run(["mcopy", "-i", str(image), "-", f"::{file_name}"], content)
        return image.read_bytes()


def _user_data(user: SeedUser) -> dict[str, object]:
    if not _USER_NAME.fullmatch(user.name) or user.name == "root":
        raise BadInput(
            f"No account in a guest can be called {user.name!r}.",
            "Use lower-case letters, digits, hyphens and underscores, at most 32; not root.",
        )
    entry: dict[str, object] = {
        "name": user.name,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "ssh_authorized_keys": [_public_key(key) for key in user.public_keys],
    }
    return entry | {"sudo": "ALL=(ALL) NOPASSWD:ALL"} if user.administrator else entry


def _public_key(key: str) -> str:
    hint = "Give the one line of a .pub file: type, key, comment."
    if not _PUBLIC_KEY.fullmatch(key):
        raise BadInput("That is no SSH public key of a kind that is taken.", hint)
    try:
        load_ssh_public_key(key.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput("The SSH public key is damaged.", hint) from error
    return key


def _run(command: list[str], stdin: bytes = b"") -> None:
    try:
        subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise HostFailure(
            f"The guest's seed could not be made: {command[0]} failed.", "apt-get install dosfstools mtools"
        ) from error
