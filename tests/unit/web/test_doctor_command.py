"""`strongroom doctor` and `strongroom units` on the command line."""

from pathlib import Path

import pytest

from tests.unit.web.fake_daemon import CommandLine, FakeDaemon

INSPECTION = {
    "items": [
        {
            "name": "clock",
            "ok": True,
            "level": "advice",
            "sentence": "Nothing sets the clock.",
            "remedy": "Run chrony.",
        }
    ],
    "next": None,
    "done": [],
}


@pytest.fixture
def daemon() -> FakeDaemon:
    made = FakeDaemon()
    made.on("GET", "/api/v1/host/inspection", INSPECTION)
    return made


@pytest.fixture
def strongroom(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(daemon, capsys, tmp_path, monkeypatch)


def test_advice_is_shown_and_keeps_nothing_back(strongroom: CommandLine) -> None:
    ended = strongroom("doctor")
    assert ended.code == 0
    assert "advice" in ended.out
    assert "Run chrony." in ended.out


def test_a_daemon_of_another_version_is_told(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/status", {"version": "0.0.1"})
    ended = strongroom("doctor", "--json")
    assert ended.code == 10
    assert [item["name"] for item in ended.document["items"]] == ["clock", "version"]


def test_log_ins_that_others_can_read_are_told(strongroom: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "credentials.json").chmod(0o644)
    ended = strongroom("doctor")
    assert ended.code == 10
    assert f"chmod 600 {tmp_path / 'credentials.json'}" in ended.out


def test_one_check_alone_and_a_mistyped_one(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    document = strongroom("doctor", "--only", "core", "--json").document
    assert {item["name"] for item in document["items"]} == {"core dumps"}
    mistyped = strongroom("doctor", "--only", "cetificate")
    assert mistyped.code == 2
    assert "Did you mean 'certificate'?" in mistyped.err
    assert not daemon.asked


def test_units_are_written_where_they_are_wanted(strongroom: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "units"
    assert strongroom("units", "--out", str(out), "--images").code == 0
    assert (out / "strongroom@.service.d" / "images.conf").is_file()
    assert "ProtectSystem=strict" in (out / "strongroom@.service").read_text()
    assert "NoNewPrivileges=yes" in strongroom("units").out
