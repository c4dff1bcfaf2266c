"""The contract of DESIGN section 4, command by command, against a daemon that answers from a table."""

import base64
import json
import ssl
from pathlib import Path

import httpx
import pytest

from tests.unit.web.fake_daemon import CommandLine, FakeDaemon, events, job, refusal
from web.cli.credentials import Credentials
from web.cli.main import app, run

GUEST = {
    "name": "web-1",
    "id": "1f0c9a2e-0000-4000-8000-000000000000",
    "state": "running",
    "accelerator": "tcg",
    "vcpus": 1,
    "memory_bytes": 805306368,
    "labels": ["ephi"],
    "interfaces": [{"mac": "52:54:00:00:00:01", "network": "strongroom"}],
    "disks": [
        {"role": "root", "path": "/d/root.qcow2", "size_bytes": 4294967296, "cipher": "aes-256-xts", "key_id": "k",
         "keyslots": [0]}
    ],
    "agent": True,
    "created_at": "2026-01-31T12:00:00+00:00",
}  # fmt: skip


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def strongroom(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(daemon, capsys, tmp_path, monkeypatch)


# -- usage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["gest", "list"],
        ["guest"],
        ["guest", "create"],
        ["guest", "create", "web-1"],
        ["guest", "create", "web-1", "--image", "debian-12", "--disk", "4 potatoes"],
        ["guest", "create", "web-1", "--image", "debian-12", "--disk", "4G", "--vcpus", "many"],
        ["guest", "create", "web-1", "--image", "debian-12", "--disk", "4G", "--start", "--no-wait"],
        ["guest", "start", "--nonsense", "web-1"],
        ["guest", "cp", "here", "there"],
        ["guest", "delete", "web-1"],
        ["audit", "list", "--since", "yesterday"],
        ["report", "hipaa", "--from", "2026-02-01", "--to", "2026-01-01"],
        ["login"],
        ["login", "olga-operator", "--token-file", "somewhere"],
        ["serve", "--background", "--stop"],
        ["init", "--admin", "ada", "--seal", "wax"],
        ["image", "import", "mine", "file.iso"],
        ["--url", "http://localhost:8443", "guest", "list"],
    ],
)
def test_bad_usage_ends_with_2_and_one_sentence_and_asks_nobody(
    strongroom: CommandLine, daemon: FakeDaemon, arguments: list[str]
) -> None:
    ended = strongroom(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.strip().splitlines()) == 1
    assert not daemon.asked
    with_json = strongroom("--json", *arguments)
    assert with_json.code == 2
    assert with_json.document["error"]["exit"] == 2
    assert with_json.document["error"]["message"] in with_json.err


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(strongroom: CommandLine) -> None:
    assert "Did you mean 'guest'?" in strongroom("gest", "list").err


def test_help_is_no_error_and_lists_every_group(strongroom: CommandLine) -> None:
    for ended in (strongroom("--help"), strongroom()):
        assert ended.code == 0
        assert ended.err == ""
        for name in (
            "guest",
            "image",
            "key",
            "audit",
            "account",
            "token",
            "policy",
            "report",
            "job",
            "finding",
        ):
            assert f" {name} " in ended.out


def _every_command() -> list[list[str]]:
    alone = [[command.name or ""] for command in app.registered_commands]
    grouped = [
        [str(group.name), command.name or ""]
        for group in app.registered_groups
        if group.typer_instance is not None
        for command in group.typer_instance.registered_commands
    ]
    return alone + grouped


@pytest.mark.parametrize("command", _every_command(), ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(strongroom: CommandLine, command: list[str]) -> None:
    ended = strongroom(*command, "--help")
    assert ended.code == 0
    assert f"strongroom {' '.join(command)}" in ended.out
    assert len(ended.out.splitlines()) > 5


# -- --json -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--json", "guest", "list"], ["guest", "--json", "list"], ["guest", "list", "--json"]]
)
def test_json_may_stand_anywhere_and_prints_the_bare_object_alone(
    strongroom: CommandLine, daemon: FakeDaemon, arguments: list[str]
) -> None:
    daemon.on("GET", "/api/v1/guests", {"items": [GUEST], "next": None})
    ended = strongroom(*arguments)
    assert ended.code == 0
    assert ended.document == {"items": [GUEST], "next": None}
    assert ended.err == ""


