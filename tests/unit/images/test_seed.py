import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vault.disks.ram_dir import RamDir
from vault.errors import BadInput
from vault.guests.seed import SEED_BYTES, SeedUser, build_seed, seed_files

GUEST_ID = "3b6a3ad5-8f1e-4a43-9f9a-6a9f5a1f5b0c"
MAC = "52:54:00:12:34:56"


def public_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " olga@example"


def user_data(*users: SeedUser) -> dict[str, object]:
    header, _, body = seed_files(GUEST_ID, "clinic-db", MAC, users)["user-data"].partition(b"\n")
    assert header == b"#cloud-config"
    content: dict[str, object] = json.loads(body)
    return content


def test_the_seed_is_a_file_system_that_cloud_init_finds_and_reads(memory: RamDir, tmp_path: Path) -> None:
    seed = build_seed(memory, GUEST_ID, "clinic-db", MAC, [SeedUser("olga", (public_key(),))])
    assert len(seed) == SEED_BYTES
    image = tmp_path / "seed.img"
    # The encrypted disk is larger than the seed, and what follows reads as zeros.
    image.write_bytes(seed + bytes(1024**2))
    found = subprocess.run(
        ["blkid", "--probe", "--output", "export", image], check=True, capture_output=True, text=True
    ).stdout
    assert "LABEL=CIDATA\n" in found
    assert "TYPE=vfat\n" in found
    for name in ("user-data", "meta-data", "network-config"):
        read = subprocess.run(
            ["mcopy", "-i", image, f"::{name}", "-"], check=True, capture_output=True
        ).stdout
        assert len(read) > 20
    assert json.loads(read)["version"] == 2
    assert subprocess.run(["fsck.vfat", "-n", image], capture_output=True, check=False).returncode == 0


def test_nothing_of_the_seed_stays_in_memory_or_on_the_disk(memory: RamDir) -> None:
    build_seed(memory, GUEST_ID, "clinic-db", MAC)
    assert list(memory.folder.iterdir()) == []


def test_the_guest_is_told_its_name_its_id_and_its_network() -> None:
    files = seed_files(GUEST_ID, "clinic-db", MAC)
    meta, network = json.loads(files["meta-data"]), json.loads(files["network-config"])
    assert (meta["instance-id"], meta["local-hostname"], meta["dsmode"]) == (GUEST_ID, "clinic-db", "local")
    (interface,) = network["ethernets"].values()
    assert (interface["match"]["macaddress"], interface["dhcp4"]) == (MAC, True)


def test_nobody_can_log_in_unless_a_key_says_so_and_nobody_has_a_password() -> None:
    assert user_data()["users"] == []
    key = public_key()
    content = user_data(SeedUser("olga", (key,), administrator=True), SeedUser("carl", (key,)))
    assert (content["ssh_pwauth"], content["disable_root"]) == (False, True)
    olga, carl = content["users"] if isinstance(content["users"], list) else ({}, {})
    assert olga["ssh_authorized_keys"] == [key]
    assert (olga["lock_passwd"], "sudo" in olga, "sudo" in carl) == (True, True, False)
    assert "passwd" not in olga


@pytest.mark.parametrize("name", ["", "a b", "Clinic", "-a", "a-", "a" * 64, "a\nruncmd: [x]", "a.b", "ä"])
def test_an_odd_host_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        seed_files(GUEST_ID, name, MAC)


@pytest.mark.parametrize("mac", ["", "52:54:00:12:34", "52:54:00:12:34:56\n", "en*"])
def test_an_odd_network_address_is_refused(mac: str) -> None:
    with pytest.raises(BadInput):
        seed_files(GUEST_ID, "clinic-db", mac)


@pytest.mark.parametrize("name", ["", "root", "a b", "-x", "o:x", "a" * 33, "olga\n"])
def test_an_odd_account_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        user_data(SeedUser(name, ()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: f'command="rm -rf /" {key}',
        lambda key: f"{key}\nssh-ed25519 AAAA another",
        lambda key: key.replace("ssh-ed25519", "ssh-dss"),
        lambda key: key[:40],
        lambda _key: "",
        lambda _key: "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
    ids=["options in front", "two lines", "kind", "cut", "empty", "private key"],
)
def test_what_is_no_plain_public_key_is_refused(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(BadInput):
        user_data(SeedUser("olga", (spoil(public_key()),)))


def test_more_keys_than_the_seed_holds_are_refused(memory: RamDir) -> None:
    key = public_key()
    with pytest.raises(BadInput, match="too many keys"):
        build_seed(memory, GUEST_ID, "clinic-db", MAC, [SeedUser("olga", (key,) * 4000)])
