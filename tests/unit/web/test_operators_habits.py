"""What operators expect of a command line: a status at a glance, tables that fit, --watch, the word that was meant."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from rich.text import Text

from tests.unit.web.fake_daemon import CommandLine, FakeDaemon, refusal
from web.cli import watching
from web.cli.failure import DaemonUnreachable
from web.cli.tables import fitted, plain_lines

STATUS = {
    "instance": "main", "version": "0.1.0", "sealed": False, "seal": "passphrase", "gate": "acting",
    "log": {"size": 41, "root": "d78c6c685e89789a" * 4}, "hypervisor": "libvirt 9.0.0, QEMU 7.2.22",
    "accelerator": "tcg",
}  # fmt: skip
OVERVIEW: dict[str, Any] = {
    **STATUS,
    "since": "2026-01-31T12:00:00+00:00",
    "log": {**STATUS["log"], "signed_at": "2026-01-31T12:00:00+00:00", "unsigned_records": 0},  # type: ignore[dict-item]
    "guests": {"running": 0, "stopped": 2, "creating": 0}, "jobs": {"done": 3, "failed": 0, "running": 0},
    "findings": {"critical": 0, "high": 1}, "disk": {"free_bytes": 2**33, "total_bytes": 2**35},
    "certificate_expires_at": "2027-01-31T12:00:00+00:00", "advice": [],
}  # fmt: skip
ROW = (
    "web-1",
    "running",
    "ephi, chd",
    "1f0c9a2e-0000-4000-8000-000000000000",
    "Handing the keys to the guest. " * 4,
)
HEADS = ("Name", "State", "Labels", "Id?", "How far…?")


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def strongroom(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(daemon, capsys, tmp_path, monkeypatch)


# -- status -----------------------------------------------------------------------------------------------


def test_status_tells_all_at_a_glance(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/overview", OVERVIEW)
    out = strongroom("status").out
    for part in (
        "0 running, 2 stopped",
        "1 high",
        "3 done",
        "8G free of 32G",
        "software emulation",
        "unsealed",
    ):
        assert part in out
    assert strongroom("status", "--json").document == OVERVIEW


@pytest.mark.parametrize(
    "refused",
    [
        refusal("session.expired", 3, 401),
        refusal("policy.denied", 3, 403),
        refusal("gate.outcome_not_recorded", 11, 500),
        refusal("log.unavailable", 9, 503),
    ],
)
def test_status_answers_also_where_figures_may_not_be_read(
    strongroom: CommandLine, daemon: FakeDaemon, refused: httpx.Response
) -> None:
    daemon.on("GET", "/api/v1/overview", refused)
    daemon.on("GET", "/api/v1/status", {**STATUS, "sealed": True})
    ended = strongroom("status")
    assert ended.code == 0
    assert "strongroom unseal" in ended.out
    assert strongroom("status", "--json").document["sealed"] is True


@pytest.mark.parametrize(
    ("differs", "code"),
    [
        ({}, 0),
        (
            {
                "sealed": True,
                "advice": [{"code": "sealed", "sentence": "It is sealed.", "remedy": "Unseal."}],
            },
            6,
        ),
        ({"gate": "stopped"}, 11),
        ({"gate": "stopped", "sealed": True}, 11),
        ({"advice": [{"code": "space", "sentence": "Only 3 MiB are free.", "remedy": "Make room."}]}, 1),
    ],
)
def test_check_ends_by_health_and_nothing_else_does(
    strongroom: CommandLine, daemon: FakeDaemon, differs: dict[str, Any], code: int
) -> None:
    daemon.on("GET", "/api/v1/overview", {**OVERVIEW, **differs})
    assert strongroom("status").code == 0
    ended = strongroom("status", "--check", "--json")
    assert ended.code == code
    assert ended.document == {**OVERVIEW, **differs}
    assert bool(ended.err) == bool(code)


def test_check_of_a_daemon_that_is_away_is_1(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/overview", httpx.ConnectError("refused"))
    assert strongroom("status", "--check").code == 1


# -- tables -----------------------------------------------------------------------------------------------


def drawn(width: int, rows: list[tuple[str, ...]]) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(fitted(HEADS, [[Text(cell) for cell in row] for row in rows], width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 250])
def test_no_line_is_wider_than_the_terminal_and_no_short_word_is_broken(width: int) -> None:
    lines = drawn(width, [ROW, ("clinic-db", "stopped", "", "x", "Done.")])
    assert max(len(line.rstrip()) for line in lines) <= width
    for word in ("web-1", "running", "clinic-db"):
        assert any(word in line for line in lines), (width, word)


def test_a_narrow_terminal_is_told_what_it_does_not_see() -> None:
    assert "Left out here: Id, How far." in " ".join(drawn(60, [ROW]))
    assert "Left out" not in " ".join(drawn(200, [ROW]))


def test_a_very_narrow_terminal_sees_each_row_as_lines() -> None:
    lines = drawn(24, [ROW])
    assert lines[0].split() == ["Name", "web-1"]
    assert lines[1].split() == ["State", "running"]


def test_without_a_terminal_each_row_is_one_whole_line() -> None:
    lines = plain_lines(
        ("Name", "#Size", "What"), [[Text("web-1"), Text("4G"), Text("long " * 200 + "\nend")]]
    )
    assert len(lines) == 2
    assert lines[1].endswith("end")
    assert lines[0].startswith("Name    Size   What")


# -- watch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["guest", "list", "--watch", "--json"],
        ["guest", "start", "web-1", "--watch"],
        ["guest", "list", "--watch=0"],
        ["guest", "list", "--watch=often"],
        ["guest", "list", "--watch", "99999"],
        ["audit", "verify", "--watch"],
    ],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_asked(
    strongroom: CommandLine, daemon: FakeDaemon, arguments: list[str]
) -> None:
    ended = strongroom(*arguments)
    assert ended.code == 2
    assert not daemon.asked


def test_watch_in_the_command_of_a_guest_is_the_guests(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("POST", "/api/v1/guests/web-1/exec",
              {"exit_code": 0, "stdout": "", "stderr": "", "encoding": "utf-8"})  # fmt: skip
    assert strongroom("guest", "exec", "web-1", "--", "kubectl", "get", "--watch").code == 0
    assert daemon.body()["argv"][-1] == "--watch"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time passes at once, and after four looks somebody presses Ctrl-C."""
    looks = [0]

    def sleep(_seconds: float) -> None:
        looks[0] += 1
        if looks[0] == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    return looks