def test_options_of_everybody_may_stand_after_the_command(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    strongroom.credentials.store("https://elsewhere:1", "auditor", "other", "anna-auditor")
    daemon.on("GET", "/api/v1/guests", {"items": [], "next": None})
    ended = strongroom("guest", "list", "--url=https://elsewhere:1", "--as", "auditor")
    assert ended.code == 0
    assert daemon.asked[0].url.host == "elsewhere"
    assert daemon.asked[0].headers["Authorization"] == "Bearer other"


def test_what_follows_two_hyphens_belongs_to_the_guests_command(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on(
        "POST",
        "/api/v1/guests/web-1/exec",
        {"exit_code": 0, "stdout": "ok", "stderr": "", "encoding": "utf-8", "truncated": False},
    )
    ended = strongroom("guest", "exec", "web-1", "--", "tool", "--json", "--url", "x")
    assert daemon.body()["argv"] == ["tool", "--json", "--url", "x"]
    assert ended.out == "ok"


# -- errors of the daemon ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit_code", "status"),
    [
        (1, 500),
        (2, 400),
        (3, 403),
        (3, 401),
        (4, 404),
        (5, 409),
        (6, 503),
        (7, 500),
        (8, 202),
        (9, 503),
        (10, 502),
        (11, 500),
    ],
)
def test_the_daemons_error_is_the_commands_error(
    strongroom: CommandLine, daemon: FakeDaemon, exit_code: int, status: int
) -> None:
    daemon.on("GET", "/api/v1/guests/web-1", refusal("some.code", exit_code, status, record="ab12"))
    ended = strongroom("guest", "show", "web-1")
    assert ended.code == exit_code
    assert ended.out == ""
    assert ended.err == "It was refused. Do otherwise.\n"
    with_json = strongroom("guest", "show", "web-1", "--json")
    assert with_json.code == exit_code
    assert with_json.document["error"]["record"] == "ab12"
    assert with_json.err == "It was refused. Do otherwise.\n"


def test_without_a_daemon_the_sentence_says_how_to_start_it(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on("GET", "/api/v1/overview", httpx.ConnectError("[Errno 111] Connection refused"))
    ended = strongroom("status")
    assert ended.code == 1
    assert "strongroom serve --background" in ended.err


def test_an_unknown_certificate_is_refused_and_the_remedy_named(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    def present_another(_request: httpx.Request) -> httpx.Response:
        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLCertVerificationError as cause:
            raise httpx.ConnectError("certificate verify failed") from cause

    daemon.on("GET", "/api/v1/overview", present_another)
    ended = strongroom("status")
    assert ended.code == 7
    assert "--ca-file" in ended.err


def test_without_a_log_in_the_sentence_says_how_to_log_in(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    ended = strongroom("guest", "list", "--as", "nobody")
    assert ended.code == 3
    assert "strongroom --as nobody login" in ended.err
    assert not daemon.asked


def test_an_answer_that_is_not_ours_is_no_success(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    for answer in (
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, json=["a", "list"]),
        httpx.Response(500, text="boom"),
        httpx.Response(403, json={"error": {"code": "x", "message": "", "exit": 3}}),
        httpx.Response(403, json={"error": {"code": "x", "message": "No.", "exit": 99}}),
    ):
        daemon.on("GET", "/api/v1/guests", answer)
        ended = strongroom("guest", "list", "--json")
        assert ended.code == 1
        assert ended.document["error"]["code"] == "daemon.answer_lost"


def test_a_connection_that_breaks_says_where_to_look(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.ReadError("reset"))
    ended = strongroom("guest", "start", "web-1")
    assert ended.code == 1
    assert "strongroom job list" in ended.err


def test_what_could_drive_a_terminal_is_not_printed(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/guests", {"items": [{**GUEST, "name": "a\x1b[2Jb"}], "next": None})
    assert "\x1b[2J" not in strongroom("guest", "list").out


# -- long work --------------------------------------------------------------------------------------


def test_long_work_is_waited_for_and_its_result_printed(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(job("running"), job("done", result=GUEST)))
    ended = strongroom("guest", "start", "web-1", "--json")
    assert ended.code == 0
    assert ended.document == GUEST


def test_work_that_fails_ends_with_its_own_code(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    error = {"code": "policy.denied", "message": "No.", "hint": "Ask.", "exit": 3, "record": "ab12"}
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(job("failed", error=error)))
    ended = strongroom("guest", "start", "web-1", "--json")
    assert ended.code == 3
    assert ended.document == {"error": error}
    assert ended.err == "No. Ask.\n"


def test_without_waiting_the_job_is_printed(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    assert strongroom("guest", "start", "web-1", "--no-wait", "--json").document["id"] == "7a0c"
    assert "strongroom job wait 7a0c" in strongroom("guest", "start", "web-1", "--no-wait").out


def test_a_stream_that_ends_early_is_taken_up_again(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    streams = [events(job("running")), events(job("done", result=GUEST))]
    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", lambda _request: streams.pop(0))
    assert strongroom("guest", "start", "web-1", "--json").document == GUEST


def test_a_daemon_that_comes_back_is_asked_again(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        events(
            job("failed", error={"code": "job.interrupted", "message": "Stopped.", "hint": "", "exit": 1})
        ),
    ]

    def next_answer(_request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", next_answer)
    ended = strongroom("guest", "start", "web-1")
    assert ended.code == 1
    assert ended.err.endswith("Stopped.\n")


def test_ctrl_c_says_that_the_job_goes_on_and_how_to_find_it(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    def press_ctrl_c(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    daemon.on("POST", "/api/v1/guests/web-1/start", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", press_ctrl_c)
    ended = strongroom("guest", "start", "web-1")
    assert ended.code == 1
    assert "strongroom job wait 7a0c" in ended.err
    assert ended.out == ""


def test_ctrl_c_anywhere_else_ends_clean(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    def press_ctrl_c(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    daemon.on("GET", "/api/v1/guests", press_ctrl_c)
    ended = strongroom("guest", "list", "--json")
    assert ended.code == 1
    assert ended.document["error"]["code"] == "interrupted"


def test_waiting_for_a_guest_that_runs_does_not_start_it_again(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on("GET", "/api/v1/guests/web-1", GUEST)
    assert strongroom("guest", "start", "web-1", "--wait", "--json").document == GUEST
    assert {request.method for request in daemon.asked} == {"GET"}
    assert daemon.asked[0].url.params["view"] == "wait"


def test_an_agent_that_never_answers_ends_with_10(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/guests/web-1", {**GUEST, "agent": False})
    ended = strongroom("guest", "start", "web-1", "--wait", "--timeout", "1")
    assert ended.code == 10
    assert "within 1 seconds" in ended.err


# -- work inside guests -----------------------------------------------------------------------------


def test_exec_prints_raw_and_names_the_code_of_a_command_that_failed(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    answer = {
        "exit_code": 3,
        "stdout": "half\n",
        "stderr": "broken\n",
        "encoding": "utf-8",
        "truncated": False,
    }
    daemon.on("POST", "/api/v1/guests/web-1/exec", answer)
    ended = strongroom("guest", "exec", "web-1", "--", "/bin/false")
    assert ended.code == 1
    assert ended.out == "half\n"
    assert ended.err.startswith("broken\n")
    assert "ended with code 3" in ended.err
    with_json = strongroom("guest", "exec", "web-1", "--json", "--", "/bin/false")
    assert with_json.code == 1
    assert with_json.document == answer
    assert with_json.err.count("\n") == 1


def test_exec_carries_bytes_that_are_no_text(
    daemon: FakeDaemon,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRONGROOM_CREDENTIALS", str(tmp_path / "credentials.json"))
    Credentials.usual().store("https://localhost:8443", "default", "t0ken", "olga-operator")
    raw = b"\xff\x00\xfe"
    daemon.on(
        "POST",
        "/api/v1/guests/web-1/exec",
        {"exit_code": 0, "stdout": base64.b64encode(raw).decode(), "stderr": "", "encoding": "base64"},
    )
    with pytest.raises(SystemExit):
        run(["guest", "exec", "web-1", "--", "cat"], transport=daemon)
    assert capfdbinary.readouterr().out == raw


def test_a_file_goes_into_a_guest_and_out_again(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\x00patient data\xff")
    daemon.on("PUT", "/api/v1/guests/web-1/files", {"sha256": "ab", "size_bytes": 14})
    assert strongroom("guest", "cp", str(source), "web-1:/etc/motd", "--mode", "644").code == 0
    assert daemon.asked[-1].content == source.read_bytes()
    assert dict(daemon.asked[-1].url.params) == {"path": "/etc/motd", "mode": "644"}
    daemon.on("GET", "/api/v1/guests/web-1/files", httpx.Response(200, content=b"back\xff"))
    target = tmp_path / "target"
    assert strongroom("guest", "cp", "web-1:/etc/motd", str(target)).code == 0
    assert target.read_bytes() == b"back\xff"
    assert strongroom("guest", "cp", "web-1:/etc/motd", str(tmp_path)).code == 0
    assert (tmp_path / "motd").read_bytes() == b"back\xff"


def test_a_file_that_is_not_there_is_said_so_and_nothing_is_sent(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    ended = strongroom("guest", "cp", str(tmp_path / "nowhere"), "web-1:/x")
    assert ended.code == 10
    assert "nowhere" in ended.err
    assert not daemon.asked


# -- log-ins ----------------------------------------------------------------------------------------


def test_a_log_in_keeps_the_token_and_prints_none(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a long passw0rd\n")
    begun = {
        "token": "new-t0ken",
        "session": "5e55",
        "account": {"id": "1", "name": "anna-auditor"},
        "roles": ["auditor"],
        "expires_at": "2026-01-31T12:00:00+00:00",
    }
    daemon.on("POST", "/api/v1/sessions", httpx.Response(201, json=begun))
    ended = strongroom("login", "anna-auditor", "--password-file", str(password), "--as", "anna", "--json")
    assert ended.code == 0
    assert "new-t0ken" not in ended.out + ended.err
    assert daemon.body() == {"name": "anna-auditor", "password": "a long passw0rd"}
    assert strongroom.credentials.token("https://localhost:8443", "anna") == "new-t0ken"
    assert strongroom.credentials.token("https://localhost:8443", "default") == "t0ken"


def test_a_log_out_forgets_the_token_even_when_the_session_was_over(
    strongroom: CommandLine, daemon: FakeDaemon
) -> None:
    daemon.on("DELETE", "/api/v1/sessions/current", refusal("session.expired", 3, 401))
    assert strongroom("logout").code == 0
    assert strongroom.credentials.token("https://localhost:8443", "default") is None


# -- exports and reports ----------------------------------------------------------------------------


def test_an_export_that_arrives_damaged_is_not_kept(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    made = {"id": "e1", "records": 5, "sha256": "0" * 64}
    daemon.on("POST", "/api/v1/log/exports", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", events(job("done", result=made)))
    daemon.on("GET", "/api/v1/log/exports/e1", httpx.Response(200, content=b"not that"))
    ended = strongroom("audit", "export", "--out", str(tmp_path / "export"))
    assert ended.code == 7
    assert not (tmp_path / "export").exists()


def test_an_export_never_writes_over_what_is_there(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").touch()
    assert strongroom("audit", "export", "--out", str(tmp_path / "export")).code == 2
    assert not daemon.asked


def test_a_report_is_fetched_whole_into_a_folder_or_as_one_file(
    strongroom: CommandLine, daemon: FakeDaemon, tmp_path: Path
) -> None:
    report = {
        "id": "r1",
        "framework": "hipaa",
        "files": [{"name": "report.html"}, {"name": "report.pdf"}],
        "sentence": "Evidence supports 6 controls.",
    }
    daemon.on("POST", "/api/v1/reports", httpx.Response(202, json=job("running")))
    daemon.on("GET", "/api/v1/jobs/7a0c/events", lambda _request: events(job("done", result=report)))
    daemon.on("GET", "/api/v1/reports/r1/files/report.pdf", httpx.Response(200, content=b"%PDF"))
    daemon.on("GET", "/api/v1/reports/r1/files/report.html", httpx.Response(200, content=b"<html>"))
    period = ("--from", "2026-01-01", "--to", "2026-01-31")
    assert strongroom("report", "hipaa", *period, "--out", str(tmp_path / "all")).code == 0
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == ["report.html", "report.pdf"]
    assert daemon.body(0)["until"] == "2026-02-01T00:00:00.000000Z"
    one = strongroom("report", "hipaa", *period, "--out", str(tmp_path / "build" / "hipaa.pdf"), "--json")
    assert (tmp_path / "build" / "hipaa.pdf").read_bytes() == b"%PDF"
    assert one.document["sentence"] == "Evidence supports 6 controls."


# -- the end of everything --------------------------------------------------------------------------


def test_a_defect_of_ours_is_one_sentence_and_not_a_page(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/guests", {"items": [{"surprise": True}], "next": None})
    ended = strongroom("guest", "list")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


def test_nothing_secret_can_be_given_as_an_argument(strongroom: CommandLine) -> None:
    for command in (
        ["login", "ada"],
        ["unseal"],
        ["account", "create", "ada", "--role", "auditor"],
        ["init"],
    ):
        for option in ("--password", "--passphrase", "--admin-password", "--token"):
            ended = strongroom(*command, option, "s3cret-value")
            assert ended.code == 2
            assert "s3cret-value" not in ended.err


def test_the_json_of_lists_goes_through_json_unchanged(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    document = {"items": [], "next": "Zm9v", "note": 'Grüße \u2028 \\ "'}
    daemon.on("GET", "/api/v1/log/records", document)
    assert json.loads(strongroom("audit", "list", "--json").out) == document
