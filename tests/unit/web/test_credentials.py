import stat
from pathlib import Path

import pytest

from web.cli.credentials import Credentials
from web.cli.failure import BadUsage

URL = "https://localhost:8443"


def test_a_token_is_kept_by_address_and_profile(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "deep" / "credentials.json")
    credentials.store(URL, "default", "one", "olga-operator")
    credentials.store(URL, "auditor", "two", "anna-auditor")
    credentials.store("https://elsewhere:8443", "default", "three", "olga-operator")
    assert credentials.token(URL, "default") == "one"
    assert credentials.token(URL, "auditor") == "two"
    assert credentials.token(URL, "nobody") is None
    assert credentials.token("https://nowhere:1", "default") is None


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    Credentials(path).store(URL, "default", "one", "olga-operator")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["credentials.json"]


def test_a_forgotten_token_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    credentials = Credentials(path)
    credentials.store(URL, "default", "one", "olga-operator")
    credentials.store(URL, "auditor", "two", "anna-auditor")
    credentials.forget(URL, "default")
    credentials.forget(URL, "default")
    assert credentials.token(URL, "default") is None
    assert credentials.token(URL, "auditor") == "two"
    assert "one" not in path.read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"https://localhost:8443": "token"}'])
def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(content)
    with pytest.raises(BadUsage, match="damaged"):
        Credentials(path).token(URL, "default")


def test_the_environment_names_another_file(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.json"
    Credentials.usual({"STRONGROOM_CREDENTIALS": str(path)}).store(URL, "default", "one", "olga-operator")
    assert path.is_file()
