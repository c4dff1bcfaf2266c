"""Settings: which layer wins, where each came from, and what is refused."""

from pathlib import Path

import pytest

from vault.config import DEFAULT_DATA_DIR, Settings, load_settings, written_settings
from vault.errors import BadInput


def test_without_anything_the_defaults_hold_and_say_so(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": str(tmp_path / "main")}, {})
    assert settings.port == 8443
    assert settings.origins["port"] == "default"
    assert settings.origins["data_dir"] == "flag"
    assert settings.instance == "main"
    assert Settings().data_dir == DEFAULT_DATA_DIR


def test_a_flag_wins_over_a_variable_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('port = 1001\nhost = "file.example"\nlog_timeout_s = 7\naccelerator = "kvm"\n')
    settings = load_settings(
        {"port": "1003", "host": None, "data_dir": str(tmp_path / "main")},
        {"STRONGROOM_PORT": "1002", "STRONGROOM_HOST": "variable.example", "STRONGROOM_CONFIG": str(file)},
    )
    assert (settings.port, settings.host, settings.log_timeout_s) == (1003, "variable.example", 7)
    assert settings.origins["port"] == "flag"
    assert settings.origins["host"] == "environment STRONGROOM_HOST"
    assert settings.origins["log_timeout_s"] == str(file)
    assert settings.accelerator == "kvm"


def test_the_file_in_the_data_folder_is_found(tmp_path: Path) -> None:
    data = tmp_path / "clinic"
    data.mkdir()
    (data / "config.toml").write_text("port = 9000\n")
    assert load_settings({}, {"STRONGROOM_DATA_DIR": str(data)}).port == 9000
    assert load_settings({"data_dir": str(data)}, {}, data / "config.toml").port == 9000


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_settings_file_that_was_named_and_is_not_there_is_an_error(tmp_path: Path, by: str) -> None:
    missing = tmp_path / "typo.toml"
    variables = {} if by == "argument" else {"STRONGROOM_CONFIG": str(missing)}
    with pytest.raises(BadInput, match="does not exist"):
        load_settings({}, variables, missing if by == "argument" else None)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("port", 1, 65535),
        ("idle_timeout_s", 60, 900),
        ("session_limit_s", 300, 604800),
        ("password_min_length", 12, 128),
        ("lockout_tries", 1, 10),
        ("lockout_s", 1800, 86400),
        ("log_retention_days", 365, 36600),
        ("log_timeout_s", 1, 60),
    ],
)
def test_no_setting_can_be_weaker_than_its_rule(tmp_path: Path, name: str, low: int, high: int) -> None:
    base = {"data_dir": str(tmp_path / "main")}
    for bound in (low, high):
        assert getattr(load_settings({**base, name: str(bound)}, {}), name) == bound
    for beyond in (str(low - 1), str(high + 1), "ten", "9.5", ""):
        with pytest.raises(BadInput, match=f"{name} \\(from flag\\)"):
            load_settings({**base, name: beyond}, {})


@pytest.mark.parametrize(
    "text",
    [
        "port = true",
        'port = "many"',
        "host = 5",
        'host = ""',
        'accelerator = "fast"',
        "prot = 8443",
        'origins = "x"',
        "port = ",
        'host = "\\uD800"',
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"s\.toml"):
        load_settings({"data_dir": str(tmp_path / "main")}, {}, file)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="cannot be read"):
        load_settings({}, {}, file)


@pytest.mark.parametrize("folder", ["Main", "my site", "9lives", "..", "a" * 32, "main;rm"])
def test_a_folder_that_cannot_name_an_instance_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(BadInput, match="cannot name an instance"):
        load_settings({"data_dir": f"{tmp_path}/{folder}"}, {})


def test_a_relative_folder_is_taken_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"data_dir": "clinic"}, {}).data_dir == tmp_path / "clinic"


def test_places_follow_from_the_folders(tmp_path: Path) -> None:
    settings = load_settings(
        {"data_dir": str(tmp_path / "main"), "run_dir": "/run/x", "key_store_dir": "/media/stick"}, {}
    )
    assert settings.log_db == tmp_path / "main/log.db"
    assert settings.state_db == tmp_path / "main/state.db"
    assert settings.secrets_dir == tmp_path / "main/secrets"
    assert settings.keystore_dir == Path("/media/stick")
    assert settings.memory_dir == Path("/run/x/main")
    assert load_settings({"data_dir": str(tmp_path / "main")}, {}).keystore_dir == tmp_path / "main/keystore"


def test_an_ipv6_address_makes_an_address_that_browsers_read() -> None:
    assert Settings(host="::1").url == "https://[::1]:8443"
    assert Settings().url == "https://localhost:8443"


WITNESS = "witness.example/w1+8b0347a1+BFmHn3LrGAKpYnggISICEf2xggxfH8UAnr9Gix7+ztAg"


def test_witnesses_come_from_the_file_and_are_written_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / "ca.crt").write_text("a certificate")
    table = f'{{url = "https://w.example:8444/", vkey = "{WITNESS}", ca_file = "{folder / "ca.crt"}"}}'
    (folder / "config.toml").write_text(f"witnesses = [{table}]\nwitness_quorum = 1\n")
    settings = load_settings({"data_dir": str(folder)}, {})
    (witness,) = settings.witnesses
    assert (witness.url, str(witness.key), witness.ca_file) == (
        "https://w.example:8444",
        WITNESS,
        folder / "ca.crt",
    )
    (folder / "config.toml").write_text(written_settings(settings))
    assert load_settings({"data_dir": str(folder)}, {}).witnesses == settings.witnesses


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('"https://w.example"', "list of tables"),
        ("[1]", "list of tables"),
        ('[{url = "https://w.example"}]', "must have url and vkey"),
        (f'[{{url = "https://w", vkey = "{WITNESS}", more = 1}}]', "nothing else"),
        (f'[{{url = "http://w", vkey = "{WITNESS}"}}]', "no https"),
        ('[{url = "https://w", vkey = "w+1+2"}]', "cannot be used"),
        (f'[{{url = "https://w", vkey = "{WITNESS}", ca_file = "relative.crt"}}]', "whole path"),
        (f'[{{url = "https://w", vkey = "{WITNESS}"}}, {{url = "https://v", vkey = "{WITNESS}"}}]', "twice"),
    ],
)
def test_a_witness_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, written: str, said: str
) -> None:
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / "config.toml").write_text(f"witnesses = {written}\n")
    with pytest.raises(BadInput, match=said):
        load_settings({"data_dir": str(folder)}, {})
