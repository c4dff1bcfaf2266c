import dataclasses
from pathlib import Path

from vault.config import load_settings, written_settings


def test_what_init_writes_is_what_the_daemon_reads(tmp_path: Path) -> None:
    given = load_settings(
        {"data_dir": str(tmp_path / "site"), "port": "9443"},
        {"STRONGROOM_KEY_STORE_DIR": "/mnt/usb stick \U0001f5dd/keys", "STRONGROOM_HOST": "10.0.0.1"},
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site/config.toml").write_text(written_settings(given))
    found = load_settings({"data_dir": str(tmp_path / "site")}, {})
    assert dataclasses.replace(found, origins={}) == dataclasses.replace(given, origins={})


def test_a_site_with_defaults_only_gets_a_file_without_settings(tmp_path: Path) -> None:
    text = written_settings(load_settings({"data_dir": str(tmp_path / "site")}, {}))
    assert [line for line in text.splitlines() if not line.startswith("#")] == []