@pytest.mark.usefixtures("soon")
def test_watch_asks_as_one_view_and_ends_well_by_ctrl_c(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/guests", {"items": [], "next": None})
    ended = strongroom("guest", "list", "--watch", "1")
    assert ended.code == 0
    assert {request.url.params["view"] for request in daemon.asked} == {"watch"}
    assert len(daemon.asked) == 4
    # Without a terminal a page is printed when it has changed.
    assert ended.out.count("There are no guests yet") == 1


def test_watch_survives_a_daemon_that_is_started_again(
    strongroom: CommandLine, daemon: FakeDaemon, soon: list[int]
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        if soon[0] in {1, 2}:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"items": [], "next": None})

    daemon.on("GET", "/api/v1/guests", answer)
    ended = strongroom("guest", "list", "--watch")
    assert ended.code == 0
    assert "No daemon answers" in ended.out
    assert ended.out.rstrip().endswith("`strongroom guest create`.")


def test_a_daemon_that_is_not_there_at_the_beginning_is_no_watch(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on("GET", "/api/v1/guests", httpx.ConnectError("refused"))
    assert strongroom("guest", "list", "--watch").code == 1


def test_a_session_that_ends_ends_the_watch(
    strongroom: CommandLine, daemon: FakeDaemon, soon: list[int]
) -> None:
    daemon.on(
        "GET", "/api/v1/guests",
        lambda _request: httpx.Response(200, json={"items": [], "next": None}) if soon[0] < 2
        else refusal("session.expired", 3, 401),
    )  # fmt: skip
    assert strongroom("guest", "list", "--watch").code == 3


def test_a_real_terminal_is_drawn_over_and_ctrl_c_leaves_0(tmp_path: Path) -> None:
    """A terminal of 60 columns and 10 lines, the real program, a real Ctrl-C."""
    master, slave = pty.openpty()
    os.set_inheritable(slave, True)
    program = (
        "import sys, httpx; from web.cli.main import run\n"
        "from tests.unit.web.fake_daemon import FakeDaemon\n"
        "daemon = FakeDaemon()\n"
        f"daemon.on('GET', '/api/v1/overview', {OVERVIEW!r})\n"
        "run(['status', '--watch', '1'], transport=daemon)\n"
    )
    credentials = tmp_path / "credentials.json"
    credentials.write_text(
        json.dumps({"https://localhost:8443": {"default": {"account": "o", "token": "t"}}})
    )
    environment = os.environ | {
        "STRONGROOM_CREDENTIALS": str(credentials), "STRONGROOM_DATA_DIR": str(tmp_path / "main"), "TERM": "xterm",
        "COLUMNS": "60", "LINES": "10",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=slave, stderr=slave, env=environment,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    os.close(slave)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                seen.extend(os.read(master, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    until = time.monotonic() + 60
    while b"Running since" not in seen and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    reader.join(timeout=10)
    os.close(master)
    screen = seen.decode()
    assert "\x1b[H" in screen
    assert "more lines; a higher terminal shows them" in screen
    assert "Traceback" not in screen


def test_the_first_failure_of_a_watch_is_the_commands_own() -> None:
    def run() -> int:
        raise DaemonUnreachable("away")

    with pytest.raises(DaemonUnreachable):
        watching.watch(run, 1)


# -- the word that was meant ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["geust", "list"], "'guest'"),
        (["gu"], "'guest'"),
        (["guest", "lst"], "'list'"),
        (["guest", "start", "web-1", "--wiat"], "--wait"),
        (["guest", "list", "--jsn"], "--json"),
        (["audit", "list", "--action", "gues.start"], "'guest.start'"),
        (["audit", "list", "--kind", "outcom"], "'outcome'"),
        (["audit", "list", "--decision", "alow"], "'allow'"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(
    strongroom: CommandLine, daemon: FakeDaemon, arguments: list[str], meant: str
) -> None:
    ended = strongroom(*arguments)
    assert ended.code == 2
    assert f"Did you mean {meant}?" in ended.err
    assert not daemon.asked


def test_a_mistyped_account_is_looked_up_as_an_access_of_the_callers_own(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on("POST", "/api/v1/accounts/olga-opertor/disable",
              refusal("not_found", 4, 404, message="There is no account 'olga-opertor'."))  # fmt: skip
    daemon.on("GET", "/api/v1/accounts", {"items": [{"name": "olga-operator"}], "next": None})
    ended = strongroom("account", "disable", "olga-opertor")
    assert (ended.code, ended.err) == (
        4,
        "There is no account 'olga-opertor'. Did you mean 'olga-operator'?\n",
    )
    assert daemon.asked[-1].url.params["view"] == "completion"
    daemon.on("GET", "/api/v1/accounts", refusal("policy.denied", 3, 403))
    assert "Did you mean" not in strongroom("account", "disable", "olga-opertor").err


# -- settings ---------------------------------------------------------------------------------------------


def test_settings_are_shown_with_where_they_came_from(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main").mkdir()
    file = tmp_path / "main" / "config.toml"
    file.write_text("idle_timeout_s = 600\n")
    monkeypatch.setenv("STRONGROOM_PORT", "9443")
    monkeypatch.setenv("STRONGROOM_PROT", "1")
    document = strongroom("settings", "--json").document
    found = {one["name"]: one for one in document["items"]}
    assert found["port"]["origin"] == "environment STRONGROOM_PORT"
    assert found["port"]["allowed"] == "1 to 65535"
    assert (found["idle_timeout_s"]["value"], found["idle_timeout_s"]["origin"]) == (600, str(file))
    assert found["network"]["origin"] == "default"
    assert all(one["about"] for one in document["items"])
    assert "Did you mean STRONGROOM_PORT?" in document["warnings"][0]
    assert not daemon.asked


def test_a_wrong_setting_is_told_with_its_origin(
    strongroom: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_PORT", "many")
    ended = strongroom("settings")
    assert ended.code == 2
    assert "from environment STRONGROOM_PORT" in ended.err
    monkeypatch.delenv("STRONGROOM_PORT")
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "config.toml").write_text("prot = 8443\n")
    assert "Did you mean 'port'?" in strongroom("settings").err
