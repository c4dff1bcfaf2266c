import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vault.disks.format import DiskFormatter
from vault.disks.ram_dir import RamDir
from vault.keystore.secret import DiskPassphrase


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted ramfs, as the host's preparation makes one."""
    folder = tmp_path_factory.mktemp("ramfs")
    subprocess.run(["mount", "-t", "ramfs", "-o", "mode=0711", "ramfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def ram_dir(memory: Path) -> RamDir:
    return RamDir(memory / "disks")


@pytest.fixture(scope="session")
def template_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def formatter(template_dir: Path, ram_dir: RamDir) -> DiskFormatter:
    return DiskFormatter(template_dir, ram_dir)


@pytest.fixture
def passphrase() -> DiskPassphrase:
    return DiskPassphrase(b"S0me-256-bit_passphrase-as-base64url-text43")
