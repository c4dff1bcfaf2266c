import os
import traceback
from pathlib import Path

import pytest

from audit.errors import LogKeyRefused, TargetExists
from audit.log.signing_key import LogKey

NAME = "strongroom.example/log"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LogKey.create(tmp_path / "log.key", NAME)
    return tmp_path / "log.key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660, 0o777, 0o601])
def test_a_key_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(LogKeyRefused, match="by others"):
        LogKey.load(path)


def test_a_key_that_belongs_to_somebody_else_is_refused(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test gives a file away, which needs root")
    os.chown(path, 65534, -1)
    with pytest.raises(LogKeyRefused, match="somebody else"):
        LogKey.load(path)


def test_a_link_in_place_of_the_key_is_refused(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(LogKeyRefused, match="cannot be read"):
        LogKey.load(link)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogKeyRefused, match="cannot be read"):
        LogKey.load(tmp_path / "none")


def test_a_folder_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogKeyRefused):
        LogKey.load(tmp_path)


def test_a_key_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TargetExists):
        LogKey.create(path, NAME)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_an_origin_that_cannot_be_a_keys_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogKeyRefused, match="cannot be used"):
        LogKey.create(tmp_path / "log.key", name)
    assert not (tmp_path / "log.key").exists()


def test_a_key_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogKeyRefused, match="cannot be written"):
        LogKey.create(tmp_path / "none" / "log.key", NAME)


@pytest.mark.parametrize("change", ["half", "prefix", "id", "type", "base64", "bytes", "empty"])
def test_a_damaged_key_file_is_refused_and_its_content_is_not_shown(path: Path, change: str) -> None:
    line = path.read_text()
    secret = line.split("+", 4)[4].strip()
    key_id = line.split("+")[3]
    damaged = {
        "half": line[: len(line) // 2],
        "prefix": line.removeprefix("PRIVATE+KEY+"),
        "id": line.replace(key_id, "00000000"),
        "type": line.replace(f"+{secret}", f"+B{secret[1:]}"),
        "base64": line.replace(secret, secret[:-2] + "!!"),
        "bytes": line.replace(secret, secret[:-4]),
        "empty": "",
    }[change]
    path.write_text(damaged)
    with pytest.raises(LogKeyRefused) as refusal:
        LogKey.load(path)
    assert secret[8:24] not in "".join(traceback.format_exception(refusal.value))


def test_a_key_file_that_is_not_ascii_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LogKeyRefused):
        LogKey.load(path)
